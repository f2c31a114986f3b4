//! The exact tick as a pure function of clock readings: which tick is due, how late it is, and why
//! seconds are missing.
//!
//! Deadlines are absolute on the monotonic clock, so they do not drift, and lie on whole intervals
//! of the wall clock. Reading the clocks and sleeping are left to [`crate::agent`].

use std::time::Duration;

use crate::clock::Clocks;

/// A jump of the wall clock below this is noise of reading three clocks one after another.
const STEP_TOLERANCE_US: i64 = 20_000;
/// The same for suspension.
const SUSPEND_TOLERANCE_NS: i64 = 20_000_000;

/// The ticks of one run.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    interval_us: i64,
    /// Where in the interval ticks lie on the wall clock; 0 for whole seconds.
    phase_us: i64,
    /// The readings that the next ticks are computed from.
    aligned_at: Clocks,
    /// When tick 0 since the alignment is due, by the monotonic clock and by the wall clock.
    origin_mono_ns: u64,
    origin_us: i64,
    /// The next tick since the alignment.
    next: u64,
}

/// A tick that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The time that the tick stands for, in microseconds since 1970 UTC.
    pub(crate) ts_us: i64,
    /// How long after its time it is.
    pub(crate) lateness: Duration,
}

/// Why ticks are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The machine was suspended.
    Suspended,
    /// A collection took too long, or the system did not run the collector in time.
    Overloaded,
    /// The wall clock was set forward over them.
    ClockStepped,
    /// No collector ran.
    Stopped,
    /// They were collected and lost, because the spool could not be written.
    Unwritable,
}

impl Reason {
    /// The word in events.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Overloaded => "overloaded",
            Self::ClockStepped => "clock_stepped",
            Self::Stopped => "stopped",
            Self::Unwritable => "unwritable",
        }
    }
}

/// Missing ticks: those from `from_us` up to but not including `until_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) reason: Reason,
    pub(crate) from_us: i64,
    pub(crate) until_us: i64,
    pub(crate) ticks: u64,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing for this long.
    Wait(Duration),
    /// Collect.
    Run(Tick),
}

/// The judgement of one reading of the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// By how much the wall clock jumped since the last judgement, in microseconds.
    pub(crate) stepped_us: Option<i64>,
    /// Ticks that were missed.
    pub(crate) missed: Option<Missed>,
    /// What is to be done now.
    pub(crate) action: Action,
}

impl Schedule {
    /// Ticks on whole intervals of the wall clock, from the next one on.
    pub(crate) fn aligned(now: Clocks, interval: Duration) -> Self {
        Self::starting(now, interval, 0)
    }

    /// Ticks from now on.
    pub(crate) fn immediate(now: Clocks, interval: Duration) -> Self {
        let interval_us = micros(interval);
        Self::starting(now, interval, now.wall_us.rem_euclid(interval_us))
    }

    fn starting(now: Clocks, interval: Duration, phase_us: i64) -> Self {
        let mut schedule = Self {
            interval_us: micros(interval),
            phase_us,
            aligned_at: now,
            origin_mono_ns: 0,
            origin_us: 0,
            next: 0,
        };
        schedule.align(now);
        schedule
    }

    /// The time of the next tick, in microseconds since 1970 UTC.
    pub(crate) fn next_us(&self) -> i64 {
        self.origin_us + as_i64(self.next) * self.interval_us
    }

    /// Judges the clocks and moves on: a tick that is returned counts as held.
    pub(crate) fn judge(&mut self, now: Clocks) -> Judgement {
        let suspended_ns = as_i64(now.boot_ns.wrapping_sub(now.mono_ns))
            - as_i64(
                self.aligned_at
                    .boot_ns
                    .wrapping_sub(self.aligned_at.mono_ns),
            );
        let elapsed_us = as_i64(now.boot_ns.saturating_sub(self.aligned_at.boot_ns) / 1_000);
        let step = now.wall_us - self.aligned_at.wall_us - elapsed_us;
        let stepped_us = (step.abs() >= STEP_TOLERANCE_US).then_some(step);
        let reason = if suspended_ns >= SUSPEND_TOLERANCE_NS {
            Some(Reason::Suspended)
        } else {
            stepped_us.map(|_| Reason::ClockStepped)
        };
        let missed = match reason {
            Some(reason) => {
                let from_us = self.next_us();
                self.align(now);
                self.missed(reason, from_us, self.origin_us)
            }
            None => self.skip_overdue(now),
        };
        Judgement {
            stepped_us,
            missed,
            action: self.act(now),
        }
    }

    /// Lets the next tick be the first one that is not before `now`.
    fn align(&mut self, now: Clocks) {
        let past = (now.wall_us - self.phase_us).rem_euclid(self.interval_us);
        let wait_us = if past == 0 {
            0
        } else {
            self.interval_us - past
        };
        self.aligned_at = now;
        self.origin_us = now.wall_us + wait_us;
        self.origin_mono_ns = now.mono_ns + as_u64(wait_us) * 1_000;
        self.next = 0;
    }

    /// Lets the next tick be the newest one that is due, if any is.
    fn skip_overdue(&mut self, now: Clocks) -> Option<Missed> {
        let newest =
            now.mono_ns.checked_sub(self.origin_mono_ns)? / (as_u64(self.interval_us) * 1_000);
        let from_us = self.next_us();
        self.next = self.next.max(newest);
        self.missed(Reason::Overloaded, from_us, self.next_us())
    }

    fn missed(&self, reason: Reason, from_us: i64, until_us: i64) -> Option<Missed> {
        missed_between(reason, from_us, until_us, self.interval_us)
    }

    fn act(&mut self, now: Clocks) -> Action {
        let deadline_ns = self.origin_mono_ns + self.next * as_u64(self.interval_us) * 1_000;
        match now.mono_ns.checked_sub(deadline_ns) {
            None => Action::Wait(Duration::from_nanos(deadline_ns - now.mono_ns)),
            Some(late_ns) => {
                let tick = Tick {
                    ts_us: self.next_us(),
                    lateness: Duration::from_nanos(late_ns),
                };
                self.next += 1;
                Action::Run(tick)
            }
        }
    }
}

/// The missing ticks from one time up to another, if there are any.
pub(crate) fn missed_between(
    reason: Reason,
    from_us: i64,
    until_us: i64,
    interval_us: i64,
) -> Option<Missed> {
    let ticks = as_u64((until_us - from_us).max(0)) / as_u64(interval_us.max(1));
    (ticks > 0).then_some(Missed {
        reason,
        from_us,
        until_us,
        ticks,
    })
}

/// A duration in whole microseconds, at least one.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros())
        .unwrap_or(i64::MAX)
        .max(1)
}

/// Durations and differences of clocks lie far below the limits of both types.
fn as_i64(value: u64) -> i64 {
    value as i64
}

fn as_u64(value: i64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const START_US: i64 = 1_700_000_000_400_000;

    /// Clocks after `awake` and `asleep` milliseconds, the wall clock being set by `step` more.
    fn clocks(awake_ms: u64, asleep_ms: u64, step_ms: i64) -> Clocks {
        Clocks {
            mono_ns: 5_000_000_000 + awake_ms * 1_000_000,
            boot_ns: 9_000_000_000 + (awake_ms + asleep_ms) * 1_000_000,
            wall_us: START_US + as_i64(awake_ms + asleep_ms) * 1_000 + step_ms * 1_000,
        }
    }

    fn run(judgement: Judgement) -> Tick {
        match judgement.action {
            Action::Run(tick) => tick,
            Action::Wait(time) => panic!("expected a tick, not to wait {time:?}"),
        }
    }

    #[test]
    fn ticks_lie_on_whole_seconds_and_do_not_drift() {
        let mut schedule = Schedule::aligned(clocks(0, 0, 0), SECOND);
        assert_eq!(
            schedule.judge(clocks(0, 0, 0)).action,
            Action::Wait(Duration::from_millis(600)),
            "the next whole second is 600 ms away"
        );
        // Every wake-up is 7 ms late; the deadlines stay where they are.
        for second in 0..1_000_u64 {
            let judgement = schedule.judge(clocks(600 + second * 1_000 + 7, 0, 0));
            assert_eq!((judgement.stepped_us, judgement.missed), (None, None));
            let tick = run(judgement);
            assert_eq!(
                tick.ts_us,
                1_700_000_001_000_000 + as_i64(second) * 1_000_000
            );
            assert_eq!(tick.lateness, Duration::from_millis(7));
        }
    }

    #[test]
    fn an_immediate_schedule_starts_at_once() {
        let mut schedule = Schedule::immediate(clocks(0, 0, 0), SECOND);
        let tick = run(schedule.judge(clocks(0, 0, 0)));
        assert_eq!((tick.ts_us, tick.lateness), (START_US, Duration::ZERO));
        assert_eq!(schedule.judge(clocks(0, 0, 0)).action, Action::Wait(SECOND));
    }

    #[test]
    fn a_late_tick_within_its_second_misses_nothing() {
        let mut schedule = Schedule::aligned(clocks(0, 0, 0), SECOND);
        run(schedule.judge(clocks(600, 0, 0)));
        let judgement = schedule.judge(clocks(2_599, 0, 0));
        assert_eq!(judgement.missed, None);
        assert_eq!(run(judgement).lateness, Duration::from_millis(999));
    }

    #[test]
    fn overload_names_the_seconds_that_it_cost() {
        let mut schedule = Schedule::aligned(clocks(0, 0, 0), SECOND);
        run(schedule.judge(clocks(600, 0, 0)));
        let judgement = schedule.judge(clocks(600 + 3_200, 0, 0));
        assert_eq!(
            judgement.missed,
            Some(Missed {
                reason: Reason::Overloaded,
                from_us: 1_700_000_002_000_000,
                until_us: 1_700_000_004_000_000,
                ticks: 2,
            })
        );
        let tick = run(judgement);
        assert_eq!(tick.ts_us, 1_700_000_004_000_000);
        assert_eq!(tick.lateness, Duration::from_millis(200));
    }

    #[test]
    fn suspension_is_told_apart_and_the_ticks_are_aligned_anew() {
        let mut schedule = Schedule::aligned(clocks(0, 0, 0), SECOND);
        run(schedule.judge(clocks(600, 0, 0)));
        // Asleep for 10.3 s; the monotonic clock then reaches the old deadline.
        let judgement = schedule.judge(clocks(1_600, 10_300, 0));
        assert_eq!(judgement.stepped_us, None);
        assert_eq!(
            judgement.missed,
            Some(Missed {
                reason: Reason::Suspended,
                from_us: 1_700_000_002_000_000,
                until_us: 1_700_000_013_000_000,
                ticks: 11,
            })
        );
        assert_eq!(judgement.action, Action::Wait(Duration::from_millis(700)));
        assert_eq!(
            run(schedule.judge(clocks(2_300, 10_300, 0))).ts_us,
            1_700_000_013_000_000
        );
    }

    #[test]
    fn a_short_suspension_costs_no_second() {
        let mut schedule = Schedule::aligned(clocks(0, 0, 0), SECOND);
        let judgement = schedule.judge(clocks(100, 200, 0));
        assert_eq!(judgement.missed, None);
        assert_eq!(judgement.action, Action::Wait(Duration::from_millis(300)));
    }

    #[test]
    fn steps_of_the_wall_clock_are_reported_with_their_size() {
        let mut schedule = Schedule::aligned(clocks(0, 0, 0), SECOND);
        run(schedule.judge(clocks(600, 0, 0)));
        let forward = schedule.judge(clocks(1_600, 0, 5_000));
        assert_eq!(forward.stepped_us, Some(5_000_000));
        let missed = forward.missed.expect("five seconds do not exist");
        assert_eq!((missed.reason, missed.ticks), (Reason::ClockStepped, 5));
        assert_eq!(run(forward).ts_us, 1_700_000_007_000_000);
        let backward = schedule.judge(clocks(2_600, 0, -3_000));
        assert_eq!(backward.stepped_us, Some(-8_000_000));
        assert_eq!(backward.missed, None);
        assert_eq!(run(backward).ts_us, 1_700_000_000_000_000);
    }

    #[test]
    fn jitter_of_the_readings_is_no_event() {
        let mut schedule = Schedule::aligned(clocks(0, 0, 0), SECOND);
        for second in 0..100_u64 {
            let mut now = clocks(600 + second * 1_000, 0, 0);
            now.wall_us += as_i64(second % 7) * 100;
            let judgement = schedule.judge(now);
            assert_eq!((judgement.stepped_us, judgement.missed), (None, None));
        }
    }

    #[test]
    fn nothing_is_missed_between_neighbours() {
        assert_eq!(missed_between(Reason::Stopped, 5, 5, 1_000_000), None);
        assert_eq!(missed_between(Reason::Stopped, 9, 5, 1_000_000), None);
        let missed = missed_between(Reason::Stopped, 0, 3_000_000, 1_000_000).expect("three");
        assert_eq!(missed.ticks, 3);
    }
}
