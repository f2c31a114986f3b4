//! Processes: those that use most CPU time or memory, and those that the configuration names.
//!
//! All processes are looked at seldom, to choose among them; only the chosen ones are read each
//! time, what is costly or moves slowly of them only with a scan. That bounds both the cost and the number of series. How a process is read is left to the
//! module of the system: `linux` reads the kernel's files, `portable` asks `sysinfo`.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, not(target_os = "linux")))]
mod portable;

use std::path::Path;
use std::time::Duration;

use driftline_schemas as schemas;

#[cfg(target_os = "linux")]
use linux::{Scanner, Watched};
#[cfg(not(target_os = "linux"))]
use portable::{Scanner, Watched};

use crate::component::{Component, ComponentError};
use crate::config::{ProcessConfig, matches_any};
use crate::recorder::Recorder;

/// Labels of a process. The name is the kernel's, cut by it at 15 characters.
const PID: &str = "process.pid";
const NAME: &str = "process.executable.name";

/// The host's processes.
#[derive(Debug)]
pub(crate) struct Processes {
    config: ProcessConfig,
    scanner: Scanner,
    watched: Vec<Watched>,
    passes: u64,
    /// What the last scan could not do, said again with every pass until the next one.
    limited: bool,
}

impl Processes {
    pub(crate) fn new(config: &ProcessConfig, proc: &Path) -> Self {
        Self {
            config: config.clone(),
            scanner: Scanner::new(proc),
            watched: Vec::new(),
            passes: 0,
            limited: false,
        }
    }

    /// A scan tells by how much CPU time grew since the one before, so the second one comes soon.
    fn scan_is_due(&self) -> bool {
        let between = self.config.scan_every.as_nanos() / self.config.interval.as_nanos().max(1);
        self.passes <= 1 || u128::from(self.passes).is_multiple_of(between.max(1))
    }

    fn scan(&mut self) -> Result<(), ComponentError> {
        let candidates = self.scanner.scan()?;
        self.limited = candidates.len() >= MAX_SCANNED;
        let chosen = choose(&candidates, &self.config);
        self.watched
            .retain(|watched| chosen.iter().any(|candidate| candidate.is(watched)));
        for candidate in chosen {
            if !self.watched.iter().any(|watched| candidate.is(watched)) {
                self.watched.push(Watched::new(&self.scanner, candidate));
            }
        }
        Ok(())
    }
}

impl Component for Processes {
    fn component(&self) -> schemas::Component {
        schemas::Component::Process
    }

    fn subject(&self) -> &'static str {
        "process"
    }

    fn interval(&self) -> Duration {
        self.config.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        let scanned = self.scan_is_due();
        if scanned {
            self.scan()?;
        }
        self.passes += 1;
        let scanner = &mut self.scanner;
        scanner.before_pass(&self.watched);
        // One that has ended is no failure.
        self.watched
            .retain_mut(|watched| watched.record(scanner, scanned, out));
        if self.limited {
            return Err(ComponentError::TooMany {
                things: "processes",
                limit: MAX_SCANNED,
                remedy: "those with the highest numbers are not looked at",
            });
        }
        if self.watched.iter().any(Watched::is_denied) {
            return Err(ComponentError::ProcessesDenied {
                what: "process.disk.io",
            });
        }
        Ok(())
    }
}

/// Most processes that a scan looks at.
const MAX_SCANNED: usize = 32_768;

/// A process as a scan finds it.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    pid: u32,
    /// Tells apart processes that had the same number one after the other.
    started: u64,
    name: String,
    /// CPU seconds since the last scan.
    cpu_s: f64,
    memory_bytes: u64,
}

impl Candidate {
    fn is(&self, watched: &Watched) -> bool {
        watched.identity() == (self.pid, self.started)
    }
}

/// The processes to collect: the named ones, then in turn the next by CPU time and by memory.
fn choose<'a>(candidates: &'a [Candidate], config: &ProcessConfig) -> Vec<&'a Candidate> {
    let mut by_cpu: Vec<&Candidate> = candidates.iter().filter(|c| c.cpu_s > 0.0).collect();
    by_cpu.sort_by(|a, b| b.cpu_s.total_cmp(&a.cpu_s).then(a.pid.cmp(&b.pid)));
    let mut by_memory: Vec<&Candidate> = candidates.iter().filter(|c| c.memory_bytes > 0).collect();
    by_memory.sort_by(|a, b| b.memory_bytes.cmp(&a.memory_bytes).then(a.pid.cmp(&b.pid)));
    by_cpu.truncate(config.top);
    by_memory.truncate(config.top);
    let named = candidates
        .iter()
        .filter(|c| matches_any(&config.names, &c.name));
    let turns = by_cpu
        .iter()
        .zip(&by_memory)
        .flat_map(|(cpu, memory)| [*cpu, *memory]);
    let paired = by_cpu.len().min(by_memory.len());
    let rest = by_cpu[paired..].iter().chain(&by_memory[paired..]).copied();
    let mut chosen: Vec<&Candidate> = Vec::new();
    for candidate in named.chain(turns).chain(rest) {
        if chosen.len() == config.max {
            break;
        }
        if !chosen.iter().any(|other| other.pid == candidate.pid) {
            chosen.push(candidate);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rows_of;

    fn candidate(pid: u32, name: &str, cpu_s: f64, memory_bytes: u64) -> Candidate {
        Candidate {
            pid,
            started: 0,
            name: name.to_owned(),
            cpu_s,
            memory_bytes,
        }
    }

    fn pids(candidates: &[Candidate], config: &ProcessConfig) -> Vec<u32> {
        choose(candidates, config)
            .iter()
            .map(|candidate| candidate.pid)
            .collect()
    }

    #[test]
    fn the_named_and_the_largest_are_chosen_within_the_bound() {
        let all = [
            candidate(1, "init", 0.0, 5),
            candidate(2, "kthread", 0.5, 0),
            candidate(3, "java", 9.0, 900),
            candidate(4, "postgres", 0.1, 50),
            candidate(5, "idle", 0.0, 1_000),
            candidate(6, "busy", 8.0, 1),
        ];
        let mut config = ProcessConfig {
            top: 2,
            names: vec!["post*".to_owned()],
            ..ProcessConfig::default()
        };
        assert_eq!(pids(&all, &config), [4, 3, 5, 6]);
        config.max = 2;
        assert_eq!(pids(&all, &config), [4, 3]);
        config = ProcessConfig {
            top: 0,
            ..ProcessConfig::default()
        };
        assert!(pids(&all, &config).is_empty());
    }

    #[test]
    fn this_very_process_is_collected_by_name() {
        let name = std::fs::read_to_string("/proc/self/comm").expect("this process has a name");
        let config = ProcessConfig {
            top: 0,
            names: vec![name.trim().to_owned()],
            ..ProcessConfig::default()
        };
        let mut processes = Processes::new(&config, Path::new("/proc"));
        let mut recorder = Recorder::new();
        recorder.begin(1);
        processes
            .collect(&mut recorder)
            .expect("our own process can be read");
        let rows = rows_of(&recorder.finish());
        let ours = format!("process.pid={}", std::process::id());
        let found = |metric: &str| {
            rows.iter()
                .find(|row| row.0 == metric && row.1.contains(&ours))
                .map(|row| row.2)
        };
        assert!(found("process.memory.usage").expect("memory") > 0.0);
        assert!(found("process.thread.count").expect("threads") >= 1.0);
        assert!(found("process.disk.io").is_some() && found("process.context_switches").is_some());
        assert!(found("process.unix.file_descriptor.count").is_some());
    }
}
