//! Paging, reclaim and out-of-memory kills, from `/proc/vmstat`.

use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;

use crate::component::{Component, ComponentError};
use crate::config::HostConfig;
use crate::procfile::{ProcFile, lines, parse_u64};
use crate::recorder::Recorder;

const VMSTAT: &str = "/proc/vmstat";
const FAULT: &str = "system.paging.fault.type";
const DIRECTION: &str = "system.paging.direction";
const SOURCE: &str = "system.memory.reclaim.source";
const PAGE: &str = "system.memory.page.type";

/// The virtual memory's counters.
#[derive(Debug)]
pub(crate) struct Vmstat {
    file: ProcFile,
    buffer: Vec<u8>,
    interval: Duration,
}

impl Vmstat {
    pub(crate) fn new(config: &HostConfig) -> Self {
        let file = ProcFile::new(config.proc.join("vmstat"));
        Self {
            file,
            buffer: Vec::new(),
            interval: config.interval,
        }
    }
}

impl Component for Vmstat {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.vmstat"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        record_vmstat(self.file.read(&mut self.buffer)?, out)
    }
}

/// The counters that are collected; several lines of the file add up to some of them.
#[derive(Debug, Default)]
struct Counters {
    faults: u64,
    major_faults: u64,
    paged_in_kib: u64,
    paged_out_kib: u64,
    swapped_in: u64,
    swapped_out: u64,
    oom_kills: Option<u64>,
    scanned_kswapd: u64,
    scanned_direct: u64,
    freed_kswapd: u64,
    freed_direct: u64,
    allocation_stalls: u64,
    compaction_stalls: Option<u64>,
    refaults_anonymous: u64,
    refaults_file: u64,
}

fn record_vmstat(text: &str, out: &mut Recorder) -> Result<(), ComponentError> {
    let counters = parse(text)?;
    let minor = counters.faults.saturating_sub(counters.major_faults);
    out.count(
        const { id("system.paging.faults") },
        &mut [(FAULT, "minor")],
        minor,
    );
    out.count(
        const { id("system.paging.faults") },
        &mut [(FAULT, "major")],
        counters.major_faults,
    );
    out.count(
        const { id("system.paging.io") },
        &mut [(DIRECTION, "in")],
        counters.paged_in_kib * 1024,
    );
    out.count(
        const { id("system.paging.io") },
        &mut [(DIRECTION, "out")],
        counters.paged_out_kib * 1024,
    );
    out.count(
        const { id("system.paging.operations") },
        &mut [(DIRECTION, "in")],
        counters.swapped_in,
    );
    out.count(
        const { id("system.paging.operations") },
        &mut [(DIRECTION, "out")],
        counters.swapped_out,
    );
    let reclaim = [
        ("kswapd", counters.scanned_kswapd, counters.freed_kswapd),
        ("direct", counters.scanned_direct, counters.freed_direct),
    ];
    for (source, scanned, freed) in reclaim {
        out.count(
            const { id("system.memory.reclaim.scanned") },
            &mut [(SOURCE, source)],
            scanned,
        );
        out.count(
            const { id("system.memory.reclaim.freed") },
            &mut [(SOURCE, source)],
            freed,
        );
    }
    out.count(
        const { id("system.memory.allocation_stalls") },
        &mut [],
        counters.allocation_stalls,
    );
    let refaults = [
        ("anonymous", counters.refaults_anonymous),
        ("file", counters.refaults_file),
    ];
    for (page, count) in refaults {
        out.count(
            const { id("system.memory.workingset.refaults") },
            &mut [(PAGE, page)],
            count,
        );
    }
    if let Some(kills) = counters.oom_kills {
        out.count(const { id("system.memory.oom_kills") }, &mut [], kills);
    }
    if let Some(stalls) = counters.compaction_stalls {
        out.count(
            const { id("system.memory.compaction_stalls") },
            &mut [],
            stalls,
        );
    }
    Ok(())
}

fn parse(text: &str) -> Result<Counters, ComponentError> {
    let mut counters = Counters::default();
    let mut faults_seen = false;
    for line in lines(VMSTAT, text) {
        // Most of the file is not collected; the first letter tells of most lines already.
        if !matches!(
            line.text.as_bytes().first(),
            Some(b'a' | b'c' | b'o' | b'p' | b'w')
        ) {
            continue;
        }
        let Some((name, value)) = line.text.split_once(' ') else {
            return Err(line.malformed("a name and a count"));
        };
        let count = || parse_u64(value.trim_ascii()).ok_or_else(|| line.malformed("a count"));
        match name {
            "pgfault" => {
                counters.faults = count()?;
                faults_seen = true;
            }
            "pgmajfault" => counters.major_faults = count()?,
            "pgpgin" => counters.paged_in_kib = count()?,
            "pgpgout" => counters.paged_out_kib = count()?,
            "pswpin" => counters.swapped_in = count()?,
            "pswpout" => counters.swapped_out = count()?,
            "oom_kill" => counters.oom_kills = Some(count()?),
            "pgscan_kswapd" => counters.scanned_kswapd = count()?,
            "pgscan_direct" => counters.scanned_direct = count()?,
            "pgsteal_kswapd" => counters.freed_kswapd = count()?,
            "pgsteal_direct" => counters.freed_direct = count()?,
            "compact_stall" => counters.compaction_stalls = Some(count()?),
            "workingset_refault_anon" => counters.refaults_anonymous = count()?,
            // Before Linux 5.9 both kinds were counted together.
            "workingset_refault_file" | "workingset_refault" => counters.refaults_file = count()?,
            // One line per memory zone; a single line before Linux 4.10.
            _ if name.starts_with("allocstall") => counters.allocation_stalls += count()?,
            _ => {}
        }
    }
    if !faults_seen {
        return Err(ComponentError::Malformed {
            file: VMSTAT,
            line: 1,
            expected: "pgfault in the file",
        });
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows, value};

    const FIXTURE: &str = include_str!("../../../tests/fixtures/vmstat");

    #[test]
    fn counters_are_recorded_and_added_up() {
        let samples = rows(|out| record_vmstat(FIXTURE, out)).expect("a captured file");
        let of = |name| {
            let line = FIXTURE
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")))
                .expect(name);
            line.rsplit(' ')
                .next()
                .and_then(|n| n.parse::<f64>().ok())
                .expect("a count")
        };
        let minor = value(
            &samples,
            "system.paging.faults",
            "system.paging.fault.type=minor",
        );
        assert_eq!(minor, of("pgfault") - of("pgmajfault"));
        let read = value(&samples, "system.paging.io", "system.paging.direction=in");
        assert_eq!(read, of("pgpgin") * 1024.0);
        assert_eq!(
            value(&samples, "system.memory.oom_kills", ""),
            of("oom_kill")
        );
        let stalls =
            rows(|out| record_vmstat("pgfault 1\nallocstall_dma 2\nallocstall_normal 3\n", out));
        let stalls = stalls.expect("well formed");
        assert_eq!(value(&stalls, "system.memory.allocation_stalls", ""), 5.0);
    }

    #[test]
    fn malformed_vmstat_is_located() {
        let error = rows(|out| record_vmstat("nr_free 1\npgfault many\n", out)).expect_err("many");
        assert!(error.to_string().starts_with("/proc/vmstat:2"), "{error}");
        assert!(rows(|out| record_vmstat("nr_free 1\n", out)).is_err());
    }
}
