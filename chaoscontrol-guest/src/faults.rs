//! Faults that a test's body orders itself, for tests that know what they want to see.

use std::time::Duration;

use crate::protocol::{MAX_MESSAGE, Message, OK};
use crate::transport::send;
use crate::{Error, Result};

/// Orders faults; from [`Node::faults`](crate::Node::faults). Each has been carried out when its
/// method returns, up to 1 ms later, whatever the schedule does, and is recorded as an event. VMs
/// are named by index.
///
/// A fault that cannot be, such as one for a VM that is not there, fails the test, whose report
/// says what is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Faults(pub(crate) ());

impl Faults {
    /// Any fault of the catalogue, in the words of schedules: `"slow disk vm 1 by 20 ms"`.
    /// `cargo chaos faults` lists them all.
    ///
    /// # Errors
    /// A text that is too long to be one.
    pub fn order(&self, fault: &str) -> Result {
        if fault.len() > MAX_MESSAGE / 2 {
            return Err(Error::from("the fault is too long"));
        }
        match send(&Message::Fault { fault }) {
            OK => Ok(()),
            answer => Err(Error::from(format!(
                "the host did not take `{fault}` (answer {answer})"
            ))),
        }
    }

    /// No packet passes between the two sets of VMs, either way.
    pub fn partition(
        &self,
        left: impl IntoIterator<Item = usize>,
        right: impl IntoIterator<Item = usize>,
    ) -> Result {
        self.order(&format!("partition {} | {}", group(left), group(right)))
    }

    /// No packet passes from the one set of VMs to the other; replies do.
    pub fn partition_one_way(
        &self,
        from: impl IntoIterator<Item = usize>,
        to: impl IntoIterator<Item = usize>,
    ) -> Result {
        let (from, to) = (group(from), group(to));
        self.order(&format!("one-way partition {from} -> {to}"))
    }

    /// Ends all network faults.
    pub fn heal(&self) -> Result {
        self.order("heal")
    }

    /// Adds to the latency of a VM's packets.
    pub fn latency(&self, vm: usize, added: Duration) -> Result {
        self.order(&format!("latency vm {vm} of {}", time(added)))
    }

    /// Adds a random time, up to `greatest`, to the latency of a VM's packets.
    pub fn jitter(&self, vm: usize, greatest: Duration) -> Result {
        self.order(&format!("jitter vm {vm} of {}", time(greatest)))
    }

    /// Loses `ppm` of a million of a VM's packets.
    pub fn loss(&self, vm: usize, ppm: u32) -> Result {
        self.order(&format!("loss vm {vm} of {ppm} ppm"))
    }

    /// Holds a VM's packets back at random, for up to `window`, so that they overtake
    /// each other.
    pub fn reorder(&self, vm: usize, window: Duration) -> Result {
        self.order(&format!("reorder vm {vm} within {}", time(window)))
    }

    /// Cuts a VM's power. A VM that kills itself does not return from this.
    pub fn kill(&self, vm: usize) -> Result {
        self.order(&format!("kill vm {vm}"))
    }

    /// Lets a VM stand still until it is resumed.
    pub fn pause(&self, vm: usize) -> Result {
        self.order(&format!("pause vm {vm}"))
    }

    /// Lets a VM stand still for a while, at least a nanosecond.
    pub fn pause_for(&self, vm: usize, how_long: Duration) -> Result {
        let how_long = time(how_long.max(Duration::from_nanos(1)));
        self.order(&format!("pause vm {vm} for {how_long}"))
    }

    /// Lets a paused VM go on.
    pub fn resume(&self, vm: usize) -> Result {
        self.order(&format!("resume vm {vm}"))
    }

    /// Cuts a VM's power and boots it again, its incarnation one higher.
    pub fn restart(&self, vm: usize) -> Result {
        self.order(&format!("restart vm {vm}"))
    }

    /// Lets a VM's clock run faster by `ppm` of a million, slower if negative; 0 ends it.
    pub fn skew(&self, vm: usize, ppm: i32) -> Result {
        self.order(&format!("clock skew vm {vm} by {ppm} ppm"))
    }

    /// Sets a VM's wall clock forward.
    pub fn jump_forward(&self, vm: usize, by: Duration) -> Result {
        self.order(&format!("wall-clock jump vm {vm} by {}", time(by)))
    }

    /// Sets a VM's wall clock backward.
    pub fn jump_backward(&self, vm: usize, by: Duration) -> Result {
        self.order(&format!("wall-clock jump vm {vm} by -{}", time(by)))
    }
}

fn time(time: Duration) -> String {
    format!("{} ns", time.as_nanos())
}

fn group(vms: impl IntoIterator<Item = usize>) -> String {
    let mut vms: Vec<usize> = vms.into_iter().collect();
    vms.sort_unstable();
    vms.dedup();
    let vms: Vec<String> = vms.iter().map(ToString::to_string).collect();
    format!("{{{}}}", vms.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_times_are_in_the_words_of_schedules() {
        assert_eq!(group([2, 0, 2]), "{0, 2}");
        assert_eq!(group([]), "{}");
        assert_eq!(time(Duration::from_millis(20)), "20000000 ns");
        assert!(Faults(()).order(&"x".repeat(MAX_MESSAGE)).is_err());
        assert!(Faults(()).heal().is_ok());
    }
}
