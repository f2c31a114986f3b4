//! A file system in memory that misbehaves by a seed, for tests of this and of other crates.
//!
//! It keeps apart what programs see and what a power loss leaves: unsynced sectors survive in any
//! combination, names that were not synced with their directory may vanish, a failed sync drops
//! the bytes that it was given, a full disk refuses. Time and threads are left out: one test drives
//! it step by step.

mod inode;
mod rng;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, Entry, Lock, LockGuard, Stat};
use inode::Inode;
pub use rng::Rng;
use tree::{Node, Tree};

/// Once in this many writes the simulated kernel writes something back on its own.
const WRITE_BACK_ODDS: u64 = 8;

/// A simulated disk; clones share it.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// What goes wrong, and how often.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Of a thousand syncs of a file or directory, how many fail with EIO.
    pub sync_error_per_mille: u64,
    /// Of a thousand writes, how many fail with EIO after a part of the bytes.
    pub write_error_per_mille: u64,
    /// Bytes of file contents that fit; `None` for no limit.
    pub capacity: Option<u64>,
}

/// How the simulated machine comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// The process was killed; the kernel kept everything it had been given.
    ProcessKilled,
    /// Power was lost; only what was synced is sure to be there.
    PowerLost,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    tree: Tree,
    inodes: Vec<Inode>,
    locked: Vec<PathBuf>,
    faults: Faults,
    epoch: u64,
    tick: u64,
    steps_left: Option<u64>,
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
    epoch: u64,
}

struct SimLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    epoch: u64,
}

impl SimDisk {
    /// An empty disk whose misbehaviour follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            tree: Tree::new(),
            inodes: Vec::new(),
            locked: Vec::new(),
            faults: Faults::default(),
            epoch: 0,
            tick: 0,
            steps_left: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Lets the machine stop in the midst of the `steps`-th operation from now; from then on
    /// every operation fails until [`SimDisk::restart`].
    pub fn stop_after(&self, steps: u64) {
        self.state().steps_left = Some(steps);
    }

    /// True once the machine has stopped.
    pub fn has_stopped(&self) -> bool {
        self.state().has_stopped()
    }

    /// Stops the machine if it still runs and starts it again. Open files and locks are gone.
    pub fn restart(&self, how: Restart) {
        let state = &mut *self.state();
        state.epoch += 1;
        state.steps_left = None;
        state.locked.clear();
        if how == Restart::PowerLost {
            state.tree.lose_power(&mut state.rng);
            for inode in &mut state.inodes {
                inode.lose_power(&mut state.rng);
            }
        }
    }

    /// Every file with its size, sorted by path.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state();
        let files = state.tree.files();
        files
            .into_iter()
            .map(|(path, id)| (path, state.inodes[id].cache.len() as u64))
            .collect()
    }

    /// Damages a file: inverts one bit of it, durably.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.tree.file(path)?;
        state.inodes[inode].flip_bit(offset as usize, bit);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn handle(&self, inode: usize, epoch: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile {
            state: self.state.clone(),
            inode,
            epoch,
        })
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, _write: bool) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let inode = state.step(|state| state.tree.file(path))?;
        Ok(self.handle(inode, state.epoch))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let inode = state.step(|state| {
            let id = state.inodes.len();
            state.tree.add(path, Node::File(id))?;
            state.inodes.push(Inode::default());
            Ok(id)
        })?;
        Ok(self.handle(inode, state.epoch))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.state().step(|state| state.tree.add_dir(path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.state().step(|state| state.tree.list(directory))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.state().step(|state| {
            let inode = &state.inodes[state.tree.file(path)?];
            Ok(Stat {
                size: inode.cache.len() as u64,
                modified_us: inode.modified,
            })
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().step(|state| state.tree.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.state().step(|state| state.tree.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.state().step(|state| state.tree.remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state().step(|state| {
            if state.rng.below(1000) < state.faults.sync_error_per_mille {
                state.tree.find_dir(path)?;
                return Err(eio());
            }
            state.tree.sync_dir(path)
        })
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock> {
        let mut state = self.state();
        let free = state.step(|state| {
            let id = match state.tree.file(path) {
                Ok(id) => id,
                Err(_) => {
                    let id = state.inodes.len();
                    state.tree.add(path, Node::File(id))?;
                    state.inodes.push(Inode::default());
                    id
                }
            };
            if state.locked.iter().any(|held| held == path) {
                return Ok(Err(
                    String::from_utf8_lossy(&state.inodes[id].cache).into_owned()
                ));
            }
            state.inodes[id].truncate(0);
            state.inodes[id].write(0, holder.as_bytes());
            state.locked.push(path.to_owned());
            Ok(Ok(()))
        })?;
        Ok(match free {
            Err(holder) => Lock::Busy { holder },
            Ok(()) => Lock::Held(LockGuard::new(SimLock {
                state: self.state.clone(),
                path: path.to_owned(),
                epoch: state.epoch,
            })),
        })
    }
}

impl SimFile {
    /// Runs one step on this file, unless it was opened before the last restart.
    fn step<T>(&self, run: impl FnOnce(&mut State, usize) -> io::Result<T>) -> io::Result<T> {
        let mut state = lock(&self.state);
        if state.epoch != self.epoch {
            return Err(stopped());
        }
        state.step(|state| run(state, self.inode))
    }
}

impl DiskFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let running = !lock(&self.state).has_stopped();
        let outcome = self.step(|state, id| state.write(id, offset as usize, bytes));
        let mut state = lock(&self.state);
        if running && state.has_stopped() && state.epoch == self.epoch {
            // The machine stops in the midst of the write.
            let part = state.rng.index(bytes.len());
            state.inodes[self.inode].write(offset as usize, &bytes[..part]);
        }
        outcome
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.step(|state, id| {
            let contents = state.inodes[id]
                .cache
                .get(offset as usize..)
                .unwrap_or_default();
            let count = contents.len().min(buffer.len());
            buffer[..count].copy_from_slice(&contents[..count]);
            Ok(count)
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.step(|state, id| Ok(state.inodes[id].cache.len() as u64))
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.step(|state, id| {
            state.inodes[id].truncate(size as usize);
            Ok(())
        })
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.step(|state, id| {
            if state.rng.below(1000) < state.faults.sync_error_per_mille {
                state.inodes[id].sync_failing(&mut state.rng);
                return Err(eio());
            }
            state.inodes[id].sync();
            Ok(())
        })
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if state.epoch == self.epoch {
            state.locked.retain(|held| *held != self.path);
        }
    }
}

impl State {
    /// Runs one operation, unless the machine has stopped or stops now.
    fn step<T>(&mut self, run: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        self.tick += 1;
        if let Some(left) = &mut self.steps_left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Err(stopped());
            }
        }
        run(self)
    }

    fn write(&mut self, id: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.inodes[id].modified = self.tick;
        if self.rng.below(1000) < self.faults.write_error_per_mille {
            let part = self.rng.index(bytes.len());
            self.inodes[id].write(offset, &bytes[..part]);
            return Err(eio());
        }
        let grown = (offset + bytes.len()).saturating_sub(self.inodes[id].cache.len()) as u64;
        if let Some(capacity) = self.faults.capacity {
            let room = capacity.saturating_sub(self.used());
            if grown > room {
                let fits = bytes.len() - ((grown - room) as usize).min(bytes.len());
                self.inodes[id].write(offset, &bytes[..fits]);
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "simulated full disk",
                ));
            }
        }
        self.inodes[id].write(offset, bytes);
        if self.rng.one_in(WRITE_BACK_ODDS) {
            let chosen = self.rng.index(self.inodes.len());
            self.inodes[chosen].write_back(&mut self.rng);
            self.tree.write_back(&mut self.rng);
        }
        Ok(())
    }

    fn has_stopped(&self) -> bool {
        self.steps_left == Some(0)
    }

    /// Bytes in the files that have a name.
    fn used(&self) -> u64 {
        self.tree
            .files()
            .iter()
            .map(|(_, id)| self.inodes[*id].cache.len() as u64)
            .sum()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped() -> io::Error {
    io::Error::other("the simulated machine has stopped")
}

fn eio() -> io::Error {
    io::Error::other("simulated input/output error")
}

#[cfg(test)]
mod tests;
