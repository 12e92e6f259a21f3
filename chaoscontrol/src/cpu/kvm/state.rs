//! Our form of CPU state to KVM's and back.

use kvm_bindings::{
    KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_SHADOW, KVM_X86_SHADOW_INT_STI, Msrs,
    kvm_debugregs, kvm_dtable, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs, kvm_vcpu_events,
    kvm_xsave,
};
use kvm_ioctls::VcpuFd;

use super::fixed;
use super::host::KvmError;
use super::vm::call;
use crate::cpu::state::{CpuState, Fpu, Segment, TableRegister};

/// Where a register stands in our form.
type Field = fn(&mut CpuState) -> &mut u64;

/// The registers that are neither in `kvm_regs` nor in `kvm_sregs`, and where they stand.
const MSRS: [(u32, Field); 9] = [
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

/// The task register. SVM takes either type of a 64-bit TSS, and QEMU's emulation of it finds
/// I/O permission bitmaps only in one that is not marked busy; VMX insists on the mark.
fn task(s: &Segment, svm: bool) -> kvm_segment {
    let mut task = segment(s);
    if svm {
        task.type_ &= !BUSY;
    }
    task
}

/// The bit of a task-state segment's type that is set in the one that is in use.
const BUSY: u8 = 2;

/// Whether KVM uses SVM here: on AMD's processors and Hygon's. All others have VMX.
fn has_svm() -> bool {
    let [amd, hygon] = [b"Auth", b"Hygo"].map(|name| u32::from_le_bytes(*name));
    let vendor = std::arch::x86_64::__cpuid(0).ebx;
    vendor == amd || vendor == hygon
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
        tr: task(&s.tr, has_svm()),
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

/// The vector of the one exception that can be on its way between two instructions. Its error
/// code is 0 then.
const GENERAL_PROTECTION: u8 = 13;

/// Offsets in the area that XSAVE and FXSAVE share (SDM volume 1, table 10-2).
mod area {
    pub const FCW: usize = 0;
    pub const FSW: usize = 2;
    pub const FTW: usize = 4;
    pub const MXCSR: usize = 24;
    pub const ST: usize = 32;
    pub const XMM: usize = 160;
    /// XSTATE_BV: the components that are not in their initial state.
    pub const COMPONENTS: usize = 512;
}

/// x87 and SSE.
const COMPONENTS: u8 = 3;
const TOP: u16 = 7 << 11;

fn xsave(s: &CpuState) -> kvm_xsave {
    let mut bytes = [0; 4096];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(area::FCW, &s.fpu.control.to_le_bytes());
    let status = s.fpu.status | u16::from(s.fpu.top) << 11;
    put(area::FSW, &status.to_le_bytes());
    put(area::FTW, &[s.fpu.valid]);
    put(area::MXCSR, &s.mxcsr.to_le_bytes());
    for i in 0..8 {
        let physical = (usize::from(s.fpu.top) + i) & 7;
        put(area::ST + i * 16, &s.fpu.regs[physical].to_le_bytes());
    }
    for (i, register) in s.xmm.iter().enumerate() {
        put(area::XMM + i * 16, &register.to_le_bytes());
    }
    put(area::COMPONENTS, &[COMPONENTS]);
    let mut area = kvm_xsave::default();
    for (word, bytes) in area.region.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    area
}

/// FOP, FIP and FDP are left out: hosts differ in when they keep them.
fn from_xsave(area: &kvm_xsave, s: &mut CpuState) {
    let bytes = area.region.map(u32::to_le_bytes);
    let bytes = bytes.as_flattened();
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let wide = |at: usize| {
        let field = bytes[at..at + 16].try_into();
        u128::from_le_bytes(field.expect("the slice has 16 bytes"))
    };
    let status = word(area::FSW);
    s.fpu = Fpu {
        control: word(area::FCW),
        status: status & !TOP,
        top: ((status & TOP) >> 11) as u8,
        valid: bytes[area::FTW],
        ..Fpu::default()
    };
    for i in 0..8 {
        let physical = (usize::from(s.fpu.top) + i) & 7;
        s.fpu.regs[physical] = wide(area::ST + i * 16) & ((1 << 80) - 1);
    }
    for (i, register) in s.xmm.iter_mut().enumerate() {
        *register = wide(area::XMM + i * 16);
    }
    s.mxcsr = u32::from(word(area::MXCSR)) | u32::from(word(area::MXCSR + 2)) << 16;
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
    // SAFETY: KVM reads more than `kvm_xsave` only for CPU features that a process has to ask
    // for, which this one does not.
    let set = unsafe { vcpu.set_xsave(&xsave(s)) };
    call("set floating-point registers", set)?;
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
        flags: KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING,
        ..Default::default()
    };
    events.interrupt.shadow = if s.shadow {
        KVM_X86_SHADOW_INT_STI as u8
    } else {
        0
    };
    events.nmi.pending = s.nmi_pending.into();
    events.nmi.masked = s.nmi_blocked.into();
    events.exception.injected = s.faulted.into();
    events.exception.has_error_code = s.faulted.into();
    events.exception.nr = GENERAL_PROTECTION;
    call("set events", vcpu.set_vcpu_events(&events))?;
    fixed::load(vcpu)
}

/// The vCPU's state, between two instructions; what KVM does not hold is as in `kept`.
///
/// # Errors
/// KVM refuses, or an event is on its way or something is changed that no state of ours can
/// hold.
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
    s.tr.attributes |= u16::from(BUSY);
    s.ldtr = from_segment(&k.ldt);
    s.gdtr = from_table(&k.gdt);
    s.idtr = from_table(&k.idt);
    (s.cr0, s.cr2, s.cr3, s.cr4, s.cr8) = (k.cr0, k.cr2, k.cr3, k.cr4, k.cr8);
    s.efer = k.efer;
    let area = call("read floating-point registers", vcpu.get_xsave())?;
    from_xsave(&area, &mut s);
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
    s.nmi_pending = events.nmi.pending != 0;
    s.nmi_blocked = events.nmi.masked != 0;
    let exception = events.exception.injected | events.exception.pending != 0;
    s.faulted = exception && events.exception.nr == GENERAL_PROTECTION;
    let interrupt = events.interrupt.injected | events.nmi.injected != 0;
    if interrupt || exception && !s.faulted {
        return Err(KvmError::Call {
            what: "read events",
            why: "an event is still being delivered".into(),
        });
    }
    fixed::check(vcpu)?;
    Ok(s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floating_point_state_comes_back_as_it_went() {
        let mut s = CpuState::default();
        s.fpu.top = 5;
        s.fpu.status = 0x4100;
        s.fpu.valid = 0xE1;
        for i in 0..8 {
            s.fpu.regs[i] = (0x3FFF << 64) | (i as u128 + 1);
        }
        for (i, register) in s.xmm.iter_mut().enumerate() {
            *register = u128::MAX - i as u128;
        }
        s.mxcsr = 0x0001_7F80;
        let mut back = CpuState::default();
        from_xsave(&xsave(&s), &mut back);
        assert_eq!(back, s);
    }

    #[test]
    fn segments_come_back_as_they_went() {
        for (selector, attributes) in [(0x10, 0xA09B), (0x2B, 0xC0F3), (0, 0), (0x40, 0x008B)] {
            let s = Segment {
                base: 0x7F00_1234_5000,
                limit: 0xFFFF_FFFF,
                attributes,
                selector,
            };
            assert_eq!(from_segment(&segment(&s)), s);
        }
    }

    #[test]
    fn a_task_is_marked_busy_for_vmx_only() {
        let s = Segment {
            attributes: 0x8B,
            ..Segment::default()
        };
        assert_eq!([true, false].map(|svm| task(&s, svm).type_), [9, 11]);
    }
}
