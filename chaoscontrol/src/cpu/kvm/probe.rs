//! What the host's KVM is good for, found by running it.
//!
//! That `/dev/kvm` opens says little. On some hosts the hypervisor below emulates ring 0, at
//! a speed at which no Linux boots, and not all of it; ring 3 runs fast there, so only a
//! guest in ring 0 can tell.

use std::fmt;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use kvm_ioctls::Kvm;

use super::alarm;
use super::host::{KvmError, device, open};
use super::tiny::{DEVICE, HANDLED, Stop, TinyGuest};

/// Million instructions per second in ring 0 from which on KVM is worth using. Hardware has
/// thousands; KVM in a machine that QEMU emulates has 400, and still 80 under load; a
/// hypervisor that emulates instruction by instruction has 2.
pub const USABLE_MIPS: u64 = 50;

/// How long a speed is measured at least.
const SPAN: Duration = Duration::from_millis(2);
/// How long all of it may take: milliseconds, and more on a host that is busy or emulates.
const LIMIT: Duration = Duration::from_secs(10);
/// How often a guest that took longer is asked to stop, and how many times.
const ASKS: (Duration, u32) = (Duration::from_millis(50), 100);

/// What the probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Million instructions per second in ring 0.
    pub mips: u64,
    /// Port accesses per second that the host answers.
    pub exits: u64,
    /// What KVM could not do.
    pub trouble: Vec<Trouble>,
}

/// Something that KVM could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What, to be read after "fails on".
    pub what: &'static str,
    /// What came of it instead.
    pub why: String,
}

impl Probe {
    /// Whether guests had better run on KVM than in software.
    pub fn usable(&self) -> bool {
        self.mips >= USABLE_MIPS && self.trouble.is_empty()
    }
}

impl fmt::Display for Probe {
    /// One line, without what follows from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, mips) = (device(), self.mips);
        let device = device.display();
        if self.usable() {
            return write!(
                f,
                "{device} runs ring 0 at {mips} MIPS and {} exits/s",
                self.exits
            );
        }
        write!(f, "{device} opens, but ")?;
        if mips < USABLE_MIPS {
            write!(f, "runs ring 0 at {mips} MIPS")?;
        }
        if !self.trouble.is_empty() {
            let and = if mips < USABLE_MIPS { " and " } else { "" };
            let what: Vec<&str> = self.trouble.iter().map(|trouble| trouble.what).collect();
            write!(f, "{and}fails on {}", what.join(", "))?;
        }
        Ok(())
    }
}

/// Runs tiny guests for some milliseconds.
///
/// # Errors
/// KVM is not there, lacks something, refuses something, or did not come back at all.
pub fn probe() -> Result<Probe, KvmError> {
    let kvm = open()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (answer, answers) = mpsc::channel();
    let for_guests = Arc::clone(&stop);
    let prober = thread::spawn(move || {
        // A receiver that is gone has given up on this thread.
        let _ = answer.send(measure(&kvm, &for_guests));
    });
    let mut answered = answers.recv_timeout(LIMIT);
    if answered == Err(RecvTimeoutError::Timeout) {
        let (pause, times) = ASKS;
        stop.store(true, Ordering::Relaxed);
        alarm::interrupting();
        for _ in 0..times {
            // SAFETY: the thread is neither joined nor detached as long as `prober` is
            // there, so its handle is valid; the signal's handler does nothing.
            unsafe { libc::pthread_kill(prober.as_pthread_t(), alarm::signal()) };
            answered = answers.recv_timeout(pause);
            if answered != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
    }
    answered.unwrap_or_else(|_| {
        Err(KvmError::Call {
            what: "run a guest of a few instructions",
            why: format!("it did not come back within {} s", LIMIT.as_secs()),
        })
    })
}

/// The port to which a program writes when it is done.
const DONE: u8 = 0x10;

/// Loads, arithmetic and stores, as many times as the word at `[rbx]` says, [`LOOP`]
/// instructions each time; then all of it again.
#[rustfmt::skip]
const SPEED: [u8; 26] = [
    0x48, 0x8B, 0x0B,       // mov rcx, [rbx]
    0x48, 0x8B, 0x43, 0x08, // mov rax, [rbx + 8]
    0x48, 0x01, 0xC8,       // add rax, rcx
    0x48, 0x89, 0x43, 0x10, // mov [rbx + 16], rax
    0x48, 0x31, 0xC2,       // xor rdx, rax
    0x48, 0xFF, 0xC9,       // dec rcx
    0x75, 0xED,             // jnz to the second
    0xE6, DONE,             // out DONE, al
    0xEB, 0xE6,             // jmp to the first
];
const LOOP: u64 = 6;

/// Writes to a port, for ever.
const EXITS: [u8; 4] = [0xE6, 0x11, 0xEB, 0xFC]; // out 0x11, al; jmp to the out

/// Something that a guest does, and what has to come of it.
struct Trial {
    name: &'static str,
    code: &'static [u8],
    /// A halted guest is interrupted.
    stops: &'static [Stop],
    window: bool,
}

/// What a Linux needs and emulating hosts are known to lack, then what the engine needs.
#[rustfmt::skip]
const TRIALS: [Trial; 5] = [
    Trial {
        name: "cmpxchg16b",
        code: &[0x48, 0x0F, 0xC7, 0x0B, 0xE6, DONE], // cmpxchg16b [rbx]; out
        stops: &[Stop::Out(DONE)],
        window: false,
    },
    Trial {
        name: "int3",
        code: &[0xCC, 0xE6, DONE], // int3; out
        stops: &[Stop::Out(DONE)],
        window: false,
    },
    Trial {
        name: "a store to a device",
        code: &[0x89, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00, 0xE6, DONE], // mov [DEVICE], eax; out
        stops: &[Stop::Store(DEVICE as u64), Stop::Out(DONE)],
        window: false,
    },
    Trial {
        name: "an interrupt in HLT",
        code: &[0xFB, 0xF4, 0xE6, DONE], // sti; hlt; out
        stops: &[Stop::Halt, Stop::Out(HANDLED), Stop::Out(DONE)],
        window: false,
    },
    Trial {
        name: "an interrupt window",
        code: &[0xFB, 0x90, 0x90, 0x90, 0xFA, 0xE6, DONE], // sti; nop; nop; nop; cli; out
        stops: &[Stop::Window, Stop::Out(DONE)],
        window: true,
    },
];

fn measure(kvm: &Kvm, stop: &AtomicBool) -> Result<Probe, KvmError> {
    let mut trouble = Vec::new();
    for trial in &TRIALS {
        if let Err(why) = attempt(kvm, trial, stop)? {
            trouble.push(Trouble {
                what: trial.name,
                why,
            });
        }
    }
    Ok(Probe {
        mips: mips(kvm, stop, &mut trouble)?,
        exits: exits(kvm, stop, &mut trouble)?,
        trouble,
    })
}

/// Runs a trial; the inner error is what came instead of what had to.
fn attempt(kvm: &Kvm, trial: &Trial, stop: &AtomicBool) -> Result<Result<(), String>, KvmError> {
    let mut guest = TinyGuest::new(kvm, trial.code, stop)?;
    guest.want_window(trial.window);
    for wanted in trial.stops {
        match guest.run() {
            stop if stop != *wanted => return Ok(Err(phrase(&stop))),
            Stop::Halt => guest.interrupt()?,
            Stop::Window => guest.want_window(false),
            _ => {}
        }
    }
    Ok(Ok(()))
}

fn phrase(stop: &Stop) -> String {
    match stop {
        Stop::Failed(why) => why.clone(),
        Stop::Asked => "it did not end".to_owned(),
        other => format!("came to {other:?}"),
    }
}

/// The best of some runs, each longer than the one before until it takes [`SPAN`], since a
/// busy host may take the core away in one of them. One before that is not counted: it fills
/// the host's tables.
fn mips(kvm: &Kvm, stop: &AtomicBool, trouble: &mut Vec<Trouble>) -> Result<u64, KvmError> {
    let mut guest = TinyGuest::new(kvm, &SPEED, stop)?;
    let mut best = 0.0_f64;
    let (mut count, mut warm, mut long) = (500, false, 0);
    while long < 3 {
        guest.set_word(count);
        let began = Instant::now();
        let ended = guest.run();
        let took = began.elapsed();
        if ended != Stop::Out(DONE) {
            trouble.push(Trouble {
                what: "a loop",
                why: phrase(&ended),
            });
            break;
        }
        if !warm {
            warm = true;
            continue;
        }
        best = best.max((count * LOOP) as f64 / took.as_secs_f64() / 1e6);
        if took < SPAN {
            count *= 4;
        } else {
            long += 1;
        }
    }
    Ok(best.round() as u64)
}

fn exits(kvm: &Kvm, stop: &AtomicBool, trouble: &mut Vec<Trouble>) -> Result<u64, KvmError> {
    let mut guest = TinyGuest::new(kvm, &EXITS, stop)?;
    guest.run();
    let began = Instant::now();
    let mut count = 0_u64;
    // On a busy host one of them may take longer than all of them are to.
    while count == 0 || began.elapsed() < SPAN {
        let ended = guest.run();
        if ended != Stop::Out(0x11) {
            trouble.push(Trouble {
                what: "port accesses",
                why: phrase(&ended),
            });
            break;
        }
        count += 1;
    }
    Ok((count as f64 / began.elapsed().as_secs_f64()).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::or_not_run;
    use super::*;

    fn found(mips: u64, trouble: &[&'static str]) -> Probe {
        let why = || "Shutdown".to_owned();
        let trouble = trouble.iter().map(|what| Trouble { what, why: why() });
        Probe {
            mips,
            exits: 600_000,
            trouble: trouble.collect(),
        }
    }

    #[test]
    fn a_line_says_what_was_found() {
        for (probe, usable, line) in [
            (
                found(2900, &[]),
                true,
                "runs ring 0 at 2900 MIPS and 600000 exits/s",
            ),
            (
                found(80, &[]),
                true,
                "runs ring 0 at 80 MIPS and 600000 exits/s",
            ),
            (found(2, &[]), false, "opens, but runs ring 0 at 2 MIPS"),
            (
                found(2, &["int3"]),
                false,
                "opens, but runs ring 0 at 2 MIPS and fails on int3",
            ),
            (
                found(2900, &["int3", "a loop"]),
                false,
                "opens, but fails on int3, a loop",
            ),
        ] {
            assert_eq!(probe.usable(), usable, "{line}");
            assert_eq!(probe.to_string(), format!("{} {line}", device().display()));
        }
    }

    #[test]
    fn this_host_is_probed_quickly_or_says_why_it_cannot_be() {
        let began = Instant::now();
        match probe() {
            Ok(probe) => {
                eprintln!("{probe:?} after {:?}", began.elapsed());
                assert!(probe.mips > 0 && probe.exits > 0, "{probe:?}");
            }
            Err(error) => assert_eq!(error, open().map(|_| ()).unwrap_err()),
        }
        assert!(began.elapsed() < LIMIT + 2 * ASKS.0 * ASKS.1);
    }

    /// A guest that never comes back by itself.
    #[test]
    fn a_guest_that_spins_is_stopped() {
        let Some(kvm) = or_not_run(open()) else {
            return;
        };
        let stop = Arc::new(AtomicBool::new(false));
        let for_guest = Arc::clone(&stop);
        let (made, is_made) = mpsc::channel();
        let spinning = thread::spawn(move || {
            let mut guest = TinyGuest::new(&kvm, &[0xEB, 0xFE], &for_guest).unwrap(); // jmp to itself
            made.send(()).unwrap();
            guest.run()
        });
        // A signal would interrupt the making of it, too.
        is_made.recv().unwrap();
        thread::sleep(Duration::from_millis(50));
        stop.store(true, Ordering::Relaxed);
        alarm::interrupting();
        while !spinning.is_finished() {
            // SAFETY: the thread is not joined yet, so its handle is valid.
            unsafe { libc::pthread_kill(spinning.as_pthread_t(), alarm::signal()) };
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(spinning.join().unwrap(), Stop::Asked);
    }
}
