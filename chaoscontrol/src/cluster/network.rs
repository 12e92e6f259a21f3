//! What can be done to a cluster's network, and how frames get from it to the machines.

use super::SimulationController;
use super::fabric::Arrival;
use super::link::LinkFaults;
use super::slot::VmStatus;
use super::stats::NetworkStats;

/// Bytes of frames that may wait for one VM; what comes then is dropped.
const MAX_WAITING: u64 = 16 << 20;

impl SimulationController {
    /// The network's counters.
    pub fn network_stats(&self) -> &NetworkStats {
        self.state.fabric.stats()
    }

    /// Lets the network decide on a frame that VM `from` sent at T = `time`.
    pub(super) fn carry(&mut self, time: u64, from: usize, frame: &[u8]) {
        self.state.slots[from].sent_bytes += frame.len() as u64;
        let arrivals = self.state.fabric.send(time, from, frame);
        self.deliver(arrivals);
    }

    fn deliver(&mut self, arrivals: Vec<Arrival>) {
        for Arrival { at, to, frame, .. } in arrivals {
            let stats = &mut self.state.fabric.stats;
            let vm = &mut self.vms[to];
            let drop = match self.state.slots[to].status {
                VmStatus::Killed | VmStatus::Halted => &mut stats.down,
                _ if vm.waiting_bytes() > MAX_WAITING => &mut stats.overflowed,
                _ => {
                    vm.deliver_frame(at, frame);
                    continue;
                }
            };
            *drop += 1;
            stats.uncount(frame.len());
        }
    }

    /// Drops frames between two groups, both ways, until [`Self::heal`].
    pub fn partition(&mut self, side_a: &[usize], side_b: &[usize]) {
        self.state.fabric.cut(side_a, side_b);
        self.state.fabric.cut(side_b, side_a);
    }

    /// Drops frames that a VM of `from` sends to one of `to`, until [`Self::heal`].
    pub fn one_way(&mut self, from: &[usize], to: &[usize]) {
        self.state.fabric.cut(from, to);
    }

    fn connection(&mut self, vm: usize, change: impl FnOnce(&mut LinkFaults)) {
        let mut faults = self.state.fabric.faults(vm).clone();
        change(&mut faults);
        self.state.fabric.set_faults(vm, faults);
    }

    /// Adds `ns` to the latency of VM `vm`'s connection (instead of an earlier addition).
    pub fn latency(&mut self, vm: usize, ns: u64) {
        self.connection(vm, |faults| faults.latency_ns = ns);
    }

    /// Adds up to `ns` at random to the latency of VM `vm`'s connection, keeping the order.
    pub fn jitter(&mut self, vm: usize, ns: u64) {
        self.connection(vm, |faults| faults.jitter_ns = ns);
    }

    /// Loses so many of a million frames of VM `vm`'s connection.
    pub fn loss(&mut self, vm: usize, ppm: u32) {
        self.connection(vm, |faults| faults.loss_ppm = ppm);
    }

    /// Holds frames of VM `vm`'s connection back by up to `ns`, so that others overtake them.
    pub fn reorder(&mut self, vm: usize, ns: u64) {
        self.connection(vm, |faults| faults.reorder_ns = ns);
    }

    /// Lets each of VM `vm`'s links carry `bytes_per_s` bytes in a second in each direction;
    /// 0 is no limit. Frames queue, and what does not fit into the queue is dropped.
    pub fn bandwidth(&mut self, vm: usize, bytes_per_s: u64) {
        self.connection(vm, |faults| faults.bytes_per_s = bytes_per_s);
    }

    /// Flips a bit in so many of a million frames of VM `vm`'s connection, behind the
    /// Ethernet header, so that the guests' checksums see it or not, as on a real wire.
    pub fn corruption(&mut self, vm: usize, ppm: u32) {
        self.connection(vm, |faults| faults.corruption_ppm = ppm);
    }

    /// Lets so many of a million frames of VM `vm`'s connection arrive twice.
    pub fn duplicate(&mut self, vm: usize, ppm: u32) {
        self.connection(vm, |faults| faults.duplicate_ppm = ppm);
    }

    /// Holds all frames from and to VM `vm`, until [`Self::release`] or [`Self::heal`]. They
    /// survive power cuts, as what waits in a switch does.
    pub fn clog(&mut self, vm: usize) {
        self.state.fabric.clog(vm);
    }

    /// Ends VM `vm`'s clog: what was held arrives, late, complete and in order.
    pub fn release(&mut self, vm: usize) {
        let arrivals = self.state.fabric.release(self.state.now, vm);
        self.deliver(arrivals);
    }

    /// Ends all network faults but added latency; what clogs held arrives.
    pub fn heal(&mut self) {
        let arrivals = self.state.fabric.heal(self.state.now);
        self.deliver(arrivals);
    }
}
