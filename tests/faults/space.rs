//! Disks without space, real ones and the memory that stands for one.

use std::fs;
use std::io::ErrorKind;
use std::thread;

use chaoscontrol::prelude::*;

const NAP: Duration = Duration::from_millis(200);
const LIMIT: Duration = Duration::from_secs(1);

/// A file larger than what a fault may leave of a block.
fn write(node: &Node) -> std::io::Result<()> {
    let path = node.data_dir().join("file");
    let written = fs::write(&path, vec![1; 1 << 20]);
    let _ = fs::remove_file(&path);
    written
}

fn fills(node: &Node) -> Result {
    node.setup_complete();
    node.wait_setup(LIMIT)?;
    write(node)?;
    for _ in 0..2 {
        node.faults().order("full disk vm 0")?;
        thread::sleep(NAP);
        let refused = write(node).expect_err("there is no space");
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        node.faults().order("disk heal vm 0")?;
        thread::sleep(NAP);
        write(node)?;
    }
    node.faults().order("full disk vm 0")?;
    thread::sleep(NAP);
    assert!(write(node).is_err());
    node.wait_quiet();
    thread::sleep(NAP);
    write(node)?;
    Ok(())
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, duration = "5s", quiet = "2s", disk = "32M", faults = [])]
fn disk_full(node: Node) -> Result {
    fills(&node)
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, duration = "5s", quiet = "2s", faults = [])]
fn disk_full_without_a_disk(node: Node) -> Result {
    fills(&node)
}
