//! Simpler forms of one fault: rounder times, milder amounts, smaller partitions.

use crate::fault::{Fault, Param, Parts, ScheduledFault, Sense, Target, Unit};

/// The grains to which times are rounded, coarsest first, in ns.
const GRAINS: [u64; 5] = [
    1_000_000_000,
    500_000_000,
    100_000_000,
    10_000_000,
    1_000_000,
];

/// In what a form is simpler. A reader asks first when something happens, then how much of it
/// there is, and least how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aspect {
    /// A rounder instant.
    Time,
    /// A milder amount, or fewer VMs.
    Amount,
    /// A fault that undoes itself sooner.
    Duration,
}

impl Aspect {
    /// All of them, in the order in which they are made simpler.
    pub const ALL: [Aspect; 3] = [Aspect::Time, Aspect::Amount, Aspect::Duration];
}

/// Forms of `fault` that are simpler in this aspect, the simplest first. Each is strictly
/// simpler, so that taking one after the other comes to an end.
pub(super) fn milder(fault: &ScheduledFault, aspect: Aspect) -> Vec<ScheduledFault> {
    let form = |at_ns, fault| ScheduledFault { at_ns, fault };
    match aspect {
        Aspect::Time => {
            let times = rounder(fault.at_ns).into_iter();
            times
                .map(|at_ns| form(at_ns, fault.fault.clone()))
                .collect()
        }
        Aspect::Amount => {
            let amounts = smaller(&fault.fault, |p| !is_duration(p)).into_iter();
            let forms = amounts.chain(fewer(&fault.fault));
            forms.map(|f| form(fault.at_ns, f)).collect()
        }
        Aspect::Duration => {
            let forms = smaller(&fault.fault, is_duration).into_iter();
            forms.map(|f| form(fault.at_ns, f)).collect()
        }
    }
}

/// Whether a parameter says how long the fault lasts.
fn is_duration(p: &Param) -> bool {
    p.word == "for" && p.unit == Unit::Time
}

/// Whether `ns` is a multiple of grain `i`.
fn grain(ns: u64) -> usize {
    GRAINS
        .iter()
        .position(|g| ns.is_multiple_of(*g))
        .unwrap_or(GRAINS.len())
}

/// Times near `ns` that are multiples of a coarser grain, coarsest first.
fn rounder(ns: u64) -> Vec<u64> {
    let near = |g: &u64| {
        let (down, up) = (ns / g * g, (ns / g).saturating_add(1).saturating_mul(*g));
        if ns - down <= up - ns {
            [down, up]
        } else {
            [up, down]
        }
    };
    let finer = grain(ns);
    let mut times: Vec<u64> = GRAINS[..finer].iter().flat_map(near).collect();
    times.retain(|t| grain(*t) < finer);
    let mut seen = Vec::new();
    times.retain(|t| {
        let new = !seen.contains(t);
        seen.push(*t);
        new
    });
    times
}

/// The same fault with a milder amount of one of the parameters that `concerned` names, mildest first.
fn smaller(fault: &Fault, concerned: impl Fn(&Param) -> bool) -> Vec<Fault> {
    let parts = fault.parts();
    let params = parts.kind.info().params.iter().zip(&parts.amounts);
    let mut forms = Vec::new();
    for (i, (p, amount)) in params.enumerate().filter(|(_, (p, _))| concerned(p)) {
        let milder = amount.map(|amount| milder_amounts(p, amount));
        forms.extend(milder.into_iter().flatten().map(|amount| {
            let mut parts = parts.clone();
            parts.amounts[i] = Some(amount);
            parts
        }));
    }
    forms.into_iter().filter_map(Parts::build).collect()
}

/// The same fault between fewer VMs.
fn fewer(fault: &Fault) -> Vec<Fault> {
    let parts = fault.parts();
    let Target::Sides(a, b) = &parts.target else {
        return Vec::new();
    };
    let without = |side: &[usize], i: usize| [&side[..i], &side[i + 1..]].concat();
    let sides = (0..a.len())
        .filter(|_| a.len() > 1)
        .map(|i| Target::Sides(without(a, i), b.clone()));
    let others = (0..b.len())
        .filter(|_| b.len() > 1)
        .map(|i| Target::Sides(a.clone(), without(b, i)));
    let forms = sides.chain(others).map(|target| Parts {
        target,
        ..parts.clone()
    });
    forms.filter_map(Parts::build).collect()
}

/// Milder values of one parameter, mildest first; each is strictly milder, or as mild and rounder.
fn milder_amounts(p: &Param, amount: i64) -> Vec<i64> {
    let size = amount.abs();
    let rounder = |n: i64| n < size && n >= p.usual.0;
    let mut sizes: Vec<i64> = match p.sense {
        Sense::Less => {
            let halves = [64, 16, 4, 2].map(|divisor| one_digit(size / divisor));
            halves.into_iter().filter(|n| rounder(*n)).collect()
        }
        Sense::More => {
            let doubles = [64, 16, 4, 2].map(|factor| one_digit(size.saturating_mul(factor)));
            let milder = |n: &i64| *n > size && *n <= p.usual.1;
            return doubles.into_iter().filter(milder).collect();
        }
        Sense::Place => Vec::new(),
    };
    let rounded = one_digit(size);
    if rounded < size && rounded > 0 {
        sizes.push(rounded);
    }
    sizes.iter().map(|n| n * amount.signum()).collect()
}

/// `n` with all but its first digit zero.
fn one_digit(n: i64) -> i64 {
    let ten = 10i64.pow(n.max(1).ilog10());
    n / ten * ten
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Generator, Stream};

    #[test]
    fn times_become_rounder() {
        assert_eq!(rounder(1_204_000_000)[..2], [1_000_000_000, 2_000_000_000]);
        assert!(rounder(1_204_000_000).contains(&1_200_000_000));
        assert!(rounder(3_000_000_000).is_empty());
        assert!(rounder(0).is_empty());
        rounder(u64::MAX);
    }

    #[test]
    fn amounts_durations_and_partitions_become_smaller() {
        let forms = |t: &str, aspect| {
            let fault = ScheduledFault {
                at_ns: 0,
                fault: t.parse().unwrap(),
            };
            let forms = milder(&fault, aspect).into_iter();
            forms.map(|form| form.fault.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            forms("skew vm 1 by -43 %", Aspect::Amount)[3..],
            ["clock skew vm 1 by -20 %", "clock skew vm 1 by -40 %"]
        );
        assert_eq!(
            forms("partition {0} | {1, 2}", Aspect::Amount),
            ["partition {0} | {2}", "partition {0} | {1}"]
        );
        let pause = "pause vm 1 for 1234 ms";
        assert!(forms(pause, Aspect::Amount).is_empty());
        let shorter = forms(pause, Aspect::Duration);
        assert_eq!(shorter.last().unwrap(), "pause vm 1 for 1 s");
        for aspect in Aspect::ALL {
            assert!(forms("kill vm 1", aspect).is_empty());
        }
    }

    #[test]
    fn taking_any_form_again_and_again_ends() {
        let g = Generator {
            vms: 5,
            ..Generator::default()
        };
        for seed in 0..300 {
            let mut stream = Stream::new(seed, "milder", &[]);
            let mut fault = g.fault(&mut stream).unwrap();
            let mut steps = 0;
            let all = |fault: &ScheduledFault| {
                let forms = Aspect::ALL.map(|aspect| milder(fault, aspect));
                forms.concat()
            };
            while let Some(next) = stream.pick(&all(&fault)).cloned() {
                assert_eq!(next.fault.kind(), fault.fault.kind());
                fault = next;
                steps += 1;
                assert!(steps < 100, "{fault}");
            }
        }
    }
}
