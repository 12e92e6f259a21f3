//! A drive's faults, one at a time and all together.

use super::*;

const MIB: u64 = 1 << 20;

fn disk() -> Disk {
    let image = DiskImage::read_from(&vec![0xAA; MIB as usize][..], MIB).unwrap();
    Disk::new(&DiskConfig::new(image), &[1; 32])
}

fn faulty(change: impl FnOnce(&mut DiskFaults)) -> Disk {
    let mut disk = disk();
    change(disk.faults_mut());
    disk
}

/// The sectors of `disk` that differ from its first contents.
fn changed(disk: &Disk) -> Vec<u64> {
    let mut sector = [0; SECTOR as usize];
    let mut differs = |at: &u64| {
        disk.contents().current().read(at * SECTOR, &mut sector);
        sector != [0xAA; SECTOR as usize]
    };
    (0..MIB / SECTOR).filter(|at| differs(at)).collect()
}

#[test]
fn a_sound_drive_keeps_what_it_is_given() {
    let mut disk = disk();
    disk.write(1024, &mut [7; 1024]).unwrap();
    disk.zero(&[(4096, 512), (0, 512)]).unwrap();
    disk.flush().unwrap();
    let mut back = [0; 1024];
    disk.read(1024, &mut back).unwrap();
    assert_eq!(back, [7; 1024]);
    assert_eq!(changed(&disk), [0, 2, 3, 8]);
    let stats = disk.stats();
    assert_eq!(
        (stats.reads, stats.writes, stats.discards, stats.flushes),
        (1, 1, 1, 1)
    );
}

#[test]
fn errors_change_nothing() {
    let mut disk = faulty(|faults| {
        faults.read_error_ppm = 1_000_000;
        faults.write_error_ppm = 1_000_000;
        faults.flush_error_ppm = 1_000_000;
    });
    let mut back = [3; 512];
    assert_eq!(disk.read(0, &mut back), Err(DriveError));
    assert_eq!(disk.write(0, &mut [1; 512]), Err(DriveError));
    assert_eq!(disk.zero(&[(0, 512)]), Err(DriveError));
    assert_eq!(back, [3; 512]);
    assert!(changed(&disk).is_empty());
    *disk.faults_mut() = DiskFaults {
        flush_error_ppm: 1_000_000,
        ..DiskFaults::default()
    };
    disk.write(0, &mut [1; 512]).unwrap();
    assert_eq!(disk.flush(), Err(DriveError));
    assert_eq!(disk.contents().unflushed(), 1);
    let stats = disk.stats();
    assert_eq!(
        (stats.read_errors, stats.write_errors, stats.flush_errors),
        (1, 2, 1)
    );
}

#[test]
fn a_torn_write_stores_some_first_sectors() {
    let mut lengths = std::collections::BTreeSet::new();
    for key in 0..100 {
        let mut disk = faulty(|faults| faults.torn_write_ppm = 1_000_000);
        disk.reseed(&[key; 32]);
        disk.write(4096, &mut [1; 4 * 512]).unwrap();
        let stored = changed(&disk);
        assert_eq!(stored, (8..8 + stored.len() as u64).collect::<Vec<_>>());
        lengths.insert(stored.len());
        assert_eq!(disk.stats().torn, 1);
    }
    assert_eq!(lengths, [0, 1, 2, 3].into());
}

#[test]
fn corruption_flips_one_bit_of_what_is_written() {
    let mut disk = faulty(|faults| faults.corruption_ppm = 1_000_000);
    disk.write(4096, &mut [0xAA; 4096]).unwrap();
    assert_eq!(changed(&disk).len(), 1);
    let mut back = [0; 4096];
    disk.read(4096, &mut back).unwrap();
    let wrong: u32 = back.iter().map(|byte| (byte ^ 0xAA).count_ones()).sum();
    assert_eq!((wrong, disk.stats().corrupted), (1, 1));
}

#[test]
fn a_misdirected_write_lands_elsewhere_and_not_in_its_place() {
    let mut places = std::collections::BTreeSet::new();
    for key in 0..100 {
        let mut disk = faulty(|faults| faults.misdirected_ppm = 1_000_000);
        disk.reseed(&[key; 32]);
        disk.write(512, &mut [1; 4096]).unwrap();
        let stored = changed(&disk);
        assert_eq!((stored.len(), disk.stats().misdirected), (8, 1));
        assert_eq!(
            stored[0] % 8,
            1,
            "it lies within its block as it should have"
        );
        assert_ne!(stored[0], 1);
        places.insert(stored[0]);
    }
    assert!(places.len() > 50);
    let mut whole = faulty(|faults| faults.misdirected_ppm = 1_000_000);
    whole.write(0, &mut vec![1; MIB as usize]).unwrap();
    assert_eq!(
        (changed(&whole).len(), whole.stats().misdirected),
        (2048, 0)
    );
}

#[test]
fn a_fault_does_not_reroll_others() {
    let failed = |change: fn(&mut DiskFaults)| {
        let mut disk = faulty(change);
        disk.faults_mut().write_error_ppm = 300_000;
        (0..100)
            .map(|_| disk.write(0, &mut [1; 512]).is_err())
            .collect::<Vec<_>>()
    };
    let alone = failed(|_| {});
    assert!((15..45).contains(&alone.iter().filter(|failed| **failed).count()));
    assert_eq!(failed(|faults| faults.torn_write_ppm = 500_000), alone);
    assert_eq!(failed(|faults| faults.misdirected_ppm = 900_000), alone);
}

#[test]
fn a_drive_that_ignores_flushes_loses_what_it_said_was_safe() {
    let image = DiskImage::zeroed(MIB).unwrap();
    let config = DiskConfig {
        ignore_flush: true,
        ..DiskConfig::new(image.clone())
    };
    let mut disk = Disk::new(&config, &[1; 32]);
    disk.write(0, &mut [1; 512]).unwrap();
    disk.flush().unwrap();
    disk.lose_unflushed();
    assert_eq!((disk.contents().current(), disk.stats().lost), (&image, 1));
}

#[test]
fn a_read_only_drive_is_never_written_to() {
    let config = DiskConfig {
        read_only: true,
        ..DiskConfig::new(DiskImage::zeroed(MIB).unwrap())
    };
    let mut disk = Disk::new(&config, &[1; 32]);
    assert_eq!(disk.write(0, &mut [1; 512]), Err(DriveError));
    assert_eq!(disk.zero(&[(0, 512)]), Err(DriveError));
    assert_eq!(disk.flush(), Ok(()));
}

#[test]
fn a_snapshot_costs_what_was_written_since_the_one_before() {
    let config = DiskConfig::new(DiskImage::zeroed(512 * MIB).unwrap());
    let mut disk = Disk::new(&config, &[1; 32]);
    disk.write(100 * MIB, &mut vec![1; MIB as usize]).unwrap();
    disk.flush().unwrap();
    let _first = disk.clone();
    disk.take_owned_bytes();
    disk.write(300 * MIB, &mut vec![2; MIB as usize]).unwrap();
    disk.flush().unwrap();
    let owned = disk.take_owned_bytes();
    assert!((MIB..MIB + MIB / 8).contains(&owned), "{owned}");
    disk.write(200 * MIB, &mut vec![2; MIB as usize]).unwrap();
    let cached = disk.take_owned_bytes();
    assert!((2 * MIB..2 * MIB + MIB / 8).contains(&cached), "{cached}");
    let second = disk.clone();
    assert_eq!((disk.take_owned_bytes(), second), (0, disk));
}
