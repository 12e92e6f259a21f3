//! What a guest and its devices said to each other, to compare one engine with another.

use super::vm::DeterministicVm;
use crate::cpu::{Exit, Vcpu};

/// One access to a device, and the CPU behind its instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The engine's count when the instruction began.
    pub count: u64,
    /// Port or address, width, and the value of an output.
    pub exit: Exit,
    /// The value of an input, else 0.
    pub answer: u64,
    /// RIP once the instruction is over; 0 if it goes on with another access.
    pub rip: u64,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8..R15 then.
    pub gpr: [u64; 16],
}

impl DeterministicVm {
    /// Keeps every access from now on, until [`DeterministicVm::take_trace`] is called for the
    /// last time. Costs memory and, on KVM, time; the guest does not notice.
    pub fn trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    /// The accesses since the last call, in order.
    pub fn take_trace(&mut self) -> Vec<Access> {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes an access that has just been answered.
    pub(super) fn note_access(&mut self, count: u64, exit: Exit, answer: u64) {
        if let Some(trace) = &mut self.trace {
            trace.push(Access {
                count,
                exit,
                answer,
                rip: 0,
                gpr: [0; 16],
            });
        }
    }

    /// Notes the CPU behind the instruction of the last access. Gives what the instruction
    /// wants next, if it turns out not to be over.
    pub(super) fn note_end(&mut self) -> Option<Exit> {
        self.trace.as_ref()?;
        if let Some(exit) = self.cpu.finish() {
            return Some(exit);
        }
        let last = self.trace.as_mut().and_then(|trace| trace.last_mut())?;
        last.rip = self.cpu.rip();
        last.gpr = std::array::from_fn(|index| self.cpu.gpr(index));
        None
    }
}
