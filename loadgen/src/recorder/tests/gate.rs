//! A real disk whose syncs wait while its gate is shut.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use driftline_eventlog::disk::{Disk, DiskFile, Entry, Lock, RealDisk, Stat};

#[derive(Debug, Default)]
pub(super) struct Gated(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    changed: Condvar,
}

#[derive(Debug)]
struct GatedFile(Box<dyn DiskFile>, Arc<Gate>);

impl Gated {
    pub(super) fn shut(&self) {
        self.0.set(true);
    }

    pub(super) fn open(&self) {
        self.0.set(false);
    }
}

impl Gate {
    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().expect("no panics here") = is_shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let state = self.is_shut.lock().expect("no panics here");
        let passed = self.changed.wait_while(state, |is_shut| *is_shut);
        drop(passed.expect("no panics here"));
    }
}

impl Disk for Gated {
    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.open(path, write)?;
        Ok(Box::new(GatedFile(file, Arc::clone(&self.0))))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.create_new(path)?;
        Ok(Box::new(GatedFile(file, Arc::clone(&self.0))))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list(directory)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        RealDisk.stat(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock> {
        RealDisk.lock(path, holder)
    }
}

impl DiskFile for GatedFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_data()
    }
}
