//! The run loop.

use super::op::{Flow, Op, ea};
use super::state::{CpuState, seg};
use crate::cpu::{Exit, Ram, Vcpu};

/// Why an op did not retire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// An exception.
    Exception {
        /// Vector, 0..32.
        vector: u8,
        /// Error code where the vector has one.
        error: Option<u32>,
    },
    /// The access left RAM, waits for the device, or wrote to code or page tables: the
    /// op runs again on its own, outside of the block.
    Alone,
    /// The op wants this from the caller before it can retire.
    Exit(Exit),
}

/// The running CPU: architectural state and the caches derived from it.
pub struct Core {
    /// The architectural state.
    pub s: CpuState,
    /// Why the last op did not retire.
    pub trap: Trap,
    /// Guest memory.
    pub ram: Ram,
    /// Status flags that nobody has asked for yet.
    pub(super) lazy: super::flags::Lazy,
}

impl Core {
    /// Records exception `vector` and answers the flow that raises it.
    #[cold]
    pub fn raise(&mut self, vector: u8, error: Option<u32>) -> Flow {
        self.trap = Trap::Exception { vector, error };
        Flow::Trap
    }

    /// Applies the `ea` bits to an effective address.
    #[cold]
    pub fn segmented(&self, mut address: u64, bits: u8) -> u64 {
        if bits & ea::ADDR32 != 0 {
            address &= 0xFFFF_FFFF;
        }
        if bits & ea::FS != 0 {
            address = address.wrapping_add(self.s.segs[seg::FS].base);
        }
        if bits & ea::GS != 0 {
            address = address.wrapping_add(self.s.segs[seg::GS].base);
        }
        address
    }

    /// Ends the block at `rip`.
    #[inline(always)]
    pub fn jump(&mut self, rip: u64) -> Flow {
        self.s.rip = rip;
        Flow::Jump
    }

    /// Ends the block behind `op`.
    #[inline(always)]
    pub fn end_block(&mut self, op: &Op) -> Flow {
        self.jump(op.next_rip(self))
    }
}

/// The software CPU.
pub struct SoftCpu {
    core: Core,
}

impl SoftCpu {
    /// A CPU in its reset state over `ram`.
    pub fn new(ram: Ram) -> SoftCpu {
        SoftCpu {
            core: Core {
                s: CpuState::default(),
                trap: Trap::Alone,
                ram,
                lazy: Default::default(),
            },
        }
    }

    /// The architectural state.
    pub fn state(&self) -> &CpuState {
        &self.core.s
    }

    /// Replaces the architectural state, and forgets whatever was derived from the old one.
    pub fn set_state(&mut self, state: CpuState) {
        self.core.s = state;
    }
}

impl Vcpu for SoftCpu {
    fn run(&mut self, _limit: u64, _window: bool) -> Exit {
        todo!()
    }
    fn complete(&mut self, _value: u64) {
        todo!()
    }
    fn retired(&self) -> u64 {
        self.core.s.retired
    }
    fn interruptible(&self) -> bool {
        todo!()
    }
    fn inject(&mut self, _vector: u8) {
        todo!()
    }
    fn halted(&self) -> bool {
        self.core.s.halted
    }
    fn gpr(&self, index: usize) -> u64 {
        self.core.s.gpr[index]
    }
    fn set_gpr(&mut self, index: usize, value: u64) {
        self.core.s.gpr[index] = value;
    }
    fn read_virtual(&mut self, _address: u64, _into: &mut [u8]) -> bool {
        todo!()
    }
    fn write_virtual(&mut self, _address: u64, _from: &[u8]) -> bool {
        todo!()
    }
}
