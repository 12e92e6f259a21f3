//! The CPU of a test machine, behind one trait.
//!
//! An engine executes guest code up to an exact instruction count and hands
//! everything that leaves the CPU (port and memory-mapped I/O, time, HLT) to its
//! caller as an [`Exit`] value. It knows nothing of devices or of host time, so
//! that what a guest sees is a function of its own state and of what the caller
//! answers.

pub mod bits;
pub mod choice;
pub mod cpuid;
mod engine;
#[cfg(supported_host)]
pub mod kvm;
mod missing;
pub mod msr;
pub mod paging;
pub mod ram;
pub mod regions;
pub mod soft;
pub mod state;

pub use engine::{Cpu, CpuError};
pub use missing::{Met, Missing};
pub use ram::{Ram, RamError};
pub use soft::SoftCpu;
pub use state::CpuState;

/// The host cannot run the software CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", UnsupportedHost::REASON)]
pub struct UnsupportedHost;

impl UnsupportedHost {
    /// What is missing, and what to do about it.
    pub const REASON: &str = "chaoscontrol's software CPU needs an x86-64 Linux host, since \
        the host's own instructions do the guest's floating point; run chaos tests on such a host";
}

/// Whether this host can run the software CPU. Where it cannot, everything compiles, and
/// a machine is refused with this error before it exists.
///
/// # Errors
/// It can't.
pub const fn supported() -> Result<(), UnsupportedHost> {
    if cfg!(supported_host) {
        Ok(())
    } else {
        Err(UnsupportedHost)
    }
}

/// What executes guest code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// The software CPU, on any host.
    #[default]
    Soft,
    /// The host's CPU, through `/dev/kvm`.
    Kvm,
}

impl Engine {
    /// All of them.
    pub const ALL: [Engine; 2] = [Engine::Soft, Engine::Kvm];

    /// Its name in settings, records and reports.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Soft => "soft",
            Engine::Kvm => "kvm",
        }
    }
}

/// What a CPU is to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CpuConfig {
    /// Frequency of the time-stamp counter in kHz of virtual time.
    pub tsc_khz: u32,
    /// Whether the software CPU counts completed exits instead of instructions, as
    /// [`Engine::Kvm`] does.
    pub by_exits: bool,
}

impl Default for CpuConfig {
    fn default() -> CpuConfig {
        CpuConfig {
            tsc_khz: 3_000_000,
            by_exits: false,
        }
    }
}

/// The largest naturally aligned power of two up to 8 at `address` within `room` bytes.
pub(crate) fn natural(address: u64, room: usize) -> usize {
    let aligned = 1 << (address | 8).trailing_zeros();
    let fits = 1 << room.ilog2();
    usize::min(aligned, fits)
}

/// Why [`Vcpu::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// The count reached the limit; or, where exits are counted, one was completed that
    /// needed no answer.
    Budget,
    /// An interrupt window was asked for and is open before the next instruction.
    InterruptWindow,
    /// HLT retired; nothing runs until an interrupt is injected.
    Halt,
    /// An IN (or one iteration of INS) of `size` bytes waits for [`Vcpu::complete`].
    PortIn {
        /// Port number.
        port: u16,
        /// 1, 2 or 4 bytes.
        size: u8,
    },
    /// An OUT (or one iteration of OUTS) waits for [`Vcpu::complete`] with any value.
    PortOut {
        /// Port number.
        port: u16,
        /// 1, 2 or 4 bytes.
        size: u8,
        /// The value, zero-extended.
        value: u32,
    },
    /// A load from outside of RAM waits for [`Vcpu::complete`].
    MmioRead {
        /// Guest-physical address.
        address: u64,
        /// 1, 2, 4 or 8 bytes.
        size: u8,
    },
    /// A store to outside of RAM waits for [`Vcpu::complete`] with any value.
    MmioWrite {
        /// Guest-physical address.
        address: u64,
        /// 1, 2, 4 or 8 bytes.
        size: u8,
        /// The value, zero-extended.
        value: u64,
    },
    /// A repeated string instruction has many iterations behind it and some left. It has
    /// not retired, nothing is pending, and the next `run` goes on with it: to the guest
    /// nothing has happened.
    Repeats,
    /// Where exits are counted: the guest goes on and on without any. Nothing is pending, and
    /// the next `run` goes on with it.
    Spinning,
    /// The engine itself failed, and says why when asked.
    Failed,
    /// RDTSC waits for [`Vcpu::complete`] with the counter's value.
    ReadTsc,
    /// A triple fault, or a state this CPU model does not execute: the guest is dead.
    Shutdown,
}

impl Exit {
    /// Whether it waits for [`Vcpu::complete`].
    pub fn is_io(self) -> bool {
        matches!(
            self,
            Exit::PortIn { .. }
                | Exit::PortOut { .. }
                | Exit::MmioRead { .. }
                | Exit::MmioWrite { .. }
                | Exit::ReadTsc
        )
    }
}

/// One virtual CPU.
///
/// I/O exits come *before* their instruction retires: [`Vcpu::count`] is then what had
/// passed when it began, which is the access's virtual time, and [`Vcpu::complete`] answers
/// it. A caller answers a pending exit, and all that [`Vcpu::finish`] gives, before it
/// saves state.
pub trait Vcpu {
    /// Runs until [`Vcpu::count`] has reached `limit`, or until an exit.
    ///
    /// With `window`, stops before the first instruction at which a maskable
    /// interrupt can be accepted.
    fn run(&mut self, limit: u64, window: bool) -> Exit;
    /// Answers the pending I/O exit and retires its instruction (or, for a string
    /// or multi-part access, goes on with it in [`Vcpu::more`]).
    fn complete(&mut self, value: u64);
    /// Goes on with the instruction whose exit was just answered: its next exit, or `None`
    /// once it has retired or the engine cannot say yet.
    fn more(&mut self) -> Option<Exit>;
    /// Ends the instruction whose exit was answered, so that state can be looked at; or its
    /// next exit.
    fn finish(&mut self) -> Option<Exit>;
    /// What virtual time is counted in, since reset: instructions retired, or exits completed.
    fn count(&self) -> u64;
    /// Whether a maskable interrupt would be accepted before the next instruction. Call only
    /// when [`Vcpu::finish`] has given nothing.
    fn interruptible(&mut self) -> bool;
    /// Delivers external interrupt `vector` now; ends HLT. Call only when [`Vcpu::interruptible`].
    fn inject(&mut self, vector: u8);
    /// A non-maskable interrupt arrives: delivered before the next instruction, or, while
    /// one is being handled, behind the next IRET (SDM volume 3, 6.7); a second that arrives
    /// meanwhile is the same. Ends HLT. Call only when [`Vcpu::finish`] has given nothing.
    fn nmi(&mut self);
    /// Whether the CPU waits in HLT.
    fn halted(&self) -> bool;
    /// The instruction pointer. Call only when [`Vcpu::finish`] has given nothing.
    fn rip(&mut self) -> u64;
    /// A general-purpose register by its encoding (0 = RAX, 1 = RCX, 2 = RDX, 3 = RBX,
    /// 4 = RSP, 5 = RBP, 6 = RSI, 7 = RDI, 8.. = R8..).
    fn gpr(&mut self, index: usize) -> u64;
    /// Sets a general-purpose register.
    fn set_gpr(&mut self, index: usize, value: u64);
    /// Copies guest-virtual memory out through the current page tables, with the
    /// current privilege; `false` when a page is not mapped or not RAM. Changes no state.
    fn read_virtual(&mut self, address: u64, into: &mut [u8]) -> bool;
    /// Copies into guest-virtual memory; `false` when a page is not mapped writable.
    fn write_virtual(&mut self, address: u64, from: &[u8]) -> bool;
}
