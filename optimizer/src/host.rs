//! What the machine of this process is like: how long tasks wait for a CPU, and how full a disk is.
//!
//! It speaks for a server only if that is on the same machine.

use std::path::Path;

/// The share of the last ten seconds in which tasks waited for a CPU, in percent, from
/// `/proc/pressure/cpu`; `None` where the kernel does not tell.
pub fn cpu_pressure_percent() -> Option<f64> {
    parse_pressure(&std::fs::read_to_string("/proc/pressure/cpu").ok()?)
}

/// The space of the disk that holds `path`, used and in all, in bytes.
pub fn disk(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let all = stat.f_blocks.checked_mul(stat.f_frsize)?;
    // What is left for ordinary users, as df counts it.
    let free = stat.f_bavail.checked_mul(stat.f_frsize)?;
    Some((all.saturating_sub(free), all))
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
    fn a_disk_is_at_most_as_full_as_it_is_large() {
        let (used, all) = disk(Path::new("/")).expect("there is a root");
        assert!(used <= all && all > 0);
    }
}
