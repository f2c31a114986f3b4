//! One simulated file: what programs see of it, and what the platter holds of it.

use std::collections::BTreeSet;

use super::Rng;

/// The unit that a disk writes wholly or not at all.
pub(super) const SECTOR: usize = 512;

/// A file's contents, visible and durable.
#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What reads return.
    pub(super) cache: Vec<u8>,
    /// What survives a power loss.
    disk: Vec<u8>,
    /// Sectors written since they last reached the disk. A sector that differs from the disk
    /// without being here has been dropped by a failed sync.
    dirty: BTreeSet<usize>,
    /// When it was last written, in ticks.
    pub(super) modified: u64,
}

impl Inode {
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        let first = offset.min(self.cache.len()) / SECTOR;
        if self.cache.len() < end {
            self.cache.resize(end, 0);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        self.dirty.extend(first..=(end - 1) / SECTOR);
    }

    pub(super) fn truncate(&mut self, size: usize) {
        let first = size.min(self.cache.len()) / SECTOR;
        self.cache.resize(size, 0);
        self.dirty.retain(|sector| sector * SECTOR < size);
        self.dirty.extend(first..size.div_ceil(SECTOR));
    }

    /// A sync that succeeds: everything dirty reaches the disk, and the length.
    pub(super) fn sync(&mut self) {
        self.disk.resize(self.cache.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.persist(sector);
        }
    }

    /// A sync that fails: some sectors reach the disk, the others are forgotten although they can
    /// still be read, until the kernel needs the page.
    pub(super) fn sync_failing(&mut self, rng: &mut Rng) {
        for sector in std::mem::take(&mut self.dirty) {
            if rng.one_in(2) {
                self.persist(sector);
            }
        }
        if rng.one_in(2) {
            self.evict();
        }
    }

    /// The kernel drops clean pages, so that reads see what the disk holds.
    pub(super) fn evict(&mut self) {
        for sector in 0..self.cache.len().div_ceil(SECTOR) {
            if self.dirty.contains(&sector) {
                continue;
            }
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(self.cache.len());
            for position in start..end {
                self.cache[position] = self.disk.get(position).copied().unwrap_or(0);
            }
        }
    }

    /// The kernel writes back some sectors on its own, in any order.
    pub(super) fn write_back(&mut self, rng: &mut Rng) {
        let chosen: Vec<usize> = self
            .dirty
            .iter()
            .copied()
            .filter(|_| rng.one_in(2))
            .collect();
        for sector in chosen {
            self.dirty.remove(&sector);
            self.persist(sector);
        }
    }

    /// Power is lost: of the unsynced sectors some have reached the disk, and the length may be
    /// the old one, the new one or anything a written sector implies.
    pub(super) fn lose_power(&mut self, rng: &mut Rng) {
        self.write_back(rng);
        self.dirty.clear();
        if self.disk.len() > self.cache.len() {
            if rng.one_in(2) {
                self.disk.truncate(self.cache.len());
            }
        } else if rng.one_in(3) {
            let filler = if rng.one_in(4) { 0xa5 } else { 0 };
            self.disk.resize(self.cache.len(), filler);
        }
        self.cache.clone_from(&self.disk);
    }

    /// Inverts one bit, visibly and durably.
    pub(super) fn flip_bit(&mut self, offset: usize, bit: u8) {
        for copy in [&mut self.cache, &mut self.disk] {
            if let Some(byte) = copy.get_mut(offset) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    fn persist(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.cache.len());
        if end <= start {
            return;
        }
        if self.disk.len() < end {
            self.disk.resize(end, 0);
        }
        self.disk[start..end].copy_from_slice(&self.cache[start..end]);
    }
}
