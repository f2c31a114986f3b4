//! The real file system, by the standard library alone: positioned reads and writes, `fdatasync`,
//! `fsync` of directories and `flock`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::{Disk, DiskFile, Entry, Lock, LockGuard, Stat};

/// Width to which the text in a lock file is padded.
const HOLDER_BYTES: usize = 16;

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// A file of the operating system.
#[derive(Debug)]
struct RealFile(File);

impl Disk for RealDisk {
    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(write).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry {
                    name,
                    is_dir: entry.file_type()?.is_dir(),
                });
            }
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let metadata = fs::metadata(path)?;
        let age = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let modified_us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        Ok(Stat {
            size: metadata.len(),
            modified_us,
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {
                // A fixed width is overwritten in place, which a full disk still allows.
                let padded = format!("{holder:<HOLDER_BYTES$}");
                file.write_all_at(padded.as_bytes(), 0)?;
                Ok(Lock::Held(LockGuard::new(file)))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.take(HOLDER_BYTES as u64).read_to_string(&mut text)?;
                Ok(Lock::Busy {
                    holder: text.trim_end().to_owned(),
                })
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl DiskFile for RealFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .0
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_exclusive_and_names_its_holder() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("lock");
        let disk = RealDisk;
        let Lock::Held(guard) = disk.lock(&path, "17").expect("lock") else {
            panic!("a fresh lock is free");
        };
        let Lock::Busy { holder } = disk.lock(&path, "18").expect("second try") else {
            panic!("the lock is taken");
        };
        assert_eq!(holder, "17");
        drop(guard);
        assert!(matches!(
            disk.lock(&path, "18").expect("third try"),
            Lock::Held(_)
        ));
    }

    #[test]
    fn a_file_is_created_once_and_read_to_its_end() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        let disk = RealDisk;
        let mut file = disk.create_new(&path).expect("create");
        file.write_at(3, b"abc").expect("write");
        file.sync_data().expect("sync");
        let mut buffer = [9; 8];
        assert_eq!(file.read_at(0, &mut buffer).expect("read"), 6);
        assert_eq!(&buffer[..6], b"\0\0\0abc");
        let again = disk.create_new(&path).expect_err("it exists");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(disk.stat(&path).expect("stat").size, 6);
    }
}
