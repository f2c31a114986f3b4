//! The hit ratio of a cache, and the guards on it.

use super::{Judgement, Outcome, Spec, Verdict};
use crate::config::VerifyConfig;
use crate::measure::{Total, Window, per};

/// How many standard errors a change of the hit ratio must exceed.
const STANDARD_ERRORS: f64 = 2.0;
/// The least change of the hit ratio that counts, in whatever little noise.
const GAIN_MIN: f64 = 0.005;

pub(super) fn suffices(spec: &Spec<'_>, total: &Total) -> Result<(), String> {
    let (lookups, least) = (total.cache.lookups(), spec.limits.lookups_min);
    if lookups < least {
        return Err(format!("{lookups} of {least} lookups in the cache"));
    }
    Ok(())
}

pub(super) fn judge(spec: &Spec<'_>, before: &[Window], after: &[Window]) -> Judgement {
    let (was, is) = (Total::of(before), Total::of(after));
    if let Err(missing) = suffices(spec, &is) {
        return Judgement::NeedMore(missing);
    }
    let (Some(ratio_was), Some(ratio_is)) = (was.cache.hit_ratio(), is.cache.hit_ratio()) else {
        return Judgement::NeedMore("no lookups on one side".to_owned());
    };
    let gain = ratio_is - ratio_was;
    let noise = (STANDARD_ERRORS * (variance(before) + variance(after)).sqrt()).max(GAIN_MIN);
    let figures = format!(
        "hit ratio went from {:.1} % to {:.1} % (noise {:.1} points), misses per lookup × {:.2}",
        100.0 * ratio_was,
        100.0 * ratio_is,
        100.0 * noise,
        (1.0 - ratio_is) / (1.0 - ratio_was).max(f64::EPSILON)
    );
    let outcome = if gain > noise {
        Outcome::Kept
    } else if gain < -noise {
        Outcome::Regressed
    } else {
        Outcome::NoGain
    };
    Judgement::Decided(Verdict {
        actual: Some(gain),
        ..spec.verdict(outcome, "hit_ratio_gain", figures)
    })
}

/// Evictions or errors beyond the limits.
pub(super) fn breach(limits: &VerifyConfig, was: &Total, is: &Total) -> Option<String> {
    let (was, is) = (&was.cache, &is.cache);
    let evictions = per(is.evicted as f64, is.lookups()) - per(was.evicted as f64, was.lookups());
    if is.evicted >= limits.calls_min && evictions >= limits.evictions_per_lookup_rise {
        return Some(format!("evictions rose by {evictions:.3} per lookup"));
    }
    let errors = per(is.errors as f64, is.commands) - per(was.errors as f64, was.commands);
    (is.errors >= limits.calls_min && 100.0 * errors >= limits.error_rise_points).then(|| {
        format!(
            "errors rose by {:.1} points of all commands",
            100.0 * errors
        )
    })
}

/// The variance of the mean hit ratio, from its spread between windows: lookups are far from
/// independent, so the binomial variance would be too small.
fn variance(windows: &[Window]) -> f64 {
    let ratios: Vec<f64> = windows
        .iter()
        .filter_map(|w| w.cache.and_then(|c| c.hit_ratio()))
        .collect();
    let count = ratios.len() as f64;
    if ratios.len() < 2 {
        return 0.0;
    }
    let mean = ratios.iter().sum::<f64>() / count;
    let squares: f64 = ratios.iter().map(|r| (r - mean).powi(2)).sum();
    squares / (count - 1.0) / count
}
