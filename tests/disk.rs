//! The directory for data: what it is, and what a restart leaves of it, with a disk and
//! without.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use chaoscontrol::fault::FaultSchedule;
use chaoscontrol::prelude::*;

/// Both VMs lose their power for a moment.
fn restarts() -> FaultSchedule {
    let text = "+0.100 s restart vm 0\n+0.200 s restart vm 1";
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Makes a file that is durable, as a database would.
fn write(folder: &Path, name: &str, text: &str) -> Result {
    let mut file = File::create(folder.join(name))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
    let names: Result<Vec<_>> = entries.collect();
    let mut names: Vec<String> = names?
        .into_iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// Waits for the power cut.
fn first_life(node: &Node) -> Result {
    node.setup_complete();
    node.wait_quiet();
    Err("the schedule did not restart this vm".into())
}

#[chaos_test(vms = 2, disk = "16M", schedule = restarts, duration = "1s", quiet = "1s", must_finish = true)]
fn a_restart_keeps_what_was_synced_to_a_disk(node: Node) -> Result {
    let folder = node.data_dir();
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mount = mounts.lines().find(|line| line.contains(" /data "));
    let mount = mount.ok_or("nothing is mounted there")?;
    assert!(
        mount.starts_with("/dev/vda /data ext4 rw,nodev,"),
        "{mount}"
    );
    let text = format!("of {}", node.name());
    if node.incarnation() == 0 {
        assert_eq!(names(folder)?, [""; 0]);
        write(folder, "file", &text)?;
        return first_life(&node);
    }
    assert_eq!(node.incarnation(), 1);
    assert_eq!(names(folder)?, ["file"]);
    // A disk of its own: not what the other wrote.
    assert_eq!(fs::read_to_string(folder.join("file"))?, text);
    write(folder, "second", &text)?;
    Ok(())
}

#[chaos_test(vms = 2, schedule = restarts, duration = "1s", quiet = "1s", must_finish = true)]
fn a_restart_loses_all_of_it_without_a_disk(node: Node) -> Result {
    let folder = node.data_dir();
    assert_eq!(names(folder)?, [""; 0]);
    write(folder, "file", "text")?;
    match node.incarnation() {
        0 => first_life(&node),
        _ => Ok(()),
    }
}

chaoscontrol::main!();
