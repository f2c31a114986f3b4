//! The files of a control group and what stands in them, after
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>.

use std::collections::HashMap;

use driftline_schemas::metric::catalogue::id;

use crate::component::ComponentError;
use crate::component::host::pressure::stalls;
use crate::procfile::{Line, lines, parse_u64};
use crate::recorder::Recorder;

const PATH: &str = "cgroup.path";
const MODE: &str = "cpu.mode";
const FAULT: &str = "system.paging.fault.type";
const EVENT: &str = "cgroup.memory.event";
const DEVICE: &str = "system.device";
const DIRECTION: &str = "disk.io.direction";
/// Most disks of one group that are collected.
const MAX_DISKS: usize = 32;

/// A file of a control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    CpuStat,
    MemoryCurrent,
    MemoryMax,
    MemoryStat,
    MemoryEvents,
    IoStat,
    CpuPressure,
    MemoryPressure,
    IoPressure,
    PidsCurrent,
    PidsMax,
}

impl File {
    pub(super) const ALL: [Self; 11] = [
        Self::CpuStat,
        Self::MemoryCurrent,
        Self::MemoryMax,
        Self::MemoryStat,
        Self::MemoryEvents,
        Self::IoStat,
        Self::CpuPressure,
        Self::MemoryPressure,
        Self::IoPressure,
        Self::PidsCurrent,
        Self::PidsMax,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CpuStat => "cpu.stat",
            Self::MemoryCurrent => "memory.current",
            Self::MemoryMax => "memory.max",
            Self::MemoryStat => "memory.stat",
            Self::MemoryEvents => "memory.events",
            Self::IoStat => "io.stat",
            Self::CpuPressure => "cpu.pressure",
            Self::MemoryPressure => "memory.pressure",
            Self::IoPressure => "io.pressure",
            Self::PidsCurrent => "pids.current",
            Self::PidsMax => "pids.max",
        }
    }

    /// Records what stands in the file of the group at this path.
    pub(super) fn record(
        self,
        path: &str,
        text: &str,
        disks: &HashMap<String, String>,
        out: &mut Recorder,
    ) -> Result<(), ComponentError> {
        let name = self.name();
        match self {
            Self::CpuStat => cpu_stat(path, text, out),
            Self::MemoryCurrent => {
                one_value(name, path, text, const { id("cgroup.memory.usage") }, out)
            }
            Self::MemoryMax => {
                one_value(name, path, text, const { id("cgroup.memory.limit") }, out)
            }
            Self::MemoryStat => memory_stat(path, text, out),
            Self::MemoryEvents => memory_events(path, text, out),
            Self::IoStat => io_stat(path, text, disks, out),
            Self::CpuPressure => pressure("cpu", name, path, text, out),
            Self::MemoryPressure => pressure("memory", name, path, text, out),
            Self::IoPressure => pressure("io", name, path, text, out),
            Self::PidsCurrent => {
                one_value(name, path, text, const { id("cgroup.task.count") }, out)
            }
            Self::PidsMax => one_value(name, path, text, const { id("cgroup.task.limit") }, out),
        }
    }
}

/// A name and a count on each line.
fn pairs<'a>(
    file: &'static str,
    text: &'a str,
) -> impl Iterator<Item = Result<(&'a str, u64), ComponentError>> {
    const EXPECTED: &str = "a name and a count";
    lines(file, text).map(|line| {
        let (name, value) = line
            .text
            .split_once(' ')
            .ok_or_else(|| line.malformed(EXPECTED))?;
        Ok((
            name,
            parse_u64(value).ok_or_else(|| line.malformed(EXPECTED))?,
        ))
    })
}

fn cpu_stat(path: &str, text: &str, out: &mut Recorder) -> Result<(), ComponentError> {
    for pair in pairs("cpu.stat", text) {
        let (name, value) = pair?;
        let seconds = value as f64 / 1e6;
        match name {
            "user_usec" => {
                out.record(
                    const { id("cgroup.cpu.time") },
                    &mut [(PATH, path), (MODE, "user")],
                    seconds,
                );
            }
            "system_usec" => {
                out.record(
                    const { id("cgroup.cpu.time") },
                    &mut [(PATH, path), (MODE, "system")],
                    seconds,
                );
            }
            "nr_periods" => out.count(
                const { id("cgroup.cpu.periods") },
                &mut [(PATH, path)],
                value,
            ),
            "nr_throttled" => out.count(
                const { id("cgroup.cpu.throttled_periods") },
                &mut [(PATH, path)],
                value,
            ),
            "throttled_usec" => out.record(
                const { id("cgroup.cpu.throttled_time") },
                &mut [(PATH, path)],
                seconds,
            ),
            _ => {}
        }
    }
    Ok(())
}

/// A file with one count; `max` means that there is no limit, of which nothing is recorded.
fn one_value(
    file: &'static str,
    path: &str,
    text: &str,
    metric: u32,
    out: &mut Recorder,
) -> Result<(), ComponentError> {
    let word = text.trim_ascii();
    if word != "max" {
        let expected = "a count, or max";
        let value = parse_u64(word).ok_or(ComponentError::Malformed {
            file,
            line: 1,
            expected,
        })?;
        out.count(metric, &mut [(PATH, path)], value);
    }
    Ok(())
}

fn memory_stat(path: &str, text: &str, out: &mut Recorder) -> Result<(), ComponentError> {
    let (mut faults, mut major) = (0, 0);
    let (mut anonymous, mut file, mut inactive_file, mut kernel) = (0, 0, 0, None);
    for pair in pairs("memory.stat", text) {
        let (name, value) = pair?;
        match name {
            "anon" => anonymous = value,
            "file" => file = value,
            "inactive_file" => inactive_file = value,
            "kernel" => kernel = Some(value),
            "pgfault" => faults = value,
            "pgmajfault" => major = value,
            _ => {}
        }
    }
    let minor = faults.saturating_sub(major);
    out.count(
        const { id("cgroup.paging.faults") },
        &mut [(PATH, path), (FAULT, "minor")],
        minor,
    );
    out.count(
        const { id("cgroup.paging.faults") },
        &mut [(PATH, path), (FAULT, "major")],
        major,
    );
    out.count(
        const { id("cgroup.memory.rss") },
        &mut [(PATH, path)],
        anonymous,
    );
    out.count(
        const { id("cgroup.memory.file") },
        &mut [(PATH, path)],
        file,
    );
    if let Some(kernel) = kernel {
        out.count(
            const { id("cgroup.memory.kernel") },
            &mut [(PATH, path)],
            kernel,
        );
    }
    let used = anonymous + file + kernel.unwrap_or(0);
    let working_set = used.saturating_sub(inactive_file);
    out.count(
        const { id("cgroup.memory.working_set") },
        &mut [(PATH, path)],
        working_set,
    );
    Ok(())
}

fn memory_events(path: &str, text: &str, out: &mut Recorder) -> Result<(), ComponentError> {
    for pair in pairs("memory.events", text) {
        let (name, value) = pair?;
        if matches!(name, "high" | "max" | "oom" | "oom_kill") {
            out.count(
                const { id("cgroup.memory.events") },
                &mut [(PATH, path), (EVENT, name)],
                value,
            );
        }
    }
    Ok(())
}

fn io_stat(
    path: &str,
    text: &str,
    disks: &HashMap<String, String>,
    out: &mut Recorder,
) -> Result<(), ComponentError> {
    for line in lines("io.stat", text).take(MAX_DISKS) {
        io_of_disk(path, &line, disks, out)?;
    }
    Ok(())
}

fn io_of_disk(
    path: &str,
    line: &Line<'_>,
    disks: &HashMap<String, String>,
    out: &mut Recorder,
) -> Result<(), ComponentError> {
    const EXPECTED: &str = "a disk's number and name=count pairs";
    let mut fields = line.fields();
    let number = fields.word(EXPECTED)?;
    let device = disks.get(number).map_or(number, String::as_str);
    while let Some(field) = fields.next() {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| line.malformed(EXPECTED))?;
        let (metric, direction) = match name {
            "rbytes" => (const { id("cgroup.disk.io") }, "read"),
            "wbytes" => (const { id("cgroup.disk.io") }, "write"),
            "rios" => (const { id("cgroup.disk.operations") }, "read"),
            "wios" => (const { id("cgroup.disk.operations") }, "write"),
            _ => continue,
        };
        let value = parse_u64(value).ok_or_else(|| line.malformed(EXPECTED))?;
        out.count(
            metric,
            &mut [(PATH, path), (DEVICE, device), (DIRECTION, direction)],
            value,
        );
    }
    Ok(())
}

fn pressure(
    resource: &str,
    file: &'static str,
    path: &str,
    text: &str,
    out: &mut Recorder,
) -> Result<(), ComponentError> {
    for stall in stalls(file, text) {
        let stall = stall?;
        let labels = &mut [
            (PATH, path),
            ("system.pressure.resource", resource),
            ("system.pressure.type", stall.kind),
        ];
        out.record(
            const { id("cgroup.pressure.stall_time") },
            labels,
            stall.total_s,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Row, rows, value};

    fn read(file: File, text: &str) -> Result<Vec<Row>, ComponentError> {
        rows(|out| file.record("/a", text, &HashMap::new(), out))
    }

    #[test]
    fn cpu_time_and_throttling() {
        let text = "usage_usec 3\nuser_usec 2000000\nsystem_usec 1000000\nnr_periods 7\nnr_throttled 5\nthrottled_usec 250000\n";
        let samples = read(File::CpuStat, text).expect("well formed");
        assert_eq!(
            value(
                &samples,
                "cgroup.cpu.time",
                "cgroup.path=/a,cpu.mode=system"
            ),
            1.0
        );
        assert_eq!(
            value(&samples, "cgroup.cpu.throttled_periods", "cgroup.path=/a"),
            5.0
        );
        assert_eq!(
            value(&samples, "cgroup.cpu.throttled_time", "cgroup.path=/a"),
            0.25
        );
    }

    #[test]
    fn limits_are_recorded_where_there_are_any() {
        assert_eq!(read(File::MemoryMax, "max\n").expect("no limit").len(), 0);
        let samples = read(File::MemoryMax, "1048576\n").expect("a limit");
        assert_eq!(
            value(&samples, "cgroup.memory.limit", "cgroup.path=/a"),
            1_048_576.0
        );
        assert_eq!(read(File::PidsMax, "max\n").expect("no limit").len(), 0);
        assert!(read(File::PidsCurrent, "-1\n").is_err());
    }

    #[test]
    fn memory_is_split() {
        let text = "anon 100\nfile 50\nkernel 10\ninactive_file 20\npgfault 9\npgmajfault 2\n";
        let samples = read(File::MemoryStat, text).expect("well formed");
        assert_eq!(
            value(&samples, "cgroup.memory.working_set", "cgroup.path=/a"),
            140.0
        );
        assert_eq!(
            value(
                &samples,
                "cgroup.paging.faults",
                "cgroup.path=/a,system.paging.fault.type=minor"
            ),
            7.0
        );
        let samples = read(
            File::MemoryEvents,
            "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n",
        );
        let samples = samples.expect("well formed");
        assert_eq!(
            value(
                &samples,
                "cgroup.memory.events",
                "cgroup.memory.event=oom_kill,cgroup.path=/a"
            ),
            4.0
        );
        assert_eq!(samples.len(), 4);
    }

    #[test]
    fn disks_keep_their_number_where_they_have_no_name() {
        let text = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 \n";
        let samples = read(File::IoStat, text).expect("well formed");
        let labels = "cgroup.path=/a,disk.io.direction=read,system.device=8:0";
        assert_eq!(value(&samples, "cgroup.disk.operations", labels), 3.0);
        assert_eq!(samples.len(), 4);
    }

    #[test]
    fn malformed_files_are_located() {
        for (file, text, expected) in [
            (File::CpuStat, "user_usec 1\nsystem_usec\n", "cpu.stat:2"),
            (File::MemoryStat, "anon x\n", "memory.stat:1"),
            (File::IoStat, "8:0 rbytes\n", "io.stat:1"),
            (File::IoStat, "\n", "io.stat:1"),
            (File::IoPressure, "some total=1\n", "io.pressure:1"),
        ] {
            let error = read(file, text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
