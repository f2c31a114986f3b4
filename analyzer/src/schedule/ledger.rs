//! A job's ledger on disk: one file of checksummed lines, each on the disk before what it announces
//! is done.
//!
//! A crash can tear the last line and nothing else, since each is synced before the next is written;
//! a torn last line is dropped. The file is bounded: once it has grown, it is replaced by what is
//! remembered of it. What to write is left to the plan.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lease::Lease;
use super::record::{checked, line};
use super::{JobState, Record, ScheduleError};

/// The version of the format.
const FORMAT: u32 = 1;
/// A ledger that is longer than this is replaced, once no run is open.
const COMPACT_BYTES: u64 = 1 << 20;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    job: String,
}

/// A job's ledger, held by this process alone.
#[derive(Debug)]
pub struct Ledger {
    directory: PathBuf,
    job: String,
    path: PathBuf,
    file: File,
    bytes: u64,
    compact_at: u64,
    state: JobState,
    broken: bool,
    _lease: Lease,
}

/// What a file holds.
struct Contents {
    state: JobState,
    /// Bytes of whole lines; what follows is torn.
    whole: u64,
    torn: u64,
}

impl Ledger {
    /// Takes the job's lease and reads its ledger; makes both where they are missing.
    pub fn open(directory: &Path, job: &str) -> Result<Self, ScheduleError> {
        fs::create_dir_all(directory).map_err(io("create", directory))?;
        let lease = Lease::take(directory, job)?;
        let path = path_of(directory, job);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io("open", &path))?;
        let contents = read(&path, &file)?;
        let mut ledger = Self {
            directory: directory.to_path_buf(),
            job: job.to_owned(),
            file,
            bytes: contents.whole,
            compact_at: COMPACT_BYTES,
            state: contents.state,
            broken: false,
            path,
            _lease: lease,
        };
        if contents.torn > 0 {
            tracing::warn!(
                ledger = %ledger.path.display(), bytes = contents.torn,
                "dropped a last line that a crash has torn"
            );
            ledger
                .file
                .set_len(contents.whole)
                .map_err(io("repair", &ledger.path))?;
        }
        if contents.whole == 0 {
            ledger.write_header()?;
        }
        Ok(ledger)
    }

    /// What the ledger of a job says now, without taking its lease; a job without a ledger was
    /// never seen.
    pub fn look(directory: &Path, job: &str) -> Result<JobState, ScheduleError> {
        let path = path_of(directory, job);
        match File::open(&path) {
            Ok(file) => Ok(read(&path, &file)?.state),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(JobState::default()),
            Err(error) => Err(io("open", &path)(error)),
        }
    }

    /// What the records add up to.
    pub fn state(&self) -> &JobState {
        &self.state
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a record down; it is on the disk when this returns.
    pub fn append(&mut self, record: &Record) -> Result<(), ScheduleError> {
        if self.broken {
            return Err(ScheduleError::Broken {
                path: self.path.clone(),
            });
        }
        let mut state = self.state.clone();
        state.apply(record).map_err(|reason| self.damaged(reason))?;
        let line = line(record).map_err(|error| self.damaged(error.to_string()))?;
        self.write(line.as_bytes())?;
        self.state = state;
        if self.bytes > self.compact_at && self.state.open().is_none() {
            self.compact()?;
        }
        Ok(())
    }

    fn write_header(&mut self) -> Result<(), ScheduleError> {
        let line = header(&self.job).map_err(|error| self.damaged(error.to_string()))?;
        self.write(line.as_bytes())?;
        // The directory may be as new as the file.
        sync_directory(self.directory.parent().unwrap_or(&self.directory))?;
        sync_directory(&self.directory)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ScheduleError> {
        let written = self
            .file
            .write_all_at(bytes, self.bytes)
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Whether the line is on the disk cannot be known after a failed sync: the next start
            // reads what there is.
            self.broken = true;
            return Err(io("write", &self.path)(source));
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Replaces the file by what is remembered of it, in one step.
    fn compact(&mut self) -> Result<(), ScheduleError> {
        let mut text = header(&self.job).map_err(|error| self.damaged(error.to_string()))?;
        for record in self.state.records() {
            text += &line(&record).map_err(|error| self.damaged(error.to_string()))?;
        }
        let fresh = self.path.with_extension("ledger.new");
        let replace = || {
            // A file that an earlier attempt has left behind is written over.
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)?;
            Ok(file)
        };
        let replaced: io::Result<File> = replace();
        self.file = replaced.map_err(|source| {
            self.broken = true;
            io("compact", &self.path)(source)
        })?;
        self.bytes = text.len() as u64;
        sync_directory(&self.directory)
    }

    fn damaged(&self, reason: String) -> ScheduleError {
        ScheduleError::Damaged {
            path: self.path.clone(),
            line: 0,
            reason,
        }
    }
}

fn path_of(directory: &Path, job: &str) -> PathBuf {
    directory.join(format!("{job}.ledger"))
}

fn header(job: &str) -> Result<String, serde_json::Error> {
    line(&Header {
        format: FORMAT,
        job: job.to_owned(),
    })
}

fn read(path: &Path, mut file: &File) -> Result<Contents, ScheduleError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(io("read", path))?;
    let mut contents = Contents {
        state: JobState::default(),
        whole: 0,
        torn: 0,
    };
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for (index, whole_line) in lines.iter().enumerate() {
        let damaged = |reason: String| ScheduleError::Damaged {
            path: path.to_path_buf(),
            line: index + 1,
            reason,
        };
        let last = index + 1 == lines.len();
        let json = match whole_line
            .strip_suffix(b"\n")
            .ok_or("it has no end".to_owned())
        {
            Ok(body) => checked(body),
            Err(reason) => Err(reason),
        };
        match json {
            Ok(json) if index == 0 => {
                check_header(path, json).map_err(|refusal| match refusal {
                    Refusal::Newer(error) => error,
                    Refusal::Damaged(reason) => damaged(reason),
                })?
            }
            Ok(json) => {
                let record: Record =
                    serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?;
                contents.state.apply(&record).map_err(damaged)?;
            }
            Err(_) if last => {
                contents.torn = whole_line.len() as u64;
                break;
            }
            Err(reason) => return Err(damaged(reason)),
        }
        contents.whole += whole_line.len() as u64;
    }
    Ok(contents)
}

enum Refusal {
    Newer(ScheduleError),
    Damaged(String),
}

fn check_header(path: &Path, json: &str) -> Result<(), Refusal> {
    // Read loosely first: a newer header may hold more.
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|error| Refusal::Damaged(error.to_string()))?;
    let found = value["format"].as_u64().unwrap_or(0);
    if found > u64::from(FORMAT) {
        return Err(Refusal::Newer(ScheduleError::Newer {
            path: path.to_path_buf(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            known: FORMAT,
        }));
    }
    match serde_json::from_value::<Header>(value) {
        Ok(header) if path_of(Path::new(""), &header.job).file_name() == path.file_name() => Ok(()),
        Ok(header) => Err(Refusal::Damaged(format!(
            "it is the ledger of job {}",
            header.job
        ))),
        Err(error) => Err(Refusal::Damaged(error.to_string())),
    }
}

fn sync_directory(directory: &Path) -> Result<(), ScheduleError> {
    // The parent of a relative name of one part is the current directory.
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io("sync", directory))
}

fn io<'a>(op: &'static str, path: &'a Path) -> impl Fn(io::Error) -> ScheduleError + 'a {
    move |source| ScheduleError::Io {
        op,
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests;
