//! Variation of schedules: add, remove, shift, squeeze, change, repeat, splice.

use super::runner::Recipe;
use crate::fault::{FaultSchedule, Generator, ScheduledFault, Stream};

/// Varies schedules within what a generator allows.
#[derive(Clone, Copy, Debug)]
pub struct Mutator<'a> {
    /// What new faults may be; nothing is changed before its `from_ns`.
    pub generator: &'a Generator,
}

impl Mutator<'_> {
    /// A variation of `schedule`; `other` is a schedule to splice from, if there is one.
    pub fn mutate(
        &self,
        schedule: &FaultSchedule,
        other: Option<&Recipe>,
        stream: &mut Stream,
    ) -> FaultSchedule {
        let (past, mut faults): (Vec<_>, Vec<_>) = schedule
            .faults()
            .iter()
            .cloned()
            .partition(|f| f.at_ns < self.generator.from_ns);
        // Mostly a step or two, and now and then havoc.
        let steps = if stream.chance(1, 8) { 12 } else { 3 };
        for _ in 0..1 + stream.below(steps) {
            self.step(&mut faults, other, stream);
        }
        faults
            .retain(|f| f.at_ns >= self.generator.from_ns && f.at_ns < self.generator.duration_ns);
        faults.truncate(self.generator.max_faults * 2);
        let schedule = FaultSchedule::new(past.into_iter().chain(faults).collect());
        self.generator.keep(schedule)
    }

    fn step(&self, faults: &mut Vec<ScheduledFault>, other: Option<&Recipe>, stream: &mut Stream) {
        let i = stream.index(faults.len());
        match stream.below(if faults.is_empty() { 1 } else { 8 }) {
            0 | 1 => faults.extend(self.generator.fault(stream)),
            2 => {
                faults.remove(i);
            }
            3 => {
                let by = stream.range(-1000, 1000) * 1_000_000;
                faults[i].at_ns = faults[i]
                    .at_ns
                    .saturating_add_signed(by)
                    .max(self.generator.from_ns);
            }
            4 => self.squeeze(faults, 4 + stream.below(4)),
            5 => {
                if let Some(fault) = self.generator.vary(&faults[i].fault, stream) {
                    faults[i].fault = fault;
                }
            }
            6 => {
                let end_ns = self.generator.duration_ns;
                faults.extend(self.generator.burst(faults, end_ns, stream));
            }
            _ => {
                let cut = self.generator.time(stream);
                let tail = other.map_or(&[][..], |o| o.schedule.faults());
                faults.retain(|f| f.at_ns < cut);
                faults.extend(tail.iter().filter(|f| f.at_ns >= cut).cloned());
            }
        }
    }

    /// Moves all faults closer to the fork, to `eighths` of their distance: what comes earlier
    /// leaves time for more.
    fn squeeze(&self, faults: &mut [ScheduledFault], eighths: u64) {
        let from_ns = self.generator.from_ns;
        for f in faults {
            let distance = f.at_ns.saturating_sub(from_ns) / 8_000_000 * eighths;
            f.at_ns = from_ns + distance * 1_000_000;
        }
    }

    /// `past`, what comes before the fork, and fresh faults after it, of which a burst may go on
    /// until `end_ns`.
    pub fn extend(&self, past: FaultSchedule, end_ns: u64, stream: &mut Stream) -> FaultSchedule {
        let mut fresh = Vec::new();
        for _ in 0..1 + stream.below(3) {
            fresh.extend(self.generator.generate(stream).into_faults());
        }
        if stream.chance(3, 4) {
            fresh.extend(self.generator.burst(&fresh, end_ns, stream));
        }
        let faults = past.into_faults().into_iter().chain(fresh);
        self.generator.keep(FaultSchedule::new(faults.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variations_fit_the_cluster_and_leave_the_past_alone() {
        let generator = Generator {
            vms: 4,
            clients: 1,
            ..Generator::default()
        };
        let other = Recipe {
            schedule: generator.generate(&mut Stream::new(9, "other", &[])),
            ..Recipe::default()
        };
        let from_ns = 3_000_000_000;
        let past = |s: &FaultSchedule| {
            s.faults()
                .iter()
                .filter(|f| f.at_ns < from_ns)
                .cloned()
                .collect::<Vec<_>>()
        };
        let mut changed = 0;
        for seed in 0..500 {
            let mut stream = Stream::new(seed, "mutate", &[]);
            let schedule = generator.generate(&mut stream);
            let later = Generator {
                from_ns,
                ..generator.clone()
            };
            let mutator = Mutator { generator: &later };
            let mutated = mutator.mutate(&schedule, Some(&other), &mut stream);
            mutated.check(4, generator.duration_ns).unwrap();
            assert_eq!(past(&schedule), past(&mutated));
            changed += u32::from(mutated != schedule);
            let past_faults = FaultSchedule::new(past(&schedule));
            let extended = mutator.extend(past_faults, generator.duration_ns, &mut stream);
            assert_eq!(past(&schedule), past(&extended));
            extended.check(4, generator.duration_ns).unwrap();
        }
        assert!(changed > 400, "{changed}");
    }
}
