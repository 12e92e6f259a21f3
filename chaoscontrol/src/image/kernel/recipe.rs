//! What the default guest kernel is made from.

use xxhash_rust::xxh3::xxh3_64;

/// Source packages to try, best first.
pub const SOURCES: [&str; 2] = ["linux-source-6.12", "linux-source-6.1"];

/// Goes on top of `make tinyconfig`.
pub const CONFIG: &str = include_str!("lean.config");

/// Exact replacements in the source tree: file, what stands there, what is to stand there.
/// Three make forced symbols choosable. The last lets an idle machine sleep for as long as
/// the PIT can count, twice of what the driver dares.
pub const PATCHES: [(&str, &str, &str); 4] = [
    (
        "arch/x86/Kconfig",
        "bool \"Enable MPS table\" if ACPI",
        "bool \"Enable MPS table\"",
    ),
    (
        "arch/x86/Kconfig.cpu",
        "config X86_TSC\n\tdef_bool y",
        "config X86_TSC\n\tbool \"Unconditional TSC use\" if EXPERT\n\tdefault y",
    ),
    (
        "drivers/acpi/Kconfig",
        "depends on X86 && (ACPI || JAILHOUSE_GUEST)",
        "depends on X86",
    ),
    (
        "drivers/clocksource/i8253.c",
        "0xF, 0x7FFF);",
        "0xF, 0xFFFF);",
    ),
];

/// Lines without which the result is not the machine's kernel; Kconfig drops what it
/// finds inconsistent without a word.
pub const REQUIRED: [&str; 8] = [
    "# CONFIG_X86_TSC is not set",
    "CONFIG_X86_PM_TIMER=y",
    "CONFIG_X86_IOPL_IOPERM=y",
    "CONFIG_SERIAL_8250_CONSOLE=y",
    "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y",
    "CONFIG_VIRTIO_NET=y",
    "CONFIG_VIRTIO_CONSOLE=y",
    "CONFIG_HW_RANDOM_VIRTIO=y",
];

/// Build variables without which two builds differ.
pub const FIXED: [(&str, &str); 5] = [
    ("KBUILD_BUILD_TIMESTAMP", "2025-01-01"),
    ("KBUILD_BUILD_USER", "chaos"),
    ("KBUILD_BUILD_HOST", "control"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LC_ALL", "C"),
];

/// Names the recipe: another recipe is another kernel.
pub fn key() -> u64 {
    let mut text = String::from(CONFIG);
    for (file, from, to) in PATCHES {
        text.push_str(file);
        text.push_str(from);
        text.push_str(to);
    }
    for part in SOURCES
        .iter()
        .chain(FIXED.iter().flat_map(|(name, value)| [name, value]))
    {
        text.push_str(part);
    }
    xxh3_64(text.as_bytes())
}
