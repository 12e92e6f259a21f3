//! Lane-wise integer and logical instructions, each of which is the host's own.

use iced_x86::{Code, Instruction};

use crate::cpu::soft::op::{Handler, Op};

/// Rows of code, memory operand and mnemonic.
macro_rules! table {
    ($i:expr; $($code:ident $memory:ident $mnemonic:literal;)*) => {
        match $i.code() {
            $(Code::$code => binary!($i, $memory, host!($mnemonic)),)*
            _ => return shift($i),
        }
    };
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    Some(table! { i;
        Unpcklps_xmm_xmmm128 M128 "unpcklps";
        Unpcklpd_xmm_xmmm128 M128 "unpcklpd";
        Unpckhps_xmm_xmmm128 M128 "unpckhps";
        Unpckhpd_xmm_xmmm128 M128 "unpckhpd";
        Andps_xmm_xmmm128 M128 "andps";
        Andpd_xmm_xmmm128 M128 "andpd";
        Andnps_xmm_xmmm128 M128 "andnps";
        Andnpd_xmm_xmmm128 M128 "andnpd";
        Orps_xmm_xmmm128 M128 "orps";
        Orpd_xmm_xmmm128 M128 "orpd";
        Xorps_xmm_xmmm128 M128 "xorps";
        Xorpd_xmm_xmmm128 M128 "xorpd";
        Punpcklbw_xmm_xmmm128 M128 "punpcklbw";
        Punpcklwd_xmm_xmmm128 M128 "punpcklwd";
        Punpckldq_xmm_xmmm128 M128 "punpckldq";
        Packsswb_xmm_xmmm128 M128 "packsswb";
        Pcmpgtb_xmm_xmmm128 M128 "pcmpgtb";
        Pcmpgtw_xmm_xmmm128 M128 "pcmpgtw";
        Pcmpgtd_xmm_xmmm128 M128 "pcmpgtd";
        Packuswb_xmm_xmmm128 M128 "packuswb";
        Punpckhbw_xmm_xmmm128 M128 "punpckhbw";
        Punpckhwd_xmm_xmmm128 M128 "punpckhwd";
        Punpckhdq_xmm_xmmm128 M128 "punpckhdq";
        Packssdw_xmm_xmmm128 M128 "packssdw";
        Punpcklqdq_xmm_xmmm128 M128 "punpcklqdq";
        Punpckhqdq_xmm_xmmm128 M128 "punpckhqdq";
        Pcmpeqb_xmm_xmmm128 M128 "pcmpeqb";
        Pcmpeqw_xmm_xmmm128 M128 "pcmpeqw";
        Pcmpeqd_xmm_xmmm128 M128 "pcmpeqd";
        Psrlw_xmm_xmmm128 M128 "psrlw";
        Psrld_xmm_xmmm128 M128 "psrld";
        Psrlq_xmm_xmmm128 M128 "psrlq";
        Paddq_xmm_xmmm128 M128 "paddq";
        Pmullw_xmm_xmmm128 M128 "pmullw";
        Psubusb_xmm_xmmm128 M128 "psubusb";
        Psubusw_xmm_xmmm128 M128 "psubusw";
        Pminub_xmm_xmmm128 M128 "pminub";
        Pand_xmm_xmmm128 M128 "pand";
        Paddusb_xmm_xmmm128 M128 "paddusb";
        Paddusw_xmm_xmmm128 M128 "paddusw";
        Pmaxub_xmm_xmmm128 M128 "pmaxub";
        Pandn_xmm_xmmm128 M128 "pandn";
        Pavgb_xmm_xmmm128 M128 "pavgb";
        Psraw_xmm_xmmm128 M128 "psraw";
        Psrad_xmm_xmmm128 M128 "psrad";
        Pavgw_xmm_xmmm128 M128 "pavgw";
        Pmulhuw_xmm_xmmm128 M128 "pmulhuw";
        Pmulhw_xmm_xmmm128 M128 "pmulhw";
        Psubsb_xmm_xmmm128 M128 "psubsb";
        Psubsw_xmm_xmmm128 M128 "psubsw";
        Pminsw_xmm_xmmm128 M128 "pminsw";
        Por_xmm_xmmm128 M128 "por";
        Paddsb_xmm_xmmm128 M128 "paddsb";
        Paddsw_xmm_xmmm128 M128 "paddsw";
        Pmaxsw_xmm_xmmm128 M128 "pmaxsw";
        Pxor_xmm_xmmm128 M128 "pxor";
        Psllw_xmm_xmmm128 M128 "psllw";
        Pslld_xmm_xmmm128 M128 "pslld";
        Psllq_xmm_xmmm128 M128 "psllq";
        Pmuludq_xmm_xmmm128 M128 "pmuludq";
        Pmaddwd_xmm_xmmm128 M128 "pmaddwd";
        Psadbw_xmm_xmmm128 M128 "psadbw";
        Psubb_xmm_xmmm128 M128 "psubb";
        Psubw_xmm_xmmm128 M128 "psubw";
        Psubd_xmm_xmmm128 M128 "psubd";
        Psubq_xmm_xmmm128 M128 "psubq";
        Paddb_xmm_xmmm128 M128 "paddb";
        Paddw_xmm_xmmm128 M128 "paddw";
        Paddd_xmm_xmmm128 M128 "paddd";
        Pshufb_xmm_xmmm128 M128 "pshufb";
        Phaddw_xmm_xmmm128 M128 "phaddw";
        Phaddd_xmm_xmmm128 M128 "phaddd";
        Phaddsw_xmm_xmmm128 M128 "phaddsw";
        Pmaddubsw_xmm_xmmm128 M128 "pmaddubsw";
        Phsubw_xmm_xmmm128 M128 "phsubw";
        Phsubd_xmm_xmmm128 M128 "phsubd";
        Phsubsw_xmm_xmmm128 M128 "phsubsw";
        Psignb_xmm_xmmm128 M128 "psignb";
        Psignw_xmm_xmmm128 M128 "psignw";
        Psignd_xmm_xmmm128 M128 "psignd";
        Pmulhrsw_xmm_xmmm128 M128 "pmulhrsw";
        Pabsb_xmm_xmmm128 M128 "pabsb";
        Pabsw_xmm_xmmm128 M128 "pabsw";
        Pabsd_xmm_xmmm128 M128 "pabsd";
        Pmovsxbw_xmm_xmmm64 M64 "pmovsxbw";
        Pmovsxbd_xmm_xmmm32 M32 "pmovsxbd";
        Pmovsxbq_xmm_xmmm16 M16 "pmovsxbq";
        Pmovsxwd_xmm_xmmm64 M64 "pmovsxwd";
        Pmovsxwq_xmm_xmmm32 M32 "pmovsxwq";
        Pmovsxdq_xmm_xmmm64 M64 "pmovsxdq";
        Pmuldq_xmm_xmmm128 M128 "pmuldq";
        Pcmpeqq_xmm_xmmm128 M128 "pcmpeqq";
        Packusdw_xmm_xmmm128 M128 "packusdw";
        Pmovzxbw_xmm_xmmm64 M64 "pmovzxbw";
        Pmovzxbd_xmm_xmmm32 M32 "pmovzxbd";
        Pmovzxbq_xmm_xmmm16 M16 "pmovzxbq";
        Pmovzxwd_xmm_xmmm64 M64 "pmovzxwd";
        Pmovzxwq_xmm_xmmm32 M32 "pmovzxwq";
        Pmovzxdq_xmm_xmmm64 M64 "pmovzxdq";
        Pcmpgtq_xmm_xmmm128 M128 "pcmpgtq";
        Pminsb_xmm_xmmm128 M128 "pminsb";
        Pminsd_xmm_xmmm128 M128 "pminsd";
        Pminuw_xmm_xmmm128 M128 "pminuw";
        Pminud_xmm_xmmm128 M128 "pminud";
        Pmaxsb_xmm_xmmm128 M128 "pmaxsb";
        Pmaxsd_xmm_xmmm128 M128 "pmaxsd";
        Pmaxuw_xmm_xmmm128 M128 "pmaxuw";
        Pmaxud_xmm_xmmm128 M128 "pmaxud";
        Pmulld_xmm_xmmm128 M128 "pmulld";
        Phminposuw_xmm_xmmm128 M128 "phminposuw";
    })
}

/// Shifts by an immediate: those by a register with the count in it.
fn shift(i: &Instruction) -> Option<Handler> {
    macro_rules! shifts {
        ($($code:ident $mnemonic:literal;)*) => {
            match i.code() {
                $(Code::$code => handler!(|core, op| {
                    let d = super::operand::dst(core, op);
                    *d = host!($mnemonic)(*d, op.imm as u128);
                }),)*
                Code::Pslldq_xmm_imm8 => handler!(|core, op| {
                    let d = super::operand::dst(core, op);
                    *d = if op.imm < 16 { *d << (8 * op.imm) } else { 0 };
                }),
                Code::Psrldq_xmm_imm8 => handler!(|core, op| {
                    let d = super::operand::dst(core, op);
                    *d = if op.imm < 16 { *d >> (8 * op.imm) } else { 0 };
                }),
                _ => return None,
            }
        };
    }
    Some(shifts! {
        Psrlw_xmm_imm8 "psrlw";
        Psraw_xmm_imm8 "psraw";
        Psllw_xmm_imm8 "psllw";
        Psrld_xmm_imm8 "psrld";
        Psrad_xmm_imm8 "psrad";
        Pslld_xmm_imm8 "pslld";
        Psrlq_xmm_imm8 "psrlq";
        Psllq_xmm_imm8 "psllq";
    })
}
