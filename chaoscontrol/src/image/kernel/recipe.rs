//! What the default guest kernel is made from.

use xxhash_rust::xxh3::xxh3_64;

/// Source packages to try, best first.
pub const SOURCES: [&str; 2] = ["linux-source-6.12", "linux-source-6.1"];

/// An exact replacement in the source tree: file, what stands there, what is to stand there.
pub type Patch = (&'static str, &'static str, &'static str);

/// One of the kernels that can be built here. A name stands for it wherever a kernel's file
/// may be named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// The default: small, and quick to boot.
    #[default]
    Lean,
    /// The same, counting its own edges, for engines that do not see its branches.
    Kcov,
}

impl Variant {
    /// All of them.
    pub const ALL: [Variant; 2] = [Variant::Lean, Variant::Kcov];

    /// `lean` or `kcov`.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Lean => "lean",
            Variant::Kcov => "kcov",
        }
    }

    /// The variant of this name.
    pub fn by_name(name: &str) -> Option<Variant> {
        Variant::ALL.into_iter().find(|v| v.name() == name)
    }

    /// Goes on top of `make tinyconfig`.
    pub fn config(self) -> String {
        match self {
            Variant::Lean => LEAN_CONFIG.to_owned(),
            Variant::Kcov => [LEAN_CONFIG, include_str!("kcov.config")].concat(),
        }
    }

    /// Replacements, in this order.
    pub fn patches(self) -> impl Iterator<Item = Patch> {
        LEAN_PATCHES.into_iter().chain(self.of_kcov(KCOV_PATCHES))
    }

    /// Files of our own: where they go in the source tree, and what they hold.
    pub fn files(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        LEAN_FILES.into_iter().chain(self.of_kcov(KCOV_FILES))
    }

    /// Lines without which the result is not this kernel; Kconfig drops what it finds
    /// inconsistent without a word.
    pub fn required(self) -> impl Iterator<Item = &'static str> {
        LEAN_REQUIRED.into_iter().chain(self.of_kcov(KCOV_REQUIRED))
    }

    fn of_kcov<T, const N: usize>(self, items: [T; N]) -> impl Iterator<Item = T> {
        items.into_iter().filter(move |_| self == Variant::Kcov)
    }

    /// Names the recipe: another recipe is another kernel.
    pub fn key(self) -> u64 {
        let mut text = self.config();
        let patches = self.patches().flat_map(|(file, from, to)| [file, from, to]);
        let files = self.files().flat_map(|(path, content)| [path, content]);
        let fixed = FIXED.into_iter().flat_map(|(name, value)| [name, value]);
        text.extend(patches.chain(files).chain(SOURCES).chain(fixed));
        xxh3_64(text.as_bytes())
    }
}

const LEAN_CONFIG: &str = include_str!("lean.config");

const LEAN_FILES: [(&str, &str); 1] =
    [("arch/x86/kernel/user_rdtsc.c", include_str!("user_rdtsc.c"))];

const KCOV_FILES: [(&str, &str); 1] = [("kernel/edges.c", include_str!("edges.c"))];

const LEAN_PATCHES: [Patch; 11] = [
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
    // Behind an STI and an instruction that jumps, QEMU's emulation sees a pending interrupt only
    // when something of the host's ends its loop; behind one that does not jump it looks at once.
    (
        "arch/x86/include/asm/irqflags.h",
        "asm volatile(\"sti\": : :\"memory\");",
        "asm volatile(\"sti; nop\": : :\"memory\");",
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

/// Its own function gives way to that of `edges.c`.
const KCOV_PATCHES: [Patch; 3] = [
    (
        "kernel/kcov.c",
        "void notrace __sanitizer_cov_trace_pc(void)\n{",
        "void kcov_trace_pc(void);\n\nvoid notrace kcov_trace_pc(void)\n{",
    ),
    (
        "kernel/kcov.c",
        "EXPORT_SYMBOL(__sanitizer_cov_trace_pc);\n",
        "",
    ),
    (
        "kernel/Makefile",
        "obj-$(CONFIG_KCOV) += kcov.o",
        "KCOV_INSTRUMENT_edges.o := n\nobj-$(CONFIG_KCOV) += kcov.o edges.o",
    ),
];

const LEAN_REQUIRED: [&str; 11] = [
    "# CONFIG_X86_TSC is not set",
    "CONFIG_X86_PM_TIMER=y",
    "CONFIG_X86_IOPL_IOPERM=y",
    "CONFIG_SERIAL_8250_CONSOLE=y",
    "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y",
    "CONFIG_VIRTIO_NET=y",
    "CONFIG_VIRTIO_CONSOLE=y",
    "CONFIG_HW_RANDOM_VIRTIO=y",
    "CONFIG_VIRTIO_BALLOON=y",
    "CONFIG_DEVMEM=y",
    "CONFIG_STRICT_DEVMEM=y",
];

const KCOV_REQUIRED: [&str; 2] = ["CONFIG_KCOV=y", "CONFIG_KCOV_INSTRUMENT_ALL=y"];

/// Build variables without which two builds differ.
pub const FIXED: [(&str, &str); 5] = [
    ("KBUILD_BUILD_TIMESTAMP", "2025-01-01"),
    ("KBUILD_BUILD_USER", "chaos"),
    ("KBUILD_BUILD_HOST", "control"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LC_ALL", "C"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_say_what_they_can_do() {
        use crate::machine::{COUNTS_EDGES, TRAPS_RDTSC};

        let says = |variant: Variant, mark: &str| {
            let line = format!("[] __used = \"{mark}\";");
            variant.files().any(|(_, content)| content.contains(&line))
        };
        for (variant, counts) in [(Variant::Lean, false), (Variant::Kcov, true)] {
            assert!(says(variant, TRAPS_RDTSC));
            assert_eq!(says(variant, COUNTS_EDGES), counts);
        }
    }

    #[test]
    fn variants_have_kernels_of_their_own() {
        assert_ne!(Variant::Lean.key(), Variant::Kcov.key());
        for variant in Variant::ALL {
            assert_eq!(Variant::by_name(variant.name()), Some(variant));
        }
        assert_eq!(Variant::by_name("kcov/vmlinux"), None);
    }
}
