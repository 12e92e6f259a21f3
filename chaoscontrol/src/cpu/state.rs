//! The architectural state of a CPU: plain data, the whole of what a
//! snapshot keeps and a state hash covers.

use super::soft::DeviceWrite;

/// Index of a slot in [`CpuState::gpr`] that always holds zero: an absent base or index register.
pub const ZERO: u8 = 16;
/// Index of the slot that holds the virtual address of the running block's first
/// byte: the base of RIP-relative addresses.
pub const BLOCK: u8 = 17;
/// Slots of [`CpuState::gpr`]: a power of two, so that a masked index needs no check.
pub const GPRS: usize = 32;

/// Indexes of [`CpuState::segs`].
pub mod seg {
    /// ES.
    pub const ES: usize = 0;
    /// CS.
    pub const CS: usize = 1;
    /// SS.
    pub const SS: usize = 2;
    /// DS.
    pub const DS: usize = 3;
    /// FS.
    pub const FS: usize = 4;
    /// GS.
    pub const GS: usize = 5;
}

/// A segment register with its hidden part (SDM volume 3, 3.4.3).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Base address.
    pub base: u64,
    /// Limit in bytes, inclusive.
    pub limit: u32,
    /// Bits 8..24 of the descriptor's second double word: type, S, DPL, P in the low
    /// byte, AVL, L, D/B, G in bits 12..16.
    pub attributes: u16,
    /// The selector.
    pub selector: u16,
}

/// GDTR or IDTR.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TableRegister {
    /// Linear base address.
    pub base: u64,
    /// Limit in bytes, inclusive.
    pub limit: u16,
}

/// x87 and MMX state. MMX register i is the low 64 bits of physical register i.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fpu {
    /// Physical registers R0..R7 (not stack order), each an 80-bit value in the low bits.
    pub regs: [u128; 8],
    /// Control word.
    pub control: u16,
    /// Status word without TOP (bits 11..13 are zero here).
    pub status: u16,
    /// Top of stack, 0..8.
    pub top: u8,
    /// One bit per physical register: set = valid (the abridged tag of FXSAVE).
    pub valid: u8,
    /// Last opcode (11 bits).
    pub opcode: u16,
    /// Last instruction pointer.
    pub ip: u64,
    /// Last data pointer.
    pub dp: u64,
}

impl Default for Fpu {
    fn default() -> Self {
        Fpu {
            regs: [0; 8],
            control: 0x037F,
            status: 0,
            top: 0,
            valid: 0,
            opcode: 0,
            ip: 0,
            dp: 0,
        }
    }
}

/// What an instruction that talks to devices has got so far; empty between instructions
/// that do not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pending {
    /// Answers to the exits of the instruction at `rip`, which runs again with them.
    pub answers: Vec<u64>,
    /// Stores of the instruction before `rip` that are to be carried out before it retires.
    pub writes: Vec<DeviceWrite>,
    /// The instruction is a string instruction with iterations left: it does not retire.
    pub again: bool,
    /// A debug exception follows when it retires.
    pub stepping: bool,
}

/// Everything a CPU is. `rip` and `rflags` are exact whenever the CPU is not inside of `run`.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CpuState {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8..R15, then [`ZERO`] and [`BLOCK`];
    /// the others are unused and zero.
    /// Outside of `run` slot [`BLOCK`] is zero.
    pub gpr: [u64; GPRS],
    /// Instruction pointer.
    pub rip: u64,
    /// RFLAGS; inside of `run` the six status flags may still be lazy (see `flags`).
    pub rflags: u64,
    /// Instructions retired since reset.
    pub retired: u64,
    /// Completed since reset: answers to port and device memory exits, HLT, and accesses to
    /// model-specific registers that are no plain CPU state.
    pub exits: u64,
    /// ES, CS, SS, DS, FS, GS.
    pub segs: [Segment; 6],
    /// Task register.
    pub tr: Segment,
    /// Local descriptor table register.
    pub ldtr: Segment,
    /// Global descriptor table.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table.
    pub idtr: TableRegister,
    /// CR0.
    pub cr0: u64,
    /// CR2, the last page fault's address.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// CR8, the task priority.
    pub cr8: u64,
    /// XMM0..XMM15.
    pub xmm: [u128; 16],
    /// SSE control and status.
    pub mxcsr: u32,
    /// Current privilege level, 0..=3.
    pub cpl: u8,
    /// In HLT.
    pub halted: bool,
    /// Interrupts are inhibited for one instruction (after STI or a load of SS).
    pub shadow: bool,
    /// A non-maskable interrupt has not been delivered yet.
    pub nmi_pending: bool,
    /// Non-maskable interrupts are blocked: one was delivered, and no IRET has begun since.
    pub nmi_blocked: bool,
    /// Dead after a triple fault.
    pub shutdown: bool,
    /// On KVM: a general-protection fault comes before the next instruction, as that at `rip`
    /// used a model-specific register that is not there. The software CPU never stops so.
    pub faulted: bool,
    /// x87 and MMX.
    pub fpu: Fpu,
    /// IA32_EFER.
    pub efer: u64,
    /// IA32_STAR.
    pub star: u64,
    /// IA32_LSTAR.
    pub lstar: u64,
    /// IA32_CSTAR.
    pub cstar: u64,
    /// IA32_FMASK.
    pub fmask: u64,
    /// IA32_KERNEL_GS_BASE.
    pub kernel_gs_base: u64,
    /// IA32_SYSENTER_CS, ESP, EIP.
    pub sysenter: [u64; 3],
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_MISC_ENABLE.
    pub misc_enable: u64,
    /// IA32_APIC_BASE.
    pub apic_base: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    /// DR0..DR3, (DR4, DR5 unused), DR6, DR7.
    pub dr: [u64; 8],
    /// Value of `retired` at the last exception; `u64::MAX` before the first.
    pub excepted: u64,
    /// An instruction in the middle of device accesses.
    pub pending: Pending,
}

impl Default for CpuState {
    /// The state after reset, as far as a machine that enters in long mode needs it.
    fn default() -> Self {
        CpuState {
            gpr: [0; GPRS],
            rip: 0xFFF0,
            rflags: 2,
            retired: 0,
            exits: 0,
            segs: Default::default(),
            tr: Segment::default(),
            ldtr: Segment::default(),
            gdtr: TableRegister::default(),
            idtr: TableRegister::default(),
            cr0: 0x6000_0010,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            cr8: 0,
            xmm: [0; 16],
            mxcsr: 0x1F80,
            cpl: 0,
            halted: false,
            shadow: false,
            nmi_pending: false,
            nmi_blocked: false,
            shutdown: false,
            faulted: false,
            fpu: Fpu::default(),
            efer: 0,
            star: 0,
            lstar: 0,
            cstar: 0,
            fmask: 0,
            kernel_gs_base: 0,
            sysenter: [0; 3],
            pat: 0x0007_0406_0007_0406,
            misc_enable: 1,
            apic_base: 0,
            tsc_adjust: 0,
            dr: [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400],
            excepted: u64::MAX,
            pending: Pending::default(),
        }
    }
}
