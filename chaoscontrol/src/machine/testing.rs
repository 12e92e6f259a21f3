//! Tiny hand-assembled guests for tests.

use chaoscontrol_guest::protocol::VERSION;

pub use super::flat::flat_kernel as tiny_kernel;

/// Where the guests below keep their results.
pub const RESULTS: u64 = 0x20_0000;

/// Reads the PM timer, stores it, and writes a letter to COM1, for ever.
pub fn busy_guest() -> Vec<u8> {
    let mut code = vec![0x31, 0xC9]; // xor ecx, ecx
    code.extend([0xBF, 0, 0, 0x20, 0]); // mov edi, RESULTS
    let top = code.len();
    code.extend([0x66, 0xBA, 0x08, 0x06, 0xED]); // mov dx, 0x608; in eax, dx
    code.extend([0x89, 0x04, 0x8F, 0xFF, 0xC1]); // mov [rdi + rcx * 4], eax; inc ecx
    code.extend([0x81, 0xE1, 0xFF, 0xFF, 0, 0]); // and ecx, 0xFFFF
    code.extend([0xB0, b'a', 0x66, 0xBA, 0xF8, 0x03, 0xEE]); // mov al, 'a'; mov dx, 0x3F8; out dx, al
    let back = -(code.len() as i8 + 2 - top as i8);
    code.extend([0xEB, back as u8]); // jmp top
    tiny_kernel(&code)
}

/// Counts the PIT's interrupts, 1 ms apart, and sleeps in between.
pub fn timer_guest() -> Vec<u8> {
    timed_guest(&[])
}

/// Like [`timer_guest`], and sends the SDK message `SetupComplete` at each interrupt.
pub fn beacon_guest() -> Vec<u8> {
    let mut body = vec![0xBF, 0xF0, 0x01, 0x10, 0x00]; // mov edi, 0x1001F0
    body.extend([0xBE, 1, 0, 0, 0, 0xB8]); // mov esi, 1; mov eax, VERSION
    body.extend(VERSION.to_le_bytes());
    body.extend([0x66, 0xBA, 0x10, 0x05, 0xEF]); // mov dx, 0x510; out dx, eax
    timed_guest(&body)
}

/// Like [`timer_guest`], but never sleeps.
pub fn spinning_guest() -> Vec<u8> {
    let mut kernel = timed_guest(&[]);
    // sti; hlt; jmp becomes sti; nop; jmp.
    let at = kernel
        .windows(4)
        .position(|w| w == [0xFB, 0xF4, 0xEB, 0xFC]);
    kernel[at.expect("the guest sleeps") + 1] = 0x90;
    kernel
}

fn timed_guest(body: &[u8]) -> Vec<u8> {
    let mut code = vec![0x0F, 0x01, 0x1C, 0x25, 0x80, 0x01, 0x10, 0x00]; // lidt [0x100180]
    let outs = [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 0x04),
        (0x21, 0x01),
        (0x21, 0xFE),
        (0x43, 0x34),
        (0x40, 0xA9),
        (0x40, 0x04),
    ];
    for (port, value) in outs {
        code.extend([0xB0, value, 0xE6, port]); // mov al, value; out port, al
    }
    code.extend([0xFB, 0xF4, 0xEB, 0xFC]); // sti; hlt; jmp to the sti
    code.resize(0x100, 0x90);
    code.extend([0xFF, 0x04, 0x25, 0, 0, 0x20, 0]); // inc dword [RESULTS]
    code.extend(body);
    code.extend([0xB0, 0x20, 0xE6, 0x20, 0x48, 0xCF]); // mov al, 0x20; out 0x20, al; iretq
    code.resize(0x180, 0x90);
    code.extend(0x20Fu16.to_le_bytes());
    code.extend(0x10_1000u64.to_le_bytes());
    code.resize(0x1F0, 0);
    code.push(4);
    code.resize(0x1200, 0);
    let handler = 0x10_0100u64;
    let gate = (handler & 0xFFFF) | 0x10 << 16 | 0x8E << 40 | (handler >> 16) << 48;
    code.extend(gate.to_le_bytes());
    code.extend([0; 8]);
    tiny_kernel(&code)
}
