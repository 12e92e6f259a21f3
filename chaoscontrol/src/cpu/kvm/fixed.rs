//! What KVM keeps of a vCPU and no guest of ours can change, so that no snapshot holds it.
//!
//! XCR0 changes only by XSETBV, which is #UD while CR4.OSXSAVE is clear; and a CPU whose CPUID
//! has no XSAVE cannot set that bit. The state of multiprocessing changes only with another
//! CPU's signals or a local APIC; a vCPU without one that halts comes out to us and stays
//! runnable. A restore sets both all the same, and who saves state is told should one differ.

use kvm_bindings::{KVM_MP_STATE_RUNNABLE, kvm_mp_state, kvm_xcrs};
use kvm_ioctls::VcpuFd;

use super::host::KvmError;
use super::vm::call;

/// XCR0 of a CPU in its reset state: x87.
const XCR0: u64 = 1;

const XCRS: &str = "read extended control registers";
const MP: &str = "read the state of multiprocessing";

/// Makes the vCPU a running one with XCR0 as after a reset.
///
/// # Errors
/// KVM refuses.
pub fn load(vcpu: &VcpuFd) -> Result<(), KvmError> {
    call("set extended control registers", vcpu.set_xcrs(&xcrs(XCR0)))?;
    let running = kvm_mp_state {
        mp_state: KVM_MP_STATE_RUNNABLE,
    };
    call(
        "set the state of multiprocessing",
        vcpu.set_mp_state(running),
    )
}

/// Sees that the vCPU is still as [`load`] made it.
///
/// # Errors
/// It is not, or KVM does not tell.
pub fn check(vcpu: &VcpuFd) -> Result<(), KvmError> {
    expect(
        &call(XCRS, vcpu.get_xcrs())?,
        call(MP, vcpu.get_mp_state())?,
    )
}

fn expect(xcrs: &kvm_xcrs, mp: kvm_mp_state) -> Result<(), KvmError> {
    let changed = |what, name: &str, value: u64| KvmError::Call {
        what,
        why: format!("{name} is {value:#x}, which no guest of this CPU can make it"),
    };
    let mut known = xcrs.xcrs.iter().take(xcrs.nr_xcrs as usize);
    if let Some(other) = known.find(|register| register.xcr == 0 && register.value != XCR0) {
        return Err(changed(XCRS, "XCR0", other.value));
    }
    match mp.mp_state {
        KVM_MP_STATE_RUNNABLE => Ok(()),
        other => Err(changed(MP, "it", other.into())),
    }
}

fn xcrs(xcr0: u64) -> kvm_xcrs {
    let mut xcrs = kvm_xcrs {
        nr_xcrs: 1,
        ..Default::default()
    };
    xcrs.xcrs[0].value = xcr0;
    xcrs
}

#[cfg(test)]
mod tests {
    use kvm_bindings::KVM_MP_STATE_HALTED;

    use super::super::testing::or_not_run;
    use super::super::vm::create;
    use super::*;
    use crate::cpu::ram::Ram;

    #[test]
    fn another_value_is_refused_or_noticed_and_undone() {
        let ram = Ram::new(1 << 20).unwrap();
        let Some((_vm, vcpu)) = or_not_run(create(&ram)) else {
            return;
        };
        assert_eq!(load(&vcpu), Ok(()));
        assert_eq!(check(&vcpu), Ok(()));
        // Linux refuses what CPUID does not offer; what stands in for it need not.
        let refused = vcpu.set_xcrs(&xcrs(3)).is_err();
        assert_eq!(check(&vcpu).is_ok(), refused);
        assert_eq!(load(&vcpu), Ok(()));
        assert_eq!(check(&vcpu), Ok(()));
    }

    #[test]
    fn what_has_changed_is_told() {
        let state = |mp_state| kvm_mp_state { mp_state };
        let running = state(KVM_MP_STATE_RUNNABLE);
        assert_eq!(expect(&xcrs(XCR0), running), Ok(()));
        let said = |xcr0, mp| expect(&xcrs(xcr0), mp).unwrap_err().to_string();
        assert_eq!(
            said(7, running),
            "KVM failed to read extended control registers: XCR0 is 0x7, which no guest of this CPU can make it"
        );
        assert!(said(XCR0, state(KVM_MP_STATE_HALTED)).contains("multiprocessing: it is 0x3"));
    }
}
