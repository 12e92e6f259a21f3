//! Branches that come from the tree of inputs.

use crate::explore::plan::{Parent, Planned, Planner};
use crate::explore::runner::Job;
use crate::explore::strategy::Strategy;
use crate::fault::{FaultSchedule, Stream};

impl<S: Clone> Planner<'_, S> {
    /// A plan whose news is an answer, if the strategy and chance want one and there is a call
    /// to answer; where there are no faults, always one.
    pub(in crate::explore) fn by_inputs(
        &mut self,
        seed: u64,
        stream: &mut Stream,
    ) -> Option<Planned<S>> {
        match self.strategy {
            Strategy::Random | Strategy::Snapshots | Strategy::Guided => None,
            Strategy::Hybrid if stream.chance(1, 2) => self.variation(stream),
            Strategy::Hybrid => None,
            Strategy::Inputs => {
                let planned = match stream.below(8) {
                    0 => None,
                    // The same moment, and other draws from there on.
                    1 => self.moment(seed, stream).map(|(_, planned)| planned),
                    _ => self.variation(stream),
                };
                Some(planned.unwrap_or_else(|| Planned::root(seed, FaultSchedule::default())))
            }
        }
    }

    /// A branch of the tree with another answer, from the latest moment before it.
    fn variation(&mut self, stream: &mut Stream) -> Option<Planned<S>> {
        let variation = self.tree.vary(stream)?;
        let passed = self
            .frontier
            .on_the_way(&variation.recipe, &variation.settled_ns);
        // What varies this one goes on from where it parted.
        let parted_ns = variation.settled_ns.last().copied().unwrap_or(0);
        let job = Job {
            start: passed.and_then(|entry| entry.snapshot.clone()),
            fork_ns: passed.map(|entry| entry.at_ns),
            snapshots: vec![parted_ns + 1],
            ..Job::new(variation.recipe)
        };
        let parent = Some(Parent::Node(variation.node));
        Some(Planned { job, parent })
    }
}
