//! Whether the generator itself was good enough to be believed. A pure judgement over what was seen;
//! what follows from it (no verdict) is the run's business.

use super::gauges::Snapshot;

/// Lateness below this is what a shared host's scheduler adds to everything, and what a network
/// would add too.
pub const LATENESS_FLOOR_US: f64 = 1_000.0;
/// Response times count from *intended*, so that lateness of the generator is inside them. Results
/// are promised within 5 % of the truth: lateness may not take more than that of what is asked.
pub const LATENESS_SHARE: f64 = 0.05;
/// A worker thread above this has no room for the next arrival.
pub const BUSY_CPU: f64 = 0.95;
/// For so large a part of the time a worker thread may be busy: single seconds happen on shared
/// machines, and are seen in the lateness if they did harm.
pub const BUSY_SHARE: f64 = 0.05;
/// A backlog this full is about to lose operations.
pub const FULL_BACKLOG: f64 = 0.9;

/// What was seen of the generator.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'s> {
    /// Its gauges, summed.
    pub snapshot: &'s Snapshot,
    /// Whether arrivals come from a schedule; users of a closed model wait for their turn anyway.
    pub is_open: bool,
    /// Median response time in µs, if there is one.
    pub median_us: Option<f64>,
    /// The tightest bound of a threshold on response times in µs, if there is one.
    pub bound_us: Option<f64>,
    /// The part of the time for which a worker thread was above [`BUSY_CPU`], from 0 to 1.
    pub busy: f64,
}

/// What is to be thought of the generator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// Its numbers are those of the target.
    #[default]
    Ok,
    /// Its numbers are in part its own.
    Limited {
        /// Why, each with the remedy.
        reasons: Vec<String>,
    },
}

impl Health {
    /// `ok` or `limited`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited { .. } => "limited",
        }
    }

    /// Why it is limited.
    pub fn reasons(&self) -> &[String] {
        match self {
            Self::Ok => &[],
            Self::Limited { reasons } => reasons,
        }
    }
}

/// Judges the generator by its lateness, its CPU and its backlog.
///
/// Lateness is limited when its 99th percentile is surely above [`LATENESS_FLOOR_US`] and above
/// [`LATENESS_SHARE`] of the tightest bound on response times, because whether that holds is what is
/// asked of the run, and of the median response time; the median, because a slow tail of the target
/// must not excuse a slow generator.
pub fn generator_health(observed: &Observed<'_>) -> Health {
    let snapshot = observed.snapshot;
    let mut reasons = Vec::new();
    let asked_us = observed.bound_us.unwrap_or(0.0);
    let measured_us = observed.median_us.unwrap_or(0.0);
    let bound_us = LATENESS_FLOOR_US.max(asked_us.max(measured_us) * LATENESS_SHARE);
    if let Some((at_least_us, _)) = snapshot.lateness_quantile_us(0.99)
        && at_least_us as f64 > bound_us
    {
        reasons.push(format!(
            "1 % of arrivals were late by {:.1} ms or more by the generator's own fault (allowed: {:.1} ms); \
             lower the rate, or give it more cores or processes",
            at_least_us as f64 / 1e3,
            bound_us / 1e3
        ));
    }
    if observed.is_open && observed.busy > BUSY_SHARE {
        reasons.push(format!(
            "a worker thread used more than {:.0} % of its core for {:.0} % of the time; \
             use more workers or processes",
            BUSY_CPU * 100.0,
            observed.busy * 100.0
        ));
    }
    if snapshot.backlog >= FULL_BACKLOG {
        reasons.push(format!(
            "{:.0} % of the memory for what waits for the disk is in use; use a faster disk under the data directory",
            snapshot.backlog * 100.0
        ));
    }
    if reasons.is_empty() {
        Health::Ok
    } else {
        Health::Limited { reasons }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(late_bucket: usize, change: impl FnOnce(&mut Observed<'_>)) -> Health {
        let mut snapshot = Snapshot::default();
        snapshot.lateness_us[0] = 97;
        snapshot.lateness_us[late_bucket] += 3;
        let mut observed = Observed {
            snapshot: &snapshot,
            is_open: true,
            median_us: Some(2_000.0),
            bound_us: None,
            busy: 0.0,
        };
        change(&mut observed);
        generator_health(&observed)
    }

    #[test]
    fn lateness_is_held_against_a_floor_and_against_what_is_measured() {
        assert_eq!(judge(10, |_| {}), Health::Ok);
        let limited = judge(11, |_| {});
        assert_eq!(limited.as_str(), "limited");
        assert!(
            limited.reasons()[0].contains("late by 1.0 ms"),
            "{limited:?}"
        );
        assert_eq!(
            judge(11, |seen| seen.median_us = Some(50_000.0)),
            Health::Ok
        );
        assert_ne!(judge(11, |seen| seen.median_us = None), Health::Ok);
        assert_eq!(
            judge(11, |seen| seen.bound_us = Some(200_000.0)),
            Health::Ok
        );
        assert_ne!(
            judge(14, |seen| seen.bound_us = Some(100_000.0)),
            Health::Ok
        );
        assert_ne!(
            judge(23, |seen| seen.median_us = Some(50_000.0)),
            Health::Ok
        );
    }

    #[test]
    fn a_busy_thread_limits_the_open_model_only() {
        assert_eq!(judge(0, |seen| seen.busy = 0.05), Health::Ok);
        assert_ne!(judge(0, |seen| seen.busy = 0.06), Health::Ok);
        let closed = judge(0, |seen| (seen.busy, seen.is_open) = (1.0, false));
        assert_eq!(closed, Health::Ok);
    }

    #[test]
    fn nothing_seen_is_nothing_wrong_and_a_full_backlog_is() {
        let mut snapshot = Snapshot::default();
        let judge = |snapshot: &Snapshot| {
            generator_health(&Observed {
                snapshot,
                is_open: true,
                median_us: None,
                bound_us: None,
                busy: 0.0,
            })
        };
        assert_eq!(judge(&snapshot), Health::Ok);
        snapshot.backlog = 0.95;
        assert_eq!(judge(&snapshot).reasons().len(), 1);
    }
}
