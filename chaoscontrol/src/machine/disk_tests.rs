//! A machine with a disk: requests that take time, cuts, forks, and what snapshots cost.

use super::testing::{DISK_GUEST_BLOCKS, disk_guest};
use super::{DeterministicVm, DiskConfig, DiskImage, VmConfig};

const MIB: u64 = 1 << 20;

fn machine() -> DeterministicVm {
    let image = DiskImage::zeroed(512 * MIB).unwrap();
    DeterministicVm::new(VmConfig {
        memory_size: 4 * MIB,
        kernel: disk_guest(u32::MAX).into(),
        disk: Some(DiskConfig::new(image)),
        ..VmConfig::default()
    })
    .unwrap()
}

#[test]
fn requests_take_virtual_time() {
    let mut vm = machine();
    vm.run_until(10 * MIB);
    let writes = vm.disk().unwrap().stats().writes;
    // Each takes 84 us, and the guest some instructions in between.
    assert!((120..125).contains(&writes), "{writes}");
    let mut slow = machine();
    slow.disk_mut().unwrap().faults_mut().slow_ns = 916_000;
    slow.run_until(10 * MIB);
    assert_eq!(slow.disk().unwrap().stats().writes, 10);
}

#[test]
fn runs_are_equal_whatever_the_cuts_and_forks() {
    let mut whole = machine();
    whole.run_until(8_000_000);
    let mut cut = machine();
    for i in 1..=97 {
        cut.run_until(i * 8_000_000 / 97);
        if i % 10 == 0 {
            // In the middle of a request, most of the time.
            let snapshot = cut.snapshot();
            cut = DeterministicVm::from_snapshot(&snapshot).unwrap();
        }
    }
    assert_eq!(whole.state_hash(), cut.state_hash());
    assert!(whole.disk().unwrap().stats().writes > 80);
}

#[test]
fn a_restore_brings_the_disk_back() {
    let mut vm = machine();
    vm.run_until(1_000_000);
    let snapshot = vm.snapshot();
    let hash = vm.state_hash();
    vm.run_until(3_000_000);
    vm.power_cut();
    assert_ne!(vm.state_hash(), hash);
    vm.restore(&snapshot).unwrap();
    assert_eq!(vm.state_hash(), hash);
}

#[test]
fn a_snapshot_costs_what_was_written_since_the_one_before() {
    let mut vm = machine();
    let first = vm.snapshot().owned_bytes();
    assert!(
        first < 64 << 10,
        "{first} bytes for 512 MiB that nobody wrote to"
    );
    vm.run_until(30_000_000);
    let disk = vm.disk_mut().unwrap();
    disk.flush().unwrap();
    vm.snapshot();
    let disk = vm.disk_mut().unwrap();
    disk.write(100 * MIB, &mut vec![1; MIB as usize]).unwrap();
    disk.flush().unwrap();
    let owned = vm.snapshot().owned_bytes();
    assert!((MIB..MIB + MIB / 4).contains(&owned), "{owned}");
    let idle = vm.snapshot().owned_bytes();
    assert!(idle < 64 << 10, "{idle}");
}

#[test]
fn every_block_is_one_version_after_a_power_cut() {
    let mut vm = machine();
    vm.run_until(20_000_000);
    let last = vm.disk().unwrap().stats().writes;
    let disk = vm.power_cut().unwrap();
    assert_eq!(disk.contents().current(), disk.contents().durable());
    let word = |at: u64| {
        let mut bytes = [0; 4];
        disk.contents().current().read(at, &mut bytes);
        u64::from(u32::from_le_bytes(bytes))
    };
    for block in 0..DISK_GUEST_BLOCKS {
        let version = word(block * 4096);
        assert_eq!(version, word(block * 4096 + 0xE00), "a block is whole");
        assert!(version == 0 || version % DISK_GUEST_BLOCKS == block);
        // The one that the drive was at may be there as well.
        assert!(version <= last + 1);
    }
}
