//! Our form of CPU state to KVM's and back.

use kvm_bindings::{
    KVM_VCPUEVENT_VALID_SHADOW, KVM_X86_SHADOW_INT_STI, Msrs, kvm_debugregs, kvm_dtable, kvm_fpu,
    kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs, kvm_vcpu_events,
};
use kvm_ioctls::VcpuFd;

use super::host::KvmError;
use super::vm::call;
use crate::cpu::state::{CpuState, Fpu, Segment, TableRegister};

/// The registers that are neither in `kvm_regs` nor in `kvm_sregs`, and where they stand.
const MSRS: [(u32, fn(&mut CpuState) -> &mut u64); 9] = [
    (0xC000_0081, |s| &mut s.star),
    (0xC000_0082, |s| &mut s.lstar),
    (0xC000_0083, |s| &mut s.cstar),
    (0xC000_0084, |s| &mut s.fmask),
    (0xC000_0102, |s| &mut s.kernel_gs_base),
    (0x174, |s| &mut s.sysenter[0]),
    (0x175, |s| &mut s.sysenter[1]),
    (0x176, |s| &mut s.sysenter[2]),
    (0x277, |s| &mut s.pat),
];

/// The general registers in the order of their encoding.
pub fn gprs(r: &mut kvm_regs) -> [&mut u64; 16] {
    [
        &mut r.rax, &mut r.rcx, &mut r.rdx, &mut r.rbx, &mut r.rsp, &mut r.rbp, &mut r.rsi,
        &mut r.rdi, &mut r.r8, &mut r.r9, &mut r.r10, &mut r.r11, &mut r.r12, &mut r.r13,
        &mut r.r14, &mut r.r15,
    ]
}

fn segment(s: &Segment) -> kvm_segment {
    let bits = |shift: u32, width: u32| (s.attributes >> shift & ((1 << width) - 1)) as u8;
    kvm_segment {
        base: s.base,
        limit: s.limit,
        selector: s.selector,
        type_: bits(0, 4),
        s: bits(4, 1),
        dpl: bits(5, 2),
        present: bits(7, 1),
        avl: bits(12, 1),
        l: bits(13, 1),
        db: bits(14, 1),
        g: bits(15, 1),
        unusable: 1 - bits(7, 1),
        padding: 0,
    }
}

fn from_segment(s: &kvm_segment) -> Segment {
    let bits = |value: u8, shift: u32| u16::from(value) << shift;
    let attributes = bits(s.type_, 0)
        | bits(s.s, 4)
        | bits(s.dpl, 5)
        | bits(s.present, 7)
        | bits(s.avl, 12)
        | bits(s.l, 13)
        | bits(s.db, 14)
        | bits(s.g, 15);
    Segment {
        base: s.base,
        limit: s.limit,
        // What an unusable register held before it became so cannot be noticed.
        attributes: if s.unusable == 0 { attributes } else { 0 },
        selector: s.selector,
    }
}

fn table(t: &TableRegister) -> kvm_dtable {
    kvm_dtable {
        base: t.base,
        limit: t.limit,
        padding: [0; 3],
    }
}

fn from_table(t: &kvm_dtable) -> TableRegister {
    TableRegister {
        base: t.base,
        limit: t.limit,
    }
}

fn sregs(s: &CpuState) -> kvm_sregs {
    let [es, cs, ss, ds, fs, gs] = s.segs.each_ref().map(segment);
    kvm_sregs {
        cs,
        ds,
        es,
        fs,
        gs,
        ss,
        tr: segment(&s.tr),
        ldt: segment(&s.ldtr),
        gdt: table(&s.gdtr),
        idt: table(&s.idtr),
        cr0: s.cr0,
        cr2: s.cr2,
        cr3: s.cr3,
        cr4: s.cr4,
        cr8: s.cr8,
        efer: s.efer,
        apic_base: s.apic_base,
        interrupt_bitmap: [0; 4],
    }
}

fn fpu(s: &CpuState) -> kvm_fpu {
    let mut fpu = kvm_fpu {
        fcw: s.fpu.control,
        fsw: s.fpu.status | u16::from(s.fpu.top) << 11,
        ftwx: s.fpu.valid,
        last_opcode: s.fpu.opcode,
        last_ip: s.fpu.ip,
        last_dp: s.fpu.dp,
        mxcsr: s.mxcsr,
        xmm: s.xmm.map(u128::to_le_bytes),
        ..Default::default()
    };
    for (i, register) in fpu.fpr.iter_mut().enumerate() {
        let physical = (usize::from(s.fpu.top) + i) & 7;
        *register = s.fpu.regs[physical].to_le_bytes();
    }
    fpu
}

/// FOP, FIP and FDP are left out: hosts differ in when they keep them.
fn from_fpu(f: &kvm_fpu) -> Fpu {
    const TOP: u16 = 7 << 11;
    let mut fpu = Fpu {
        control: f.fcw,
        status: f.fsw & !TOP,
        top: ((f.fsw & TOP) >> 11) as u8,
        valid: f.ftwx,
        ..Fpu::default()
    };
    for (i, register) in f.fpr.iter().enumerate() {
        let physical = (usize::from(fpu.top) + i) & 7;
        fpu.regs[physical] = u128::from_le_bytes(*register) & ((1 << 80) - 1);
    }
    fpu
}

fn msrs(s: &mut CpuState) -> Msrs {
    let entries = MSRS.map(|(index, field)| kvm_msr_entry {
        index,
        data: *field(s),
        ..Default::default()
    });
    Msrs::from_entries(&entries).expect("there are fewer registers than KVM takes")
}

/// Makes the vCPU's state `s`, and lets it forget all translations.
///
/// # Errors
/// KVM refuses a part.
pub fn load(vcpu: &VcpuFd, s: &CpuState) -> Result<(), KvmError> {
    let new = sregs(s);
    // A CR3 that was another one before is what makes KVM forget translations.
    let mut other = new;
    other.cr3 ^= 0x1000;
    call("set system registers", vcpu.set_sregs(&other))?;
    call("set system registers", vcpu.set_sregs(&new))?;
    let mut regs = kvm_regs {
        rip: s.rip,
        rflags: s.rflags,
        ..Default::default()
    };
    for (register, value) in gprs(&mut regs).into_iter().zip(s.gpr) {
        *register = value;
    }
    call("set registers", vcpu.set_regs(&regs))?;
    call("set floating-point registers", vcpu.set_fpu(&fpu(s)))?;
    let wanted = msrs(&mut s.clone());
    let set = call("set model-specific registers", vcpu.set_msrs(&wanted))?;
    if set != MSRS.len() {
        return Err(KvmError::Call {
            what: "set model-specific registers",
            why: format!("it does not take {:#x}", MSRS[set].0),
        });
    }
    let debug = kvm_debugregs {
        db: [s.dr[0], s.dr[1], s.dr[2], s.dr[3]],
        dr6: s.dr[6],
        dr7: s.dr[7],
        ..Default::default()
    };
    call("set debug registers", vcpu.set_debug_regs(&debug))?;
    let mut events = kvm_vcpu_events {
        flags: KVM_VCPUEVENT_VALID_SHADOW,
        ..Default::default()
    };
    events.interrupt.shadow = if s.shadow {
        KVM_X86_SHADOW_INT_STI as u8
    } else {
        0
    };
    call("set events", vcpu.set_vcpu_events(&events))
}

/// The vCPU's state, between two instructions; what KVM does not hold is as in `kept`.
///
/// # Errors
/// KVM refuses, or an event is on its way, which no state of ours can hold.
pub fn save(vcpu: &VcpuFd, kept: &CpuState) -> Result<CpuState, KvmError> {
    let mut s = kept.clone();
    let mut regs = call("read registers", vcpu.get_regs())?;
    for (value, register) in s.gpr.iter_mut().zip(gprs(&mut regs)) {
        *value = *register;
    }
    s.rip = regs.rip;
    s.rflags = regs.rflags;
    let k = call("read system registers", vcpu.get_sregs())?;
    s.segs = [k.es, k.cs, k.ss, k.ds, k.fs, k.gs].map(|s| from_segment(&s));
    s.cpl = k.ss.dpl;
    s.tr = from_segment(&k.tr);
    s.ldtr = from_segment(&k.ldt);
    s.gdtr = from_table(&k.gdt);
    s.idtr = from_table(&k.idt);
    (s.cr0, s.cr2, s.cr3, s.cr4, s.cr8) = (k.cr0, k.cr2, k.cr3, k.cr4, k.cr8);
    s.efer = k.efer;
    let fpu = call("read floating-point registers", vcpu.get_fpu())?;
    s.fpu = from_fpu(&fpu);
    s.xmm = fpu.xmm.map(u128::from_le_bytes);
    s.mxcsr = fpu.mxcsr;
    let mut values = msrs(&mut s);
    let got = call("read model-specific registers", vcpu.get_msrs(&mut values))?;
    if got != MSRS.len() {
        return Err(KvmError::Call {
            what: "read model-specific registers",
            why: format!("it does not have {:#x}", MSRS[got].0),
        });
    }
    for ((_, field), entry) in MSRS.iter().zip(values.as_slice()) {
        *field(&mut s) = entry.data;
    }
    let debug = call("read debug registers", vcpu.get_debug_regs())?;
    s.dr[..4].copy_from_slice(&debug.db);
    (s.dr[6], s.dr[7]) = (debug.dr6, debug.dr7);
    let events = call("read events", vcpu.get_vcpu_events())?;
    s.shadow = events.interrupt.shadow != 0;
    let under_way = events.exception.injected
        | events.exception.pending
        | events.interrupt.injected
        | events.nmi.injected
        | events.nmi.pending;
    if under_way != 0 {
        return Err(KvmError::Call {
            what: "read events",
            why: "an event is still being delivered".into(),
        });
    }
    Ok(s)
}
