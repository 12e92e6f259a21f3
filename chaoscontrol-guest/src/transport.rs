//! How a guest reaches its host: one port write is one message. Any thread of any
//! process may send at any time; nothing is shared and nothing is locked.

use core::sync::atomic::{AtomicU8, Ordering};

use crate::protocol::{
    Identity, MALFORMED, MAX_MESSAGE, Message, SIGNATURE, SIGNATURE_LEAF, UNMAPPED,
};

/// Messages up to this length need no allocator.
const SMALL: usize = 4096;

/// How often a buffer that the host cannot reach is touched again. The kernel may take
/// a page away between touch and message, but not time after time.
const ATTEMPTS: usize = 16;

/// Whether this code runs in a test VM. Asks the CPU once per process.
pub fn inside() -> bool {
    const UNKNOWN: u8 = 0;
    const OUTSIDE: u8 = 1;
    const INSIDE: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    match KNOWN.load(Ordering::Relaxed) {
        UNKNOWN => {
            let inside = signature() == SIGNATURE;
            KNOWN.store(if inside { INSIDE } else { OUTSIDE }, Ordering::Relaxed);
            inside
        }
        known => known == INSIDE,
    }
}

/// Sends a message and returns the host's answer; outside a test VM nothing is sent and
/// the answer is 0. A message that is longer than the host accepts has its texts cut.
pub fn send(message: &Message<'_>) -> u64 {
    if !inside() {
        return 0;
    }
    let mut small = [0; SMALL];
    if let Ok(length) = message.encode(&mut small) {
        return post(&mut small[..length]);
    }
    send_long(message, &mut small)
}

#[cfg(feature = "std")]
fn send_long(message: &Message<'_>, _small: &mut [u8]) -> u64 {
    let mut large = std::vec![0; MAX_MESSAGE];
    send_cut(message, &mut large)
}

#[cfg(not(feature = "std"))]
fn send_long(message: &Message<'_>, small: &mut [u8]) -> u64 {
    send_cut(message, small)
}

/// Sends a message from `buffer`, cutting its texts if it does not fit.
fn send_cut(message: &Message<'_>, buffer: &mut [u8]) -> u64 {
    debug_assert!(buffer.len() <= MAX_MESSAGE);
    let length = message
        .encode(buffer)
        .or_else(|_| message.cut(buffer.len() / 6).encode(buffer));
    match length {
        Ok(length) => post(&mut buffer[..length]),
        Err(_) => MALFORMED,
    }
}

/// Asks the host who this VM is. `None` outside a test VM, or if the host's answer makes
/// no sense.
pub fn identity(buffer: &mut [u8; 1024]) -> Option<Identity<'_>> {
    if !inside() {
        return None;
    }
    Message::Identity.encode(buffer).ok()?;
    let length = usize::try_from(post(buffer)).ok()?;
    Identity::decode(buffer.get(..length)?).ok()
}

/// Hands the buffer to the host, as often as it takes until the host can reach it.
fn post(buffer: &mut [u8]) -> u64 {
    let mut answer = UNMAPPED;
    for _ in 0..ATTEMPTS {
        answer = out(buffer);
        if answer != UNMAPPED {
            break;
        }
        touch(buffer);
    }
    answer
}

/// Makes the kernel map every page of the buffer, writable.
fn touch(buffer: &mut [u8]) {
    const PAGE: usize = 4096;
    let last = buffer.len().saturating_sub(1);
    for at in (0..buffer.len()).step_by(PAGE).chain([last]) {
        if let Some(byte) = buffer.get_mut(at) {
            let byte: *mut u8 = byte;
            // SAFETY: the pointer comes from a live exclusive reference, used for this
            // statement only; writing back what was read changes nothing.
            unsafe { byte.write_volatile(byte.read_volatile()) };
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn out(buffer: &mut [u8]) -> u64 {
    use crate::protocol::{PORT, VERSION};
    let answer;
    // SAFETY: only called inside a test VM, whose agent gave all its processes this port.
    // The host reads the `buffer.len()` bytes at RDI and may write to them; the exclusive
    // borrow lasts over the instruction, and the block is not `nomem`, so the compiler
    // reloads them. No other register or memory is changed.
    unsafe {
        core::arch::asm!(
            "out dx, eax",
            in("dx") PORT,
            in("rdi") buffer.as_mut_ptr(),
            in("rsi") buffer.len(),
            inlateout("rax") u64::from(VERSION) => answer,
            options(nostack, preserves_flags),
        );
    }
    answer
}

#[cfg(not(target_arch = "x86_64"))]
fn out(_buffer: &mut [u8]) -> u64 {
    MALFORMED
}

#[cfg(target_arch = "x86_64")]
fn signature() -> [u8; 12] {
    #[allow(unused_unsafe)] // Newer compilers know that CPUID is always there.
    // SAFETY: every x86-64 CPU has CPUID; an unknown leaf has harmless contents.
    let leaf = unsafe { core::arch::x86_64::__cpuid(SIGNATURE_LEAF) };
    let mut signature = [0; 12];
    signature[..4].copy_from_slice(&leaf.ebx.to_le_bytes());
    signature[4..8].copy_from_slice(&leaf.ecx.to_le_bytes());
    signature[8..].copy_from_slice(&leaf.edx.to_le_bytes());
    signature
}

#[cfg(not(target_arch = "x86_64"))]
fn signature() -> [u8; 12] {
    let _ = SIGNATURE_LEAF;
    [0; 12]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_vm_nothing_is_sent() {
        assert!(!inside());
        assert_eq!(send(&Message::GetRandom), 0);
        assert_eq!(identity(&mut [0; 1024]), None);
    }

    #[test]
    fn touching_changes_nothing() {
        let mut buffer: Vec<u8> = (0..9000u32).map(|byte| byte as u8).collect();
        let before = buffer.clone();
        touch(&mut buffer);
        touch(&mut []);
        assert_eq!(buffer, before);
    }
}
