//! The `#[chaos_test]` attribute.
//!
//! Three steps, so that one compilation reports everything that is wrong: `parse` splits
//! the attribute into keys and values, `value` and `validate` turn those into a checked
//! model, `generate` writes the test case down.

mod crate_path;
mod function;
mod generate;
mod keys;
mod number;
mod parse;
mod suggest;
mod validate;
mod value;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Marks a function that runs inside every VM of a chaos test.
///
/// The function takes the `Node` it runs on, is `fn` or `async fn` (on the crate's own
/// tokio), and returns `()` or a `Result<(), E>` with `E: Debug`. `#[ignore]`,
/// `#[should_panic(expected = "...")]`, `#[cfg]` and doc comments keep their meaning.
///
/// | key | value | meaning |
/// |---|---|---|
/// | `vms` | 1..=16 | all VMs |
/// | `clients` | below `vms` | how many of them, from the end, are clients |
/// | `rounds` | from 1 | rounds of exploration |
/// | `branches` | 1..=4096 | branches a round |
/// | `duration` | time | how long faults are applied, virtual |
/// | `quiet` | time | the period without faults after that, virtual |
/// | `seed` | number | the master seed |
/// | `mode` | `"faults"`, `"inputs"`, `"hybrid"` | what the search varies: faults (the default), what guests are answered when they call `random_choice` and `get_random` (no faults then), or both |
/// | `faults` | `["partition", "kill", "kill clients", ..]` | the faults that may be drawn; `[]`: none. Those of the network reach all VMs, others servers, or with ` clients` behind the name clients |
/// | `preset` | `"bridge"`, `["isolate-one", ..]` | plans that fresh schedules follow; without `faults`, the search varies only the faults that these consist of |
/// | `tolerance` | `"down: minority"`, `["down: 1", "disk: none", ..]` | what the system promises to survive, as how many servers may suffer at once (a number, `none`, `minority`, `all but one`) from a fault, a class of faults, or being `down`; the search stays inside it |
/// | `schedule` | `"file.toml"` or `fn() -> FaultSchedule` | one fixed schedule, no exploration |
/// | `require` | `["message", ..]` | properties that must be met |
/// | `memory` | `"128M"` | memory of a VM |
/// | `binaries` | `[env!("CARGO_BIN_EXE_x"), "/usr/bin/y"]` | programs to pack with their libraries, for `node.command("x")`; those of the system keep their path, others go to `/usr/local/bin` |
/// | `disk` | `"64M"`, `"path.img"` | a disk for each VM, mounted at `node.data_dir()`: an empty ext4 file system, 4M to 64G, or an image in the package, which is never written to; `"none"` where the package has one for all tests |
/// | `packages` | `["redis-server", ..]` | packages of the distribution that absolute paths of `binaries` and `files` come from where this machine does not have them; fetched once, not installed |
/// | `files` | `["tests/data", ..]` | files and folders to pack: one of the package keeps its path below the package's folder, from the root on, where bodies start; an absolute one keeps its own |
/// | `kernel` | `"path/vmlinux"`, `"kcov"` | the guest kernel, or a variant of ours |
/// | `engine` | `"soft"`, `"kvm"`, `"auto"` | what executes the guests' code: the software CPU (the default), the host's through KVM, or whichever a probe finds better |
/// | `epoch` | `"2026-01-01"` or seconds | wall time at boot |
/// | `instruction_ns` | 1..=1000 | virtual nanoseconds of an instruction |
/// | `must_finish` | `true`, `false` | whether a body that still runs at the end fails |
/// | `force_setup_complete` | time | when the setup counts as complete, whoever has said so, from the start of the VMs, virtual; for bodies that do not call `setup_complete` |
/// | `stall` | time | silence of all VMs that fails the test, virtual |
/// | `wall_limit` | time | ends the exploration, as a failure, in host time |
/// | `check` | path of a `fn(&Run) -> Result<(), E>` | judges each branch on the host, after its end: `Err` or a panic fails the branch. `E` is `Display` |
/// | `crate` | path | where the `chaoscontrol` crate is, if it was renamed |
///
/// A time is a string with a unit (`"500ms"`, `"10s"`, `"2min"`) or a number of seconds,
/// a day at most; `stall`, `wall_limit` and `force_setup_complete` of 0 are never.
#[proc_macro_attribute]
pub fn chaos_test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as syn::ItemFn);
    let lines = (
        function.sig.fn_token.span.unwrap().line(),
        function
            .block
            .brace_token
            .span
            .close()
            .unwrap()
            .end()
            .line(),
    );
    expand(arguments.into(), function, lines).into()
}

/// Makes the `#[test]` functions of a file with chaos tests run on the host, beside them:
/// write `use chaoscontrol::test;`.
///
/// Such a file brings its own harness, which does not know the standard `#[test]`. The
/// function takes nothing and returns `()` or a `Result<(), E>` with `E: Debug`;
/// `#[ignore]`, `#[should_panic]` and `#[cfg]` keep their meaning.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as syn::ItemFn);
    let mut errors = Errors::default();
    if !arguments.is_empty() {
        let arguments = proc_macro2::TokenStream::from(arguments);
        errors.push(syn::Error::new_spanned(
            arguments,
            "#[test] takes no arguments",
        ));
    }
    let test = function::examine_host(function, &mut errors);
    match errors.0 {
        None => generate::host_test(&crate_path::find(), &test).into(),
        Some(error) => generate::failure(&error, &test).into(),
    }
}

fn expand(
    arguments: proc_macro2::TokenStream,
    function: syn::ItemFn,
    lines: (usize, usize),
) -> proc_macro2::TokenStream {
    let mut errors = Errors::default();
    let entries = parse::parse(arguments, &mut errors);
    let attributes = validate::validate(entries, &mut errors);
    let test = function::examine(function, &mut errors);
    match errors.0 {
        None => generate::test(&attributes, &test, lines),
        Some(error) => generate::failure(&error, &test),
    }
}

/// All that is wrong, to be reported together.
#[derive(Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            none => *none = Some(error),
        }
    }

    /// Takes note of an error and goes on without the value.
    fn note<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }
}
