//! Tells the library how it is being optimized, so that it can warn its user, and whether
//! the host it is built for can run the software CPU.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let level = env::var("OPT_LEVEL").unwrap_or_default();
    println!("cargo::rustc-env=CHAOSCONTROL_OPT_LEVEL={level}");
    println!("cargo::rustc-check-cfg=cfg(supported_host)");
    let is = |name, wanted| env::var(name).is_ok_and(|value| value == wanted);
    let x86_linux = is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_OS", "linux");
    // `--cfg chaos_unsupported_host` in RUSTFLAGS makes an x86-64 Linux host one of the
    // others, which is how CI looks at them.
    if x86_linux && env::var_os("CARGO_CFG_CHAOS_UNSUPPORTED_HOST").is_none() {
        println!("cargo::rustc-cfg=supported_host");
    }
}
