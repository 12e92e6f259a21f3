//! Places a Linux kernel in memory and the CPU at its door: the 64-bit boot protocol
//! (Linux `Documentation/arch/x86/boot.rst`), without firmware, real mode or decompression.

use super::stop::VmError;
use crate::cpu::UnsupportedHost;
use crate::cpu::ram::{PAGE_SIZE, Ram, RamError};
use crate::cpu::regions::{MemoryRegion, memory_map};
use crate::cpu::soft::CpuState;
use crate::cpu::state::{Segment, TableRegister, seg};

use super::bzimage;

/// Where things lie in low memory.
pub mod layout {
    /// Global descriptor table: null, unused, 64-bit code (0x10), data (0x18).
    pub const GDT: u64 = 0x500;
    /// Interrupt descriptor table, empty: the kernel brings its own.
    pub const IDT: u64 = 0x520;
    /// The zero page, `struct boot_params`.
    pub const ZERO_PAGE: u64 = 0x7000;
    /// Initial stack pointer.
    pub const STACK: u64 = 0x8FF0;
    /// Page map level 4; the two levels below follow, a page each.
    pub const PML4: u64 = 0x9000;
    /// Page directory pointer table.
    pub const PDPT: u64 = 0xA000;
    /// Page directory: the first GiB in 2 MiB pages.
    pub const PD: u64 = 0xB000;
    /// Kernel command line.
    pub const CMDLINE: u64 = 0x2_0000;
    /// The initrd ends at or below this address.
    pub const INITRD_END: u64 = 0x3800_0000;
}

/// Longest kernel command line in bytes, without its terminator.
pub const MAX_CMDLINE: usize = 2047;

/// Why a kernel could not be placed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Neither of the formats we load.
    #[error("the kernel is neither an ELF vmlinux nor a bzImage")]
    Format,
    /// ELF, but for something else.
    #[error("the kernel is not a 64-bit x86-64 executable: {0}")]
    Machine(String),
    /// A bzImage whose payload cannot be unpacked.
    #[error("the bzImage's kernel could not be unpacked: {0}")]
    Payload(String),
    /// linux-loader refused it.
    #[error("the kernel's ELF file is damaged: {0}")]
    Load(String),
    /// No space between the start and the end of memory.
    #[error("{memory} MiB of memory is too little for the kernel and an initrd of {initrd} bytes")]
    NoRoom {
        /// Size of memory in MiB.
        memory: u64,
        /// Size of the initrd in bytes.
        initrd: u64,
    },
    /// Too long, or with a zero byte inside.
    #[error("the kernel command line has a zero byte or more than {MAX_CMDLINE} bytes")]
    Cmdline,
    /// A write outside of memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// There is no machine to load it into.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// Nothing here could run it.
    #[error(transparent)]
    Host(#[from] UnsupportedHost),
}

/// Loads `kernel` (an ELF vmlinux, or a bzImage that contains one) and `initrd` (may be
/// empty) into zeroed `ram`, and returns the state in which the CPU enters the kernel.
///
/// # Errors
/// See [`BootError`]; the memory is then undefined.
pub fn load(ram: &Ram, kernel: &[u8], initrd: &[u8], cmdline: &str) -> Result<CpuState, BootError> {
    let unpacked;
    let elf = if kernel.starts_with(b"\x7fELF") {
        kernel
    } else if bzimage::is_bzimage(kernel) {
        unpacked = bzimage::unpack(kernel)?;
        &unpacked
    } else {
        return Err(BootError::Format);
    };
    check_elf(elf)?;
    let kernel_end = image_end(elf);
    if kernel_end > ram.size() {
        return Err(BootError::NoRoom {
            memory: ram.size() >> 20,
            initrd: initrd.len() as u64,
        });
    }
    let entry = place_kernel(ram, elf)?;
    let initrd_at = place_initrd(ram, initrd, kernel_end)?;
    write_cmdline(ram, cmdline)?;
    write_zero_page(ram, initrd_at, initrd.len() as u32, cmdline.len() as u32)?;
    write_tables(ram)?;
    Ok(entry_state(entry))
}

/// Copies the segments of `elf` to where they belong, and returns the entry's address.
#[cfg(supported_host)]
fn place_kernel(ram: &Ram, elf: &[u8]) -> Result<u64, BootError> {
    use crate::cpu::regions::HIGH_START;
    use linux_loader::loader::{Elf, KernelLoader};

    let high = vm_memory::GuestAddress(HIGH_START);
    let mut file = std::io::Cursor::new(elf);
    let loaded = Elf::load(ram.guest_memory(), None, &mut file, Some(high));
    let loaded = loaded.map_err(|e| BootError::Load(e.to_string()))?;
    Ok(loaded.kernel_load.0)
}

/// linux-loader knows ELF kernels on x86-64 hosts only.
#[cfg(not(supported_host))]
fn place_kernel(_: &Ram, _: &[u8]) -> Result<u64, BootError> {
    Err(UnsupportedHost.into())
}

fn le<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut word = [0; N];
    if let Some(from) = bytes.get(at..at.saturating_add(N)) {
        word.copy_from_slice(from);
    }
    word
}

/// Checks class, type and machine, which linux-loader leaves to its caller.
fn check_elf(elf: &[u8]) -> Result<(), BootError> {
    if elf.get(4) != Some(&2) {
        return Err(BootError::Machine("its ELF class is 32-bit".into()));
    }
    let machine = u16::from_le_bytes(le(elf, 18));
    if machine != 62 {
        let text = format!("its ELF machine number is {machine}, x86-64 is 62");
        return Err(BootError::Machine(text));
    }
    let kind = u16::from_le_bytes(le(elf, 16));
    if kind != 2 {
        let text = format!("its ELF type is {kind}, an executable is 2");
        return Err(BootError::Machine(text));
    }
    Ok(())
}

/// The physical end of all loadable segments, uninitialized data included.
fn image_end(elf: &[u8]) -> u64 {
    let table = u64::from_le_bytes(le(elf, 32)) as usize;
    let count = u16::from_le_bytes(le(elf, 56)) as usize;
    let field = |header: usize, at: usize| u64::from_le_bytes(le(elf, header.saturating_add(at)));
    (0..count)
        .map(|i| table.saturating_add(i * 56))
        .filter(|&header| u32::from_le_bytes(le(elf, header)) == 1)
        .map(|header| field(header, 24).saturating_add(field(header, 40)))
        .max()
        .unwrap_or(0)
}

/// Copies the initrd to the highest place it may have, and returns its address.
fn place_initrd(ram: &Ram, initrd: &[u8], kernel_end: u64) -> Result<u32, BootError> {
    if initrd.is_empty() {
        return Ok(0);
    }
    let top = ram.size().min(layout::INITRD_END);
    let start = top.saturating_sub(initrd.len() as u64) & !(PAGE_SIZE - 1);
    if start < kernel_end {
        return Err(BootError::NoRoom {
            memory: ram.size() >> 20,
            initrd: initrd.len() as u64,
        });
    }
    ram.write(start, initrd)?;
    Ok(start as u32)
}

fn write_cmdline(ram: &Ram, cmdline: &str) -> Result<(), BootError> {
    if cmdline.len() > MAX_CMDLINE || cmdline.contains('\0') {
        return Err(BootError::Cmdline);
    }
    let mut bytes = cmdline.as_bytes().to_vec();
    bytes.push(0);
    ram.write(layout::CMDLINE, &bytes)?;
    Ok(())
}

/// Fills in the fields of `struct boot_params` that a kernel entered at its 64-bit entry reads.
fn write_zero_page(ram: &Ram, initrd: u32, initrd_len: u32, cmdline: u32) -> Result<(), BootError> {
    const E820_RAM: u32 = 1;
    let put = |at: u64, bytes: &[u8]| ram.write(layout::ZERO_PAGE + at, bytes);
    put(0x1FE, &0xAA55u16.to_le_bytes())?; // boot_flag
    put(0x202, b"HdrS")?;
    put(0x206, &0x020Cu16.to_le_bytes())?; // version
    put(0x210, &[0xFF])?; // type_of_loader: without an assigned number
    put(0x211, &[1])?; // loadflags: LOADED_HIGH
    put(0x218, &initrd.to_le_bytes())?;
    put(0x21C, &initrd_len.to_le_bytes())?;
    put(0x228, &(layout::CMDLINE as u32).to_le_bytes())?;
    put(0x238, &cmdline.to_le_bytes())?;
    let mut map = memory_map(ram.size());
    map.retain(MemoryRegion::is_ram);
    put(0x1E8, &[map.len() as u8])?; // e820_entries
    for (i, MemoryRegion { range, .. }) in map.into_iter().enumerate() {
        let entry = 0x2D0 + i as u64 * 20;
        put(entry, &range.start.to_le_bytes())?;
        put(entry + 8, &(range.end - range.start).to_le_bytes())?;
        put(entry + 16, &E820_RAM.to_le_bytes())?;
    }
    Ok(())
}

const CODE64: u16 = 0xA09B;
const DATA: u16 = 0xC093;

/// Writes the GDT and identity page tables for the first GiB.
fn write_tables(ram: &Ram) -> Result<(), BootError> {
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 0x80;
    let descriptor = |attributes: u16| {
        let high = u64::from(attributes & 0xFF) | u64::from(attributes & 0xF000);
        0x000F_0000_0000_FFFF | high << 40
    };
    for (i, entry) in [0, 0, descriptor(CODE64), descriptor(DATA)]
        .iter()
        .enumerate()
    {
        ram.write(layout::GDT + i as u64 * 8, &entry.to_le_bytes())?;
    }
    ram.write(
        layout::PML4,
        &(layout::PDPT | PRESENT_WRITABLE).to_le_bytes(),
    )?;
    ram.write(layout::PDPT, &(layout::PD | PRESENT_WRITABLE).to_le_bytes())?;
    for i in 0..512u64 {
        let entry = i << 21 | LARGE | PRESENT_WRITABLE;
        ram.write(layout::PD + i * 8, &entry.to_le_bytes())?;
    }
    Ok(())
}

/// Long mode with paging, interrupts off, RSI at the zero page.
pub fn entry_state(entry: u64) -> CpuState {
    let mut s = CpuState::default();
    let segment = |selector, attributes| Segment {
        base: 0,
        limit: 0xFFFF_FFFF,
        attributes,
        selector,
    };
    s.segs = [segment(0x18, DATA); 6];
    s.segs[seg::CS] = segment(0x10, CODE64);
    s.tr = Segment {
        base: 0,
        limit: 0x67,
        attributes: 0x008B,
        selector: 0,
    };
    s.gdtr = TableRegister {
        base: layout::GDT,
        limit: 31,
    };
    s.idtr = TableRegister {
        base: layout::IDT,
        limit: 0,
    };
    s.cr0 = 0x8000_0033; // PG, NE, ET, MP, PE
    s.cr3 = layout::PML4;
    s.cr4 = 0x20; // PAE
    s.efer = 0x500; // LME, LMA
    s.rip = entry;
    s.gpr[4] = layout::STACK;
    s.gpr[6] = layout::ZERO_PAGE;
    s
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::tiny_kernel;

    fn word(ram: &Ram, at: u64) -> u64 {
        let mut bytes = [0; 8];
        ram.read(at, &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn a_kernel_finds_what_the_protocol_promises() {
        let ram = Ram::new(8 << 20).unwrap();
        let kernel = tiny_kernel(&[0xF4]);
        let s = load(&ram, &kernel, &[7; 5000], "quiet").unwrap();
        assert_eq!((s.rip, s.gpr[6]), (0x10_0000, 0x7000));
        assert_eq!(word(&ram, s.rip) & 0xFF, 0xF4);
        assert_eq!(word(&ram, 0x2_0000), u64::from_le_bytes(*b"quiet\0\0\0"));
        let initrd = word(&ram, 0x7218) & 0xFFFF_FFFF;
        assert_eq!(initrd, (8 << 20) - 8192);
        assert_eq!(word(&ram, initrd), 0x0707_0707_0707_0707);
        assert_eq!(word(&ram, 0x7000 + 0x2D0 + 20), 0x10_0000);
        assert_eq!(word(&ram, 0x510), 0x00AF_9B00_0000_FFFF);
        assert_eq!(word(&ram, 0x518), 0x00CF_9300_0000_FFFF);
        assert_eq!(word(&ram, layout::PD + 8), 0x20_0083);
    }

    #[test]
    fn bad_kernels_are_named() {
        let ram = Ram::new(2 << 20).unwrap();
        let error = |kernel: &[u8], initrd: &[u8], cmdline: &str| {
            load(&ram, kernel, initrd, cmdline).unwrap_err().to_string()
        };
        assert!(error(b"#!/bin/sh", b"", "").contains("neither"));
        assert!(error(b"", b"", "").contains("neither"));
        assert!(error(b"\x7fELF\x02\x01", b"", "").contains("x86-64"));
        let good = tiny_kernel(&[0xF4]);
        let mut arm = good.clone();
        arm[18] = 183;
        assert!(error(&arm, b"", "").contains("183"));
        assert!(error(&good[..100], b"", "").contains("damaged"));
        assert!(error(&good, &vec![0; 3 << 20], "").contains("too little"));
        assert!(error(&good, b"", &"x".repeat(5000)).contains("command line"));
        let mut huge = good.clone();
        huge[64 + 40..64 + 48].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(error(&huge, b"", "").contains("too little"));
    }
}
