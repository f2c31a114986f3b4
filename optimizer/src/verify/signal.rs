//! The signal of an action: what it was done against. It must be clear for the last windows, while
//! the guards on work hold: a signal that is clear is no gain by itself.

use super::work::Comparison;
use super::{Judgement, Outcome, Spec, Verdict};
use crate::action::{Action, RedisParameter, Setting, TableOption};
use crate::measure::{Total, Window, per};

/// A signal's value, and below what it is clear.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Signal {
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) clear_below: f64,
}

/// Dead rows of a table, as a share \[awesome-prometheus-alerts\].
const DEAD_SHARE: f64 = 0.10;
/// Memory allocated per memory used \[Redis MEMORY DOCTOR\].
const FRAGMENTATION: f64 = 1.4;
/// A signal without a threshold of its own must fall to this share of what it was.
const FALL_TO: f64 = 0.8;

/// The signal of `action` over `windows`; `None` if it was not measured, or the action has none.
pub(super) fn of(action: &Action, windows: &[Window]) -> Option<Signal> {
    let total = Total::of(windows);
    let (name, value, clear_below) = match action {
        Action::Vacuum { .. } => ("dead_row_share", total.table.dead_share()?, DEAD_SHARE),
        Action::SetTableOption { option, .. } => match option {
            TableOption::Fillfactor => ("not_hot_share", 1.0 - total.table.hot_share()?, f64::NAN),
            _ => ("dead_row_share", total.table.dead_share()?, DEAD_SHARE),
        },
        Action::SetSetting { setting, .. } => match setting {
            Setting::MaxWalSize | Setting::CheckpointCompletionTarget => {
                ("wal_images_per_write", images_per_write(&total)?, f64::NAN)
            }
            Setting::WorkMem => ("temp_blocks_per_call", temp_per_call(&total)?, f64::NAN),
            _ => return None,
        },
        Action::RedisConfigSet {
            parameter: RedisParameter::Activedefrag,
            ..
        } => {
            windows.last()?.cache?;
            ("fragmentation", total.cache.fragmentation, FRAGMENTATION)
        }
        _ => return None,
    };
    Some(Signal {
        name,
        value,
        clear_below,
    })
}

pub(super) fn judge(spec: &Spec<'_>, before: &[Window], after: &[Window]) -> Judgement {
    let (Some(was), Some(is)) = (of(spec.action, before), of(spec.action, after)) else {
        return Judgement::NeedMore("nothing that its signal is made of was measured".to_owned());
    };
    let limit = if is.clear_below.is_nan() {
        was.value * FALL_TO
    } else {
        is.clear_below
    };
    let last = &after[after.len().saturating_sub(spec.windows_min)..];
    let clear = last
        .iter()
        .all(|w| of(spec.action, std::slice::from_ref(w)).is_some_and(|s| s.value < limit));
    let (total_was, total_is) = (Total::of(before), Total::of(after));
    let all = Comparison::of(spec, &total_was, &total_is);
    let slower = all
        .time_ratio()
        .filter(|ratio| *ratio >= spec.limits.time_noise);
    let figures = format!("{} went from {:.3} to {:.3}", is.name, was.value, is.value);
    let (outcome, reason) = if let Some(harm) = all.harm(spec.limits, &total_was, &total_is) {
        (Outcome::Regressed, harm)
    } else if let Some(ratio) = slower {
        let told = format!("{figures}, but statements take × {ratio:.2} the time");
        (Outcome::Regressed, told)
    } else if clear && is.value < was.value {
        (Outcome::Kept, figures)
    } else if spec.not_worse_is_enough() {
        (Outcome::Kept, format!("no statement is worse; {figures}"))
    } else {
        (
            Outcome::NoGain,
            format!("{figures}; clear is below {limit:.3}"),
        )
    };
    let fall = if was.value > 0.0 {
        Some(1.0 - is.value / was.value)
    } else {
        None
    };
    Judgement::Decided(Verdict {
        actual: fall,
        time_ratio: all.time_ratio(),
        statements: all.statements,
        ..spec.verdict(outcome, is.name, reason)
    })
}

/// Full-page images for each call of a statement that writes.
fn images_per_write(total: &Total) -> Option<f64> {
    let writes = total.statements.values().filter(|s| s.writes);
    let (images, calls) = writes.fold((0, 0), |sum, s| (sum.0 + s.wal_images, sum.1 + s.calls));
    (calls > 0).then(|| per(images as f64, calls))
}

fn temp_per_call(total: &Total) -> Option<f64> {
    let all = total.statements.values();
    let (blocks, calls) = all.fold((0, 0), |sum, s| (sum.0 + s.temp_blocks, sum.1 + s.calls));
    (calls > 0).then(|| per(blocks as f64, calls))
}
