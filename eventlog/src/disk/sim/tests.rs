//! That the simulated disk really misbehaves: tests on top of a disk that is too kind prove
//! nothing.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// Enough seeds for every outcome asked for below to turn up.
const SEEDS: u64 = 200;

fn contents(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(path), false).ok()?;
    let mut bytes = vec![0; file.size().expect("size") as usize];
    file.read_at(0, &mut bytes).expect("read");
    Some(bytes)
}

#[test]
fn synced_bytes_and_names_survive_a_power_loss() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let mut file = disk.create_new(Path::new("/a")).expect("create");
        file.write_at(0, &[7; 2000]).expect("write");
        file.sync_data().expect("sync");
        disk.sync_dir(Path::new("/")).expect("sync the directory");
        file.write_at(2000, &[8; 100]).expect("write more");
        disk.restart(Restart::PowerLost);
        let bytes = contents(&disk, "/a").expect("the name survives");
        assert_eq!(&bytes[..2000], &[7; 2000][..], "seed {seed}");
    }
}

#[test]
fn unsynced_sectors_survive_in_any_combination() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let mut file = disk.create_new(Path::new("/a")).expect("create");
        disk.sync_dir(Path::new("/")).expect("sync the directory");
        file.write_at(0, &[7; 1024]).expect("write");
        disk.restart(Restart::PowerLost);
        let bytes = contents(&disk, "/a").expect("the name survives");
        let kept = |at: usize| bytes.get(at) == Some(&7);
        outcomes.insert((kept(0), kept(600)));
    }
    assert_eq!(
        outcomes.len(),
        4,
        "both, either or none of two sectors: {outcomes:?}"
    );
}

#[test]
fn unsynced_names_may_vanish_and_a_rename_is_one_step() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.create_new(Path::new("/old")).expect("create");
        disk.sync_dir(Path::new("/")).expect("sync the directory");
        disk.rename(Path::new("/old"), Path::new("/new"))
            .expect("rename");
        disk.restart(Restart::PowerLost);
        let names = disk.list(Path::new("/")).expect("list");
        assert_eq!(names.len(), 1, "seed {seed}: {names:?}");
        outcomes.insert(names[0].name.clone());
    }
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
}

#[test]
fn a_failed_sync_loses_bytes_that_a_second_sync_does_not_bring_back() {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let mut file = disk.create_new(Path::new("/a")).expect("create");
        disk.sync_dir(Path::new("/")).expect("sync the directory");
        file.write_at(0, &[7; 1024]).expect("write");
        disk.set_faults(Faults {
            sync_error_per_mille: 1000,
            ..Faults::default()
        });
        file.sync_data().expect_err("the fault");
        disk.set_faults(Faults::default());
        file.sync_data()
            .expect("the kernel reports a failure only once");
        disk.restart(Restart::PowerLost);
        lost += u64::from(contents(&disk, "/a").expect("the name") != [7; 1024]);
    }
    assert!(lost > SEEDS / 2, "only {lost} of {SEEDS} lost something");
}

#[test]
fn a_full_disk_refuses_and_a_stopped_machine_stays_stopped() {
    let disk = SimDisk::new(1);
    let mut file = disk.create_new(Path::new("/a")).expect("create");
    disk.set_faults(Faults {
        capacity: Some(1000),
        ..Faults::default()
    });
    let error = file.write_at(0, &[7; 1001]).expect_err("too much");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    file.write_at(0, &[7; 1000]).expect("just enough");
    disk.stop_after(1);
    file.size().expect_err("the machine stops");
    assert!(disk.has_stopped());
    disk.list(Path::new("/")).expect_err("and stays stopped");
    disk.restart(Restart::ProcessKilled);
    file.size().expect_err("the handle is from before");
    assert_eq!(contents(&disk, "/a").expect("it is there").len(), 1000);
}
