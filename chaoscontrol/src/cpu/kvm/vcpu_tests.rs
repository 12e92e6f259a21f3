//! A vCPU's state, written and read back.

use kvm_bindings::kvm_xcrs;

use super::state::{load, save};
use super::testing::or_not_run;
use super::vm::create;
use crate::cpu::{CpuState, Ram};
use crate::machine::boot::entry_state;

#[test]
fn state_is_read_as_it_was_written() {
    let ram = Ram::new(1 << 20).unwrap();
    let Some((_vm, vcpu)) = or_not_run(create(&ram)) else {
        return;
    };
    let mut s = entry_state(0x1234);
    for (n, register) in s.gpr[..16].iter_mut().enumerate() {
        *register = n as u64 * 0x0101_0101_0101;
    }
    for (n, register) in s.xmm.iter_mut().enumerate() {
        *register = u128::MAX / (n as u128 + 1);
    }
    s.mxcsr = 0x7F80;
    s.fpu.top = 3;
    s.fpu.valid = 0x18;
    s.fpu.regs[3] = 0x3FFF_8000_0000_0000_0000;
    s.fpu.regs[4] = 0x4000_C000_0000_0000_0000;
    s.cr2 = 0x5678_9000;
    s.cr4 |= crate::cpu::bits::CR4_OSFXSR | crate::cpu::bits::CR4_TSD;
    s.star = 0x0023_0010_0000_0000;
    s.lstar = 0xFFFF_FFFF_8140_0040;
    s.fmask = 0x47700;
    s.kernel_gs_base = 0xFFFF_8880_0000_1000;
    s.segs[crate::cpu::state::seg::FS].base = 0x7F00_0000_1000;
    (s.dr[0], s.dr[6], s.dr[7]) = (0x4000, 0xFFFF_0FF1, 0x402);
    (s.exits, s.misc_enable, s.apic_base) = (77, 0x85, 0xFEE0_0900);
    s.pat = 0x0007_0106_0007_0106;
    s.shadow = true;
    (s.nmi_pending, s.nmi_blocked) = (true, true);
    // Linux refuses this; where it is taken, loading has to undo it.
    let mut xcrs = kvm_xcrs::default();
    (xcrs.nr_xcrs, xcrs.xcrs[0].value) = (1, 3);
    _ = vcpu.set_xcrs(&xcrs);
    load(&vcpu, &s).unwrap();
    // What KVM does not hold; all else has to come from it.
    let kept = CpuState {
        exits: s.exits,
        misc_enable: s.misc_enable,
        apic_base: s.apic_base,
        ..CpuState::default()
    };
    assert_eq!(save(&vcpu, &kept).unwrap(), s);
}
