//! Either engine, for a machine that does not care which.

use std::sync::Arc;

#[cfg(supported_host)]
use super::kvm::{KvmCpu, KvmError};
use super::soft::coverage::CodeMap;
use super::{CpuConfig, CpuState, Engine, Exit, Missing, Ram, SoftCpu, UnsupportedHost, Vcpu};

/// Why there is no CPU.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CpuError {
    /// No engine runs on this host.
    #[error(transparent)]
    Host(#[from] UnsupportedHost),
    /// KVM does not.
    #[cfg(supported_host)]
    #[error(transparent)]
    Kvm(#[from] KvmError),
}

/// A CPU of either engine.
pub enum Cpu {
    /// The software CPU.
    Soft(SoftCpu),
    /// The host's.
    #[cfg(supported_host)]
    Kvm(KvmCpu),
}

/// Calls the same on whichever CPU it is.
macro_rules! each {
    ($cpu:expr, $it:ident => $call:expr) => {
        match $cpu {
            Cpu::Soft($it) => $call,
            #[cfg(supported_host)]
            Cpu::Kvm($it) => $call,
        }
    };
}

impl Cpu {
    /// A CPU in its reset state over `ram`.
    ///
    /// # Errors
    /// The engine does not run on this host.
    pub fn new(engine: Engine, ram: Ram, config: CpuConfig) -> Result<Cpu, CpuError> {
        Ok(match engine {
            Engine::Soft => Cpu::Soft(SoftCpu::new(ram, config)),
            #[cfg(supported_host)]
            Engine::Kvm => Cpu::Kvm(KvmCpu::new(ram)?),
            #[cfg(not(supported_host))]
            Engine::Kvm => return Err(UnsupportedHost.into()),
        })
    }

    /// The architectural state. Call only when [`Vcpu::finish`] has given nothing. A failure
    /// of the engine is told by the next [`Vcpu::run`].
    pub fn state(&mut self) -> CpuState {
        each!(self, cpu => cpu.state().clone())
    }

    /// Replaces the architectural state. A failure of the engine is told by the next
    /// [`Vcpu::run`].
    pub fn set_state(&mut self, state: CpuState) {
        each!(self, cpu => cpu.set_state(state));
    }

    /// Sees to it that memory's marks tell of all that the guest has written.
    pub fn mark_written(&mut self) {
        match self {
            Cpu::Soft(_) => {}
            #[cfg(supported_host)]
            Cpu::Kvm(cpu) => cpu.mark_written(),
        }
    }

    /// What went wrong, after [`Exit::Failed`].
    pub fn error(&self) -> Option<CpuError> {
        match self {
            Cpu::Soft(_) => None,
            #[cfg(supported_host)]
            Cpu::Kvm(cpu) => cpu.error().cloned().map(CpuError::from),
        }
    }

    /// Instructions retired since reset; 0 where nobody counts them.
    pub fn retired(&self) -> u64 {
        match self {
            Cpu::Soft(cpu) => cpu.retired(),
            #[cfg(supported_host)]
            Cpu::Kvm(_) => 0,
        }
    }

    /// Whether the guest is in ring 3; `false` where that is not known between two exits.
    pub fn in_user_mode(&self) -> bool {
        match self {
            Cpu::Soft(cpu) => cpu.state().cpl == 3,
            #[cfg(supported_host)]
            Cpu::Kvm(_) => false,
        }
    }

    /// [`Vcpu::run`] that also comes back, with [`Exit::Budget`], at the first boundary in
    /// ring 3, where that is known.
    pub fn run_to_user_mode(&mut self, limit: u64, window: bool) -> Exit {
        match self {
            Cpu::Soft(cpu) => cpu.run_to_user_mode(limit, window),
            #[cfg(supported_host)]
            Cpu::Kvm(cpu) => cpu.run(limit, window),
        }
    }

    /// What the guest tried to use and this CPU does not have.
    pub fn missing(&self) -> &Missing {
        each!(self, cpu => cpu.missing())
    }

    /// Forgets everything that was derived from memory: the guest must not notice.
    pub fn flush_caches(&mut self) {
        match self {
            Cpu::Soft(cpu) => cpu.flush_caches(),
            #[cfg(supported_host)]
            Cpu::Kvm(cpu) => {
                let state = cpu.state();
                cpu.set_state(state);
            }
        }
    }

    /// Names the pages of packed files, for coverage of user code; without effect where the
    /// CPU does not count edges.
    pub fn set_code_map(&mut self, map: Arc<CodeMap>) {
        match self {
            Cpu::Soft(cpu) => cpu.set_code_map(map),
            #[cfg(supported_host)]
            Cpu::Kvm(_) => drop(map),
        }
    }

    /// Exchanges the counters of edges; without effect where the CPU does not count them.
    pub fn swap_counters(&mut self, counters: &mut Box<[u8]>) {
        match self {
            Cpu::Soft(cpu) => cpu.swap_counters(counters),
            #[cfg(supported_host)]
            Cpu::Kvm(_) => {}
        }
    }
}

impl Vcpu for Cpu {
    fn run(&mut self, limit: u64, window: bool) -> Exit {
        each!(self, cpu => cpu.run(limit, window))
    }

    fn complete(&mut self, value: u64) {
        each!(self, cpu => cpu.complete(value));
    }

    fn more(&mut self) -> Option<Exit> {
        each!(self, cpu => cpu.more())
    }

    fn finish(&mut self) -> Option<Exit> {
        each!(self, cpu => cpu.finish())
    }

    fn count(&self) -> u64 {
        each!(self, cpu => cpu.count())
    }

    fn interruptible(&mut self) -> bool {
        each!(self, cpu => cpu.interruptible())
    }

    fn inject(&mut self, vector: u8) {
        each!(self, cpu => cpu.inject(vector));
    }

    fn nmi(&mut self) {
        each!(self, cpu => cpu.nmi());
    }

    fn halted(&self) -> bool {
        each!(self, cpu => cpu.halted())
    }

    fn rip(&mut self) -> u64 {
        each!(self, cpu => cpu.rip())
    }

    fn gpr(&mut self, index: usize) -> u64 {
        each!(self, cpu => cpu.gpr(index))
    }

    fn set_gpr(&mut self, index: usize, value: u64) {
        each!(self, cpu => cpu.set_gpr(index, value));
    }

    fn read_virtual(&mut self, address: u64, into: &mut [u8]) -> bool {
        each!(self, cpu => cpu.read_virtual(address, into))
    }

    fn write_virtual(&mut self, address: u64, from: &[u8]) -> bool {
        each!(self, cpu => cpu.write_virtual(address, from))
    }
}
