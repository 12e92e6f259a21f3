//! Guests that talk: agent and SDK on a real Linux kernel. This executable is
//! the host's side and, packed as `/init`, the guest's.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chaoscontrol::cluster::{self, ClusterConfig, EventKind, SimulationController};
use chaoscontrol::guest::agent::{self, Body};
use chaoscontrol::guest::protocol::{Message, Signal};
use chaoscontrol::image::Contents;
use chaoscontrol::machine::VmSnapshot;
use chaoscontrol::prelude::*;
use libtest_mimic::{Arguments, Failed, Trial};

/// What VMs run, by name.
const BODIES: [(&str, Body); 10] = [
    ("tour", |node| tour(&node)),
    ("err", |_| Err("no quorum".into())),
    ("exit", |_| std::process::exit(3)),
    ("signal", |_| std::process::abort()),
    ("panic", |_| panic!("on main")),
    ("thread", |_| {
        panics_on_a_thread().map_err(|error| error.to_string())
    }),
    ("clock", |_| tells_the_time()),
    ("ticks", |_| counts_ticks()),
    ("programs", |node| {
        runs_programs(&node).map_err(|error| error.to_string())
    }),
    ("waits", |node| {
        waits_for_a_program(&node).map_err(|error| error.to_string())
    }),
];

fn tour(node: &Node) -> std::result::Result<(), String> {
    println!("{} of {} at {}", node.name(), node.vms().len(), node.addr());
    let names = std::net::ToSocketAddrs::to_socket_addrs("vm1:80")
        .map_err(|error| error.to_string())?
        .map(|address| address.to_string())
        .collect::<Vec<_>>();
    println!("vm1 is {names:?}");
    eprint!("no newline");
    let mut random = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .map_err(|error| error.to_string())?;
    send_event("random", format_args!("{:x} {:x?}", get_random(), random));
    std::fs::write(node.data_dir().join("file"), "kept").map_err(|error| error.to_string())?;
    assert_always!(node.index() < 3, "indices are small", index = node.index());
    assert_agree!("vms", node.vms().len(), "one cluster");
    node.setup_complete();
    Ok(())
}

fn panics_on_a_thread() -> io::Result<()> {
    let thread = std::thread::Builder::new().name("worker".into());
    let _ = thread.spawn(|| panic!("off main"))?.join();
    Ok(())
}

fn tells_the_time() -> std::result::Result<(), String> {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        send_event("time", now.map_or(0, |now| now.as_secs()));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Compares RDTSC with the kernel's clock, on two threads at once, and then without the
/// permission to execute it.
fn counts_ticks() -> std::result::Result<(), String> {
    let other = std::thread::spawn(compare_ticks);
    let here = compare_ticks();
    other.join().map_err(|_| "the thread panicked")??;
    here?;
    // SAFETY: a call without pointers; the child calls only what is safe after a fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no pointers; RDTSC reads no memory.
        unsafe {
            libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV);
            std::arch::x86_64::_rdtsc();
            libc::_exit(0);
        }
    }
    let mut status = 0;
    // SAFETY: `status` is writable and outlives the call.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    if waited != child || !libc::WIFSIGNALED(status) || libc::WTERMSIG(status) != libc::SIGSEGV {
        return Err(format!(
            "the child without permission ended with {status:#x}"
        ));
    }
    // The child's wish was its own.
    compare_ticks()
}

/// Each tick count lies between two readings of the clock, at 3 ticks per ns, and none
/// before the last.
fn compare_ticks() -> std::result::Result<(), String> {
    let clock = || {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is writable and outlives the call.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_RAW, &mut time) };
        3 * (time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    };
    let mut last = 0;
    for turn in 0..200 {
        let before = clock();
        // SAFETY: RDTSC reads no memory.
        let ticks = unsafe { std::arch::x86_64::_rdtsc() };
        let after = clock();
        if !(before..=after).contains(&ticks) || ticks < last {
            return Err(format!("{ticks} ticks after {last}, in {before}..={after}"));
        }
        last = ticks;
        if turn % 50 == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Runs what [`a_machine_with_programs`] packs, in every way.
fn runs_programs(node: &Node) -> Result {
    let copied = node
        .command("program")
        .arg("copy")
        .stdin("typed\n")
        .output()?;
    assert!(copied.status.success());
    assert_eq!(
        (&copied.stdout[..], &copied.stderr[..]),
        (&b"typed\n"[..], &b"6 bytes"[..])
    );
    let mut tell = node.command("program");
    tell.args(["tell", ""])
        .env("VARIABLE", "it is")
        .current_dir("/tmp");
    assert!(tell.status()?.success());
    assert!(node.command("static").status()?.success());
    assert!(
        node.command("ls")
            .args(["/etc/chaoscontrol", "/packed/data"])
            .status()?
            .success()
    );
    let ended = node.command("program").arg("abort").may_fail().status()?;
    send_event("aborted", ended);
    let mut waiting = node.command("program").arg("wait").spawn()?;
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(waiting.try_wait()?, None);
    waiting.kill()?;
    send_event("killed", waiting.wait()?);
    let mut waiting = node.command("program").arg("wait").spawn()?;
    waiting.terminate()?;
    send_event("terminated", waiting.wait()?);
    let errors = ["absent", "/absent", "/etc/hosts/x", "/dev"];
    for (number, name) in errors.into_iter().enumerate() {
        if let Err(error) = node.command(name).spawn() {
            send_event("refused", format_args!("{number}: {error}"));
        }
    }
    // Nobody waits for this one.
    node.command("program").spawn()?;
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}

/// Runs a program until somebody else ends it.
fn waits_for_a_program(node: &Node) -> Result {
    let ended = node.command("program").arg("wait").status()?;
    send_event("ended", ended);
    Ok(())
}

/// An executable without libraries and loader, which writes a line.
fn static_program() -> Vec<u8> {
    const ADDRESS: u64 = 0x40_0000;
    const HEADERS: u64 = 0x78;
    #[rustfmt::skip]
    let code = [
        0xB8, 1, 0, 0, 0,               // mov eax, 1 (write)
        0xBF, 1, 0, 0, 0,               // mov edi, 1
        0x48, 0x8D, 0x35, 16, 0, 0, 0,  // lea rsi, [rip + 16]
        0xBA, 8, 0, 0, 0,               // mov edx, 8
        0x0F, 0x05,                     // syscall
        0xB8, 60, 0, 0, 0,              // mov eax, 60 (exit)
        0x31, 0xFF,                     // xor edi, edi
        0x0F, 0x05,                     // syscall
        b'a', b' ', b'l', b'o', b'n', b'e', b'r', b'\n',
    ];
    let whole = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // An executable for x86-64, version 1.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [ADDRESS + HEADERS, 0x40, 0] {
        file.extend(word.to_le_bytes());
    }
    // No flags; sizes of headers, one program header, no sections.
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // To be loaded, readable and executable.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, ADDRESS, ADDRESS, whole, whole, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

/// A machine in which there are a program of ours, one of the system, and a static one, for
/// the test `purpose`.
fn a_machine_with_programs(purpose: &str) -> std::result::Result<VmSnapshot, Failed> {
    let name = format!("chaoscontrol-{purpose}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("static"), static_program())?;
    let contents = Contents {
        programs: vec![
            env!("CARGO_BIN_EXE_program").into(),
            folder.join("static"),
            "/bin/ls".into(),
        ],
        files: vec![(folder.clone(), "/packed/data".into())],
        ..Contents::default()
    };
    let machine = chaoscontrol_tests::machine_with(&std::env::current_exe()?, &contents);
    std::fs::remove_dir_all(folder)?;
    Ok(cluster::boot(machine)?)
}

/// The machine that all clusters here are forks of.
fn boot() -> std::result::Result<&'static VmSnapshot, Failed> {
    static BOOT: OnceLock<std::result::Result<VmSnapshot, String>> = OnceLock::new();
    let booted = BOOT.get_or_init(|| {
        let executable = std::env::current_exe().map_err(|e| e.to_string())?;
        cluster::boot(chaoscontrol_tests::machine(&executable)).map_err(|e| e.to_string())
    });
    booted.as_ref().map_err(Failed::from)
}

fn cluster(test: &str, vms: usize, seed: u64) -> std::result::Result<SimulationController, Failed> {
    cluster_of(boot()?, test, vms, seed)
}

fn cluster_of(
    boot: &VmSnapshot,
    test: &str,
    vms: usize,
    seed: u64,
) -> std::result::Result<SimulationController, Failed> {
    let config = ClusterConfig {
        vms,
        seed,
        test: test.into(),
        ..ClusterConfig::default()
    };
    Ok(SimulationController::new(boot, config)?)
}

/// The messages of `time` virtual ms, as text: virtual ms, VM, message.
fn messages(cluster: &mut SimulationController, ms: u64) -> Vec<(u64, usize, String)> {
    let until = cluster.now() + ms * 1_000_000;
    let mut texts = Vec::new();
    for event in cluster.run_until(until) {
        let text = match &event.kind {
            EventKind::Message(bytes) => match Message::decode(bytes) {
                Ok(Message::Output { name, line, .. }) => {
                    let line = String::from_utf8_lossy(line);
                    format!(
                        "output {name}{}{line}",
                        if name.is_empty() { "" } else { ": " }
                    )
                }
                Ok(Message::Event { name, details }) => format!("event {name} {details}"),
                Ok(message) => format!("{message:?}"),
                Err(error) => format!("malformed: {error}"),
            },
            other => format!("{other:?}"),
        };
        texts.push((event.time / 1_000_000, event.vm, text));
    }
    texts
}

fn texts(test: &str, vms: usize, seed: u64, ms: u64) -> std::result::Result<Vec<String>, Failed> {
    let told = messages(&mut cluster(test, vms, seed)?, ms);
    Ok(told.into_iter().map(|(_, _, text)| text).collect())
}

#[track_caller]
fn has(texts: &[String], wanted: &str) -> std::result::Result<(), Failed> {
    if texts.iter().any(|text| text.contains(wanted)) {
        return Ok(());
    }
    Err(format!("{wanted:?} is not among:\n{}", texts.join("\n")).into())
}

fn the_agent_makes_a_machine_a_node() -> std::result::Result<(), Failed> {
    let told = texts("tour", 2, 1, 200)?;
    for wanted in [
        "BodyStarted",
        "output vm0 of 2 at 10.13.0.1",
        "output vm1 of 2 at 10.13.0.2",
        "output vm1 is [\"10.13.0.2:80\"]",
        "message: \"indices are small\", details: \"index = 1\"",
        "message: \"one cluster\", key: \"\\\"vms\\\"\", value: \"2\"",
        "SetupComplete",
        "BodyEnd { end: Ok }",
    ] {
        has(&told, wanted)?;
    }
    Ok(())
}

fn randomness_differs_between_vms_and_seeds_never_between_runs() -> std::result::Result<(), Failed>
{
    let random = |seed| {
        let told = texts("tour", 3, seed, 200)?;
        let random: BTreeSet<String> = told
            .into_iter()
            .filter(|text| text.starts_with("event random"))
            .collect();
        Ok::<_, Failed>(random)
    };
    let (first, again, other) = (random(1)?, random(1)?, random(2)?);
    assert_eq!((first.len(), other.len()), (3, 3));
    assert_eq!(first, again);
    assert!(first.is_disjoint(&other));
    Ok(())
}

fn bodies_end_in_every_way() -> std::result::Result<(), Failed> {
    has(
        &texts("err", 1, 1, 100)?,
        "BodyEnd { end: Err { text: \"no quorum\" } }",
    )?;
    has(
        &texts("exit", 1, 1, 100)?,
        "BodyEnd { end: Exit { code: 3 } }",
    )?;
    has(
        &texts("signal", 1, 1, 100)?,
        "BodyEnd { end: Signal { signal: 6 } }",
    )?;
    let told = texts("panic", 1, 1, 100)?;
    has(
        &told,
        "Panic { thread: \"main\", message: \"on main\", location: \"",
    )?;
    has(&told, "backtrace: \"/init+0x")?;
    has(&told, "BodyEnd { end: Panicked }")?;
    let told = texts("thread", 1, 1, 100)?;
    has(&told, "Panic { thread: \"worker\", message: \"off main\"")?;
    has(&told, "BodyEnd { end: Ok }")?;
    has(&texts("missing", 1, 1, 100)?, "there is no chaos test")
}

fn the_wall_clock_jumps_by_the_agent() -> std::result::Result<(), Failed> {
    let mut cluster = cluster("clock", 1, 1)?;
    messages(&mut cluster, 1000);
    cluster.wall_jump(0, -500_000_000_000);
    let told = messages(&mut cluster, 1000);
    let texts: Vec<String> = told.into_iter().map(|(_, _, text)| text).collect();
    has(&texts, "ControlDone { id: 1, errno: 0 }")?;
    // It woke at 1735689600.
    has(&texts, "event time 1735689101")
}

fn rdtsc_reads_the_kernels_clock() -> std::result::Result<(), Failed> {
    has(&texts("ticks", 1, 1, 1000)?, "BodyEnd { end: Ok }")
}

fn programs_run_under_the_agent() -> std::result::Result<(), Failed> {
    let mut cluster = cluster_of(&a_machine_with_programs("programs")?, "programs", 1, 1)?;
    let told = messages(&mut cluster, 1000);
    let told: Vec<String> = told.into_iter().map(|(_, _, text)| text).collect();
    for wanted in [
        "output program: typed",
        "output program: 6 bytes",
        "output program: it is in /tmp, [\"tell\", \"\"]",
        "output static: a loner",
        "output ls: programs",
        "output ls: static",
        "event aborted signal: 6 (SIGABRT)",
        "name: \"program\", end: Signal { signal: 6 }, allowed: true",
        "event killed signal: 9 (SIGKILL)",
        "name: \"program\", end: Signal { signal: 9 }, allowed: true",
        "event terminated signal: 15 (SIGTERM)",
        "name: \"static\", end: Exit { code: 0 }, allowed: false",
        "refused 0: no program \"absent\" is packed; name it in `binaries` (there are: \
         /usr/local/bin/program, /usr/local/bin/static, /bin/ls)",
        "refused 1: No such file or directory",
        "refused 2: Not a directory",
        "refused 3: Permission denied",
        "output program: what is \"\"?",
        "name: \"program\", end: Exit { code: 2 }, allowed: false",
        "BodyEnd { end: Ok }",
    ] {
        has(&told, wanted)?;
    }
    Ok(())
}

fn a_program_that_a_fault_kills_is_nobodys_failure() -> std::result::Result<(), Failed> {
    let mut cluster = cluster_of(&a_machine_with_programs("waits")?, "waits", 1, 1)?;
    messages(&mut cluster, 200);
    cluster.signal(0, "program", Signal::Kill);
    let told = messages(&mut cluster, 200);
    let told: Vec<String> = told.into_iter().map(|(_, _, text)| text).collect();
    has(&told, "name: \"program\", end: Killed, allowed: false")?;
    has(&told, "event ended signal: 9 (SIGKILL)")
}

fn main() -> ExitCode {
    agent::enter(&|name| {
        BODIES
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, body)| *body)
    });
    macro_rules! trials {
        ($($name:ident),* $(,)?) => {
            vec![$(Trial::test(stringify!($name), $name)),*]
        };
    }
    let trials = trials![
        the_agent_makes_a_machine_a_node,
        randomness_differs_between_vms_and_seeds_never_between_runs,
        bodies_end_in_every_way,
        the_wall_clock_jumps_by_the_agent,
        rdtsc_reads_the_kernels_clock,
        programs_run_under_the_agent,
        a_program_that_a_fault_kills_is_nobodys_failure,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
