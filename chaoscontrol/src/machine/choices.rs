//! The random values that a guest asks its host for, call by call: those that somebody settled
//! beforehand, and those that were given, so that a search can go back to one and answer
//! otherwise.
//!
//! A call is one of `get_random`, or of `random_choice` among two options at least. Calls of a
//! VM are numbered from 1 since the setup, through all of its lives: whoever runs the machine
//! keeps this beside it, as a restart begins the machine anew.

use std::collections::BTreeMap;

/// Calls whose answers are remembered, from the first on. What is beyond is answered, and forgotten.
const REMEMBERED: usize = 1024;

/// A call and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    /// T in ns of the call.
    pub time: u64,
    /// Options of a `random_choice`; 0 stands for `get_random`.
    pub options: u64,
    /// The answer.
    pub answer: u64,
}

/// A VM's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Choices {
    /// Options and answer of calls to come, by number.
    forced: BTreeMap<u64, (u64, u64)>,
    calls: u64,
    made: Vec<Choice>,
}

impl Choices {
    /// Settles calls to come, in place of what was settled before: number, options, answer. One
    /// that turns out to have other options is answered as if nobody had.
    pub fn force(&mut self, answers: impl Iterator<Item = (u64, u64, u64)>) {
        let to_come = answers.filter(|(number, ..)| *number > self.calls);
        self.forced = to_come
            .map(|(number, options, answer)| (number, (options, answer)))
            .collect();
    }

    /// The calls that were made, of which the first has number 1; no more than the first 1024.
    pub fn made(&self) -> &[Choice] {
        &self.made
    }

    /// The answer to a call at T = `time`, for which chance has `drawn` one.
    pub(super) fn answer(&mut self, time: u64, options: u64, drawn: u64) -> u64 {
        if options == 1 {
            return drawn;
        }
        self.calls += 1;
        let answer = match self.forced.remove(&self.calls) {
            Some((wanted, answer)) if wanted == options && (options == 0 || answer < options) => {
                answer
            }
            _ => drawn,
        };
        if self.made.len() < REMEMBERED {
            self.made.push(Choice {
                time,
                options,
                answer,
            });
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_answered_as_settled_or_as_drawn() {
        let mut choices = Choices::default();
        choices.force([(2, 5, 4), (3, 5, 1), (4, 5, 5), (6, 0, u64::MAX)].into_iter());
        let mut answer = |options| choices.answer(7, options, 0);
        assert_eq!(answer(5), 0, "nothing is settled");
        assert_eq!(answer(1), 0, "no call, as there is nothing to choose");
        assert_eq!(answer(5), 4);
        assert_eq!(answer(4), 0, "other options");
        assert_eq!(answer(5), 0, "no such option");
        assert_eq!((answer(0), answer(0)), (0, u64::MAX));
        let made: Vec<_> = choices
            .made()
            .iter()
            .map(|c| (c.options, c.answer))
            .collect();
        assert_eq!(
            made,
            [(5, 0), (5, 4), (4, 0), (5, 0), (0, 0), (0, u64::MAX)]
        );
        assert!(choices.forced.is_empty());
    }

    #[test]
    fn what_is_settled_later_replaces_only_what_is_to_come() {
        let mut choices = Choices::default();
        choices.force([(1, 2, 1), (2, 2, 1)].into_iter());
        assert_eq!(choices.answer(0, 2, 0), 1);
        choices.force([(1, 2, 0), (3, 2, 1)].into_iter());
        assert_eq!(choices.answer(0, 2, 0), 0);
        assert_eq!(choices.answer(0, 2, 0), 1);
        assert_eq!(choices.made()[0].answer, 1);
    }

    #[test]
    fn a_guest_that_asks_for_ever_takes_no_more_room() {
        let mut choices = Choices::default();
        for number in 0..10_000 {
            assert_eq!(choices.answer(number, 9, 3), 3);
        }
        assert_eq!(choices.made().len(), REMEMBERED);
        assert_eq!(choices.made()[0].time, 0);
    }
}
