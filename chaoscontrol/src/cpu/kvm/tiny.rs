//! A guest of a few instructions, on KVM and nothing else: what [`super::probe()`] runs.
//!
//! It is apart from the engine on purpose. The engine needs all of KVM to work; this needs
//! as little as can be, so that it can tell what of the rest does.

use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use super::host::KvmError;
use super::vm::{bare, call};
use crate::cpu::ram::Ram;

/// Bytes of memory, from guest-physical address 0.
const SIZE: u64 = 0xA000;
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
    ram: Ram,
    stop: &'a AtomicBool,
}

impl<'a> TinyGuest<'a> {
    /// A guest that is to execute `code`, with [`DATA`] in RBX. Once
    /// `stop` is set, a signal to its thread ends it.
    ///
    /// # Errors
    /// KVM refuses something.
    pub fn new(kvm: &Kvm, code: &[u8], stop: &'a AtomicBool) -> Result<Self, KvmError> {
        let ram = Ram::new(SIZE).map_err(|error| KvmError::Call {
            what: "get memory for a tiny guest",
            why: error.to_string(),
        })?;
        let [pml4, pdpt, directory] = TABLES;
        words(&ram, pml4, &[pdpt | 3]);
        words(&ram, pdpt, &[directory | 3]);
        words(&ram, directory, &[0x83, u64::from(DEVICE) | 0x83]);
        words(
            &ram,
            GDT,
            &[0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF],
        );
        for (vector, handler) in [(BREAKPOINT, HANDLERS), (VECTOR, HANDLERS + 0x10)] {
            words(&ram, IDT + vector * 16, &[handler | 0x8E00_0008_0000, 0]);
        }
        bytes(&ram, CODE, code);
        bytes(&ram, HANDLERS, &[0x48, 0xCF]); // iretq
        bytes(&ram, HANDLERS + 0x10, &[0xE6, HANDLED, 0x48, 0xCF]); // out HANDLED, al; iretq

        let vm = bare(kvm, &ram, 0)?;
        let vcpu = call("create a CPU", vm.create_vcpu(0))?;
        let guest = TinyGuest {
            vcpu,
            _vm: vm,
            ram,
            stop,
        };
        guest.set_state(kvm)?;
        Ok(guest)
    }

    fn set_state(&self, kvm: &Kvm) -> Result<(), KvmError> {
        let cpuid: CpuId = call(
            "tell what CPUID it supports",
            kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES),
        )?;
        call("set CPUID", self.vcpu.set_cpuid2(&cpuid))?;
        let mut sregs = call("read system registers", self.vcpu.get_sregs())?;
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
        call("set system registers", self.vcpu.set_sregs(&sregs))?;
        let regs = kvm_regs {
            rbx: DATA,
            rsp: STACK,
            rip: CODE,
            rflags: 2,
            ..kvm_regs::default()
        };
        call("set registers", self.vcpu.set_regs(&regs))
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
        words(&self.ram, DATA, &[word]);
    }

    /// The word of memory at [`DATA`].
    #[cfg(test)]
    fn word(&self) -> u64 {
        self.ram.load_quad(DATA).expect("it is in memory")
    }
}

/// Writes at an address of this file, which all are in memory.
fn bytes(ram: &Ram, at: u64, bytes: &[u8]) {
    ram.write(at, bytes).expect("it is in memory");
}

fn words(ram: &Ram, at: u64, words: &[u64]) {
    for (word, at) in words.iter().zip((at..).step_by(8)) {
        bytes(ram, at, &word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::open;
    use super::super::testing::or_not_run;
    use super::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    /// Sees that a guest stops so until it writes to port `0x10`, interrupted when it halts;
    /// returns the word of memory, or `None` on a host without KVM.
    fn stops(code: &[u8], wanted: &[Stop]) -> Option<u64> {
        let kvm = &or_not_run(open())?;
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
                assert_eq!(stops, wanted);
                return Some(guest.word());
            }
        }
    }

    #[test]
    fn it_computes_in_ring_0() {
        // mov ecx, 100; add [rbx], rcx; dec rcx; jnz to the add; out 0x10, al
        let code = [
            0xB9, 100, 0, 0, 0, 0x48, 0x01, 0x0B, 0x48, 0xFF, 0xC9, 0x75, 0xF8, 0xE6, 0x10,
        ];
        let sum = stops(&code, &[Stop::Out(0x10)]);
        assert!(matches!(sum, Some(5050) | None), "{sum:?}");
    }

    #[test]
    fn it_leaves_at_ports_and_devices() {
        // out 0x77, al; mov [DEVICE], eax; out 0x10, al
        let mut code = vec![0xE6, 0x77, 0x89, 0x04, 0x25];
        code.extend(DEVICE.to_le_bytes());
        code.extend([0xE6, 0x10]);
        let wanted = [Stop::Out(0x77), Stop::Store(DEVICE.into()), Stop::Out(0x10)];
        stops(&code, &wanted);
    }

    #[test]
    fn it_takes_an_interrupt_in_halt() {
        // sti; hlt; out 0x10, al
        let code = [0xFB, 0xF4, 0xE6, 0x10];
        stops(&code, &[Stop::Halt, Stop::Out(HANDLED), Stop::Out(0x10)]);
    }
}
