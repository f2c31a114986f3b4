//! Processes by the kernel's own files: `/proc/<pid>/{stat,io,status}`.
//!
//! Read by hand rather than through `sysinfo`, because it tells CPU modes and page faults apart,
//! honours `host.proc` and costs a fraction.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use driftline_schemas::metric::catalogue::id;

use super::{Candidate, MAX_SCANNED, NAME, PID};
use crate::clock;
use crate::component::ComponentError;
use crate::component::host::TICKS_PER_SECOND;
use crate::procfile::{ProcFile, parse_u64};
use crate::recorder::Recorder;

const MODE: &str = "cpu.mode";
const FAULT: &str = "system.paging.fault.type";
const DIRECTION: &str = "disk.io.direction";
const SWITCH: &str = "process.context_switch.type";

/// Looks at all processes.
#[derive(Debug)]
pub(super) struct Scanner {
    proc: PathBuf,
    buffer: Vec<u8>,
    /// CPU ticks of each process at the last scan, by number and start.
    ticks: HashMap<(u32, u64), u64>,
    page_bytes: u64,
    boot_s: f64,
}

impl Scanner {
    pub(super) fn new(proc: &Path) -> Self {
        let page_bytes = rustix::param::page_size() as u64;
        Self {
            proc: proc.to_owned(),
            buffer: Vec::new(),
            ticks: HashMap::new(),
            page_bytes,
            boot_s: 0.0,
        }
    }

    /// The processes that there are, but not more than [`MAX_SCANNED`].
    pub(super) fn scan(&mut self) -> Result<Vec<Candidate>, ComponentError> {
        let entries = std::fs::read_dir(&self.proc)
            .map_err(|source| ComponentError::unreadable(&self.proc, source))?;
        let mut candidates = Vec::new();
        let mut ticks = HashMap::with_capacity(self.ticks.len());
        for entry in entries.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            if candidates.len() == MAX_SCANNED {
                break;
            }
            // Processes end while we look: what cannot be read is passed over.
            let Ok(len) = ProcFile::new(entry.path().join("stat")).read_bytes(&mut self.buffer)
            else {
                continue;
            };
            let Some((name, stat)) = parse_stat(&self.buffer[..len]) else {
                continue;
            };
            let now = stat.user_ticks + stat.system_ticks;
            ticks.insert((pid, stat.started), now);
            let before = self.ticks.get(&(pid, stat.started)).copied().unwrap_or(0);
            candidates.push(Candidate {
                pid,
                started: stat.started,
                name,
                cpu_s: now.saturating_sub(before) as f64 / TICKS_PER_SECOND,
                memory_bytes: stat.resident_pages * self.page_bytes,
            });
        }
        self.ticks = ticks;
        Ok(candidates)
    }

    /// What all processes of a pass are measured against.
    pub(super) fn before_pass(&mut self, _watched: &[Watched]) {
        self.boot_s = clock::now().boot_ns as f64 / 1e9;
    }
}

/// A chosen process. Its files are opened once, so that they can never belong to a later process
/// of the same number.
#[derive(Debug)]
pub(super) struct Watched {
    pid: u32,
    started: u64,
    pid_text: String,
    name: String,
    stat: ProcFile,
    status: ProcFile,
    io: Option<ProcFile>,
    descriptors: PathBuf,
    denied: bool,
}

impl Watched {
    pub(super) fn new(scanner: &Scanner, candidate: &Candidate) -> Self {
        let directory = scanner.proc.join(candidate.pid.to_string());
        Self {
            pid: candidate.pid,
            started: candidate.started,
            pid_text: candidate.pid.to_string(),
            name: candidate.name.clone(),
            stat: ProcFile::new(directory.join("stat")),
            status: ProcFile::new(directory.join("status")),
            io: Some(ProcFile::new(directory.join("io"))),
            descriptors: directory.join("fd"),
            denied: false,
        }
    }

    pub(super) fn identity(&self) -> (u32, u64) {
        (self.pid, self.started)
    }

    /// Whether a part of it may not be read.
    pub(super) fn is_denied(&self) -> bool {
        self.denied
    }

    /// Records it, thoroughly or only what is cheap; false when it has ended.
    pub(super) fn record(
        &mut self,
        scanner: &mut Scanner,
        thoroughly: bool,
        out: &mut Recorder,
    ) -> bool {
        let Ok(len) = self.stat.read_bytes(&mut scanner.buffer) else {
            return false;
        };
        let Some((_, stat)) = parse_stat(&scanner.buffer[..len]) else {
            return false;
        };
        if stat.started != self.started {
            return false;
        }
        self.record_stat(&stat, scanner, out);
        self.record_io(scanner, out);
        if thoroughly {
            self.record_status(scanner, out);
            self.record_descriptors(out);
        }
        true
    }

    fn record_stat(&self, stat: &Stat, scanner: &Scanner, out: &mut Recorder) {
        let (pid, name) = (self.pid_text.as_str(), self.name.as_str());
        for (mode, ticks) in [("user", stat.user_ticks), ("system", stat.system_ticks)] {
            let labels = &mut [(PID, pid), (NAME, name), (MODE, mode)];
            out.record(
                const { id("process.cpu.time") },
                labels,
                ticks as f64 / TICKS_PER_SECOND,
            );
        }
        for (kind, faults) in [("minor", stat.minor_faults), ("major", stat.major_faults)] {
            let labels = &mut [(PID, pid), (NAME, name), (FAULT, kind)];
            out.count(const { id("process.paging.faults") }, labels, faults);
        }
        let labels = &mut [(PID, pid), (NAME, name)];
        out.count(
            const { id("process.memory.usage") },
            labels,
            stat.resident_pages * scanner.page_bytes,
        );
        out.count(
            const { id("process.memory.virtual") },
            labels,
            stat.virtual_bytes,
        );
        out.count(const { id("process.thread.count") }, labels, stat.threads);
        let age = scanner.boot_s - stat.started as f64 / TICKS_PER_SECOND;
        out.record(const { id("process.uptime") }, labels, age.max(0.0));
    }

    fn record_status(&mut self, scanner: &mut Scanner, out: &mut Recorder) {
        let Ok(len) = self.status.read_bytes(&mut scanner.buffer) else {
            return;
        };
        let (pid, name) = (self.pid_text.as_str(), self.name.as_str());
        for line in scanner.buffer[..len].rsplit(|byte| *byte == b'\n') {
            let (kind, rest) = if let Some(rest) = line.strip_prefix(b"voluntary_ctxt_switches:") {
                ("voluntary", rest)
            } else if let Some(rest) = line.strip_prefix(b"nonvoluntary_ctxt_switches:") {
                ("involuntary", rest)
            } else if line.starts_with(b"Cpus_allowed") {
                // The two lines stand at the end of the file.
                break;
            } else {
                continue;
            };
            if let Some(count) = count_of(rest) {
                let labels = &mut [(PID, pid), (NAME, name), (SWITCH, kind)];
                out.count(const { id("process.context_switches") }, labels, count);
            }
        }
    }

    fn record_io(&mut self, scanner: &mut Scanner, out: &mut Recorder) {
        let Some(file) = &mut self.io else { return };
        let len = match file.read_bytes(&mut scanner.buffer) {
            Ok(len) => len,
            Err(error) => {
                self.denied = error.kind() == io::ErrorKind::PermissionDenied;
                self.io = None;
                return;
            }
        };
        let (pid, name) = (self.pid_text.as_str(), self.name.as_str());
        for line in scanner.buffer[..len].split(|byte| *byte == b'\n') {
            let (direction, rest) = if let Some(rest) = line.strip_prefix(b"read_bytes:") {
                ("read", rest)
            } else if let Some(rest) = line.strip_prefix(b"write_bytes:") {
                ("write", rest)
            } else {
                continue;
            };
            if let Some(bytes) = count_of(rest) {
                let labels = &mut [(PID, pid), (NAME, name), (DIRECTION, direction)];
                out.count(const { id("process.disk.io") }, labels, bytes);
            }
        }
    }

    /// Since Linux 6.2 the size of the directory is the number of descriptors; before, it is 0,
    /// and counting the entries would cost too much.
    fn record_descriptors(&self, out: &mut Recorder) {
        let Ok(directory) = rustix::fs::stat(&self.descriptors) else {
            return;
        };
        if directory.st_size > 0 {
            let labels = &mut [(PID, self.pid_text.as_str()), (NAME, self.name.as_str())];
            out.record(
                const { id("process.unix.file_descriptor.count") },
                labels,
                directory.st_size as f64,
            );
        }
    }
}

/// The fields of `/proc/<pid>/stat` that are collected, see proc(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    minor_faults: u64,
    major_faults: u64,
    user_ticks: u64,
    system_ticks: u64,
    threads: u64,
    started: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// The name stands in parentheses and may hold anything, so the fields begin after the last one.
fn parse_stat(bytes: &[u8]) -> Option<(String, Stat)> {
    let open = bytes.iter().position(|byte| *byte == b'(')?;
    let close = bytes.iter().rposition(|byte| *byte == b')')?;
    let name = String::from_utf8_lossy(bytes.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    // The first field of the rest, the state, is number 3 of the manual's list.
    let mut fields = rest
        .split_ascii_whitespace()
        .enumerate()
        .map(|(at, field)| (at + 3, field));
    let mut field = |number: usize| parse_u64(fields.find(|field| field.0 == number)?.1);
    let stat = Stat {
        minor_faults: field(10)?,
        major_faults: field(12)?,
        user_ticks: field(14)?,
        system_ticks: field(15)?,
        threads: field(20)?,
        started: field(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    };
    Some((name, stat))
}

fn count_of(bytes: &[u8]) -> Option<u64> {
    parse_u64(std::str::from_utf8(bytes).ok()?.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = b"42 (a) b (\xff) S 0 0 0 0 -1 4194560 36315 535727 7 630 79 368 1966 1336 20 0 14 0 30 47570944 3526 18446744073709551615 1\n";
        let (name, stat) = parse_stat(line).expect("well formed");
        assert_eq!(name, "a) b (\u{fffd}");
        let expected = Stat {
            minor_faults: 36_315,
            major_faults: 7,
            user_ticks: 79,
            system_ticks: 368,
            threads: 14,
            started: 30,
            virtual_bytes: 47_570_944,
            resident_pages: 3_526,
        };
        assert_eq!(stat, expected);
    }

    #[test]
    fn malformed_stat_is_no_process() {
        for bad in [
            "",
            "42",
            "42 (x",
            "42 (x) S 1 2 3",
            "42 )x( S",
            "42 (x) S 0 0 0 0 -1 1 x 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        ] {
            assert_eq!(parse_stat(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_process_that_has_ended_is_let_go() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("cat runs");
        let mut scanner = Scanner::new(Path::new("/proc"));
        let candidates = scanner.scan().expect("the list can be read");
        let candidate = candidates
            .iter()
            .find(|c| c.pid == child.id())
            .expect("the child is listed");
        let mut watched = Watched::new(&scanner, candidate);
        let mut out = Recorder::new();
        assert!(watched.record(&mut scanner, true, &mut out));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        assert!(!watched.record(&mut scanner, true, &mut out));
    }
}
