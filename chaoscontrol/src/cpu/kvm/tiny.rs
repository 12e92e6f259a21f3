//! A guest of a few instructions, on KVM and nothing else: what [`super::probe()`] runs.
//!
//! It is apart from the engine on purpose. The engine needs all of KVM to work; this needs
//! as little as can be, so that it can tell what of the rest does.

use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use super::host::KvmError;

/// Bytes of memory, from guest-physical address 0.
const SIZE: usize = 0xA000;
/// Page tables: the first 4 MiB, mapped to themselves.
const TABLES: [u64; 3] = [0x1000, 0x2000, 0x3000];
const GDT: u64 = 0x4000;
const IDT: u64 = 0x5000;
const CODE: u64 = 0x6000;
const HANDLERS: u64 = 0x7000;
const STACK: u64 = 0x9000;
/// Where RBX points: memory to play with, aligned to a page.
pub const DATA: u64 = 0x9000;
/// Mapped, and no memory.
pub const DEVICE: u32 = 0x20_0000;

/// The vector of the breakpoint exception.
const BREAKPOINT: u64 = 3;
/// The vector that [`TinyGuest::interrupt`] uses.
const VECTOR: u64 = 0x20;
/// The port to which the handler of [`VECTOR`] writes.
pub const HANDLED: u8 = 0x12;

const KVM_INTERRUPT: libc::Ioctl = 0x4004_AE86;

/// Why a guest came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It wrote a byte to this port.
    Out(u8),
    /// It stored to this address, which is not memory.
    Store(u64),
    /// It executed HLT.
    Halt,
    /// It would take an interrupt now.
    Window,
    /// It was asked to stop before it came to anything.
    Asked,
    /// KVM does not execute it, for this reason.
    Failed(String),
}

/// One VM with one CPU in 64-bit mode, ring 0.
pub struct TinyGuest<'a> {
    // The CPU and the VM go before the memory that they use.
    vcpu: VcpuFd,
    _vm: VmFd,
    memory: Memory,
    stop: &'a AtomicBool,
}

impl<'a> TinyGuest<'a> {
    /// A guest that is to execute `code`, with [`DATA`] in RBX. Once
    /// `stop` is set, a signal to its thread ends it.
    ///
    /// # Errors
    /// KVM refuses something.
    pub fn new(kvm: &Kvm, code: &[u8], stop: &'a AtomicBool) -> Result<Self, KvmError> {
        let mut memory = Memory::new()?;
        let [pml4, pdpt, directory] = TABLES;
        memory.words(pml4, &[pdpt | 3]);
        memory.words(pdpt, &[directory | 3]);
        memory.words(directory, &[0x83, u64::from(DEVICE) | 0x83]);
        memory.words(GDT, &[0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF]);
        for (vector, handler) in [(BREAKPOINT, HANDLERS), (VECTOR, HANDLERS + 0x10)] {
            memory.words(IDT + vector * 16, &[handler | 0x8E00_0008_0000, 0]);
        }
        memory.bytes(CODE, code);
        memory.bytes(HANDLERS, &[0x48, 0xCF]); // iretq
        memory.bytes(HANDLERS + 0x10, &[0xE6, HANDLED, 0x48, 0xCF]); // out HANDLED, al; iretq

        let vm = kvm.create_vm().map_err(KvmError::call("make a VM"))?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: SIZE as u64,
            userspace_addr: memory.start as u64,
        };
        // SAFETY: the region is the whole of `memory`, which lives until the VM is gone, and
        // to which nobody holds a reference while the guest runs.
        unsafe { vm.set_user_memory_region(region) }
            .map_err(KvmError::call("give a VM its memory"))?;
        let vcpu = vm.create_vcpu(0).map_err(KvmError::call("make a CPU"))?;
        let guest = TinyGuest {
            vcpu,
            _vm: vm,
            memory,
            stop,
        };
        guest.set_state(kvm)?;
        Ok(guest)
    }

    fn set_state(&self, kvm: &Kvm) -> Result<(), KvmError> {
        let cpuid: CpuId = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(KvmError::call("tell what CPUID it supports"))?;
        self.vcpu
            .set_cpuid2(&cpuid)
            .map_err(KvmError::call("set CPUID"))?;
        let mut sregs = self
            .vcpu
            .get_sregs()
            .map_err(KvmError::call("read the system registers"))?;
        let code = kvm_segment {
            limit: u32::MAX,
            selector: 8,
            type_: 11,
            present: 1,
            s: 1,
            l: 1,
            g: 1,
            ..kvm_segment::default()
        };
        let data = kvm_segment {
            selector: 0x10,
            type_: 3,
            l: 0,
            db: 1,
            ..code
        };
        sregs.cs = code;
        for segment in [
            &mut sregs.ds,
            &mut sregs.es,
            &mut sregs.fs,
            &mut sregs.gs,
            &mut sregs.ss,
        ] {
            *segment = data;
        }
        (sregs.gdt.base, sregs.gdt.limit) = (GDT, 0x17);
        (sregs.idt.base, sregs.idt.limit) = (IDT, 0xFFF);
        sregs.cr0 = 0x8001_0033; // PG, WP, NE, ET, MP, PE
        sregs.cr3 = TABLES[0];
        sregs.cr4 = 0x620; // PAE, OSFXSR, OSXMMEXCPT
        sregs.efer = 0x500; // LMA, LME
        self.vcpu
            .set_sregs(&sregs)
            .map_err(KvmError::call("set the system registers"))?;
        let regs = kvm_regs {
            rbx: DATA,
            rsp: STACK,
            rip: CODE,
            rflags: 2,
            ..kvm_regs::default()
        };
        self.vcpu
            .set_regs(&regs)
            .map_err(KvmError::call("set the registers"))
    }

    /// Runs until something happens.
    pub fn run(&mut self) -> Stop {
        loop {
            let stop = match self.vcpu.run() {
                Ok(VcpuExit::IoOut(port, _)) => Stop::Out(port as u8),
                Ok(VcpuExit::MmioWrite(address, _)) => Stop::Store(address),
                Ok(VcpuExit::Hlt) => Stop::Halt,
                Ok(VcpuExit::IrqWindowOpen) => Stop::Window,
                Err(error) if error.errno() == libc::EINTR => {
                    if !self.stop.load(Ordering::Relaxed) {
                        continue;
                    }
                    Stop::Asked
                }
                Ok(other) => Stop::Failed(format!("{other:?}")),
                Err(error) => Stop::Failed(error.to_string()),
            };
            return stop;
        }
    }

    /// Whether to come back as soon as an interrupt could be taken.
    pub fn want_window(&mut self, wanted: bool) {
        self.vcpu.get_kvm_run().request_interrupt_window = u8::from(wanted);
    }

    /// Delivers an interrupt; its handler writes to port [`HANDLED`].
    ///
    /// # Errors
    /// KVM refuses it.
    pub fn interrupt(&mut self) -> Result<(), KvmError> {
        let vector = VECTOR as u32;
        // SAFETY: the descriptor is an open vCPU's, and KVM_INTERRUPT reads a `kvm_interrupt`,
        // which is one u32, during the call.
        let answer =
            unsafe { libc::ioctl(self.vcpu.as_raw_fd(), KVM_INTERRUPT, ptr::from_ref(&vector)) };
        match answer {
            0 => Ok(()),
            _ => Err(KvmError::call("deliver an interrupt")(
                kvm_ioctls::Error::last(),
            )),
        }
    }

    /// Writes the word of memory at [`DATA`].
    pub fn set_word(&mut self, word: u64) {
        self.memory.words(DATA, &[word]);
    }

    /// The word of memory at [`DATA`].
    #[cfg(test)]
    fn word(&self) -> u64 {
        self.memory.word(DATA)
    }
}

/// Anonymous memory, page-aligned.
struct Memory {
    start: *mut u8,
}

impl Memory {
    fn new() -> Result<Memory, KvmError> {
        // SAFETY: a new anonymous mapping at an address of the system's choice touches
        // nothing that exists.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(KvmError::call("get memory from the system")(
                kvm_ioctls::Error::last(),
            ));
        }
        Ok(Memory {
            start: start.cast(),
        })
    }

    fn bytes(&mut self, at: u64, bytes: &[u8]) {
        let at = at as usize;
        assert!(at + bytes.len() <= SIZE);
        // SAFETY: the range lies in the mapping, as was just checked; `bytes` is elsewhere,
        // and no reference into the mapping exists.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(at), bytes.len()) };
    }

    fn words(&mut self, at: u64, words: &[u64]) {
        for (word, at) in words.iter().zip((at..).step_by(8)) {
            self.bytes(at, &word.to_le_bytes());
        }
    }

    #[cfg(test)]
    fn word(&self, at: u64) -> u64 {
        let at = at as usize;
        assert!(at + 8 <= SIZE);
        // SAFETY: the range lies in the mapping, as was just checked; the guest, which alone
        // writes to it, runs only in a call with the exclusive `TinyGuest`.
        unsafe { self.start.add(at).cast::<u64>().read_unaligned() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and still there; the VM that used it was
        // dropped before, since its field stands first.
        unsafe { libc::munmap(self.start.cast(), SIZE) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::{self, open};
    use super::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    /// The stops of a guest until it writes to port `0x10`, interrupting it when it halts.
    fn stops(kvm: &Kvm, code: &[u8]) -> (Vec<Stop>, u64) {
        let mut guest = TinyGuest::new(kvm, code, &NEVER).unwrap();
        let mut stops = Vec::new();
        loop {
            let stop = guest.run();
            let done = matches!(stop, Stop::Out(0x10) | Stop::Failed(_));
            if stop == Stop::Halt {
                guest.interrupt().unwrap();
            }
            stops.push(stop);
            if done {
                return (stops, guest.word());
            }
        }
    }

    /// Runs `test` with this host's KVM, or, on a host without one, sees that the error
    /// tells what to do about that.
    fn with_kvm(test: impl FnOnce(&Kvm)) {
        match open() {
            Ok(kvm) => test(&kvm),
            Err(error) => {
                let said = error.to_string();
                let required = std::env::var_os("CHAOS_KVM_REQUIRED").is_some();
                assert!(!required, "KVM is required: {said}");
                eprintln!("no tiny guest can run here: {said}");
                assert!(said.starts_with(&host::device().display().to_string()));
                assert!(said.contains(": "), "{said}");
            }
        }
    }

    #[test]
    fn it_computes_in_ring_0() {
        with_kvm(|kvm| {
            // mov ecx, 100; add [rbx], rcx; dec rcx; jnz to the add; out 0x10, al
            let code = [
                0xB9, 100, 0, 0, 0, 0x48, 0x01, 0x0B, 0x48, 0xFF, 0xC9, 0x75, 0xF8, 0xE6, 0x10,
            ];
            assert_eq!(stops(kvm, &code), (vec![Stop::Out(0x10)], 5050));
        });
    }

    #[test]
    fn it_leaves_at_ports_and_devices() {
        with_kvm(|kvm| {
            // out 0x77, al; mov [DEVICE], eax; out 0x10, al
            let mut code = vec![0xE6, 0x77, 0x89, 0x04, 0x25];
            code.extend(DEVICE.to_le_bytes());
            code.extend([0xE6, 0x10]);
            let wanted = vec![Stop::Out(0x77), Stop::Store(DEVICE.into()), Stop::Out(0x10)];
            assert_eq!(stops(kvm, &code).0, wanted);
        });
    }

    #[test]
    fn it_takes_an_interrupt_in_halt() {
        with_kvm(|kvm| {
            // sti; hlt; out 0x10, al
            let code = [0xFB, 0xF4, 0xE6, 0x10];
            let wanted = vec![Stop::Halt, Stop::Out(HANDLED), Stop::Out(0x10)];
            assert_eq!(stops(kvm, &code).0, wanted);
        });
    }
}
