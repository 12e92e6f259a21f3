//! What the default guest kernel is made from.

use xxhash_rust::xxh3::xxh3_64;

/// Source packages to try, best first.
pub const SOURCES: [&str; 2] = ["linux-source-6.12", "linux-source-6.1"];

/// Goes on top of `make tinyconfig`.
pub const CONFIG: &str = include_str!("lean.config");

/// Files of our own, and where they go in the source tree.
pub const FILES: [(&str, &str); 1] =
    [("arch/x86/kernel/user_rdtsc.c", include_str!("user_rdtsc.c"))];

/// Exact replacements in the source tree: file, what stands there, what is to stand there.
pub const PATCHES: [(&str, &str, &str); 10] = [
    // Three that make forced symbols choosable.
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
    // An idle machine sleeps for as long as the PIT can count, twice of what the driver dares.
    (
        "drivers/clocksource/i8253.c",
        "0xF, 0x7FFF);",
        "0xF, 0xFFFF);",
    ),
    // CR4.TSD is set by each CPU that comes up, and stays; the flag of a task that wants
    // SIGSEGV only decides what the #GP of an RDTSC comes to.
    (
        "arch/x86/kernel/cpu/common.c",
        "cr4_clear_bits(X86_CR4_VME|X86_CR4_PVI|X86_CR4_TSD|X86_CR4_DE);",
        "cr4_clear_bits(X86_CR4_VME|X86_CR4_PVI|X86_CR4_DE);\n\n\tcr4_set_bits(X86_CR4_TSD);",
    ),
    (
        "arch/x86/kernel/process.c",
        "cr4_clear_bits(X86_CR4_TSD);",
        "barrier();",
    ),
    (
        "arch/x86/kernel/process.c",
        "\tif ((tifp ^ tifn) & _TIF_NOTSC)\n\t\tcr4_toggle_bits_irqsoff(X86_CR4_TSD);\n\n",
        "",
    ),
    (
        "arch/x86/kernel/traps.c",
        "static bool fixup_iopl_exception(struct pt_regs *regs)\n{",
        "bool fixup_user_rdtsc(struct pt_regs *regs);\n\nstatic bool fixup_iopl_exception(struct pt_regs *regs)\n{",
    ),
    (
        "arch/x86/kernel/traps.c",
        "\t\tif (fixup_iopl_exception(regs))",
        "\t\tif (fixup_user_rdtsc(regs) || fixup_iopl_exception(regs))",
    ),
    (
        "arch/x86/kernel/Makefile",
        "obj-y\t\t\t+= time.o ",
        "obj-y\t\t\t+= user_rdtsc.o time.o ",
    ),
];

/// Lines without which the result is not the machine's kernel; Kconfig drops what it
/// finds inconsistent without a word.
pub const REQUIRED: [&str; 10] = [
    "# CONFIG_X86_TSC is not set",
    "CONFIG_X86_PM_TIMER=y",
    "CONFIG_X86_IOPL_IOPERM=y",
    "CONFIG_SERIAL_8250_CONSOLE=y",
    "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y",
    "CONFIG_VIRTIO_NET=y",
    "CONFIG_VIRTIO_CONSOLE=y",
    "CONFIG_HW_RANDOM_VIRTIO=y",
    "CONFIG_DEVMEM=y",
    "CONFIG_STRICT_DEVMEM=y",
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
    let files = FILES.iter().flat_map(|(path, content)| [path, content]);
    let fixed = FIXED.iter().flat_map(|(name, value)| [name, value]);
    for part in files.chain(&SOURCES).chain(fixed) {
        text.push_str(part);
    }
    xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_that_it_traps_rdtsc() {
        let mark = format!("[] __used = \"{}\";", crate::machine::TRAPS_RDTSC);
        assert!(FILES[0].1.contains(&mark));
    }
}
