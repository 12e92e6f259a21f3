//! Disk faults, as a program sees them that goes around the kernel's cache. (What a power cut
//! leaves is shown in `storage.rs` beside this folder.)

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::Instant;

use chaoscontrol::prelude::*;

const MS: Duration = Duration::from_millis(1);
const LENGTH: usize = 64 << 10;
const SECTOR: usize = 512;
/// EIO.
const IO_ERROR: i32 = 5;

/// Bytes where the kernel can have a drive read and write directly.
#[repr(align(4096))]
struct Buffer([u8; LENGTH]);

/// A file whose every read and write reaches the drive.
struct Direct {
    file: File,
    buffer: Box<Buffer>,
}

impl Direct {
    /// A durable file of ones.
    fn new(node: &Node) -> Result<Direct> {
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .custom_flags(libc::O_DIRECT)
            .clone();
        let mut direct = Direct {
            file: options.open(node.data_dir().join("direct"))?,
            buffer: Box::new(Buffer([0; LENGTH])),
        };
        direct.write(1)?;
        direct.file.sync_all()?;
        assert_eq!(direct.read()?, &[1; LENGTH]);
        node.setup_complete();
        node.wait_setup(Duration::from_secs(1))?;
        Ok(direct)
    }

    fn write(&mut self, value: u8) -> io::Result<()> {
        self.buffer.0.fill(value);
        self.file.write_all_at(&self.buffer.0, 0)
    }

    fn read(&mut self) -> io::Result<&[u8; LENGTH]> {
        self.buffer.0.fill(0xEE);
        self.file.read_exact_at(&mut self.buffer.0, 0)?;
        Ok(&self.buffer.0)
    }
}

/// Orders a fault, and gives it time to reach the drive.
fn order(node: &Node, fault: &str) -> Result {
    node.faults().order(fault)?;
    thread::sleep(10 * MS);
    Ok(())
}

fn is_io_error<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == Some(IO_ERROR))
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [], disk = "16M")]
fn disk_read_error(node: Node) -> Result {
    let mut direct = Direct::new(&node)?;
    order(&node, "disk read error vm 0 of 100 %")?;
    assert!(is_io_error(direct.read()));
    direct.write(2)?;
    order(&node, "disk heal vm 0")?;
    assert_eq!(direct.read()?, &[2; LENGTH]);
    Ok(())
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [], disk = "16M")]
fn disk_write_error(node: Node) -> Result {
    let mut direct = Direct::new(&node)?;
    order(&node, "disk write error vm 0 of 100 %")?;
    assert!(is_io_error(direct.write(2)));
    assert_eq!(direct.read()?, &[1; LENGTH], "nothing was written");
    order(&node, "disk heal vm 0")?;
    Ok(direct.write(2)?)
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [], disk = "16M")]
fn disk_flush_error(node: Node) -> Result {
    let mut direct = Direct::new(&node)?;
    order(&node, "disk flush error vm 0 of 100 %")?;
    direct.write(2)?;
    assert!(is_io_error(direct.file.sync_data()));
    assert_eq!(direct.read()?, &[2; LENGTH]);
    order(&node, "disk lost writes vm 0")?;
    assert_eq!(direct.read()?, &[1; LENGTH], "nothing was made durable");
    Ok(())
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [], disk = "16M")]
fn disk_torn_write(node: Node) -> Result {
    let mut direct = Direct::new(&node)?;
    order(&node, "disk torn write vm 0 of 100 %")?;
    direct.write(2)?;
    order(&node, "disk heal vm 0")?;
    let sectors: Vec<&[u8]> = direct.read()?.chunks(SECTOR).collect();
    let stored = sectors.iter().take_while(|s| s.iter().all(|b| *b == 2));
    let stored = stored.count();
    assert!(stored < sectors.len());
    assert!(sectors[stored..].iter().all(|s| s.iter().all(|b| *b == 1)));
    Ok(())
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [], disk = "16M")]
fn disk_corruption(node: Node) -> Result {
    let mut direct = Direct::new(&node)?;
    order(&node, "disk corruption vm 0 of 100 %")?;
    direct.write(2)?;
    order(&node, "disk heal vm 0")?;
    let wrong = direct.read()?.iter().map(|byte| (byte ^ 2).count_ones());
    assert_eq!(wrong.sum::<u32>(), 1);
    Ok(())
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [], disk = "16M")]
fn disk_lost_writes(node: Node) -> Result {
    let mut direct = Direct::new(&node)?;
    direct.write(2)?;
    order(&node, "disk lost writes vm 0")?;
    assert_eq!(direct.read()?, &[1; LENGTH]);
    direct.write(2)?;
    direct.file.sync_data()?;
    order(&node, "disk lost writes vm 0")?;
    assert_eq!(direct.read()?, &[2; LENGTH], "it was durable");
    Ok(())
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [], disk = "16M")]
fn disk_misdirected_write(node: Node) -> Result {
    let mut direct = Direct::new(&node)?;
    order(&node, "disk misdirected write vm 0 of 100 %")?;
    direct.write(2)?;
    order(&node, "disk heal vm 0")?;
    let own = direct.read()?.iter().filter(|byte| **byte == 1).count();
    assert!(own > 0, "its place has what it had");
    let disk = File::open("/dev/vda")?;
    let mut bytes = vec![0; 16 << 20];
    disk.read_exact_at(&mut bytes, 0)?;
    let landed = bytes.chunks(SECTOR).filter(|s| s.iter().all(|b| *b == 2));
    assert_eq!(landed.count(), LENGTH / SECTOR, "it landed elsewhere");
    Ok(())
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [], disk = "16M")]
fn disk_slow(node: Node) -> Result {
    let mut direct = Direct::new(&node)?;
    let mut time = || -> Result<Duration> {
        let began = Instant::now();
        direct.read()?;
        Ok(began.elapsed())
    };
    assert!(time()? < 5 * MS);
    order(&node, "disk slow vm 0 by 50 ms")?;
    let slow = time()?;
    assert!((50 * MS..200 * MS).contains(&slow), "{slow:?}");
    order(&node, "disk heal vm 0")?;
    assert!(time()? < 5 * MS);
    Ok(())
}

#[chaos_test(vms = 2, rounds = 1, branches = 1, faults = [], disk = "16M", duration = "1s", quiet = "1s")]
fn disk_heal(node: Node) -> Result {
    let mut direct = Direct::new(&node)?;
    if node.index() == 1 {
        return Ok(());
    }
    for fault in ["read error", "write error", "flush error"] {
        order(&node, &format!("disk {fault} vm 0 of 100 %"))?;
    }
    assert!(direct.write(2).is_err() && direct.read().is_err());
    order(&node, "disk heal vm 1")?;
    assert!(direct.read().is_err(), "that was another disk");
    order(&node, "disk heal vm 0")?;
    direct.write(2)?;
    direct.file.sync_data()?;
    order(&node, "disk read error vm 0 of 100 %")?;
    node.wait_quiet();
    assert_eq!(direct.read()?, &[2; LENGTH], "it heals when faults end");
    Ok(())
}
