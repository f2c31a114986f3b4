//! What is remembered of a log over restarts: how far it was read, and all totals as of exactly there,
//! in one file that is replaced as a whole.
//!
//! That both are one is what makes the totals exact: after kill -9 the lines behind the last state are
//! read again and added to the totals of that state, whether or not samples of them had been written
//! already. A total is therefore a function of the log alone.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::counts::Totals;

/// The format of the file.
const VERSION: u32 = 1;
/// The largest state that is read.
const MAX_STATE_BYTES: u64 = 16 * 1024 * 1024;

/// How far one file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Everything before is counted; it is the beginning of a line.
    pub(super) offset: u64,
    /// How many bytes of its beginning the hash is of.
    pub(super) head_bytes: u64,
    /// What tells the file from a later one with its inode, and finds its copy.
    pub(super) head_hash: u64,
    /// Whether `offset` is within a line that is too long to be read.
    pub(super) in_long_line: bool,
}

/// The whole state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) version: u32,
    /// When it was current, in nanoseconds since 1970 UTC: files that changed later hold new lines.
    pub(super) current_ns: i64,
    pub(super) positions: Vec<Position>,
    /// Rotated files that have been let go, and how many bytes of each were not read.
    #[serde(default)]
    pub(super) resting: Vec<(Position, u64)>,
    /// Rotated files that were copies of what was read, by device and inode.
    #[serde(default)]
    pub(super) spared: Vec<(u64, u64)>,
    pub(super) totals: Vec<Totals>,
    pub(super) lines: u64,
    pub(super) malformed: u64,
    pub(super) lost_bytes: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            current_ns: 0,
            positions: Vec::new(),
            resting: Vec::new(),
            spared: Vec::new(),
            totals: Vec::new(),
            lines: 0,
            malformed: 0,
            lost_bytes: 0,
        }
    }
}

/// The state cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be {what} ({source}): {remedy}")]
pub(super) struct StateError {
    path: PathBuf,
    what: &'static str,
    source: io::Error,
    remedy: &'static str,
}

/// Reads the state; `None` where there is none yet.
pub(super) fn read(path: &Path) -> Result<Option<State>, StateError> {
    let refuse = |source| StateError {
        path: path.to_owned(),
        what: "read",
        source,
        remedy: "make it readable, or remove it to begin anew",
    };
    let bytes = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(error)),
        Ok(metadata) if metadata.len() > MAX_STATE_BYTES => {
            return Err(refuse(io::Error::other("it is larger than 16 MiB")));
        }
        Ok(_) => fs::read(path).map_err(refuse)?,
    };
    let state: State = serde_json::from_slice(&bytes).map_err(|error| refuse(error.into()))?;
    if state.version != VERSION {
        return Err(refuse(io::Error::other(format!(
            "its version {} is not known",
            state.version
        ))));
    }
    Ok(Some(state))
}

/// Replaces the state durably: whoever reads it finds the old one or the new one.
pub(super) fn write(path: &Path, state: &State) -> Result<(), StateError> {
    replace(path, state).map_err(|source| StateError {
        path: path.to_owned(),
        what: "written",
        source,
        remedy: "make its directory writable; until then lines count again after a restart",
    })
}

fn replace(path: &Path, state: &State) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(state)?)?;
    file.sync_data()?;
    fs::rename(&fresh, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("below/shop.json");
        assert!(read(&path).expect("no state").is_none());
        let state = State {
            lines: 7,
            totals: vec![Totals::default()],
            ..State::default()
        };
        write(&path, &state).expect("writable");
        write(&path, &state).expect("writable again");
        assert_eq!(read(&path).expect("readable"), Some(state));
    }

    #[test]
    fn a_state_that_is_none_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("shop.json");
        let newer = serde_json::to_string(&State {
            version: 2,
            ..State::default()
        });
        for text in ["", "{", "{}", &newer.expect("serialisable")] {
            fs::write(&path, text).expect("writable");
            let error = read(&path).expect_err(text).to_string();
            assert!(error.contains("remove it to begin anew"), "{error}");
        }
    }
}
