//! Processes through `sysinfo`, for systems without the kernel files of Linux.
//!
//! It lacks the CPU modes, page faults, context switches, threads and descriptors of a process.

use std::path::Path;

use driftline_schemas::metric::catalogue::id;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::{Candidate, MAX_SCANNED, NAME, PID};
use crate::component::ComponentError;
use crate::recorder::Recorder;

const DIRECTION: &str = "disk.io.direction";

/// Looks at all processes.
#[derive(Debug)]
pub(super) struct Scanner {
    system: Option<System>,
}

impl Scanner {
    pub(super) fn new(_proc: &Path) -> Self {
        Self {
            system: System::new().ok(),
        }
    }

    /// The processes that there are, but not more than [`MAX_SCANNED`].
    pub(super) fn scan(&mut self) -> Result<Vec<Candidate>, ComponentError> {
        let Some(system) = &mut self.system else {
            return Err(ComponentError::Absent {
                what: "a list of processes",
                remedy: "this system is not supported, set collector.process.enabled = false",
            });
        };
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        let candidate = |(pid, process): (&Pid, &sysinfo::Process)| Candidate {
            pid: pid.as_u32(),
            started: process.start_time(),
            name: process.name().to_string_lossy().into_owned(),
            cpu_s: f64::from(process.cpu_usage()),
            memory_bytes: process.memory(),
        };
        Ok(system
            .processes()
            .iter()
            .take(MAX_SCANNED)
            .map(candidate)
            .collect())
    }

    /// Reads all the chosen processes at once.
    pub(super) fn before_pass(&mut self, watched: &[Watched]) {
        let Some(system) = &mut self.system else {
            return;
        };
        let pids: Vec<Pid> = watched
            .iter()
            .map(|watched| Pid::from_u32(watched.pid))
            .collect();
        let kind = ProcessRefreshKind::nothing()
            .with_cpu()
            .with_memory()
            .with_disk_usage();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, kind);
    }
}

/// A chosen process.
#[derive(Debug)]
pub(super) struct Watched {
    pid: u32,
    started: u64,
    pid_text: String,
    name: String,
}

impl Watched {
    pub(super) fn new(_scanner: &Scanner, candidate: &Candidate) -> Self {
        Self {
            pid: candidate.pid,
            started: candidate.started,
            pid_text: candidate.pid.to_string(),
            name: candidate.name.clone(),
        }
    }

    pub(super) fn identity(&self) -> (u32, u64) {
        (self.pid, self.started)
    }

    /// What may not be read cannot be told from zero here.
    pub(super) fn is_denied(&self) -> bool {
        false
    }

    /// Records it; false when it has ended. All of it costs the same.
    pub(super) fn record(
        &mut self,
        scanner: &mut Scanner,
        _thoroughly: bool,
        out: &mut Recorder,
    ) -> bool {
        let process = scanner
            .system
            .as_ref()
            .and_then(|system| system.process(Pid::from_u32(self.pid)));
        let Some(process) = process.filter(|process| process.start_time() == self.started) else {
            return false;
        };
        let (pid, name) = (self.pid_text.as_str(), self.name.as_str());
        let labels = &mut [(PID, pid), (NAME, name)];
        out.record(
            const { id("process.cpu.time") },
            labels,
            process.accumulated_cpu_time() as f64 / 1e3,
        );
        out.count(
            const { id("process.memory.usage") },
            labels,
            process.memory(),
        );
        out.count(
            const { id("process.memory.virtual") },
            labels,
            process.virtual_memory(),
        );
        out.count(const { id("process.uptime") }, labels, process.run_time());
        let disk = process.disk_usage();
        for (direction, bytes) in [
            ("read", disk.total_read_bytes),
            ("write", disk.total_written_bytes),
        ] {
            let labels = &mut [(PID, pid), (NAME, name), (DIRECTION, direction)];
            out.count(const { id("process.disk.io") }, labels, bytes);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rows_of;

    #[test]
    fn this_very_process_is_found_and_read() {
        let mut scanner = Scanner::new(Path::new("/proc"));
        let candidates = scanner.scan().expect("this system is supported");
        let ours = candidates
            .iter()
            .find(|c| c.pid == std::process::id())
            .expect("we run");
        let mut all = [Watched::new(&scanner, ours)];
        scanner.before_pass(&all);
        let mut out = Recorder::new();
        assert!(all[0].record(&mut scanner, true, &mut out));
        let rows = rows_of(&out.finish());
        assert_eq!(rows.len(), 6);
        assert!(
            rows.iter()
                .any(|row| row.0 == "process.memory.usage" && row.2 > 0.0),
            "{rows:?}"
        );
        let gone = Candidate {
            pid: u32::MAX - 7,
            started: 1,
            ..ours.clone()
        };
        assert!(!Watched::new(&scanner, &gone).record(&mut scanner, true, &mut out));
        assert!(!all[0].is_denied() && all[0].identity().0 == std::process::id());
    }
}
