//! When a machine stops: when it is asked to, and why it may have to.

use crate::cpu::{CpuError, RamError};

/// Why a machine is off.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Off {
    /// A triple fault, which is also how a guest resets.
    #[error("reset, or a triple fault")]
    Reset,
    /// The kernel panicked; its message.
    #[error("{0}")]
    Panic(String),
    /// HLT with interrupts disabled: nothing can wake it.
    #[error("HLT with interrupts disabled")]
    Halted,
    /// It sent more output than a host should have to keep.
    #[error("more output than 64 MiB in 10 virtual ms")]
    Flood,
    /// One instruction asked for I/O without end.
    #[error("a single instruction with I/O without end")]
    EndlessIo,
    /// One string instruction went on and on.
    #[error("a single string instruction of more than 2^32 iterations")]
    EndlessString,
    /// Where exits are counted: it went on and on without any, and no interrupt helped.
    #[error("it runs on and on without talking to a device, so that no time passes")]
    Spinning,
    /// The engine failed; the guest has nothing to do with it.
    #[error("the engine failed: {0}")]
    Engine(CpuError),
}

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// No memory for it.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// No CPU for it.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}

/// Why [`DeterministicVm::run`](super::DeterministicVm::run) came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// The time was reached.
    Time,
    /// So many instructions have retired.
    Instructions,
    /// So many exits were handled.
    Exits,
    /// HLT retired.
    Halt,
    /// The pattern stands on the serial console.
    Serial,
    /// The agent said that user space is up.
    Boot,
    /// The machine is off; [`DeterministicVm::off`](super::DeterministicVm::off) says why.
    Off,
}

/// When [`DeterministicVm::run`](super::DeterministicVm::run) is to come back; the first that holds does it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until<'a> {
    /// At virtual time T in ns.
    pub time: Option<u64>,
    /// After this many more instructions.
    pub instructions: Option<u64>,
    /// After this many more exits to devices.
    pub exits: Option<u64>,
    /// After HLT.
    pub halt: bool,
    /// Once a line on COM1 contains this (an unfinished one counts).
    pub serial: Option<&'a [u8]>,
    /// After the agent's [`Message::Boot`](chaoscontrol_guest::protocol::Message::Boot).
    pub boot: bool,
}
