//! The search for an order that explains a history.
//!
//! Wing and Gong's search, with Lowe's two improvements ("Testing for linearizability", 2017).
//! Operations take effect just in time: the search walks along the returns, and where the
//! operation that returns has not taken effect, it tries to let it, at once or after others that
//! are open. And what was tried is remembered, so that no two ways to the same place are
//! followed. Two more: what changes nothing takes effect as soon as it can, since later is no
//! better; and what need not take effect at all is kept for later, so a way that has used less of
//! that makes all others to the same place unnecessary.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};

use super::interval::Interval;
use super::model::Model;
use super::operation::Call;

/// What a search may cost.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Calls of the model.
    pub steps: u64,
    /// Places remembered at one time.
    pub places: usize,
}

/// What a search found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// An order explains the history.
    Explained,
    /// None does.
    Impossible,
    /// The budget was not enough.
    Undecided,
}

/// A return, and what may take effect before it.
struct Return {
    /// The operation that returns.
    operation: usize,
    /// The others that are open at that moment and return later, by number.
    open: Vec<usize>,
    /// How many of those without a return have been called.
    optional: usize,
}

/// A history by its returns.
struct Plan {
    returns: Vec<Return>,
    /// The operations without a return, by the time of their call.
    optional: Vec<usize>,
    /// For each operation the last one before it of the same call, if neither has a return: which
    /// of the two takes effect makes no difference, so the earlier one goes first.
    twins: Vec<Option<usize>>,
}

impl Plan {
    fn new(history: &[Interval<'_>]) -> Plan {
        // At the same instant calls come first: what happens at once in two VMs overlaps.
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        for (number, interval) in history.iter().enumerate() {
            events.push((interval.from, false, number));
            if let Some((end, _)) = interval.end {
                events.push((end.max(interval.from), true, number));
            }
        }
        events.sort_unstable();
        let mut plan = Plan {
            returns: Vec::new(),
            optional: Vec::new(),
            twins: vec![None; history.len()],
        };
        let mut last: HashMap<&Call, usize> = HashMap::new();
        let mut open = BTreeSet::new();
        for (_, returns, number) in events {
            if returns {
                open.remove(&number);
                plan.returns.push(Return {
                    operation: number,
                    open: open.iter().copied().collect(),
                    optional: plan.optional.len(),
                });
            } else if history[number].end.is_some() {
                open.insert(number);
            } else {
                plan.optional.push(number);
                plan.twins[number] = last.insert(history[number].call, number);
            }
        }
        plan
    }
}

/// How far a way has come: the state, and which open operations have taken effect.
#[derive(Clone)]
struct Place<S> {
    state: S,
    /// Of those that return later, by number.
    done: Vec<usize>,
    /// Of those that need not take effect, by number.
    used: Vec<usize>,
}

/// What distinguishes places besides the operations that need not have taken effect.
type Key<S> = (usize, S, Vec<usize>);

/// A return, and the ways to it that have not been followed.
struct Frame<S> {
    at: usize,
    queue: VecDeque<Place<S>>,
    /// The last one followed; others with one operation more come next.
    followed: Option<Place<S>>,
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Interval<'a>],
    plan: Plan,
    likely: Vec<u64>,
    /// For each key the sets of operations, needlessly taken effect, with which it was reached;
    /// none contains another. Looked up and never walked through, so its order decides nothing.
    seen: HashMap<Key<M::State>, Vec<Vec<usize>>>,
    remembered: usize,
    budget: Budget,
}

/// Whether an order explains `history`. The steps that it took are taken from `steps`.
pub fn search<M: Model>(
    model: &M,
    history: &[Interval<'_>],
    places: usize,
    steps: &mut u64,
) -> Decision {
    if model.is_hopeless(history) {
        return Decision::Impossible;
    }
    let mut search = Search::new(model, history, places, *steps);
    let found = search.run();
    *steps = search.budget.steps;
    found.unwrap_or(Decision::Undecided)
}

fn contains(sorted: &[usize], number: usize) -> bool {
    sorted.binary_search(&number).is_ok()
}

fn with(sorted: &[usize], number: usize) -> Vec<usize> {
    let mut more = sorted.to_vec();
    let at = sorted.partition_point(|&other| other < number);
    more.insert(at, number);
    more
}

/// Whether all of `few` is in `many`; both are sorted.
fn within(few: &[usize], many: &[usize]) -> bool {
    few.len() <= many.len() && few.iter().all(|&number| contains(many, number))
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Interval<'a>], places: usize, steps: u64) -> Self {
        Search {
            model,
            history,
            plan: Plan::new(history),
            likely: model.likely(history),
            seen: HashMap::new(),
            remembered: 0,
            budget: Budget { steps, places },
        }
    }

    /// `None` if the budget is used up.
    fn run(&mut self) -> Option<Decision> {
        let all = self.budget.steps;
        // Most histories are explained at once. What is not is faster done breadth first, which
        // also has to remember less.
        self.budget.steps = all / 2;
        let spare = all - self.budget.steps;
        let decision = self.dive();
        self.budget.steps += spare;
        self.forget();
        decision.or_else(|| self.sweep())
    }

    fn first(&self) -> Place<M::State> {
        Place {
            state: self.model.start(self.history),
            done: Vec::new(),
            used: Vec::new(),
        }
    }

    /// Follows one way as far as it leads, and goes back only where it ends.
    fn dive(&mut self) -> Option<Decision> {
        let first = self.first();
        let Some(frame) = self.frame(0, first)? else {
            return Some(Decision::Explained);
        };
        let mut frames = vec![frame];
        while let Some(frame) = frames.last_mut() {
            let at = frame.at;
            let Some(place) = self.next(frame)? else {
                frames.pop();
                continue;
            };
            if let Some(frame) = self.frame(at + 1, place)? {
                frames.push(frame);
            } else {
                return Some(Decision::Explained);
            }
        }
        Some(Decision::Impossible)
    }

    /// Follows all ways side by side, from return to return.
    fn sweep(&mut self) -> Option<Decision> {
        let mut places = vec![self.first()];
        for at in 0..self.plan.returns.len() {
            self.forget();
            let mut queue = VecDeque::new();
            for place in places {
                let place = self.settled(at, place)?;
                if self.is_new(at, &place)? {
                    queue.push_back(place);
                }
            }
            let mut frame = Frame {
                at,
                queue,
                followed: None,
            };
            places = Vec::new();
            while let Some(place) = self.next(&mut frame)? {
                places.push(place);
            }
            if places.is_empty() {
                return Some(Decision::Impossible);
            }
        }
        Some(Decision::Explained)
    }

    fn forget(&mut self) {
        self.seen.clear();
        self.remembered = 0;
    }

    /// What is to be decided from `place` on, before return `at`; inner `None` if nothing is.
    fn frame(
        &mut self,
        mut at: usize,
        mut place: Place<M::State>,
    ) -> Option<Option<Frame<M::State>>> {
        loop {
            let Some(next) = self.plan.returns.get(at) else {
                return Some(None);
            };
            let Ok(done) = place.done.binary_search(&next.operation) else {
                break;
            };
            place.done.remove(done);
            at += 1;
        }
        let place = self.settled(at, place)?;
        let mut queue = VecDeque::new();
        if let Some(guess) = self.guess(at, &place)? {
            queue.push_back(guess);
        }
        if self.is_new(at, &place)? {
            queue.push_back(place);
        }
        Some(Some(Frame {
            at,
            queue,
            followed: None,
        }))
    }

    /// The place where all has taken effect before return `at` that can do so and changes
    /// nothing: later is no better.
    fn settled(&mut self, at: usize, mut place: Place<M::State>) -> Option<Place<M::State>> {
        let next = &self.plan.returns[at];
        let all = [next.operation]
            .into_iter()
            .chain(next.open.iter().copied());
        let waiting: Vec<usize> = all.filter(|&n| !contains(&place.done, n)).collect();
        for number in waiting {
            if self.apply(&place.state, number)?.as_ref() == Some(&place.state) {
                place.done = with(&place.done, number);
            }
        }
        Some(place)
    }

    /// The place with all that is likely to have taken effect before return `at`.
    fn guess(&mut self, at: usize, place: &Place<M::State>) -> Option<Option<Place<M::State>>> {
        let next = &self.plan.returns[at];
        let Some(&limit) = self.likely.get(next.operation) else {
            return Some(None);
        };
        let optional = &self.plan.optional[..next.optional];
        let others = next.open.iter().chain(optional).copied();
        let waits = |n: usize| !contains(&place.done, n) && !contains(&place.used, n);
        let likely = |&n: &usize| self.likely[n] < limit && waits(n);
        let mut before: Vec<usize> = others.filter(likely).collect();
        if before.is_empty() {
            return Some(None);
        }
        before.sort_by_key(|&number| self.likely[number]);
        let mut guess = place.clone();
        for number in before {
            if let Some(state) = self.apply(&guess.state, number)? {
                guess.state = state;
                self.mark(&mut guess, number);
            }
        }
        let guess = self.settled(at, guess)?;
        Some(self.is_new(at, &guess)?.then_some(guess))
    }

    /// The next place behind the return that `frame` stands before; inner `None` if there is
    /// no other.
    fn next(&mut self, frame: &mut Frame<M::State>) -> Option<Option<Place<M::State>>> {
        loop {
            if let Some(place) = frame.followed.take() {
                self.extend(frame, &place)?;
            }
            let Some(place) = frame.queue.pop_front() else {
                return Some(None);
            };
            let operation = self.plan.returns[frame.at].operation;
            if let Ok(done) = place.done.binary_search(&operation) {
                let mut after = place;
                after.done.remove(done);
                return Some(Some(after));
            }
            let state = self.apply(&place.state, operation)?;
            let after = state.map(|state| Place {
                state,
                done: place.done.clone(),
                used: place.used.clone(),
            });
            frame.followed = Some(place);
            if after.is_some() {
                return Some(after);
            }
        }
    }

    /// Lets each of the others that are open take effect at `place`.
    fn extend(&mut self, frame: &mut Frame<M::State>, place: &Place<M::State>) -> Option<()> {
        let next = &self.plan.returns[frame.at];
        let optional = &self.plan.optional[..next.optional];
        let others: Vec<usize> = next.open.iter().chain(optional).copied().collect();
        for number in others {
            let twin = self.plan.twins[number];
            if contains(&place.done, number)
                || contains(&place.used, number)
                || twin.is_some_and(|twin| !contains(&place.used, twin))
            {
                continue;
            }
            let Some(state) = self.apply(&place.state, number)? else {
                continue;
            };
            let mut more = Place {
                state,
                ..place.clone()
            };
            self.mark(&mut more, number);
            let more = self.settled(frame.at, more)?;
            if self.is_new(frame.at, &more)? {
                frame.queue.push_back(more);
            }
        }
        Some(())
    }

    fn mark(&self, place: &mut Place<M::State>, number: usize) {
        let marked = match self.history[number].end {
            Some(_) => &mut place.done,
            None => &mut place.used,
        };
        *marked = with(marked, number);
    }

    /// The state after an operation, if it may take effect; `None` if the budget is used up.
    fn apply(&mut self, state: &M::State, number: usize) -> Option<Option<M::State>> {
        self.budget.steps = self.budget.steps.checked_sub(1)?;
        let interval = &self.history[number];
        Some(self.model.apply(state, interval.call, interval.answer()))
    }

    /// Whether nothing that was seen makes `place` unnecessary; remembers it then.
    fn is_new(&mut self, at: usize, place: &Place<M::State>) -> Option<bool> {
        let key = (at, place.state.clone(), place.done.clone());
        match self.seen.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(vec![place.used.clone()]);
            }
            Entry::Occupied(mut entry) => {
                let ways = entry.get_mut();
                // Comparing with many takes as long as many steps.
                self.budget.steps = self.budget.steps.checked_sub(ways.len() as u64)?;
                if ways.iter().any(|used| within(used, &place.used)) {
                    return Some(false);
                }
                ways.retain(|used| !within(&place.used, used));
                ways.push(place.used.clone());
            }
        }
        self.remembered += 1;
        (self.remembered <= self.budget.places).then_some(true)
    }
}

/// The verdict of the sweep alone.
#[cfg(test)]
pub fn swept<M: Model>(model: &M, history: &[Interval<'_>]) -> Option<Decision> {
    let mut search = Search::new(model, history, usize::MAX, u64::MAX);
    search.sweep()
}

#[cfg(test)]
mod tests {
    use super::super::operation::{Answer, Call};
    use super::super::register::Register;
    use super::*;

    fn decide(history: &[Interval<'_>], steps: u64) -> Decision {
        search(&Register::new(), history, 1000, &mut { steps })
    }

    #[test]
    fn what_happens_at_one_instant_overlaps() {
        let (write, read) = (Call::Write("1".into()), Call::Read);
        let history = |from| {
            [
                Interval {
                    call: &write,
                    from: 0,
                    end: Some((5, &Answer::Done)),
                },
                Interval {
                    call: &read,
                    from,
                    end: Some((9, &Answer::Nothing)),
                },
            ]
        };
        assert_eq!(decide(&history(5), 100), Decision::Explained);
        assert_eq!(decide(&history(6), 100), Decision::Impossible);
        assert_eq!(decide(&history(5), 1), Decision::Undecided);
        assert_eq!(decide(&[], 0), Decision::Explained);
    }

    #[test]
    fn writes_of_which_nobody_knows_are_used_one_at_a_time() {
        let writes: Vec<_> = (0..200)
            .map(|n| Call::Write(n.to_string().into()))
            .collect();
        let never = Answer::Value("never".into());
        let mut history: Vec<_> = writes
            .iter()
            .map(|call| Interval {
                call,
                from: 0,
                end: None,
            })
            .collect();
        history.push(Interval {
            call: &Call::Read,
            from: 1,
            end: Some((2, &never)),
        });
        let mut steps = 1_000_000;
        let decision = search(&Register::new(), &history, 1000, &mut steps);
        assert_eq!(decision, Decision::Impossible);
        assert!(steps > 900_000, "{steps} of a million left");
    }
}
