//! The three clocks that a tick is judged by, read together.
//!
//! Nothing else in this crate reads a clock; what follows from the readings is decided in
//! [`crate::tick`].

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// One reading of the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Nanoseconds of the monotonic clock, which stands still while the machine is suspended.
    pub mono_ns: u64,
    /// Nanoseconds since the machine was started, suspension included.
    pub boot_ns: u64,
    /// Microseconds since 1970 UTC by the wall clock, which can be set.
    pub wall_us: i64,
}

/// Reads the clocks now.
pub fn now() -> Clocks {
    let wall = clock_gettime(ClockId::Realtime);
    Clocks {
        mono_ns: nanoseconds(clock_gettime(ClockId::Monotonic)),
        boot_ns: nanoseconds(clock_gettime(BOOT)),
        wall_us: wall.tv_sec * 1_000_000 + wall.tv_nsec / 1_000,
    }
}

/// The time that a file which is changed from now on bears at least, in nanoseconds since 1970 UTC:
/// Linux gives files the time of its last tick, which is some milliseconds behind the wall clock, and
/// more where a virtual machine is not given its processor.
pub(crate) fn file_ns() -> i64 {
    let time = clock_gettime(FILES);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Nanoseconds of the monotonic clock alone, to time something.
pub(crate) fn mono_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// The CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    Duration::from_nanos(nanoseconds(clock_gettime(ClockId::ThreadCPUTime)))
}

/// The CPU time of the whole process.
pub(crate) fn process_cpu() -> Duration {
    Duration::from_nanos(nanoseconds(clock_gettime(ClockId::ProcessCPUTime)))
}

#[cfg(target_os = "linux")]
const FILES: ClockId = ClockId::RealtimeCoarse;
#[cfg(not(target_os = "linux"))]
const FILES: ClockId = ClockId::Realtime;

#[cfg(target_os = "linux")]
const BOOT: ClockId = ClockId::Boottime;
/// Other systems do not tell suspension apart: it then looks like a step of the wall clock.
#[cfg(not(target_os = "linux"))]
const BOOT: ClockId = ClockId::Monotonic;

fn nanoseconds(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_run() {
        let first = now();
        let second = now();
        assert!(second.mono_ns >= first.mono_ns);
        assert!(second.boot_ns >= first.boot_ns);
        assert!(
            first.wall_us > 1_500_000_000_000_000,
            "the wall clock is set"
        );
        assert!(thread_cpu() <= process_cpu());
    }
}
