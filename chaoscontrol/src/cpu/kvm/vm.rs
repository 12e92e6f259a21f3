//! A virtual machine as KVM sees it: one memory slot, one vCPU, our CPUID, and a filter
//! that withholds every model-specific register but those that are plain CPU state.

use kvm_bindings::{
    CpuId, KVM_CAP_X86_USER_SPACE_MSR, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MEM_LOG_DIRTY_PAGES,
    KVM_MSR_EXIT_REASON_FILTER, KVM_MSR_EXIT_REASON_INVAL, KVM_MSR_EXIT_REASON_UNKNOWN,
    kvm_cpuid_entry2, kvm_enable_cap, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VcpuFd, VmFd};

use super::host::{KvmError, open};
use crate::cpu::cpuid::{LEAVES, cpuid};
use crate::cpu::msr::kept_by_the_cpu;
use crate::cpu::ram::Ram;
use crate::cpu::regions::KVM_TSS;

/// The number of the one memory slot.
pub const SLOT: u32 = 0;

/// Registers of a filter's range; both ranges are this long.
const FILTERED: u32 = 0x2000;

#[cfg(test)]
thread_local! {
    /// Calls of KVM that this thread has made, KVM_RUN included.
    pub static CALLS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Names what was being asked of KVM, for the error.
pub fn call<T>(what: &'static str, result: Result<T, kvm_ioctls::Error>) -> Result<T, KvmError> {
    #[cfg(test)]
    CALLS.set(CALLS.get() + 1);
    result.map_err(KvmError::call(what))
}

/// A machine with nothing but `ram`, which has to outlive it; `flags` are the memory slot's.
///
/// # Errors
/// KVM refuses.
pub fn bare(kvm: &Kvm, ram: &Ram, flags: u32) -> Result<VmFd, KvmError> {
    let vm = call("create a machine", kvm.create_vm())?;
    let first = ram.host_page(0).expect("memory has a first page");
    let region = kvm_userspace_memory_region {
        slot: SLOT,
        flags,
        guest_phys_addr: 0,
        memory_size: ram.size(),
        userspace_addr: first as u64,
    };
    // SAFETY: the range is all of `ram`, one mapping that the caller keeps for longer than the
    // machine. The guest runs only inside of KVM_RUN, which the thread calls that accesses
    // this memory otherwise, so they take turns; all accesses are through raw pointers.
    let mapped = unsafe { vm.set_user_memory_region(region) };
    call("map the guest's memory", mapped)?;
    Ok(vm)
}

/// A machine over `ram` with a CPU in KVM's reset state. `ram` has to outlive it.
///
/// # Errors
/// KVM is not to be had, or refuses.
pub fn create(ram: &Ram) -> Result<(VmFd, VcpuFd), KvmError> {
    let vm = bare(&open()?, ram, KVM_MEM_LOG_DIRTY_PAGES)?;
    call(
        "keep three pages for itself",
        vm.set_tss_address(KVM_TSS as usize),
    )?;
    withhold_registers(&vm)?;
    let vcpu = call("create a CPU", vm.create_vcpu(0))?;
    call("set CPUID", vcpu.set_cpuid2(&identity()))?;
    Ok((vm, vcpu))
}

/// Lets every access to a register that is not plain CPU state come to us.
fn withhold_registers(vm: &VmFd) -> Result<(), KvmError> {
    let mut cap = kvm_enable_cap {
        cap: KVM_CAP_X86_USER_SPACE_MSR,
        ..Default::default()
    };
    cap.args[0] = u64::from(
        KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN,
    );
    call("hand over model-specific registers", vm.enable_cap(&cap))?;
    let bases = [0, 0xC000_0000];
    let bitmaps = bases.map(|base| {
        let mut bits = [0u8; FILTERED as usize / 8];
        for n in (0..FILTERED).filter(|n| kept_by_the_cpu(base + n)) {
            bits[n as usize / 8] |= 1 << (n % 8);
        }
        bits
    });
    let ranges = [0, 1].map(|i| MsrFilterRange {
        flags: MsrFilterRangeFlags::READ | MsrFilterRangeFlags::WRITE,
        base: bases[i],
        msr_count: FILTERED,
        bitmap: &bitmaps[i],
    });
    call(
        "filter model-specific registers",
        vm.set_msr_filter(MsrFilterDefaultAction::DENY, &ranges),
    )
}

/// The answers of [`cpuid`] in KVM's form.
fn identity() -> CpuId {
    let entries: Vec<_> = LEAVES
        .iter()
        .flat_map(|&(leaf, subleaves)| {
            (0..subleaves.max(1)).map(move |index| {
                let [eax, ebx, ecx, edx] = cpuid(leaf, index);
                kvm_cpuid_entry2 {
                    function: leaf,
                    index,
                    flags: if subleaves == 0 {
                        0
                    } else {
                        KVM_CPUID_FLAG_SIGNIFCANT_INDEX
                    },
                    eax,
                    ebx,
                    ecx,
                    edx,
                    ..Default::default()
                }
            })
        })
        .collect();
    CpuId::from_entries(&entries).expect("there are fewer leaves than KVM takes")
}
