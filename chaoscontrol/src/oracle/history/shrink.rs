//! The smallest part of an impossible history that is impossible by itself.
//!
//! Leaving out an operation may make a history impossible that was not: a read needs its write.
//! So an operation is not taken away but what it claims is: it may then take effect at any time,
//! or never. If no order explains the history even so, the operation has no part in what is wrong.

use super::interval::Interval;
use super::model::Model;
use super::search::{Decision, search};

/// How many times the steps of one search fit into those of all.
const SEARCHES: u64 = 20;

/// The numbers of those operations of an impossible history that it takes to see that, and the
/// instant, in ns, until which one has to look.
pub fn shrink<M: Model>(
    model: &M,
    history: &[Interval<'_>],
    places: usize,
    steps: u64,
) -> (Vec<usize>, u64) {
    let mut shrinker = Shrinker {
        model,
        places,
        left: steps,
        each: steps / SEARCHES,
    };
    let (prefix, end) = shrinker.earliest(history);
    let mut kept: Vec<usize> = (0..history.len())
        .filter(|&number| prefix[number].is_some())
        .collect();
    // Most have no part in it: what never returned, and what only looked, but for the last.
    let returned = |number: &usize| prefix[*number].is_some_and(|i| i.end.is_some());
    let changes = |number: &usize| {
        let ends_last = |(at, _)| at == end;
        !history[*number].call.only_looks() || history[*number].end.is_some_and(ends_last)
    };
    for has_part in [&returned as &dyn Fn(&usize) -> bool, &changes] {
        let fewer: Vec<usize> = kept.iter().copied().filter(has_part).collect();
        if shrinker.impossible(&prefix, &fewer) {
            kept = fewer;
        }
    }
    (shrinker.drop_groups(&prefix, kept), end)
}

struct Shrinker<'a, M> {
    model: &'a M,
    places: usize,
    left: u64,
    each: u64,
}

impl<M: Model> Shrinker<'_, M> {
    /// The history up to the first return that makes it impossible, as far as that can be
    /// found out, and that instant. An operation that had not been called by then is `None`.
    fn earliest<'h>(&mut self, history: &[Interval<'h>]) -> (Vec<Option<Interval<'h>>>, u64) {
        let mut ends: Vec<u64> = history.iter().filter_map(|i| Some(i.end?.0)).collect();
        ends.sort_unstable();
        ends.dedup();
        let until = |time| {
            history
                .iter()
                .map(move |i| i.until(time))
                .collect::<Vec<_>>()
        };
        let mut low = 0;
        let mut high = ends.len().saturating_sub(1);
        while low < high {
            let middle = low + (high - low) / 2;
            let prefix: Vec<_> = until(ends[middle]).into_iter().flatten().collect();
            if self.decide(&prefix) == Decision::Impossible {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let end = ends.get(high).copied().unwrap_or(u64::MAX);
        (until(end), end)
    }

    /// Takes the claims of groups away, of ever smaller ones, until each operation that is left
    /// is needed or the steps are used up.
    fn drop_groups(
        &mut self,
        history: &[Option<Interval<'_>>],
        mut kept: Vec<usize>,
    ) -> Vec<usize> {
        let mut size = kept.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < kept.len() && kept.len() > 1 {
                let group = from..(from + size).min(kept.len());
                let mut fewer = kept.clone();
                fewer.drain(group);
                if self.impossible(history, &fewer) {
                    kept = fewer;
                } else {
                    from += size;
                }
            }
            size /= 2;
        }
        kept
    }

    /// Whether the history is impossible with the claims of `kept` alone.
    fn impossible(&mut self, history: &[Option<Interval<'_>>], kept: &[usize]) -> bool {
        let mut keeps = vec![false; history.len()];
        kept.iter().for_each(|&number| keeps[number] = true);
        let weaker = history.iter().zip(keeps).filter_map(|(interval, keeps)| {
            let interval = (*interval)?;
            match keeps {
                true => Some(interval),
                false if interval.call.only_looks() => None,
                false => Some(interval.without_claim()),
            }
        });
        let weaker: Vec<_> = weaker.collect();
        self.decide(&weaker) == Decision::Impossible
    }

    fn decide(&mut self, history: &[Interval<'_>]) -> Decision {
        let mut steps = self.each.min(self.left);
        self.left -= steps;
        let decision = search(self.model, history, self.places, &mut steps);
        self.left += steps;
        decision
    }
}
