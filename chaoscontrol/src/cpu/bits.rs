//! Names of the bits of control registers, RFLAGS and EFER (SDM volume 3, 2.2 to 2.5).

/// CR0: protection.
pub const CR0_PE: u64 = 1;
/// CR0: WAIT looks at TS.
pub const CR0_MP: u64 = 1 << 1;
/// CR0: no floating point.
pub const CR0_EM: u64 = 1 << 2;
/// CR0: task switched.
pub const CR0_TS: u64 = 1 << 3;
/// CR0: always set.
pub const CR0_ET: u64 = 1 << 4;
/// CR0: floating-point errors raise #MF.
pub const CR0_NE: u64 = 1 << 5;
/// CR0: the supervisor honours read-only pages.
pub const CR0_WP: u64 = 1 << 16;
/// CR0: alignment checks (accepted, and without effect).
pub const CR0_AM: u64 = 1 << 18;
/// CR0: not write-through.
pub const CR0_NW: u64 = 1 << 29;
/// CR0: cache disable.
pub const CR0_CD: u64 = 1 << 30;
/// CR0: paging.
pub const CR0_PG: u64 = 1 << 31;
/// The bits of CR0 that exist.
pub const CR0_KNOWN: u64 = CR0_PE
    | CR0_MP
    | CR0_EM
    | CR0_TS
    | CR0_ET
    | CR0_NE
    | CR0_WP
    | CR0_AM
    | CR0_NW
    | CR0_CD
    | CR0_PG;

/// CR4: RDTSC faults in ring 3.
pub const CR4_TSD: u64 = 1 << 2;
/// CR4: debugging extensions.
pub const CR4_DE: u64 = 1 << 3;
/// CR4: physical address extension.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4: RDPMC in ring 3.
pub const CR4_PCE: u64 = 1 << 8;
/// CR4: SSE is there.
pub const CR4_OSFXSR: u64 = 1 << 9;
/// CR4: SSE errors raise #XM.
pub const CR4_OSXMMEXCPT: u64 = 1 << 10;
/// The bits of CR4 that exist: VME, PVI, TSD, DE, PSE, PAE, MCE, PGE, PCE, OSFXSR, OSXMMEXCPT.
pub const CR4_KNOWN: u64 = 0x7FF;

/// EFER: SYSCALL.
pub const EFER_SCE: u64 = 1;
/// EFER: long mode is asked for.
pub const EFER_LME: u64 = 1 << 8;
/// EFER: long mode is active.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER: no-execute pages.
pub const EFER_NXE: u64 = 1 << 11;

/// RFLAGS: single step.
pub const TF: u64 = 1 << 8;
/// RFLAGS: interrupts.
pub const IF: u64 = 1 << 9;
/// RFLAGS: string direction.
pub const DF: u64 = 1 << 10;
/// RFLAGS: I/O privilege level.
pub const IOPL: u64 = 3 << 12;
/// RFLAGS: nested task.
pub const NT: u64 = 1 << 14;
/// RFLAGS: resume.
pub const RF: u64 = 1 << 16;
/// RFLAGS: virtual 8086 mode.
pub const VM: u64 = 1 << 17;
/// RFLAGS: alignment check.
pub const AC: u64 = 1 << 18;
/// RFLAGS: CPUID exists.
pub const ID: u64 = 1 << 21;
