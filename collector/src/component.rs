//! What a component is: something that is observed at an interval and may fail on its own.
//!
//! Which components there are follows from the configuration; when they run is decided by
//! [`crate::agent`], what their failures mean by [`crate::health`].

#[cfg(target_os = "linux")]
pub(crate) mod cgroup;
#[cfg(target_os = "linux")]
pub(crate) mod host;
#[cfg(any(test, not(target_os = "linux")))]
pub(crate) mod host_portable;
pub(crate) mod own;
pub(crate) mod process;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_schemas as schemas;

use crate::config::Config;
use crate::recorder::Recorder;

/// Something that is observed.
pub trait Component: Send {
    /// What kind of thing it is.
    fn component(&self) -> schemas::Component;

    /// Which part of it, as events name it: `host.cpu`.
    fn subject(&self) -> &'static str;

    /// How often it is to be collected; rounded up to whole ticks.
    fn interval(&self) -> Duration;

    /// Records its samples for the current tick. What was recorded before an error stays.
    ///
    /// # Errors
    /// What could not be read or understood.
    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError>;
}

/// What kept a component from being observed, wholly or in part.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// A file cannot be read.
    #[error("{path} cannot be read ({source}): {remedy}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// A file is not in the format that is expected.
    #[error(
        "{file}:{line}: expected {expected}; this kernel's format is not known here, please report it"
    )]
    Malformed {
        /// The file.
        file: &'static str,
        /// The line, from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// Some of the processes may not be looked into.
    #[error(
        "{what} of some processes may not be read: run the collector as root or with CAP_SYS_PTRACE, or leave it so"
    )]
    ProcessesDenied {
        /// Which metrics are missing.
        what: &'static str,
    },
    /// More things than are collected.
    #[error("there are more than {limit} {things}, the rest is not collected: {remedy}")]
    TooMany {
        /// What there is too much of.
        things: &'static str,
        /// How many are collected.
        limit: usize,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// Something that must exist is not there.
    #[error("{what} was not found: {remedy}")]
    Absent {
        /// What is missing.
        what: &'static str,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// A mistake of ours, kept from harming the other components.
    #[error("it panicked ({message}): please report it; it is tried again every minute")]
    Panicked {
        /// The panic's message.
        message: String,
    },
}

impl ComponentError {
    pub(crate) fn unreadable(path: &Path, source: io::Error) -> Self {
        let remedy = match source.kind() {
            io::ErrorKind::NotFound => "this kernel does not offer it, or it is not mounted here",
            io::ErrorKind::PermissionDenied => "let the collector's user read it",
            _ => "look at the system's log for the cause",
        };
        Self::Unreadable {
            path: path.to_owned(),
            source,
            remedy,
        }
    }
}

/// All components that the configuration asks for.
pub(crate) fn components(config: &Config) -> Vec<Box<dyn Component>> {
    let mut all: Vec<Box<dyn Component>> = Vec::new();
    if config.host.enabled {
        #[cfg(target_os = "linux")]
        all.extend(host::components(&config.host));
        #[cfg(not(target_os = "linux"))]
        all.push(Box::new(host_portable::Portable::new(&config.host)));
    }
    if config.process.enabled {
        all.push(Box::new(process::Processes::new(
            &config.process,
            &config.host.proc,
        )));
    }
    #[cfg(target_os = "linux")]
    if config.cgroup.enabled {
        all.push(Box::new(cgroup::Cgroups::new(
            &config.cgroup,
            &config.host.proc,
        )));
    }
    all
}
