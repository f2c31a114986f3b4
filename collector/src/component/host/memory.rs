//! Memory and swap, from `/proc/meminfo`.

use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;

use crate::component::{Component, ComponentError};
use crate::config::HostConfig;
use crate::procfile::{ProcFile, lines};
use crate::recorder::Recorder;

const MEMINFO: &str = "/proc/meminfo";
const STATE: &str = "system.memory.state";
const SLAB_STATE: &str = "system.memory.linux.slab.state";
const PAGING_STATE: &str = "system.paging.state";
const HUGEPAGES_STATE: &str = "system.memory.linux.hugepages.state";

/// The host's memory.
#[derive(Debug)]
pub(crate) struct Memory {
    file: ProcFile,
    buffer: Vec<u8>,
    interval: Duration,
}

impl Memory {
    pub(crate) fn new(config: &HostConfig) -> Self {
        let file = ProcFile::new(config.proc.join("meminfo"));
        Self {
            file,
            buffer: Vec::new(),
            interval: config.interval,
        }
    }
}

impl Component for Memory {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.memory"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        record_meminfo(self.file.read(&mut self.buffer)?, out)
    }
}

fn record_meminfo(text: &str, out: &mut Recorder) -> Result<(), ComponentError> {
    let (mut total, mut free, mut available, mut buffers, mut cached) = (None, 0, None, 0, 0);
    let (mut swap_total, mut swap_free) = (0, 0);
    let (mut huge_total, mut huge_free) = (0, 0);
    for line in lines(MEMINFO, text) {
        let Some((name, rest)) = line.text.split_once(':') else {
            return Err(line.malformed("a name and a colon"));
        };
        let mut fields = line.fields_of(rest);
        let mut kib = || Ok::<u64, ComponentError>(fields.count("KiB")? * 1024);
        match name {
            "MemTotal" => total = Some(kib()?),
            "MemFree" => free = kib()?,
            "MemAvailable" => available = Some(kib()?),
            "Buffers" => buffers = kib()?,
            "Cached" => cached = kib()?,
            "SwapTotal" => swap_total = kib()?,
            "SwapFree" => swap_free = kib()?,
            "Shmem" => out.count(const { id("system.memory.linux.shared") }, &mut [], kib()?),
            "Dirty" => out.count(const { id("system.memory.linux.dirty") }, &mut [], kib()?),
            "Writeback" => out.count(
                const { id("system.memory.linux.writeback") },
                &mut [],
                kib()?,
            ),
            "AnonPages" => out.count(
                const { id("system.memory.linux.anonymous") },
                &mut [],
                kib()?,
            ),
            "Mapped" => out.count(const { id("system.memory.linux.mapped") }, &mut [], kib()?),
            "PageTables" => out.count(
                const { id("system.memory.linux.page_tables") },
                &mut [],
                kib()?,
            ),
            "KernelStack" => out.count(
                const { id("system.memory.linux.kernel_stack") },
                &mut [],
                kib()?,
            ),
            "CommitLimit" => out.count(
                const { id("system.memory.linux.commit_limit") },
                &mut [],
                kib()?,
            ),
            "Committed_AS" => out.count(
                const { id("system.memory.linux.committed") },
                &mut [],
                kib()?,
            ),
            "SReclaimable" => {
                out.count(
                    const { id("system.memory.linux.slab.usage") },
                    &mut [(SLAB_STATE, "reclaimable")],
                    kib()?,
                );
            }
            "SUnreclaim" => {
                out.count(
                    const { id("system.memory.linux.slab.usage") },
                    &mut [(SLAB_STATE, "unreclaimable")],
                    kib()?,
                );
            }
            "HugePages_Total" => huge_total = fields.count("pages")?,
            "HugePages_Free" => huge_free = fields.count("pages")?,
            _ => {}
        }
    }
    let absent = |expected| ComponentError::Malformed {
        file: MEMINFO,
        line: text.lines().count(),
        expected,
    };
    let total = total.ok_or_else(|| absent("MemTotal in the file"))?;
    let available = available.ok_or_else(|| absent("MemAvailable in the file"))?;
    out.count(const { id("system.memory.limit") }, &mut [], total);
    out.count(
        const { id("system.memory.linux.available") },
        &mut [],
        available,
    );
    let used = total.saturating_sub(available);
    for (state, bytes) in [
        ("used", used),
        ("free", free),
        ("buffers", buffers),
        ("cached", cached),
    ] {
        out.count(
            const { id("system.memory.usage") },
            &mut [(STATE, state)],
            bytes,
        );
    }
    for (state, bytes) in [
        ("used", swap_total.saturating_sub(swap_free)),
        ("free", swap_free),
    ] {
        out.count(
            const { id("system.paging.usage") },
            &mut [(PAGING_STATE, state)],
            bytes,
        );
    }
    if huge_total > 0 {
        for (state, pages) in [
            ("used", huge_total.saturating_sub(huge_free)),
            ("free", huge_free),
        ] {
            out.count(
                const { id("system.memory.linux.hugepages.usage") },
                &mut [(HUGEPAGES_STATE, state)],
                pages,
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows, value};

    const FIXTURE: &str = include_str!("../../../tests/fixtures/meminfo");

    #[test]
    fn states_of_memory_are_bytes() {
        let samples = rows(|out| record_meminfo(FIXTURE, out)).expect("a captured file");
        assert_eq!(
            value(&samples, "system.memory.limit", ""),
            24_684_092.0 * 1024.0
        );
        let used = (24_684_092.0 - 23_298_888.0) * 1024.0;
        assert_eq!(
            value(&samples, "system.memory.usage", "system.memory.state=used"),
            used
        );
        assert_eq!(
            value(&samples, "system.memory.linux.dirty", ""),
            115_968.0 * 1024.0
        );
        assert_eq!(
            value(&samples, "system.paging.usage", "system.paging.state=used"),
            0.0
        );
        assert!(
            !samples.iter().any(|row| row.0.contains("hugepages")),
            "none are reserved"
        );
    }

    #[test]
    fn malformed_meminfo_is_located() {
        let error = rows(|out| record_meminfo("MemTotal: 1 kB\nMemFree: -1 kB\n", out))
            .expect_err("negative");
        assert!(
            error
                .to_string()
                .starts_with("/proc/meminfo:2: expected KiB"),
            "{error}"
        );
        let error = rows(|out| record_meminfo("MemTotal: 1 kB\n", out)).expect_err("incomplete");
        assert!(error.to_string().contains("MemAvailable"), "{error}");
    }
}
