//! What the spool asks of a file system, and the real one.
//!
//! The trait is small on purpose: everything that durability rests on (writing, syncing, renaming,
//! syncing a directory) goes through it, so that [`sim::SimDisk`] can lose, tear and reorder
//! whatever has not been synced. What to make durable, and when, is left to [`crate::spool`].

mod real;
#[doc(hidden)]
pub mod sim;

use std::any::Any;
use std::fmt;
use std::io;
use std::path::Path;

pub use real::RealDisk;

/// A file system, real or simulated.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens an existing file for reading, and for writing too when `write` is set.
    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn DiskFile>>;

    /// Creates a file for reading and writing; fails with `AlreadyExists` if it is there.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Creates one directory; fails with `AlreadyExists` if it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted. Names that are not UTF-8 are none of ours and left out.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;

    /// Size and age of a file.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// Renames a file or directory; a file in the way is replaced in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a file, created if need be, without waiting, and writes
    /// `holder` into it for others to read.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock>;
}

/// An open file.
pub trait DiskFile: fmt::Debug + Send {
    /// Writes all of `bytes` at `offset`. After an error any part of them may be in the file.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads into `buffer` until it is full or the file ends; returns the bytes read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The file's length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Cuts or extends the file.
    fn truncate(&mut self, size: u64) -> io::Result<()>;

    /// Makes the contents and the length durable (`fdatasync`).
    ///
    /// After an error the unsynced bytes must be taken for lost, even if they can still be read
    /// and a second call succeeds: kernels drop them and report the failure once.
    fn sync_data(&mut self) -> io::Result<()>;
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without the directory.
    pub name: String,
    /// True for a directory.
    pub is_dir: bool,
}

/// Size and age of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The length in bytes.
    pub size: u64,
    /// When it was last written, in µs since an arbitrary origin: good for ordering, no more.
    pub modified_us: u64,
}

/// What trying to take a lock came to.
pub enum Lock {
    /// It is held until the guard is dropped.
    Held(LockGuard),
    /// Somebody else holds it.
    Busy {
        /// What the holder wrote into the file; empty if it has not come to that yet.
        holder: String,
    },
}

/// Keeps a lock; dropping it releases the lock.
pub struct LockGuard {
    _guard: Box<dyn Any + Send + Sync>,
}

impl LockGuard {
    /// Wraps whatever keeps the lock while it lives.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self {
            _guard: Box::new(guard),
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

/// True for the errors that mean that the file system has no room left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
