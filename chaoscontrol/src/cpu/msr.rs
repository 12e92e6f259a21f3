//! Which model-specific registers exist. All others give #GP, and the report names them.

use super::bits::{CR0_PG, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE};
use super::paging::canonical;
use super::state::{CpuState, seg};

/// What stands behind a register number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Msr {
    /// IA32_TIME_STAMP_COUNTER, read only.
    Tsc,
    /// IA32_APIC_BASE.
    ApicBase,
    /// IA32_SYSENTER_CS, ESP, EIP by index; without effect.
    Sysenter(u8),
    /// IA32_PAT.
    Pat,
    /// IA32_MISC_ENABLE.
    MiscEnable,
    /// IA32_EFER.
    Efer,
    /// IA32_STAR.
    Star,
    /// IA32_LSTAR.
    Lstar,
    /// IA32_CSTAR; without effect.
    Cstar,
    /// IA32_FMASK.
    Fmask,
    /// IA32_FS_BASE.
    FsBase,
    /// IA32_GS_BASE.
    GsBase,
    /// IA32_KERNEL_GS_BASE.
    KernelGsBase,
    /// Reads as this value; writes are ignored.
    Fixed(u64),
}

/// The registers, by number, in order.
const TABLE: &[(u32, Msr)] = &[
    (0x10, Msr::Tsc),
    (0x1B, Msr::ApicBase),
    // Microcode revision.
    (0x8B, Msr::Fixed(0x0800_1250)),
    (0x174, Msr::Sysenter(0)),
    (0x175, Msr::Sysenter(1)),
    (0x176, Msr::Sysenter(2)),
    // IA32_MCG_CAP and IA32_MCG_STATUS: no machine-check banks.
    (0x179, Msr::Fixed(0)),
    (0x17A, Msr::Fixed(0)),
    (0x1A0, Msr::MiscEnable),
    // IA32_DEBUGCTL.
    (0x1D9, Msr::Fixed(0)),
    (0x277, Msr::Pat),
    (0xC000_0080, Msr::Efer),
    (0xC000_0081, Msr::Star),
    (0xC000_0082, Msr::Lstar),
    (0xC000_0083, Msr::Cstar),
    (0xC000_0084, Msr::Fmask),
    (0xC000_0100, Msr::FsBase),
    (0xC000_0101, Msr::GsBase),
    (0xC000_0102, Msr::KernelGsBase),
    // AMD: SYSCFG, HWCR, NB_CFG, interrupt pending (no C1E).
    (0xC001_0010, Msr::Fixed(0)),
    (0xC001_0015, Msr::Fixed(0)),
    (0xC001_001F, Msr::Fixed(0)),
    (0xC001_0055, Msr::Fixed(0)),
    // AMD: LS_CFG, IC_CFG, DC_CFG, DE_CFG (LFENCE serializes), BU_CFG2.
    (0xC001_1020, Msr::Fixed(0)),
    (0xC001_1021, Msr::Fixed(0)),
    (0xC001_1022, Msr::Fixed(0)),
    (0xC001_1029, Msr::Fixed(2)),
    (0xC001_102A, Msr::Fixed(0)),
];

/// The register with this number, if there is one.
pub fn msr(number: u32) -> Option<Msr> {
    TABLE
        .binary_search_by_key(&number, |entry| entry.0)
        .ok()
        .map(|at| TABLE[at].1)
}

/// Whether the register is plain CPU state, which an access to it reads or writes and
/// nothing else; all others are ours to answer.
pub fn kept_by_the_cpu(number: u32) -> bool {
    let ours = |register| {
        matches!(
            register,
            Msr::Tsc | Msr::ApicBase | Msr::MiscEnable | Msr::Fixed(_)
        )
    };
    msr(number).is_some_and(|register| !ours(register))
}

/// A value that a register does not take: #GP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Msr {
    /// What RDMSR gives; 0 for the time-stamp counter, which is the caller's.
    pub fn read(self, s: &CpuState) -> u64 {
        match self {
            Msr::Tsc => 0,
            Msr::ApicBase => s.apic_base,
            Msr::Sysenter(n) => s.sysenter[n as usize],
            Msr::Pat => s.pat,
            Msr::MiscEnable => s.misc_enable,
            Msr::Efer => s.efer,
            Msr::Star => s.star,
            Msr::Lstar => s.lstar,
            Msr::Cstar => s.cstar,
            Msr::Fmask => s.fmask,
            Msr::FsBase => s.segs[seg::FS].base,
            Msr::GsBase => s.segs[seg::GS].base,
            Msr::KernelGsBase => s.kernel_gs_base,
            Msr::Fixed(value) => value,
        }
    }

    /// WRMSR.
    ///
    /// # Errors
    /// It does not take this value.
    pub fn write(self, s: &mut CpuState, value: u64) -> Result<(), Refused> {
        let address = || canonical(value).then_some(value).ok_or(Refused);
        match self {
            Msr::Tsc => return Err(Refused),
            Msr::ApicBase => s.apic_base = value,
            Msr::Sysenter(0) => s.sysenter[0] = value & 0xFFFF_FFFF,
            Msr::Sysenter(n) => s.sysenter[n as usize] = address()?,
            Msr::Pat => {
                let known = |kind| matches!(kind, 0 | 1 | 4 | 5 | 6 | 7);
                if !value.to_le_bytes().into_iter().all(known) {
                    return Err(Refused);
                }
                s.pat = value;
            }
            Msr::MiscEnable => s.misc_enable = value,
            Msr::Efer => {
                let known = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
                let leaves = (value ^ s.efer) & EFER_LME != 0 && s.cr0 & CR0_PG != 0;
                if value & !known != 0 || leaves {
                    return Err(Refused);
                }
                s.efer = value & !EFER_LMA | s.efer & EFER_LMA;
            }
            Msr::Star => s.star = value,
            Msr::Lstar => s.lstar = address()?,
            Msr::Cstar => s.cstar = address()?,
            Msr::Fmask => s.fmask = value & 0xFFFF_FFFF,
            Msr::FsBase => s.segs[seg::FS].base = address()?,
            Msr::GsBase => s.segs[seg::GS].base = address()?,
            Msr::KernelGsBase => s.kernel_gs_base = address()?,
            Msr::Fixed(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(msr(0xC000_0080), Some(Msr::Efer));
        assert_eq!(msr(0xC000_0103), None);
    }
}
