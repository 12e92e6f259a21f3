//! What a cluster has done to its VMs by their agents, as only a guest can do it to itself.
//! Each call returns the number of an order; what became of it comes as an
//! [`EventKind::Order`]. All that agents do ends with their VM's power.

use chaoscontrol_guest::protocol::{Control, ControlFrame, Message, Signal};

use super::controller::SimulationController;
use super::event::EventKind;
use super::orders::OrderReport;
use super::slot::VmStatus;

impl SimulationController {
    /// Orders VM `vm`'s agent to move its wall clock by `ns`, and returns the number under
    /// which the agent confirms it.
    pub fn wall_jump(&mut self, vm: usize, ns: i64) -> u32 {
        self.control(vm, Control::JumpWallClock { ns })
    }

    /// Lets VM `vm`'s wall clock go to and fro, by `offset_ns` and back, every `period_ns` of
    /// its monotonic time, until the next such order; an offset of 0 ends it, with true time.
    /// Returns the order's number.
    pub fn strobe(&mut self, vm: usize, offset_ns: i64, period_ns: u64) -> u32 {
        let control = Control::Strobe {
            offset_ns,
            period_ns,
        };
        self.control(vm, control)
    }

    /// Kills, stops or continues all processes called `name` in VM `vm`, or the body's
    /// process if that is empty. A body whose process was killed is started again 100 ms
    /// later in the same VM, its incarnation one higher. Returns the order's number.
    pub fn signal(&mut self, vm: usize, name: &str, signal: Signal) -> u32 {
        self.control(vm, Control::Process { name, signal })
    }

    /// Takes `ppm` of a million bytes that VM `vm` has available then, until the next such
    /// order; 0 gives all back. Returns the order's number.
    pub fn memory_pressure(&mut self, vm: usize, ppm: u32) -> u32 {
        self.control(vm, Control::MemoryPressure { ppm })
    }

    /// Takes all free space of VM `vm`'s data directory, or gives it back. Returns the
    /// order's number.
    pub fn fill_disk(&mut self, vm: usize, full: bool) -> u32 {
        self.control(vm, Control::FillDisk { full })
    }

    /// Sends VM `vm`'s agent a command, and returns its number. What became of it comes as
    /// an [`EventKind::Order`]. What an agent does ends with the VM's power.
    pub fn control(&mut self, vm: usize, control: Control<'_>) -> u32 {
        let id = self.state.orders.give(vm, self.state.now, &control);
        if !self.order(vm, id, control) {
            self.lose_orders(vm);
        }
        id
    }

    /// The orders that no agent has confirmed yet.
    pub fn open_orders(&self) -> Vec<OrderReport> {
        self.state.orders.open(self.state.now)
    }

    /// Sends VM `vm`'s agent a command under the number `id`. False if it hears nothing, as
    /// the VM has no power.
    pub(super) fn order(&mut self, vm: usize, id: u32, control: Control<'_>) -> bool {
        let mut bytes = [0; ControlFrame::MAX];
        let frame = ControlFrame { id, control };
        let powered = matches!(
            self.state.slots[vm].status,
            VmStatus::Running | VmStatus::Paused(_)
        );
        let Some(length) = frame.encode(&mut bytes).ok().filter(|_| powered) else {
            return false;
        };
        self.vms[vm].send_control(self.state.now, bytes[..length].to_vec());
        true
    }

    /// Tells what became of an order, if `message` is its confirmation.
    pub(super) fn confirm(&mut self, time: u64, vm: usize, message: &[u8]) {
        if !self.state.orders.is_empty()
            && let Ok(Message::ControlDone { id, errno }) = Message::decode(message)
            && let Some(report) = self.state.orders.confirm(vm, id, errno, time)
        {
            self.event(time, vm, EventKind::Order(report));
        }
    }

    /// Tells of the orders that VM `vm`, which has no power, will not carry out.
    pub(super) fn lose_orders(&mut self, vm: usize) {
        let now = self.state.now;
        for report in self.state.orders.lose(vm, now) {
            self.event(now, vm, EventKind::Order(report));
        }
    }
}
