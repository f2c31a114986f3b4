//! What the machine of this process is like: how long tasks wait for a CPU, and how full a disk is.
//!
//! It speaks for a server only if that is on the same machine.

use std::path::Path;
use std::time::Duration;

/// How long the CPU is looked at.
const MOMENT: Duration = Duration::from_millis(250);

/// The share of the last ten seconds in which tasks waited for a CPU, in percent, from
/// `/proc/pressure/cpu`; `None` where the kernel does not tell.
pub fn cpu_pressure_percent() -> Option<f64> {
    parse_pressure(&std::fs::read_to_string("/proc/pressure/cpu").ok()?)
}

/// The share of all CPUs' time that was spent working over a moment, in percent, from `/proc/stat`;
/// `None` where the kernel does not tell.
pub async fn cpu_busy_percent() -> Option<f64> {
    let read = || parse_cpu(&std::fs::read_to_string("/proc/stat").ok()?);
    let before = read()?;
    tokio::time::sleep(MOMENT).await;
    let after = read()?;
    let all = after.all.checked_sub(before.all).filter(|all| *all > 0)?;
    let idle = after.idle.saturating_sub(before.idle);
    Some(100.0 * (1.0 - idle as f64 / all as f64))
}

/// The space of the disk that holds `path`, used and in all, in bytes.
pub fn disk(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let all = stat.f_blocks.checked_mul(stat.f_frsize)?;
    // What is left for ordinary users, as df counts it.
    let free = stat.f_bavail.checked_mul(stat.f_frsize)?;
    Some((all.saturating_sub(free), all))
}

/// Ticks of all CPUs since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CpuTicks {
    all: u64,
    idle: u64,
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal. What guests take is in user
/// already.
fn parse_cpu(text: &str) -> Option<CpuTicks> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let fields = line.split_ascii_whitespace().take(8);
    let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(CpuTicks {
        all: fields.iter().sum(),
        idle: fields.get(3)? + fields.get(4)?,
    })
}

fn parse_pressure(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let mut fields = some.split_ascii_whitespace();
    fields
        .find_map(|field| field.strip_prefix("avg10="))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_that_of_some_tasks() {
        let text = "some avg10=12.50 avg60=1.00 avg300=0.00 total=5\nfull avg10=0.00\n";
        assert_eq!(parse_pressure(text), Some(12.5));
        assert_eq!(parse_pressure(""), None);
    }

    #[test]
    fn waiting_for_a_disk_is_no_work_and_guests_are_counted_once() {
        let text = "cpu  10 1 9 70 5 1 2 2 7 0\ncpu0 10 1 9 70 5 1 2 2 7 0\n";
        assert_eq!(parse_cpu(text), Some(CpuTicks { all: 100, idle: 75 }));
        assert_eq!(parse_cpu("intr 5"), None);
    }

    #[test]
    fn a_disk_is_at_most_as_full_as_it_is_large() {
        let (used, all) = disk(Path::new("/")).expect("there is a root");
        assert!(used <= all && all > 0);
    }
}
