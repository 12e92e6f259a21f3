//! What agents were ordered to do, and what became of it. An order takes effect some time
//! after it was given, or never; whoever reads a timeline has to know which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chaoscontrol_guest::protocol::Control;

/// Orders that are remembered. Bodies can cause any number of them, so the oldest go.
const MOST: usize = 1024;

/// A command that an agent was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// Under which the agent confirms it.
    pub id: u32,
    /// Whose agent.
    pub vm: usize,
    /// Cluster time in ns at which it was given.
    pub at: u64,
    /// What is to be done, in words.
    pub what: String,
}

/// What became of an [`Order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It took effect.
    Done,
    /// It could not be carried out, for this `errno` of Linux.
    Failed(i32),
    /// It took effect, which then ended by itself, for this `errno` of Linux.
    Ended(i32),
    /// The VM had no power, or lost it before the agent confirmed the order.
    Lost,
    /// The agent has not confirmed it yet.
    Open,
}

/// An order and what became of it; shown as a line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderReport {
    /// The order.
    pub order: Order,
    /// From the order until this came to be known, in ns.
    pub after_ns: u64,
    /// What became of it.
    pub outcome: Outcome,
}

impl fmt::Display for OrderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Order { vm, what, .. } = &self.order;
        let after = format_args!("{:.3} ms after its order", self.after_ns as f64 / 1e6);
        write!(f, "{what} in vm {vm} ")?;
        match self.outcome {
            Outcome::Done => write!(f, "took effect {after}"),
            Outcome::Failed(errno) => write!(f, "failed {after}: {}", Errno(errno)),
            Outcome::Ended(errno) => write!(f, "ended by itself {after}: {}", Errno(errno)),
            Outcome::Lost => f.write_str("never took effect: the vm has no power"),
            Outcome::Open => write!(f, "had not taken effect {after}"),
        }
    }
}

/// A number of Linux in words, whatever the host calls it.
struct Errno(i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "the guest's kernel does not permit it",
            3 => "there is no such process",
            5 => "input or output failed",
            11 => "the guest has no room for another process",
            12 => "the guest's memory did not suffice",
            22 => "the guest's kernel does not take such a value",
            28 => "there is no space left",
            30 => "the file system is read-only",
            95 => "the file system cannot do that",
            125 => "another order came before it was carried out",
            number => return write!(f, "errno {number}"),
        })
    }
}

/// All orders that were given. Plain data: a clone goes on as the original would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Orders {
    /// How many there have been.
    given: u32,
    /// By number, and whether its agent has confirmed it.
    known: BTreeMap<u32, (Order, bool)>,
    /// The VMs whose agents were last ordered to take all space.
    full: BTreeSet<usize>,
}

impl Orders {
    /// Remembers that `control` is ordered of VM `vm`, and returns its number.
    pub(super) fn give(&mut self, vm: usize, at: u64, control: &Control<'_>) -> u32 {
        match control {
            Control::FillDisk { full: true } => self.full.insert(vm),
            Control::FillDisk { full: false } => self.full.remove(&vm),
            _ => false,
        };
        self.given = self.given.wrapping_add(1).max(1);
        let id = self.given;
        let what = control.to_string();
        self.known.insert(id, (Order { id, vm, at, what }, false));
        if self.known.len() > MOST {
            self.known.pop_first();
        }
        id
    }

    /// VM `vm`'s agent says at `time` how order `id` came out. `None` if it has no such order.
    pub(super) fn confirm(
        &mut self,
        vm: usize,
        id: u32,
        errno: i32,
        time: u64,
    ) -> Option<OrderReport> {
        let (order, confirmed) = self.known.get_mut(&id)?;
        if order.vm != vm {
            return None;
        }
        let outcome = match (errno, std::mem::replace(confirmed, true)) {
            (0, _) => Outcome::Done,
            (errno, false) => Outcome::Failed(errno),
            (errno, true) => Outcome::Ended(errno),
        };
        Some(OrderReport {
            order: order.clone(),
            after_ns: time.saturating_sub(order.at),
            outcome,
        })
    }

    /// VM `vm` has no power at `time`: forgets its orders, and returns those that were not
    /// confirmed.
    pub(super) fn lose(&mut self, vm: usize, time: u64) -> Vec<OrderReport> {
        let (of_vm, others) = std::mem::take(&mut self.known)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, (order, _))| order.vm == vm);
        self.known = others;
        self.full.remove(&vm);
        unconfirmed(of_vm.values(), time, Outcome::Lost)
    }

    /// Those that were not confirmed by `time`.
    pub(super) fn open(&self, time: u64) -> Vec<OrderReport> {
        unconfirmed(self.known.values(), time, Outcome::Open)
    }

    /// Whether VM `vm`'s agent was ordered to take all space, and not to give it back.
    pub(super) fn is_full(&self, vm: usize) -> bool {
        self.full.contains(&vm)
    }

    /// Whether any order is known.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// Those of `orders` that were not confirmed by `time`.
fn unconfirmed<'a>(
    orders: impl Iterator<Item = &'a (Order, bool)>,
    time: u64,
    outcome: Outcome,
) -> Vec<OrderReport> {
    orders
        .filter(|(_, confirmed)| !confirmed)
        .map(|(order, _)| OrderReport {
            after_ns: time.saturating_sub(order.at),
            order: order.clone(),
            outcome,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaoscontrol_guest::protocol::Signal;

    const KILL: Control<'_> = Control::Process {
        name: "redis-server",
        signal: Signal::Kill,
    };

    #[test]
    fn an_order_is_named_by_its_confirmation() {
        let mut orders = Orders::default();
        let kill = orders.give(1, 1_000_000, &KILL);
        let pressure = orders.give(1, 1_000_000, &Control::MemoryPressure { ppm: 925_000 });
        let mut said = |id, errno, time| {
            let report = orders.confirm(1, id, errno, time)?;
            Some(report.to_string())
        };
        assert_eq!(
            said(kill, 0, 1_300_000).unwrap(),
            "kill of process redis-server in vm 1 took effect 0.300 ms after its order"
        );
        assert_eq!(
            said(pressure, 0, 3_000_000).unwrap(),
            "memory pressure of 92.5 % in vm 1 took effect 2.000 ms after its order"
        );
        assert_eq!(
            said(pressure, 12, 9_000_000).unwrap(),
            "memory pressure of 92.5 % in vm 1 ended by itself 8.000 ms after its order: \
             the guest's memory did not suffice"
        );
        assert_eq!(said(9, 0, 0), None);
        assert_eq!(orders.confirm(0, kill, 0, 0), None, "another VM's");
    }

    #[test]
    fn a_power_cut_loses_what_was_not_confirmed() {
        let mut orders = Orders::default();
        let done = orders.give(0, 5, &KILL);
        let other = orders.give(1, 5, &KILL);
        let lost = orders.give(0, 5, &Control::FillDisk { full: true });
        orders.confirm(0, done, 3, 6).unwrap();
        assert!(orders.is_full(0) && !orders.is_full(1));
        let told: Vec<String> = orders.lose(0, 7).iter().map(|r| r.to_string()).collect();
        assert_eq!(
            told,
            ["full disk in vm 0 never took effect: the vm has no power"]
        );
        assert_eq!(orders.confirm(0, lost, 0, 8), None);
        assert!(orders.confirm(1, other, 0, 8).is_some());
        assert!(!orders.is_full(0), "it woke with what was free");
    }

    #[test]
    fn orders_stay_open_until_they_are_confirmed() {
        let mut orders = Orders::default();
        let done = orders.give(0, 1_000_000, &KILL);
        orders.give(1, 1_000_000, &KILL);
        orders.confirm(0, done, 0, 1_200_000).unwrap();
        let told: Vec<String> = orders
            .open(3_000_000)
            .iter()
            .map(|r| r.to_string())
            .collect();
        assert_eq!(
            told,
            ["kill of process redis-server in vm 1 had not taken effect 2.000 ms after its order"]
        );
    }

    #[test]
    fn no_number_of_orders_fills_the_hosts_memory() {
        let mut orders = Orders::default();
        for _ in 0..3 * MOST {
            orders.give(0, 0, &KILL);
        }
        assert_eq!(orders.known.len(), MOST);
    }
}
