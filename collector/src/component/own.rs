//! The collector's metrics about itself.
//!
//! The numbers are gathered by the agent and the writer; here they become samples.

use std::path::Path;
use std::time::Duration;

use driftline_schemas::metric::catalogue::id;

use crate::clock;
use crate::procfile::{ProcFile, parse_u64};
use crate::recorder::Recorder;

/// What the agent and the writer know of themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// How long after its time the current tick began.
    pub(crate) lateness: Duration,
    /// Ticks that could not be held since the start.
    pub(crate) ticks_missed: u64,
    /// What the writer counts; `None` where nothing is written.
    pub(crate) writing: Option<Writing>,
}

/// What the writer counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Writing {
    pub(crate) cpu: Duration,
    pub(crate) appended_bytes: u64,
    pub(crate) last_sync: Duration,
    pub(crate) blocks_dropped: u64,
    pub(crate) blocks_queued: u64,
}

/// Records the account.
#[derive(Debug)]
pub(crate) struct Own {
    statm: ProcFile,
    buffer: Vec<u8>,
    page_bytes: u64,
}

impl Own {
    pub(crate) fn new(proc: &Path) -> Self {
        let page_bytes = rustix::param::page_size() as u64;
        Self {
            statm: ProcFile::new(proc.join("self/statm")),
            buffer: Vec::new(),
            page_bytes,
        }
    }

    /// Records how long a component took.
    pub(crate) fn record_duration(subject: &str, duration: Duration, out: &mut Recorder) {
        let labels = &mut [("driftline.component", subject)];
        out.record(
            const { id("driftline.collector.collect.duration") },
            labels,
            duration.as_secs_f64(),
        );
    }

    pub(crate) fn record(&mut self, account: &Account, out: &mut Recorder) {
        let lateness = account.lateness.as_secs_f64();
        out.record(
            const { id("driftline.collector.tick.lateness") },
            &mut [],
            lateness,
        );
        out.count(
            const { id("driftline.collector.ticks.missed") },
            &mut [],
            account.ticks_missed,
        );
        let writing = account.writing.unwrap_or_default();
        let cpu = (clock::thread_cpu() + writing.cpu).as_secs_f64();
        out.record(const { id("driftline.collector.cpu.time") }, &mut [], cpu);
        out.record(
            const { id("driftline.process.cpu.time") },
            &mut [],
            clock::process_cpu().as_secs_f64(),
        );
        if account.writing.is_some() {
            out.count(
                const { id("driftline.collector.blocks.dropped") },
                &mut [],
                writing.blocks_dropped,
            );
            out.count(
                const { id("driftline.collector.blocks.queued") },
                &mut [],
                writing.blocks_queued,
            );
            out.count(
                const { id("driftline.collector.bytes") },
                &mut [],
                writing.appended_bytes,
            );
            let sync = writing.last_sync.as_secs_f64();
            out.record(
                const { id("driftline.collector.sync.duration") },
                &mut [],
                sync,
            );
        }
        if let Some(pages) = self.resident_pages() {
            out.count(
                const { id("driftline.process.memory.usage") },
                &mut [],
                pages * self.page_bytes,
            );
        }
        let samples = out.recorded() + 1;
        out.count(
            const { id("driftline.collector.samples") },
            &mut [],
            samples,
        );
    }

    /// Nothing where the system has no such file.
    fn resident_pages(&mut self) -> Option<u64> {
        parse_u64(
            self.statm
                .read(&mut self.buffer)
                .ok()?
                .split_ascii_whitespace()
                .nth(1)?,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows_of, value};

    #[test]
    fn the_account_becomes_samples() {
        let mut own = Own::new(Path::new("/proc"));
        let mut out = Recorder::new();
        let writing = Writing {
            blocks_dropped: 3,
            ..Writing::default()
        };
        let lateness = Duration::from_millis(2);
        own.record(
            &Account {
                lateness,
                ticks_missed: 5,
                writing: Some(writing),
            },
            &mut out,
        );
        let rows = rows_of(&out.finish());
        assert_eq!(value(&rows, "driftline.collector.tick.lateness", ""), 0.002);
        assert_eq!(value(&rows, "driftline.collector.blocks.dropped", ""), 3.0);
        assert_eq!(
            value(&rows, "driftline.collector.samples", ""),
            rows.len() as f64
        );
        assert!(value(&rows, "driftline.process.cpu.time", "") > 0.0);
        own.record(&Account::default(), &mut out);
        assert_eq!(
            out.finish().samples.len(),
            rows.len() - 4,
            "nothing is written, so nothing is counted"
        );
    }
}
