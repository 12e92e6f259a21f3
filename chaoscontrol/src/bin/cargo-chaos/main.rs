//! `cargo chaos`: verbs that concern a test build the user's own test target and hand
//! the verb on to it, so that the engine is always the version that the user's lock file
//! names; the others are answered here.

mod faults;
mod local;
mod saved;
mod target;

use std::env;
use std::process::ExitCode;

use target::Target;

/// A verb, who answers it, and one sentence for the help.
struct Verb {
    name: &'static str,
    usage: &'static str,
    help: &'static str,
    answer: Answer,
}

enum Answer {
    Here(fn(&[String]) -> Result<ExitCode, String>),
    /// The test, by itself; the name is of the example that has one in this project.
    Test(&'static str),
}

static VERBS: [Verb; 13] = [
    Verb {
        name: "doctor",
        usage: "[-p PACKAGE] [--test TARGET] [NAME]",
        help: "Says whether this machine can run chaos tests, what its KVM is good for, and what to \
               do where it cannot; of a test, also what its programs hold that KVM cannot withhold from a guest.",
        answer: Answer::Here(local::doctor),
    },
    Verb {
        name: "kernel",
        usage: "[--variant lean|kcov] [--export FILE | --import FILE]",
        help: "Prints the path of the guest kernel, building it if need be, or copies it out of or into the cache.",
        answer: Answer::Here(local::kernel),
    },
    Verb {
        name: "faults",
        usage: "[--json]",
        help: "Lists the faults, how schedules say them, what their amounts may be, and what happened in production \
               that they stand for.",
        answer: Answer::Here(faults::faults),
    },
    Verb {
        name: "boot",
        usage: "[--kernel FILE] [--initrd FILE] [--memory SIZE] [--seconds N]",
        help: "Boots one machine and prints what its serial port says.",
        answer: Answer::Here(local::boot),
    },
    Verb {
        name: "run",
        usage: "[-p PACKAGE] [--test TARGET] [NAME] [--rounds N] [--seed N] [--mode MODE] [--workers N] [--time TIME] \
                [--shard K/N] [--engine ENGINE]",
        help: "Explores a test without stopping at the first failure, for as many rounds or as much time (10m) as is \
               said, shrinks each bug, and keeps what it shows in cargo's target folder; MODE is random, snapshots or \
               guided.",
        answer: Answer::Test(target::EXAMPLE),
    },
    Verb {
        name: "resume",
        usage: "[the same as run]",
        help: "Goes on with an exploration that was ended, also by kill -9, as if it had not been.",
        answer: Answer::Test(target::EXAMPLE),
    },
    Verb {
        name: "report",
        usage: "[-p PACKAGE] [--test TARGET] [NAME | FOLDER...] [--json]",
        help: "Prints what an exploration has shown, or what several folders of one test, such as shards, have shown together.",
        answer: Answer::Here(local::report),
    },
    Verb {
        name: "verify",
        usage: "[-p PACKAGE] [--test TARGET] [NAME] [--engine ENGINE] [--runs N] [--seed N] [--corrupt]",
        help: "Runs one branch of a test several times under different circumstances and compares state hashes. \
               ENGINE is soft, kvm or auto.",
        answer: Answer::Test(target::EXAMPLE),
    },
    Verb {
        name: "bench",
        usage: "[-p PACKAGE] [--test TARGET] [NAME] [--engine ENGINE] [--json] [--faults N] [--seconds N]",
        help: "Measures boot, instructions, restores and branches a minute on this machine, \
               on the test's engine or on ENGINE: soft, kvm or auto. \
               With --faults, branches have random schedules of at most N faults, and \
               branches_failed says how many of them show a bug; fault_time_ratio is what a guest \
               instruction costs in branches of exactly N faults, without faults being 1. \
               Branches are counted for 20 s, or as --seconds says.",
        answer: Answer::Test(target::EXAMPLE),
    },
    Verb {
        name: "replay",
        usage: "FILE.chaosbundle | [-p PACKAGE] [--test TARGET] ID|FILE|NAME",
        help: "Runs a saved failure again and prints its report: from a bundle anywhere and without a build, else \
               the one with this id, in this regression file or of this test; \
               fails if it does not show the recorded failure.",
        answer: Answer::Here(saved::replay),
    },
    Verb {
        name: "reproduce",
        usage: "[-p PACKAGE] [--test TARGET] [NAME]",
        help: "Runs all saved failures of a test, or of all tests, again, says of each whether it still fails and where \
               its run first differs, and fails if one does not.",
        answer: Answer::Here(saved::reproduce),
    },
    Verb {
        name: "minimize",
        usage: "[-p PACKAGE] [--test TARGET] ID|FILE|NAME [--runs N] [--instructions N]",
        help: "Shrinks a saved failure further, with at most N runs (1000) and N guest instructions, and saves the \
               smaller one in its place; Ctrl-C keeps the best so far.",
        answer: Answer::Here(saved::minimize),
    },
    Verb {
        name: "zoo",
        usage: "[-p PACKAGE] [--test TARGET] [--bug NAME] [--strategy NAME] [--seeds A..B] [--budget N] [--no-shrink] [--json]",
        help: "Looks for the bugs of all should_panic tests with each strategy (random, snapshots, guided, hybrid) and \
               seed, for at most N guest instructions each (5G), and prints what finding them took and, without \
               --no-shrink, how few faults show them; what was run before is taken from its results.",
        answer: Answer::Test("raft"),
    },
];

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    // Cargo hands its subcommand's name on.
    if arguments.first().is_some_and(|a| a == "chaos") {
        arguments.remove(0);
    }
    let Some(name) = arguments.first().cloned() else {
        print!("{}", help());
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let rest = &arguments[1..];
    let result = match VERBS.iter().find(|verb| verb.name == name) {
        None => Err(format!("there is no verb `{name}`\n\n{}", help())),
        Some(verb) if rest.iter().any(|a| a == "--help" || a == "-h") => {
            println!("cargo chaos {} {}\n\n{}", verb.name, verb.usage, verb.help);
            return ExitCode::SUCCESS;
        }
        Some(Verb {
            answer: Answer::Here(answer),
            ..
        }) => answer(rest),
        Some(Verb {
            name,
            answer: Answer::Test(example),
            ..
        }) => Target::parse(rest).and_then(|target| target.run(name, example)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}

fn help() -> String {
    let mut text = String::from(
        "Deterministic simulation testing on real Linux VMs.\n\nUsage: cargo chaos <verb>\n\n",
    );
    for verb in &VERBS {
        text.push_str(&format!(
            "  {:<9} {}\n            {}\n",
            verb.name, verb.usage, verb.help
        ));
    }
    text
}
