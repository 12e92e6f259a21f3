//! A guest of two instructions: says whether `/dev/kvm` runs anything at all, and how many
//! port exits it takes in a second. `out %al, $0x10; jmp` to it.

use std::error::Error;
use std::time::{Duration, Instant};

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// The port that the guest writes to.
const PORT: u16 = 0x10;
/// Where its code is.
const CODE: u64 = 0x1000;
/// `out %al, $0x10; jmp` back, as real mode has it.
const GUEST: [u8; 4] = [0xE6, PORT as u8, 0xEB, 0xFC];

fn main() -> Result<(), Box<dyn Error>> {
    let kvm = Kvm::new()?;
    println!("API version {}", kvm.get_api_version());
    let vm = kvm.create_vm()?;
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x10_0000)])?;
    memory.write_slice(&GUEST, GuestAddress(CODE))?;
    let region = kvm_userspace_memory_region {
        memory_size: 0x10_0000,
        userspace_addr: memory.get_host_address(GuestAddress(0))? as u64,
        ..Default::default()
    };
    // SAFETY: the region is the whole of `memory`, which is mapped until after the last use
    // of `vm` and of its CPU, and which nobody borrows meanwhile.
    unsafe { vm.set_user_memory_region(region)? };
    let mut cpu = vm.create_vcpu(0)?;
    let mut segments = cpu.get_sregs()?;
    segments.cs.base = 0;
    segments.cs.selector = 0;
    cpu.set_sregs(&segments)?;
    let mut registers = cpu.get_regs()?;
    (registers.rip, registers.rax, registers.rflags) = (CODE, 0x42, 2);
    cpu.set_regs(&registers)?;
    let begun = Instant::now();
    let mut exits = 0u64;
    while begun.elapsed() < Duration::from_secs(1) {
        match cpu.run()? {
            VcpuExit::IoOut(PORT, [0x42]) => exits += 1,
            other => return Err(format!("unexpected exit {other:?}").into()),
        }
    }
    println!(
        "{exits} port exits in {:.2} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}
