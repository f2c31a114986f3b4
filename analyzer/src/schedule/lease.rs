//! One scheduler at a time serves a job. The lease is a file lock, so that it ends with its holder,
//! however that ends. The directory must be on a file system that knows locks.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::ScheduleError;

/// Width to which the holder's name is padded: it is written over in place, which a full disk still
/// allows.
const HOLDER_BYTES: usize = 16;
/// How long a lease that is held is asked for again: a child that its former holder was just about
/// to start holds it for a moment more.
const PATIENCE: Duration = Duration::from_secs(1);
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// The right to write a job's ledger and to run it.
#[derive(Debug)]
pub(super) struct Lease {
    _file: File,
}

impl Lease {
    /// Takes the lease of a job, or says who holds it.
    pub(super) fn take(directory: &Path, job: &str) -> Result<Self, ScheduleError> {
        let path = directory.join(format!("{job}.lease"));
        let fail = |source| ScheduleError::Io {
            op: "take the lease",
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(fail)?;
        let deadline = Instant::now() + PATIENCE;
        let mut tried = file.try_lock();
        while matches!(tried, Err(TryLockError::WouldBlock)) && Instant::now() < deadline {
            thread::sleep(TRY_AGAIN);
            tried = file.try_lock();
        }
        match tried {
            Ok(()) => {
                let holder = format!("{:<HOLDER_BYTES$}", std::process::id());
                file.write_all_at(holder.as_bytes(), 0).map_err(fail)?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let mut start = file.take(HOLDER_BYTES as u64);
                start.read_to_string(&mut holder).map_err(fail)?;
                Err(ScheduleError::Held {
                    job: job.to_owned(),
                    directory: directory.to_path_buf(),
                    holder: holder.trim_end().to_owned(),
                })
            }
            Err(TryLockError::Error(source)) => Err(fail(source)),
        }
    }
}
