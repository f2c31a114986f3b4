//! CPU time by core and mode, what the scheduler did, load averages and uptime.

use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;

use super::TICKS_PER_SECOND;
use crate::component::{Component, ComponentError};
use crate::config::HostConfig;
use crate::procfile::{ProcFile, lines};
use crate::recorder::Recorder;

const STAT: &str = "/proc/stat";
const LOADAVG: &str = "/proc/loadavg";
const UPTIME: &str = "/proc/uptime";

/// The modes in the order of their columns. Guest time is part of user and nice already.
const MODES: [&str; 8] = [
    "user",
    "nice",
    "system",
    "idle",
    "iowait",
    "interrupt",
    "softirq",
    "steal",
];

/// CPU times and the scheduler's counters.
#[derive(Debug)]
pub(crate) struct Cpu {
    file: ProcFile,
    buffer: Vec<u8>,
    interval: Duration,
}

impl Cpu {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            file: ProcFile::new(config.proc.join("stat")),
            buffer: Vec::new(),
            interval: config.interval,
        }
    }
}

impl Component for Cpu {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.cpu"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        record_stat(self.file.read(&mut self.buffer)?, out)
    }
}

fn record_stat(text: &str, out: &mut Recorder) -> Result<(), ComponentError> {
    let mut cores = 0;
    for line in lines(STAT, text) {
        let mut fields = line.fields();
        let Some(name) = fields.next() else { continue };
        match name {
            "cpu" => {}
            "ctxt" => {
                out.count(
                    const { id("system.cpu.context_switches") },
                    &mut [],
                    fields.count("switches")?,
                );
            }
            "intr" => out.count(
                const { id("system.cpu.interrupts") },
                &mut [],
                fields.count("interrupts")?,
            ),
            "softirq" => out.count(
                const { id("system.cpu.softirqs") },
                &mut [],
                fields.count("interrupts")?,
            ),
            "processes" => {
                out.count(
                    const { id("system.process.created") },
                    &mut [],
                    fields.count("processes")?,
                );
            }
            "procs_running" | "procs_blocked" => {
                let state = if name == "procs_running" {
                    "running"
                } else {
                    "blocked"
                };
                let count = fields.count("processes")?;
                out.count(
                    const { id("system.process.count") },
                    &mut [("process.state", state)],
                    count,
                );
            }
            _ => {
                let Some(core) = name.strip_prefix("cpu") else {
                    continue;
                };
                cores += 1;
                for mode in MODES {
                    let seconds = fields.count("ticks of 8 modes")? as f64 / TICKS_PER_SECOND;
                    let labels = &mut [("cpu.logical_number", core), ("cpu.mode", mode)];
                    out.record(const { id("system.cpu.time") }, labels, seconds);
                }
            }
        }
    }
    if cores == 0 {
        return Err(ComponentError::Malformed {
            file: STAT,
            line: 1,
            expected: "at least one cpu",
        });
    }
    out.count(const { id("system.cpu.logical.count") }, &mut [], cores);
    Ok(())
}

/// Load averages, threads and uptime.
#[derive(Debug)]
pub(crate) struct Load {
    loadavg: ProcFile,
    uptime: ProcFile,
    buffer: Vec<u8>,
    interval: Duration,
}

impl Load {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            loadavg: ProcFile::new(config.proc.join("loadavg")),
            uptime: ProcFile::new(config.proc.join("uptime")),
            buffer: Vec::new(),
            interval: config.interval,
        }
    }
}

impl Component for Load {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.load"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        record_loadavg(self.loadavg.read(&mut self.buffer)?, out)?;
        let uptime = self.uptime.read(&mut self.buffer)?;
        let mut fields = first_line(UPTIME, uptime)?.fields();
        out.record(
            const { id("system.uptime") },
            &mut [],
            fields.number("seconds")?,
        );
        Ok(())
    }
}

fn record_loadavg(text: &str, out: &mut Recorder) -> Result<(), ComponentError> {
    let line = first_line(LOADAVG, text)?;
    let mut fields = line.fields();
    out.record(
        const { id("system.cpu.load_average.1m") },
        &mut [],
        fields.number("a load average")?,
    );
    out.record(
        const { id("system.cpu.load_average.5m") },
        &mut [],
        fields.number("a load average")?,
    );
    out.record(
        const { id("system.cpu.load_average.15m") },
        &mut [],
        fields.number("a load average")?,
    );
    let threads = fields.word("running/all threads")?;
    let all = threads
        .split_once('/')
        .and_then(|(_, all)| crate::procfile::parse_u64(all));
    let all = all.ok_or_else(|| line.malformed("running/all threads"))?;
    out.count(const { id("system.thread.count") }, &mut [], all);
    Ok(())
}

fn first_line<'a>(
    file: &'static str,
    text: &'a str,
) -> Result<crate::procfile::Line<'a>, ComponentError> {
    lines(file, text).next().ok_or(ComponentError::Malformed {
        file,
        line: 1,
        expected: "a line",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows, value};

    const FIXTURE: &str = include_str!("../../../tests/fixtures/stat");

    #[test]
    fn cpu_times_are_recorded_by_core_and_mode() {
        let samples = rows(|out| record_stat(FIXTURE, out)).expect("a captured file");
        assert_eq!(
            value(
                &samples,
                "system.cpu.time",
                "cpu.logical_number=1,cpu.mode=nice"
            ),
            488.61
        );
        assert_eq!(
            value(
                &samples,
                "system.cpu.time",
                "cpu.logical_number=0,cpu.mode=steal"
            ),
            9.39
        );
        assert_eq!(value(&samples, "system.cpu.logical.count", ""), 2.0);
        assert_eq!(
            value(&samples, "system.cpu.context_switches", ""),
            453_745.0
        );
        assert_eq!(value(&samples, "system.cpu.interrupts", ""), 478_757.0);
        assert_eq!(
            value(&samples, "system.process.count", "process.state=running"),
            3.0
        );
        assert_eq!(samples.len(), 2 * 8 + 7);
    }

    #[test]
    fn malformed_stat_is_located() {
        let error =
            rows(|out| record_stat("cpu  1 2\ncpu0 1 2 x 4\n", out)).expect_err("x is no number");
        assert!(
            error
                .to_string()
                .starts_with("/proc/stat:2: expected ticks"),
            "{error}"
        );
        assert!(rows(|out| record_stat("", out)).is_err());
    }

    #[test]
    fn loads_and_threads() {
        let samples =
            rows(|out| record_loadavg("2.88 2.02 1.06 3/104 11849\n", out)).expect("well formed");
        assert_eq!(value(&samples, "system.cpu.load_average.15m", ""), 1.06);
        assert_eq!(value(&samples, "system.thread.count", ""), 104.0);
        for bad in ["", "1.0 2.0", "1.0 2.0 3.0 7 1", "nan 1 1 1/2 3"] {
            assert!(rows(|out| record_loadavg(bad, out)).is_err(), "{bad:?}");
        }
    }
}
