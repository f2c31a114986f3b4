//! Work per call, statement by statement, and the guards on it.

use std::collections::BTreeSet;

use super::{Judgement, Outcome, Spec, StatementChange, Verdict};
use crate::config::VerifyConfig;
use crate::measure::{StatementWork, Total, Window, per};

/// Bytes of a page: what a full-page image is counted as. Images leave out the hole of a page, so
/// what remains is a lower bound.
const PAGE_BYTES: f64 = 8192.0;
/// The share of a statement's WAL that must remain without images for its bytes to be compared;
/// otherwise its records are, which images do not change.
const WAL_REMAINS: f64 = 0.25;
/// A write is hurt when its WAL per call rises by this factor: an entry in another index costs about
/// as much as the row.
const WAL_HURT: f64 = 1.5;
/// A statement below this many blocks more per call is not hurt, whatever the ratio says.
const BLOCKS_HURT: f64 = 0.5;

/// Both sides of all statements that can be compared.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) statements: Vec<StatementChange>,
    /// Blocks of the primary statements, as before and as now, at the calls of now.
    primary: (f64, f64),
    /// Blocks saved and lost over all statements.
    saved: f64,
    lost: f64,
    /// Time of all statements, as before and as now.
    time: (f64, f64),
}

impl Comparison {
    pub(super) fn of(spec: &Spec<'_>, was: &Total, is: &Total) -> Self {
        let primary = primary(spec);
        let mut all = Self::default();
        for (id, after) in &is.statements {
            let Some(before) = was.statements.get(id) else {
                continue;
            };
            if before.calls.min(after.calls) < spec.limits.calls_min {
                continue;
            }
            let change = compare(spec.limits, *id, before, after);
            let calls = after.calls as f64;
            let difference = calls * (change.before - change.after);
            all.saved += difference.max(0.0);
            all.lost += (-difference).max(0.0);
            if primary.is_empty() || primary.contains(id) {
                all.primary.0 += calls * change.before;
                all.primary.1 += calls * change.after;
            }
            all.time.0 += calls * before.time_per_call();
            all.time.1 += calls * after.time_per_call();
            all.statements.push(change);
        }
        all
    }

    /// The fraction of the primary statements' blocks that is saved.
    pub(super) fn saved_fraction(&self) -> Option<f64> {
        (self.primary.0 > 0.0).then(|| 1.0 - self.primary.1 / self.primary.0)
    }

    pub(super) fn time_ratio(&self) -> Option<f64> {
        (self.time.0 > 0.0).then(|| self.time.1 / self.time.0)
    }

    /// Whether what is lost is outweighed by what others save.
    fn outweighed(&self, limits: &VerifyConfig) -> bool {
        self.lost > 0.0 && self.saved >= limits.saved_per_lost * self.lost
    }

    /// Harm on any statement or on HOT updates that nothing outweighs.
    pub(super) fn harm(&self, limits: &VerifyConfig, was: &Total, is: &Total) -> Option<String> {
        if self.outweighed(limits) {
            return None;
        }
        let worst = self
            .statements
            .iter()
            .filter(|s| s.hurt)
            .max_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        worst.map(told).or_else(|| hot_fall(limits, was, is))
    }
}

pub(super) fn suffices(spec: &Spec<'_>, total: &Total) -> Result<(), String> {
    let primary = primary(spec);
    let least = spec.limits.calls_min;
    let calls = |id: &i64| total.statements.get(id).map_or(0, |s| s.calls);
    if let Some(id) = primary.iter().find(|id| calls(id) < least) {
        return Err(format!("statement {id}: {} of {least} calls", calls(id)));
    }
    if primary.is_empty() && !total.statements.values().any(|s| s.calls >= least) {
        return Err(format!("no statement on the object has {least} calls"));
    }
    Ok(())
}

pub(super) fn judge(spec: &Spec<'_>, before: &[Window], after: &[Window]) -> Judgement {
    let (was, is) = (Total::of(before), Total::of(after));
    if let Err(missing) = suffices(spec, &is) {
        return Judgement::NeedMore(missing);
    }
    let all = Comparison::of(spec, &was, &is);
    let Some(saved) = all.saved_fraction() else {
        return Judgement::NeedMore("no statement can be compared on both sides".to_owned());
    };
    let gain = 1.0 - 1.0 / spec.limits.noise;
    let (outcome, reason) = if let Some(harm) = all.harm(spec.limits, &was, &is) {
        (Outcome::Regressed, harm)
    } else if saved < -gain {
        let told = format!("work per call rose by {:.1} %", -100.0 * saved);
        (Outcome::Regressed, told)
    } else if saved > gain {
        let told = format!("work per call fell by {:.1} %", 100.0 * saved);
        (Outcome::Kept, told)
    } else if spec.not_worse_is_enough() {
        (Outcome::Kept, "no statement is worse".to_owned())
    } else {
        let told = format!(
            "work per call moved by {:.1} %, which is noise",
            -100.0 * saved
        );
        (Outcome::NoGain, told)
    };
    Judgement::Decided(Verdict {
        actual: Some(saved),
        time_ratio: all.time_ratio(),
        statements: all.statements,
        ..spec.verdict(outcome, "work_saved", reason)
    })
}

/// Harm on any statement that can be compared.
pub(super) fn harm(spec: &Spec<'_>, before: &[Window], after: &[Window]) -> Option<String> {
    let (was, is) = (Total::of(before), Total::of(after));
    Comparison::of(spec, &was, &is).harm(spec.limits, &was, &is)
}

/// A statement that does so much more that waiting for more windows would do harm.
pub(super) fn breach(spec: &Spec<'_>, was: &Total, is: &Total) -> Option<String> {
    let all = Comparison::of(spec, was, is);
    if all.outweighed(spec.limits) || all.lost <= all.saved {
        return None;
    }
    let hard = |s: &&StatementChange| s.hurt && ratio(s) >= spec.limits.hurt_hard;
    all.statements.iter().find(hard).map(told)
}

fn primary(spec: &Spec<'_>) -> BTreeSet<i64> {
    let ids = spec.estimate.map(|e| e.statements.as_slice());
    ids.unwrap_or_default().iter().copied().collect()
}

fn compare(
    limits: &VerifyConfig,
    id: i64,
    before: &StatementWork,
    after: &StatementWork,
) -> StatementChange {
    let (was, is) = (before.blocks_per_call(), after.blocks_per_call());
    let wal_ratio = wal_ratio(before, after);
    let more_blocks = is >= was * limits.hurt && is - was >= BLOCKS_HURT;
    StatementChange {
        id,
        calls: after.calls,
        before: was,
        after: is,
        wal_ratio,
        hurt: more_blocks || wal_ratio >= WAL_HURT,
    }
}

/// WAL per call after ÷ before, images left out; 1 for what does not write.
fn wal_ratio(before: &StatementWork, after: &StatementWork) -> f64 {
    if !(before.writes && after.writes) {
        return 1.0;
    }
    let bytes = |s: &StatementWork| s.wal_bytes as f64 - PAGE_BYTES * s.wal_images as f64;
    let remains = |s: &StatementWork| bytes(s) >= WAL_REMAINS * s.wal_bytes as f64;
    let (was, is) = if remains(before) && remains(after) {
        (
            per(bytes(before), before.calls),
            per(bytes(after), after.calls),
        )
    } else {
        (
            per(before.wal_records as f64, before.calls),
            per(after.wal_records as f64, after.calls),
        )
    };
    if was > 0.0 { is / was } else { 1.0 }
}

fn ratio(change: &StatementChange) -> f64 {
    let blocks = if change.before > 0.0 {
        change.after / change.before
    } else {
        1.0
    };
    blocks.max(change.wal_ratio)
}

fn told(change: &StatementChange) -> String {
    format!(
        "statement {} went from {:.1} to {:.1} blocks per call, WAL per call × {:.2}",
        change.id, change.before, change.after, change.wal_ratio
    )
}

fn hot_fall(limits: &VerifyConfig, was: &Total, is: &Total) -> Option<String> {
    if was.table.updates.min(is.table.updates) < limits.calls_min {
        return None;
    }
    let (was, is) = (was.table.hot_share()?, is.table.hot_share()?);
    (100.0 * (was - is) >= limits.hot_fall_points).then(|| {
        format!(
            "HOT updates fell from {:.0} % to {:.0} %",
            100.0 * was,
            100.0 * is
        )
    })
}
