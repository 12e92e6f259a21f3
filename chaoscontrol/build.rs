//! Tells the library how it is being optimized, so that it can warn its user.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let level = std::env::var("OPT_LEVEL").unwrap_or_default();
    println!("cargo::rustc-env=CHAOSCONTROL_OPT_LEVEL={level}");
}
