//! Which instructions a program can execute on hardware although the guest's CPU does not
//! offer them.
//!
//! What needs a bit of CR4 that stays clear is not among them: neither AVX nor XGETBV
//! without OSXSAVE, nor RDFSBASE without FSGSBASE, nor RDTSC in ring 3 under TSD. Nor is
//! what every KVM that the engine accepts intercepts: RDTSCP, RDPMC, RDPRU, MWAIT, TPAUSE.

use std::sync::LazyLock;

use iced_x86::{Code, CpuidFeature, EncodingKind, Mnemonic};

/// What an instruction does to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Its outcome comes from the host: two runs differ.
    Host,
    /// Its outcome is the same wherever it executes, and it executes on some hosts only.
    Beyond,
}

/// An instruction, or all of an extension.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// What manuals call it.
    pub name: &'static str,
    /// What it does to a run.
    pub class: Class,
    /// What a program gets from it.
    pub yields: &'static str,
    feature: CpuidFeature,
    /// Only these of the feature's instructions; all if there are none.
    only: &'static [Mnemonic],
}

const fn host(name: &'static str, yields: &'static str, feature: CpuidFeature) -> Kind {
    Kind {
        name,
        class: Class::Host,
        yields,
        feature,
        only: &[],
    }
}

const fn beyond(name: &'static str, feature: CpuidFeature) -> Kind {
    Kind {
        name,
        class: Class::Beyond,
        yields: "an extension that not every host has",
        feature,
        only: &[],
    }
}

/// All kinds; an instruction is of the first that fits.
pub static KINDS: [Kind; 26] = [
    host("RDRAND", "the host's random numbers", CpuidFeature::RDRAND),
    host("RDSEED", "the host's random numbers", CpuidFeature::RDSEED),
    host(
        "XSTORE",
        "the host's random numbers",
        CpuidFeature::PADLOCK_RNG,
    ),
    Kind {
        only: &[Mnemonic::Xbegin],
        ..host(
            "XBEGIN",
            "transactions that the host's interrupts abort",
            CpuidFeature::RTM,
        )
    },
    Kind {
        only: &[Mnemonic::Tzcnt],
        yields: "what BSF yields, but for an operand of 0",
        ..beyond("TZCNT", CpuidFeature::BMI1)
    },
    beyond("ADX", CpuidFeature::ADX),
    beyond("AES-NI", CpuidFeature::AES),
    beyond("BMI1", CpuidFeature::BMI1),
    beyond("BMI2", CpuidFeature::BMI2),
    beyond("CLFLUSHOPT", CpuidFeature::CLFLUSHOPT),
    beyond("CLWB", CpuidFeature::CLWB),
    beyond("CLZERO", CpuidFeature::CLZERO),
    beyond("CMPCCXADD", CpuidFeature::CMPCCXADD),
    beyond("GFNI", CpuidFeature::GFNI),
    beyond("LZCNT", CpuidFeature::LZCNT),
    beyond("MOVBE", CpuidFeature::MOVBE),
    beyond("MOVDIR64B", CpuidFeature::MOVDIR64B),
    beyond("MOVDIRI", CpuidFeature::MOVDIRI),
    beyond("PCLMULQDQ", CpuidFeature::PCLMULQDQ),
    beyond("RDPID", CpuidFeature::RDPID),
    beyond("RTM", CpuidFeature::RTM),
    beyond("SERIALIZE", CpuidFeature::SERIALIZE),
    beyond("SHA", CpuidFeature::SHA),
    beyond("SSE4A", CpuidFeature::SSE4A),
    beyond("TBM", CpuidFeature::TBM),
    beyond("XTEST", CpuidFeature::HLE_or_RTM),
];

/// For each code its place in [`KINDS`], plus 1; 0 for all that hardware withholds or the
/// guest's CPU has.
static BY_CODE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    Code::values()
        .map(|code| {
            let features = code.cpuid_features();
            let withheld = features.contains(&CpuidFeature::AVX)
                || matches!(code.encoding(), EncodingKind::EVEX | EncodingKind::MVEX);
            let fits = |kind: &Kind| {
                features.contains(&kind.feature)
                    && (kind.only.is_empty() || kind.only.contains(&code.mnemonic()))
                    && !withheld
            };
            let at = KINDS.iter().position(fits);
            at.map_or(0, |at| at as u8 + 1)
        })
        .collect()
});

/// The places of codes in [`KINDS`].
pub struct Kinds(&'static [u8]);

impl Kinds {
    /// Makes the table at its first use.
    pub fn new() -> Kinds {
        Kinds(&BY_CODE)
    }

    /// Where in [`KINDS`] the instruction is found, if it is of any kind.
    #[inline(always)]
    pub fn of(&self, code: Code) -> Option<usize> {
        match self.0[code as usize] {
            0 => None,
            at => Some(usize::from(at) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::*;

    fn kind(bytes: &[u8]) -> Option<&'static str> {
        let code = Decoder::new(64, bytes, DecoderOptions::NONE)
            .decode()
            .code();
        assert_ne!(code, Code::INVALID, "{bytes:x?}");
        Kinds::new().of(code).map(|at| KINDS[at].name)
    }

    #[test]
    fn instructions_are_what_hardware_makes_of_them() {
        let cases: [(&[u8], Option<&str>); 25] = [
            (&[0x0F, 0xC7, 0xF0], Some("RDRAND")),
            (&[0x48, 0x0F, 0xC7, 0xFA], Some("RDSEED")),
            (&[0xC7, 0xF8, 0, 0, 0, 0], Some("XBEGIN")),
            (&[0x0F, 0x01, 0xD5], Some("RTM")),
            (&[0x0F, 0x01, 0xD6], Some("XTEST")),
            (&[0xF3, 0x0F, 0xBC, 0xC0], Some("TZCNT")),
            (&[0xF3, 0x0F, 0xBD, 0xC0], Some("LZCNT")),
            (&[0xC4, 0xE2, 0x70, 0xF2, 0xC0], Some("BMI1")),
            (&[0xC4, 0xE2, 0x70, 0xF5, 0xC0], Some("BMI2")),
            (&[0x0F, 0x38, 0xF0, 0x00], Some("MOVBE")),
            (&[0x66, 0x0F, 0x38, 0xF6, 0xC0], Some("ADX")),
            (&[0x66, 0x0F, 0x38, 0xDC, 0xC0], Some("AES-NI")),
            (&[0x0F, 0x38, 0xC8, 0xC0], Some("SHA")),
            (&[0xF3, 0x0F, 0xC7, 0xF8], Some("RDPID")),
            // The same with AVX.
            (&[0xC4, 0xE2, 0x79, 0xDC, 0xC0], None),
            (&[0xC5, 0xF8, 0x77], None),
            // XGETBV and XSAVE, RDFSBASE.
            (&[0x0F, 0x01, 0xD0], None),
            (&[0x0F, 0xAE, 0x20], None),
            (&[0xF3, 0x0F, 0xAE, 0xC0], None),
            // RDTSC, RDTSCP, RDPMC, RDPRU.
            (&[0x0F, 0x31], None),
            (&[0x0F, 0x01, 0xF9], None),
            (&[0x0F, 0x33], None),
            (&[0x0F, 0x01, 0xFD], None),
            // POPCNT and CRC32 are part of the model.
            (&[0xF3, 0x0F, 0xB8, 0xC0], None),
            (&[0xF2, 0x0F, 0x38, 0xF0, 0xC0], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(kind(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn every_kind_has_instructions() {
        let kinds = Kinds::new();
        for (at, kind) in KINDS.iter().enumerate() {
            let met = Code::values().any(|code| kinds.of(code) == Some(at));
            assert!(met, "{}", kind.name);
        }
    }
}
