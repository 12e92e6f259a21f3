//! Deterministic simulation testing of distributed systems on real Linux VMs.

pub mod cluster;
pub mod cpu;
pub mod devices;
mod encoding;
pub mod explore;
pub mod fault;
pub mod harness;
pub mod image;
pub mod machine;
pub mod oracle;
pub mod prelude;
pub mod replay;

pub use chaoscontrol_guest as guest;
pub use chaoscontrol_macros::{chaos_test, test};

/// The `main` of a test target with chaos tests, which has `harness = false` in Cargo.toml.
///
/// The target's executable is the harness on the host and `/init` of the test VMs.
///
/// ```toml
/// [[test]]
/// name = "chaos"
/// harness = false
/// ```
///
/// With the standard harness instead there is one test, which fails and says what to add.
#[macro_export]
macro_rules! main {
    () => {
        fn main() -> ::std::process::ExitCode {
            $crate::harness::entry::main($crate::harness::entry::Package {
                manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
                name: ::core::env!("CARGO_PKG_NAME"),
                target: ::core::env!("CARGO_CRATE_NAME"),
            })
        }

        // Only the standard harness keeps functions with this attribute.
        #[::core::prelude::v1::test]
        fn chaos_tests_need_harness_false() {
            ::core::panic!(
                "{}",
                $crate::harness::entry::needs_harness_false(::core::env!("CARGO_CRATE_NAME"))
            );
        }
    };
}

/// Whether this library was compiled with optimization; without it everything works, and
/// takes twenty times as long.
pub fn optimized() -> bool {
    // Set by the build script from the profile's `opt-level`.
    env!("CHAOSCONTROL_OPT_LEVEL") != "0"
}

/// What the expansions of `#[chaos_test]` and `main!` need; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::explore::Mode;
    pub use crate::explore::simulation::Check;
    pub use crate::harness::disk::Disk;
    pub use crate::harness::engine::EngineChoice;
    pub use crate::harness::registry::{
        Attributes, HOST_TESTS, HostTest, Outcome, Schedule, TESTS, TestCase,
    };
    pub use crate::oracle::history::{Checked, Run};
    pub use chaoscontrol_guest::Node;
    pub use chaoscontrol_guest::agent::finished;
    pub use linkme;
}
