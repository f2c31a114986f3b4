//! One sink at a time reads the spools of a data directory. The lease is a file lock, so that it
//! ends with its holder, however that ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A lease that could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another process holds it.
    #[error(
        "another sink (process {holder}) already serves {data}; stop it, or query its tables instead of starting a second one"
    )]
    Held {
        /// The data directory.
        data: PathBuf,
        /// What the lease file says of the holder.
        holder: String,
    },
    /// The file system failed.
    #[error("cannot take the sink's lease {path}; is the data directory writable?")]
    Io {
        /// The lease file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// The right to write a data directory's tables from its spools.
#[derive(Debug)]
pub struct Lease {
    _file: File,
}

impl Lease {
    /// Takes the lease of a data directory, or says who holds it.
    pub fn take(data: &Path, name: &str) -> Result<Self, LeaseError> {
        let path = data.join(format!("{name}.lease"));
        let fail = |source: io::Error| LeaseError::Io {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(data).map_err(fail)?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                return Err(LeaseError::Held {
                    data: data.to_path_buf(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(error) => return Err(fail(error.into())),
        }
        file.set_len(0).map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_sink_is_told_who_holds_the_lease() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = Lease::take(dir.path(), "sink").expect("first");
        let second = Lease::take(dir.path(), "sink").expect_err("second");
        assert!(
            second.to_string().contains(&std::process::id().to_string()),
            "{second}"
        );
        drop(first);
        Lease::take(dir.path(), "sink").expect("after the first has gone");
    }
}
