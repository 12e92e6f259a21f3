//! Simpler forms of one fault: rounder times, milder amounts, smaller partitions.

use crate::fault::{Fault, Param, Parts, ScheduledFault, Sense, Target};

/// The grains to which times are rounded, coarsest first, in ns.
const GRAINS: [u64; 5] = [
    1_000_000_000,
    500_000_000,
    100_000_000,
    10_000_000,
    1_000_000,
];

/// Simpler forms of `fault`, the simplest first. Each is strictly simpler, so that taking
/// one after the other comes to an end.
pub(super) fn milder(fault: &ScheduledFault) -> Vec<ScheduledFault> {
    let times = rounder(fault.at_ns)
        .into_iter()
        .map(|at_ns| ScheduledFault {
            at_ns,
            ..fault.clone()
        });
    let forms = smaller(&fault.fault).into_iter().map(|f| ScheduledFault {
        fault: f,
        at_ns: fault.at_ns,
    });
    times.chain(forms).collect()
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

/// Milder forms of the same kind of fault, mildest first.
fn smaller(fault: &Fault) -> Vec<Fault> {
    let parts = fault.parts();
    let mut forms = Vec::new();
    for (i, (p, amount)) in parts
        .kind
        .info()
        .params
        .iter()
        .zip(&parts.amounts)
        .enumerate()
    {
        let milder = amount.map(|amount| milder_amounts(p, amount));
        forms.extend(milder.into_iter().flatten().map(|amount| {
            let mut parts = parts.clone();
            parts.amounts[i] = Some(amount);
            parts
        }));
    }
    if let Target::Sides(a, b) = &parts.target {
        let without = |side: &[usize], i: usize| [&side[..i], &side[i + 1..]].concat();
        let sides = (0..a.len())
            .filter(|_| a.len() > 1)
            .map(|i| Target::Sides(without(a, i), b.clone()));
        let others = (0..b.len())
            .filter(|_| b.len() > 1)
            .map(|i| Target::Sides(a.clone(), without(b, i)));
        for target in sides.chain(others) {
            forms.push(Parts {
                target,
                ..parts.clone()
            });
        }
    }
    forms.into_iter().filter_map(Parts::build).collect()
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
    fn amounts_and_partitions_become_smaller() {
        let forms = |t: &str| {
            smaller(&t.parse().unwrap())
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            forms("skew vm 1 by -43 %")[3..],
            ["clock skew vm 1 by -20 %", "clock skew vm 1 by -40 %"]
        );
        assert_eq!(
            forms("partition {0} | {1, 2}"),
            ["partition {0} | {2}", "partition {0} | {1}"]
        );
        assert!(forms("kill vm 1").is_empty());
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
            while let Some(next) = stream.pick(&milder(&fault)).cloned() {
                assert_eq!(next.fault.kind(), fault.fault.kind());
                fault = next;
                steps += 1;
                assert!(steps < 100, "{fault}");
            }
        }
    }
}
