//! An attempt as a child process, in a process group of its own that ends with it.
//!
//! The child's standard input is an empty file that bears a lock. The lock belongs to all who hold
//! the file open, hence it tells whether anything of an earlier attempt still runs, even when the
//! scheduler that began it was killed in the same moment; what still runs is ended first. Standard
//! output and error are the scheduler's own.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, getpgrp, kill_process_group, pidfd_open};

use super::{Attempt, Ending};

/// How long a child may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How often a request to stop is looked for while a child runs.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often the lock of an earlier attempt is tried while that is ended.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Runs jobs as child processes.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program; a job's command is its arguments.
    pub program: PathBuf,
    /// Added to the environment of this process.
    pub environment: Vec<(OsString, OsString)>,
    /// Where the locks are kept.
    pub directory: PathBuf,
}

impl Launcher {
    /// Runs an attempt to its end. `wait` waits, or says that a stop was asked for.
    pub fn run(&self, attempt: &Attempt<'_>, wait: &dyn Fn(Duration) -> bool) -> Ending {
        let lock = self
            .directory
            .join(format!("{}.running", attempt.job.name()));
        let begun = claim(&lock).and_then(|claim| {
            Command::new(&self.program)
                .args(attempt.job.command(attempt.scheduled_us))
                .envs(self.environment.iter().cloned())
                .stdin(Stdio::from(claim))
                .process_group(0)
                .spawn()
                .map_err(|error| format!("cannot run {}: {error}", self.program.display()))
        });
        match begun {
            Ok(child) => watch(child, attempt.job.timeout(), wait),
            Err(reason) => Ending::not_started(reason),
        }
    }
}

/// Takes the lock of a job's child; ends what is left of an earlier one.
fn claim(path: &Path) -> Result<File, String> {
    let fail = |error: std::io::Error| format!("cannot lock {}: {error}", path.display());
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(fail)?;
    let deadline = Instant::now() + GRACE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                end_holders(path).map_err(fail)?;
                std::thread::sleep(TRY_AGAIN);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "a process of an earlier attempt holds {} and cannot be ended",
                    path.display()
                ));
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
    }
}

/// Kills the process groups whose standard input is the file. Processes come and go while this
/// looks: whatever cannot be read is gone or not ours.
fn end_holders(path: &Path) -> std::io::Result<()> {
    let path = fs::canonicalize(path)?;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw)
        else {
            continue;
        };
        let input = format!("/proc/{pid}/fd/0");
        if fs::read_link(input).is_ok_and(|input| input == path)
            && let Ok(group) = getpgid(Some(pid))
            && group != getpgrp()
        {
            tracing::warn!(process = %pid, "ends a process that an earlier scheduler has left behind");
            kill(group, Signal::KILL);
        }
    }
    Ok(())
}

fn watch(mut child: Child, timeout: Duration, wait: &dyn Fn(Duration) -> bool) -> Ending {
    let group = Pid::from_child(&child);
    let early = match watch_until_end(group, timeout, wait) {
        Ok(early) => early,
        Err(error) => Some(Ending::not_started(format!(
            "cannot watch process {group}: {error}"
        ))),
    };
    // The leader is not reaped yet, so that its number cannot have become another group's: what it
    // has left behind ends with it.
    kill(group, Signal::KILL);
    match (early, child.wait()) {
        (Some(ending), _) => ending,
        (None, Ok(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Exited(code),
            (None, Some(signal)) => Ending::Signalled(signal),
            (None, None) => Ending::not_started(format!("unknown status {status}")),
        },
        (None, Err(error)) => Ending::not_started(format!("cannot wait for {group}: {error}")),
    }
}

/// Waits until the process has ended, and says why when that was our doing.
fn watch_until_end(
    pid: Pid,
    timeout: Duration,
    wait: &dyn Fn(Duration) -> bool,
) -> rustix::io::Result<Option<Ending>> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let has_ended = |within: Duration| -> rustix::io::Result<bool> {
        let within = Timespec::try_from(within).map_err(|_| rustix::io::Errno::INVAL)?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&within)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error),
        }
    };
    let deadline = Instant::now() + timeout;
    let ending = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if has_ended(left.min(LOOK_AGAIN))? {
            return Ok(None);
        }
        if wait(Duration::ZERO) {
            break Ending::Stopped;
        }
        if left.is_zero() {
            break Ending::TimedOut;
        }
    };
    kill(pid, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while !has_ended(deadline.saturating_duration_since(Instant::now()))?
        && Instant::now() < deadline
    {}
    Ok(Some(ending))
}

fn kill(group: Pid, signal: Signal) {
    match kill_process_group(group, signal) {
        // It has ended by itself meanwhile.
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => tracing::warn!(%group, %error, "cannot signal a process group"),
    }
}

#[cfg(test)]
mod tests;
