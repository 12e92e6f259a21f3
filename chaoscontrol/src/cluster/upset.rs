//! What can be done to the CPU, memory and interrupts of a cluster's machines.

use super::SimulationController;
use super::slot::VmStatus;
use crate::machine::DeterministicVm;

impl SimulationController {
    /// VM `vm`'s machine, if something can be done to it: nothing happens to one that is off.
    fn machine(&mut self, vm: usize) -> Option<&mut DeterministicVm> {
        match self.state.slots[vm].status {
            VmStatus::Running | VmStatus::Paused(_) => Some(&mut self.vms[vm]),
            VmStatus::Killed | VmStatus::Halted => None,
        }
    }

    /// Lets VM `vm` execute nothing for `ns` from now on while all its clocks run on, as a
    /// host does that suspends it. What is due meanwhile, frames and timers, it sees at the
    /// end. Replaces what is left of an earlier stall, so that 0 ends it.
    ///
    /// [`Self::pause`] stops the clocks, too. A pause in a stall makes it end later by the
    /// pause's length.
    pub fn stall(&mut self, vm: usize, ns: u64) {
        let end = self.time_of(vm).saturating_add(ns);
        if let Some(machine) = self.machine(vm) {
            machine.stall_until(end);
        }
    }

    /// Lets VM `vm`'s CPU run at `ppm` parts per million of its speed, 1_000 to 1_000_000,
    /// while its clocks run as ever; a million ends it.
    pub fn cpu_speed(&mut self, vm: usize, ppm: u32) {
        self.state.slots[vm].speed_ppm = ppm;
        self.vms[vm].set_speed(ppm);
    }

    /// Preempts VM `vm` when it has retired `instructions` more and is in user mode: its
    /// clocks run on by `slice_ns` while its CPU stands. See [`DeterministicVm::preempt`].
    /// Without a slice it gives up those that have not happened yet.
    pub fn preempt(&mut self, vm: usize, slice_ns: u64, instructions: u64) {
        match self.machine(vm) {
            Some(machine) if slice_ns == 0 => machine.forget_preemptions(),
            Some(machine) => machine.preempt(instructions, slice_ns),
            None => {}
        }
    }

    /// Flips bit number `bit`, modulo its size, of VM `vm`'s memory.
    pub fn flip_bit(&mut self, vm: usize, bit: u64) {
        if let Some(machine) = self.machine(vm) {
            let address = bit / 8 % machine.config().memory_size;
            let flipped = machine.flip_bit(address, (bit % 8) as u8);
            debug_assert!(flipped.is_ok(), "the address is below the size");
        }
    }

    /// Wants VM `vm` to give back `bytes` of its memory, until the next such call or the loss of
    /// its power; 0 lets it have all again. See [`DeterministicVm::balloon`].
    pub fn balloon(&mut self, vm: usize, bytes: u64) {
        if let Some(machine) = self.machine(vm) {
            machine.balloon(bytes);
        }
    }

    /// A pulse on line `irq`, 0 to 15, of VM `vm`'s interrupt controller.
    pub fn interrupt(&mut self, vm: usize, irq: u8) {
        if let Some(machine) = self.machine(vm) {
            machine.interrupt(irq);
        }
    }

    /// An interrupt to VM `vm` whose request is gone when its CPU acknowledges it.
    pub fn spurious(&mut self, vm: usize) {
        if let Some(machine) = self.machine(vm) {
            machine.spurious();
        }
    }

    /// A non-maskable interrupt to VM `vm`.
    pub fn nmi(&mut self, vm: usize) {
        if let Some(machine) = self.machine(vm) {
            machine.nmi();
        }
    }
}
