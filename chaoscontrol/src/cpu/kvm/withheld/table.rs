//! The table.

use crate::cpu::bits::CR4_TSD;
use crate::cpu::soft::testing::{DATA, GDT};

/// What an instruction yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// This exception: withheld.
    Fault(u64),
    /// The machine's own clock.
    Caller,
    /// Always these RAX and RDX.
    Value(u64, u64),
    /// It retires and changes neither RAX nor RDX.
    Nothing,
    /// What the CPU's identity says of the leaf.
    Identity,
    /// The host's time or randomness: not withheld.
    Host,
}

use Yields::{Caller, Fault, Host, Identity, Nothing, Value};

const UD: Yields = Fault(6);
const GP: Yields = Fault(13);

/// An instruction and what it yields, on `kvm` by the host's vendor. Of several the first is
/// what a current host with all extensions does, the others what older or other hosts do.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// Its bytes.
    pub code: &'static [u8],
    /// The ring that executes it.
    pub ring: u8,
    /// Bits to set in CR4.
    pub cr4: u64,
    /// RAX before it.
    pub rax: u64,
    /// RBX before it.
    pub rbx: u64,
    /// RCX before it.
    pub rcx: u64,
    /// RDX before it.
    pub rdx: u64,
    /// On `soft`.
    pub soft: &'static [Yields],
    /// On `kvm`, AMD's virtualization.
    pub amd: &'static [Yields],
    /// On `kvm`, Intel's.
    pub intel: &'static [Yields],
    /// On `kvm`, AMD's as QEMU emulates it, which knows no intercept for some.
    pub qemu: &'static [Yields],
}

/// RAX and RDX before an instruction that does not read them.
const BEFORE: (u64, u64) = (0x5A5A_0001, 0x5A5A_0002);

type Column = &'static [Yields];

fn row(ring: u8, name: &str, code: &'static [u8], columns: [Column; 3]) -> Row {
    let [soft, amd, intel] = columns;
    Row {
        name: format!("{name} in ring {ring}"),
        code,
        ring,
        cr4: 0,
        rax: BEFORE.0,
        rbx: DATA,
        rcx: 0,
        rdx: BEFORE.1,
        soft,
        amd,
        intel,
        qemu: amd,
    }
}

/// Withheld by both engines.
fn no(ring: u8, name: &str, code: &'static [u8], with: Column) -> Row {
    row(ring, name, code, [with; 3])
}

/// RDRAND and its like, which AMD's virtualization does not intercept.
#[rustfmt::skip]
fn random() -> Vec<Row> {
    const COLUMNS: [Column; 3] = [&[UD], &[Host, UD], &[UD]];
    vec![
        row(3, "RDRAND", &[0x48, 0x0F, 0xC7, 0xF0], COLUMNS),
        row(3, "RDSEED", &[0x48, 0x0F, 0xC7, 0xF8], COLUMNS),
        row(0, "RDRAND", &[0x48, 0x0F, 0xC7, 0xF0], COLUMNS),
        row(0, "RDSEED", &[0x48, 0x0F, 0xC7, 0xF8], COLUMNS),
    ]
}

/// The time-stamp counter and what else tells time or which processor it is.
#[rustfmt::skip]
fn time() -> Vec<Row> {
    const RDTSC: &[u8] = &[0x0F, 0x31];
    const RDTSCP: &[u8] = &[0x0F, 0x01, 0xF9];
    vec![
        // KVM never intercepts it: so the guest's kernel is built not to execute it, and
        // keeps TSD set.
        row(0, "RDTSC", RDTSC, [&[Caller], &[Host], &[Host]]),
        row(3, "RDTSC", RDTSC, [&[Caller], &[Host], &[Host]]),
        Row { cr4: CR4_TSD, ..no(3, "RDTSC under TSD", RDTSC, &[GP]) },
        Row { qemu: &[Host, UD], ..no(0, "RDTSCP", RDTSCP, &[UD]) },
        Row { qemu: &[Host, UD], ..no(3, "RDTSCP", RDTSCP, &[UD]) },
        Row { cr4: CR4_TSD, ..row(3, "RDTSCP under TSD", RDTSCP, [&[UD], &[UD, GP], &[UD]]) },
        // KVM on AMD has counters for every guest, which stand still.
        row(0, "RDPMC", &[0x0F, 0x33], [&[GP], &[GP, Value(0, 0)], &[GP]]),
        no(3, "RDPMC", &[0x0F, 0x33], &[GP]),
        no(3, "RDPRU", &[0x0F, 0x01, 0xFD], &[UD]),
        // On AMD it reads TSC_AUX, which KVM keeps for the guest and which stays 0.
        row(3, "RDPID rax", &[0xF3, 0x0F, 0xC7, 0xF8], [&[UD], &[Value(0, BEFORE.1), UD], &[UD]]),
        // KVM's answers without a C-state: it goes on at once.
        row(0, "MONITOR", &[0x0F, 0x01, 0xC8], [&[UD], &[Nothing, UD], &[Nothing, UD]]),
        row(0, "MWAIT", &[0x0F, 0x01, 0xC9], [&[UD], &[Nothing, UD], &[Nothing, UD]]),
        no(3, "MONITOR", &[0x0F, 0x01, 0xC8], &[UD]),
        no(3, "MWAIT", &[0x0F, 0x01, 0xC9], &[UD]),
        row(3, "MONITORX", &[0x0F, 0x01, 0xFA], [&[UD], &[Nothing, UD], &[UD]]),
        row(3, "MWAITX", &[0x0F, 0x01, 0xFB], [&[UD], &[Nothing, UD], &[UD]]),
        Row { qemu: &[Nothing, UD], ..no(3, "UMONITOR", &[0xF3, 0x0F, 0xAE, 0xF0], &[UD]) },
        Row { qemu: &[Nothing, UD], ..no(3, "UMWAIT", &[0xF2, 0x0F, 0xAE, 0xF1], &[UD]) },
        Row { qemu: &[Nothing, UD], ..no(3, "TPAUSE", &[0x66, 0x0F, 0xAE, 0xF1], &[UD]) },
        // A transaction that the host's interrupts abort; an abort puts its reason in EAX.
        Row { qemu: &[Host, UD], ..row(3, "XBEGIN", &[0xC7, 0xF8, 0, 0, 0, 0], [&[UD], &[UD], &[Host, UD]]) },
        // Hypercall 9 asks KVM for the host's clock; only ring 0 may. KVM takes the other
        // vendor's instruction for its own, in ring 0.
        hypercall(0, "VMMCALL", &[0x0F, 0x01, 0xD9], [&[UD], &[Host], &[Host, UD]]),
        hypercall(3, "VMMCALL", &[0x0F, 0x01, 0xD9], [&[UD], &[REFUSED], &[GP, UD]]),
        hypercall(0, "VMCALL", &[0x0F, 0x01, 0xC1], [&[UD], &[Host, UD], &[Host]]),
        hypercall(3, "VMCALL", &[0x0F, 0x01, 0xC1], [&[UD], &[GP, UD], &[REFUSED]]),
    ]
}

/// KVM's answer to hypercalls of ring 3.
const REFUSED: Yields = Value(!0, BEFORE.1);

fn hypercall(ring: u8, name: &str, code: &'static [u8], columns: [Column; 3]) -> Row {
    Row {
        rax: 9,
        ..row(ring, name, code, columns)
    }
}

/// What tells of the processor, or would open more of it.
#[rustfmt::skip]
fn identity() -> Vec<Row> {
    // PG, WP, NE, ET, MP, PE.
    const CR0: u64 = 0x8001_0033;
    let mut rows = vec![
        no(3, "XGETBV", &[0x0F, 0x01, 0xD0], &[UD]),
        // QEMU asks KVM before it looks at OSXSAVE, and KVM refuses what CPUID does not offer.
        Row { qemu: &[GP, UD], ..no(0, "XSETBV", &[0x0F, 0x01, 0xD1], &[UD]) },
        // PAE, OSFXSR, OSXMMEXCPT, OSXSAVE.
        Row { rax: 0x4_0620, ..no(0, "MOV cr4, rax with OSXSAVE", &[0x0F, 0x22, 0xE0], &[GP]) },
        no(3, "RDPKRU", &[0x0F, 0x01, 0xEE], &[UD]),
        no(3, "RDFSBASE rax", &[0xF3, 0x48, 0x0F, 0xAE, 0xC0], &[UD]),
        no(3, "VZEROUPPER", &[0xC5, 0xF8, 0x77], &[UD]),
        // Without UMIP ring 3 sees the guest's own registers.
        no(3, "SMSW eax", &[0x0F, 0x01, 0xE0], &[Value(CR0, BEFORE.1)]),
        no(3, "SLDT eax", &[0x0F, 0x00, 0xC0], &[Value(0, BEFORE.1)]),
        no(3, "STR eax", &[0x0F, 0x00, 0xC8], &[Value(0x28, BEFORE.1)]),
        // And `mov rax, [rsp - 14]`.
        no(3, "SGDT [rsp - 16]", &[0x0F, 0x01, 0x44, 0x24, 0xF0, 0x48, 0x8B, 0x44, 0x24, 0xF2], &[Value(GDT, BEFORE.1)]),
    ];
    // Leaves with local APIC numbers, clock frequencies, and KVM's own.
    let leaves = [
        (1, 0), (6, 0), (7, 0), (0xA, 0), (0xB, 0), (0xB, 1), (0xD, 1), (0x15, 0), (0x16, 0), (0x1F, 0),
        (0x4000_0000, 0), (0x4000_0001, 0), (0x4000_0010, 0), (0x8000_0007, 0), (0x8000_0008, 0), (0x8000_001E, 0),
    ];
    rows.extend(leaves.map(|(leaf, subleaf)| cpuid(leaf, subleaf)));
    rows
}

fn cpuid(leaf: u64, subleaf: u64) -> Row {
    Row {
        rax: leaf,
        rcx: subleaf,
        ..no(
            3,
            &format!("CPUID {leaf:#x}, {subleaf}"),
            &[0x0F, 0xA2],
            &[Identity],
        )
    }
}

/// Model-specific registers; the filter leaves all of them to us.
#[rustfmt::skip]
const REGISTERS: [(u64, &str); 45] = [
    (0x11, "kvmclock's wall clock, old"), (0x12, "kvmclock, old"),
    (0x17, "platform id"), (0x34, "SMI count"), (0x3B, "TSC_ADJUST"),
    (0xC1, "PMC 0"), (0xC8, "PMC 7"), (0xCE, "platform info"), (0xCD, "FSB frequency"),
    (0xE1, "UMWAIT_CONTROL"), (0xE7, "MPERF"), (0xE8, "APERF"),
    (0x198, "PERF_STATUS"), (0x19C, "thermal status"), (0x1A2, "temperature target"), (0x1B1, "package thermal status"),
    (0x2A, "power-on configuration"), (0x309, "fixed PMC 0"), (0x30A, "fixed PMC 1"), (0x30B, "fixed PMC 2"),
    (0x38D, "fixed PMC control"), (0x3F8, "package C3 residency"), (0x60D, "package C2 residency"),
    (0x606, "RAPL unit"), (0x611, "RAPL package energy"), (0x619, "RAPL DRAM energy"), (0x639, "RAPL core energy"), (0x641, "RAPL graphics energy"),
    (0x64D, "platform energy"), (0x6E0, "TSC_DEADLINE"), (0x832, "x2APIC timer"), (0x839, "x2APIC current count"),
    (0x4000_0010, "Hyper-V VP runtime"), (0x4000_0020, "Hyper-V reference time"), (0x4000_0021, "Hyper-V reference page"), (0x4000_0022, "Hyper-V TSC frequency"),
    (0x4B56_4D00, "kvmclock's wall clock"), (0x4B56_4D01, "kvmclock"), (0x4B56_4D03, "KVM's stolen time"),
    (0xC000_0103, "TSC_AUX"), (0xC000_0104, "TSC ratio"), (0xC001_0004, "PMC 0 of AMD"), (0xC001_0201, "core PMC 0 of AMD"),
    (0xC001_0299, "RAPL unit of AMD"), (0xC001_029B, "RAPL package energy of AMD"),
];

/// Accesses to model-specific registers.
pub fn registers() -> Vec<Row> {
    const RDMSR: &[u8] = &[0x0F, 0x32];
    const WRMSR: &[u8] = &[0x0F, 0x30];
    let read = |number, name: &str, with| Row {
        rcx: number,
        ..no(0, &format!("RDMSR {number:#x}, {name},"), RDMSR, with)
    };
    let mut rows = vec![
        read(0x10, "TSC", &[Caller]),
        Row {
            rcx: 0x10,
            ..no(0, "WRMSR 0x10, TSC,", WRMSR, &[GP])
        },
        Row {
            rcx: 0x10,
            ..no(3, "RDMSR 0x10, TSC,", RDMSR, &[GP])
        },
    ];
    rows.extend(REGISTERS.map(|(number, name)| read(number, name, &[GP])));
    rows
}

/// All rows that are no registers.
pub fn instructions() -> Vec<Row> {
    [random(), time(), identity()].concat()
}
