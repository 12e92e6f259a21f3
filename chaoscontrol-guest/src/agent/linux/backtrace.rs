//! Return addresses of a panicking thread, in a form that the host can symbolize: the
//! packed executable has no symbols, and the standard library does not give addresses.

use std::ffi::{CStr, c_int, c_void};
use std::fmt::Write as _;

/// Frames beyond these are left out.
const DEEPEST: usize = 128;

unsafe extern "C-unwind" {
    // Part of the unwinder that the standard library itself is linked with.
    fn _Unwind_Backtrace(
        each: extern "C-unwind" fn(context: *mut c_void, frames: *mut c_void) -> c_int,
        frames: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

/// `_URC_NO_REASON`: go on.
const GO_ON: c_int = 0;
/// `_URC_END_OF_STACK`: enough.
const ENOUGH: c_int = 5;

struct Frames {
    addresses: [usize; DEEPEST],
    count: usize,
}

/// An ELF image that is mapped into this process.
struct Image {
    path: String,
    base: usize,
    /// The mapped segments, from start to end.
    segments: Vec<(usize, usize)>,
}

/// The calling thread's return addresses, innermost first, as
/// [`Message::Panic`](crate::protocol::Message::Panic) has them.
pub fn capture() -> String {
    let mut frames = Frames {
        addresses: [0; DEEPEST],
        count: 0,
    };
    // SAFETY: the callback gets the pointer given here, to a struct that outlives the
    // call and is not otherwise used meanwhile.
    unsafe { _Unwind_Backtrace(take, (&raw mut frames).cast()) };
    let images = images();
    let mut text = String::new();
    for address in &frames.addresses[..frames.count] {
        let found = images.iter().find(|image| {
            image
                .segments
                .iter()
                .any(|(start, end)| (start..end).contains(&address))
        });
        // Writing to a `String` does not fail.
        let _ = match found {
            Some(image) => writeln!(text, "{}+{:#x}", image.path, address - image.base),
            None => writeln!(text, "?+{address:#x}"),
        };
    }
    text
}

extern "C-unwind" fn take(context: *mut c_void, frames: *mut c_void) -> c_int {
    // SAFETY: the unwinder hands through what `capture` gave it, an exclusive pointer to
    // its live `Frames`.
    let frames = unsafe { &mut *frames.cast::<Frames>() };
    let Some(slot) = frames.addresses.get_mut(frames.count) else {
        return ENOUGH;
    };
    // SAFETY: the context is the one the unwinder calls this function with.
    *slot = unsafe { _Unwind_GetIP(context) };
    if *slot == 0 {
        // Where a thread begins.
        return ENOUGH;
    }
    frames.count += 1;
    GO_ON
}

fn images() -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    // SAFETY: the callback gets the pointer given here, to a vector that outlives the call
    // and is not otherwise used meanwhile.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut images).cast()) };
    images
}

unsafe extern "C" fn note(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    images: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid description, and hands through what `images` gave
    // it, an exclusive pointer to its live vector.
    let (info, images) = unsafe { (&*info, &mut *images.cast::<Vec<Image>>()) };
    let path = if info.dlpi_name.is_null() {
        c""
    } else {
        // SAFETY: the loader's names are NUL-terminated and live as long as the image.
        unsafe { CStr::from_ptr(info.dlpi_name) }
    };
    let path = match path.to_string_lossy() {
        // The executable itself has no name here.
        name if name.is_empty() => std::env::current_exe()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        name => name.into_owned(),
    };
    let headers = if info.dlpi_phnum == 0 {
        &[]
    } else {
        // SAFETY: the loader's header table has as many entries as it says and lives as
        // long as the image.
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
    };
    let base = info.dlpi_addr as usize;
    images.push(Image {
        path,
        base,
        segments: headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
            .map(|header| {
                let start = base.wrapping_add(header.p_vaddr as usize);
                (start, start.wrapping_add(header.p_memsz as usize))
            })
            .collect(),
    });
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_relative_to_this_executable() {
        let text = capture();
        let own = std::env::current_exe().unwrap().display().to_string();
        let (path, offset) = text.lines().next().unwrap().split_once("+0x").unwrap();
        assert_eq!(path, own);
        assert!(usize::from_str_radix(offset, 16).unwrap() < 1 << 28);
        assert!(text.lines().count() > 3);
    }
}
