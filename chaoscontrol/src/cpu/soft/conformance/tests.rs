//! The comparison itself, and the proof that it notices.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

use iced_x86::Code;
use xxhash_rust::xxh3::Xxh3;

use super::case::{Case, arenas};
use super::compare::differences;
use super::guest::Guest;
use super::host::Host;
use super::random::Random;
use super::sabotage::{self, Damage};
use super::templates::{self, Template, Templates};
use super::{GUARD, Outcome, excluded};

/// Cases that each code needs.
const ENOUGH: u64 = 200;
/// Cases in CI.
const CASES: u64 = 1_000_000;
/// Failures after which a run ends.
const MANY: usize = 40;

/// The addresses are taken once a process.
static TURN: Mutex<()> = Mutex::new(());

struct Bench {
    host: Host,
    guest: Guest,
    arenas: Vec<Vec<u8>>,
    seed: u64,
    compared: BTreeMap<Code, u64>,
    /// Cases that `soft` ended where the host cannot follow.
    skipped: u64,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        Bench {
            host: Host::new(),
            guest: Guest::new(),
            arenas: arenas(&mut Random::new(seed)),
            seed,
            compared: BTreeMap::new(),
            skipped: 0,
        }
    }

    /// Case `number`, made of `length` of the templates that `pick` gives; `None` if they give none.
    fn case<'a>(
        &self,
        number: u64,
        length: u64,
        mut pick: impl FnMut(&mut Random) -> &'a Template,
    ) -> Option<Case> {
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0xD134_2543_DE82_EF95));
        let at = random.below(self.arenas.len() as u64) as usize;
        let mut case = Case::new(&mut random, &self.arenas[at]);
        for _ in 0..length * 8 {
            let template = pick(&mut random);
            case.push(&mut random, template, length as usize);
            if case.codes.len() as u64 == length {
                break;
            }
        }
        if case.codes.is_empty() {
            return None;
        }
        case.finish();
        Some(case)
    }

    /// What `soft` makes of `case`, and of its memory.
    fn on_soft(&mut self, case: &Case) -> (Outcome, Vec<u8>) {
        let mut memory = case.arena.clone();
        let outcome = self.guest.run(
            &case.bytes,
            case.start,
            case.exits,
            case.codes.len() as u64,
            &case.registers,
            &mut memory,
        );
        (outcome, memory)
    }

    /// Runs case `number`, as [`Bench::case`] makes it, on both; the report of a failure.
    fn run<'a>(
        &mut self,
        number: u64,
        length: u64,
        pick: impl FnMut(&mut Random) -> &'a Template,
    ) -> Option<(Code, String)> {
        let case = self.case(number, length, pick)?;
        let (soft, soft_memory) = self.on_soft(&case);
        if !soft.is_safe(GUARD) {
            self.skipped += 1;
            return None;
        }
        if soft.is_astray() {
            let end = [format!("soft goes astray: {:x?}", soft.end)];
            return Some((case.codes[0], self.describe(number, &case, &end)));
        }
        let mut host_memory = case.arena.clone();
        let host = self
            .host
            .run(&case.bytes, case.start, &case.registers, &mut host_memory);
        for code in &case.codes {
            *self.compared.entry(*code).or_default() += 1;
        }
        let lines = differences(&case, &(soft, soft_memory), &(host, host_memory));
        if lines.is_empty() {
            return None;
        }
        Some((case.codes[0], self.describe(number, &case, &lines)))
    }

    /// What repeats a case, and `lines`.
    fn describe(&self, number: u64, case: &Case, lines: &[String]) -> String {
        let mut text = format!(
            "case {number} of seed {:#x}: {:?}\n  bytes",
            self.seed, case.codes
        );
        for byte in &case.bytes[..case.bytes.len() - 14] {
            write!(text, " {byte:02x}").unwrap();
        }
        let r = &case.registers;
        write!(
            text,
            " at {:#x}\n  before: flags {:#x} gpr {:x?} mxcsr {:#x} fcw {:#x} fsw {:#x} ftw {:#x}",
            case.start, r.rflags, r.gpr, r.mxcsr, r.control, r.status, r.valid
        )
        .unwrap();
        for (i, (xmm, st)) in r.xmm.iter().zip(r.st).enumerate() {
            write!(text, "\n    xmm{i} {xmm:#034x}, st{i} {st:#022x}").unwrap();
        }
        for line in lines {
            write!(text, "\n  {line}").unwrap();
        }
        text
    }
}

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else {
        return default;
    };
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{name} is no number: {text}"))
}

/// What is compared, and what is not.
#[derive(Default)]
struct Selection {
    codes: Vec<(Code, Vec<Template>)>,
    reasons: BTreeMap<Code, &'static str>,
}

fn select(all: Templates) -> Selection {
    let mut selection = Selection::default();
    for (code, templates) in all {
        match templates[0].sample().and_then(|i| excluded::reason(&i)) {
            Some(reason) => {
                selection.reasons.insert(code, reason);
            }
            None => selection.codes.push((code, templates)),
        }
    }
    selection
}

#[test]
fn soft_agrees_with_the_host_cpu() {
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    let seed = number("CHAOS_CONFORMANCE_SEED", 0xC0FF_EE00);
    let cases = number("CHAOS_CONFORMANCE_CASES", CASES);
    let only = std::env::var("CHAOS_CONFORMANCE_CODE").unwrap_or_default();
    let mut selection = select(templates::all());
    let kept = &mut selection.codes;
    kept.retain(|(code, _)| format!("{code:?}").contains(&only));
    let mut bench = Bench::new(seed);
    let mut failures: BTreeMap<Code, (u64, String)> = BTreeMap::new();
    for case in 0..cases {
        // Two of three cases are single instructions, code by code; the rest sequences.
        let single = case % 3 != 2;
        let turn = (case - case / 3) as usize % kept.len();
        let length = if single { 1 } else { 2 + case / 3 % 5 };
        let failure = bench.run(case, length, |random| {
            let at = if single {
                turn
            } else {
                random.below(kept.len() as u64) as usize
            };
            random.pick(&kept[at].1)
        });
        if let Some((code, text)) = failure {
            failures.entry(code).or_insert((0, text)).0 += 1;
            if failures.len() >= MANY {
                break;
            }
        }
    }
    println!(
        "seed {seed:#x}, {} codes, {} cases skipped",
        kept.len(),
        bench.skipped
    );
    for (code, count) in &bench.compared {
        println!("{count:8} {code:?}");
    }
    for (code, reason) in &selection.reasons {
        println!("       - {code:?}: {reason}");
    }
    for (what, reason) in excluded::ENCODINGS.iter().chain(&excluded::MASKED) {
        println!("       - {what}: {reason}");
    }
    let mut report = String::new();
    for (count, text) in failures.values() {
        writeln!(report, "\n{count} times, first {text}").unwrap();
    }
    assert!(failures.is_empty(), "soft and host differ:\n{report}");
    let few: Vec<_> = kept
        .iter()
        .filter(|(code, _)| bench.compared.get(code).copied().unwrap_or(0) < ENOUGH)
        .map(|(code, _)| code)
        .collect();
    assert!(few.is_empty(), "less than {ENOUGH} cases of {few:?}");
}

/// What [`soft_computes_the_same_on_every_host`] comes to.
const EVERYWHERE: u64 = 0x74A2_BE0F_DA8B_1BDA;

/// Where `soft` lets the host compute, and where it computes itself because hosts differ: a run must not
/// show which host it was on. The hashes by code, which are printed, tell two hosts apart.
#[test]
fn soft_computes_the_same_on_every_host() {
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    let mut bench = Bench::new(7);
    let all = templates::all().into_iter().filter(|(_, templates)| {
        let reason = templates[0].sample().and_then(|i| excluded::reason(&i));
        reason.is_none_or(|reason| reason == excluded::APPROXIMATE)
    });
    let mut whole = Xxh3::new();
    for (code, templates) in all {
        let mut hash = Xxh3::new();
        for number in 0..ENOUGH {
            let Some(case) = bench.case(number, 1, |random| random.pick(&templates)) else {
                continue;
            };
            let (Outcome { registers, end }, memory) = bench.on_soft(&case);
            for register in registers.gpr.into_iter().chain([registers.rflags]) {
                hash.update(&register.to_le_bytes());
            }
            hash.update(&registers.to_fxsave());
            hash.update(format!("{end:x?}").as_bytes());
            hash.update(&memory);
        }
        println!("{:016x} {code:?}", hash.digest());
        whole.update(&hash.digest().to_le_bytes());
    }
    let whole = whole.digest();
    assert_eq!(whole, EVERYWHERE, "{whole:#x}: compare with another host");
}

#[test]
fn ten_broken_handlers_are_noticed() {
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    let all = templates::all();
    let mut bench = Bench::new(1);
    for (code, damage) in [
        (Code::Add_rm64_r64, Damage::Carry),
        (Code::Sub_r32_rm32, Damage::Upper),
        (Code::Inc_rm8, Damage::Overflow),
        (Code::Sbb_rm16_imm16, Damage::Adjust),
        (Code::Bsf_r64_rm64, Damage::Zero),
        (Code::Imul_r32_rm32, Damage::Result),
        (Code::Stosd_m32_EAX, Damage::Skip),
        (Code::Paddb_xmm_xmmm128, Damage::Vector),
        (Code::Mulsd_xmm_xmmm64, Damage::Mxcsr),
        (Code::Fadd_st0_sti, Damage::Stack),
    ] {
        let templates = &all[&code];
        let mut noticed = |damage| {
            sabotage::set(damage);
            let found = (0..300).any(|n| bench.run(n, 1, |r| r.pick(templates)).is_some());
            sabotage::set(None);
            found
        };
        assert!(noticed(Some((code, damage))), "{code:?} {damage:?}");
        assert!(!noticed(None), "{code:?} undamaged");
    }
}
