//! Whether a recommendation may be applied now: a pure function of the configuration and of what is
//! known. Every reason against it is told, not only the first.
//!
//! Measuring what is known is left to [`crate::run`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::action::hypothetical::Hypothetical;
use crate::action::{Action, ActionKind, RedisParameter, Setting, TableOption};
use crate::config::{Day, OptimizerConfig};
use crate::duration;
use crate::recommendation::{Auto, EstimateMeasure, Recommendation};

/// A saving of at least this share proves a net benefit, whatever the writes \[Dexter's default\].
const NET_BENEFIT: f64 = 0.5;
const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// Who allows an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// A person, by name.
    Person(String),
    /// The configuration.
    Automatic,
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => write!(f, "by {name}"),
            Self::Automatic => f.write_str("by the configuration"),
        }
    }
}

/// What is known when the gate is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// The time, in microseconds since 1970 UTC.
    pub now_us: i64,
    /// The action that is under way on the same component of the same server.
    pub in_flight: Option<String>,
    /// When an action on the same subject was last reverted, or its change removed by a person.
    pub undone_us: Option<i64>,
    /// The share of the CPU that is busy, in percent.
    pub cpu_busy_percent: Option<f64>,
    /// The share of time in which tasks wait for a CPU, in percent.
    pub cpu_pressure_percent: Option<f64>,
    /// The disk's space, used and in all, in bytes.
    pub disk: Option<(u64, u64)>,
    /// The space that the change needs, in bytes; `None` if it needs none.
    pub needs_bytes: Option<u64>,
    /// Reads from and writes to the table, in calls and rows.
    pub reads_writes: Option<(u64, u64)>,
    /// What the planner expects of the index; `None` where it was not asked.
    pub hypothetical: Option<Hypothetical>,
}

/// A reason against applying a recommendation now.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Only dry runs are configured.
    DryRun,
    /// It has no action: it is advice.
    AdviceOnly,
    /// Nobody approved it, and it is not automatic.
    NotApproved(&'static str),
    /// Its kind is not on the allow-list.
    NotAllowed(ActionKind),
    /// Creating indexes needs a second opt-in.
    NoSecondOptIn,
    /// Its time is over.
    Expired,
    /// Another action is under way.
    InFlight(String),
    /// Changes may not begin now.
    OutsideOfWindow(String),
    /// It was undone not long ago.
    CoolingDown {
        /// Until when, in microseconds since 1970 UTC.
        until_us: i64,
    },
    /// The machine has other things to do.
    Busy(String),
    /// The disk would be too full.
    Disk(String),
    /// The table is written too much.
    Writes(String),
    /// The planner would not use the index, or not to much avail.
    Unused(String),
    /// The plan found a problem.
    Plan(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DryRun => {
                f.write_str("optimizer.dry_run is on; set it to false to apply anything")
            }
            Self::AdviceOnly => f.write_str("it is advice only; nothing can be applied"),
            Self::NotApproved(why) => write!(f, "nobody approved it: {why}"),
            Self::NotAllowed(kind) => {
                write!(
                    f,
                    "{kind} is not in optimizer.allow; add it to allow such actions"
                )
            }
            Self::NoSecondOptIn => {
                f.write_str("optimizer.create_index is off; set it to true to allow new indexes")
            }
            Self::Expired => f.write_str("it has expired; wait until it is raised again"),
            Self::InFlight(action) => write!(f, "{action} is under way on the same component"),
            Self::OutsideOfWindow(window) => write!(f, "changes may begin only {window}"),
            Self::CoolingDown { until_us } => {
                match chrono::DateTime::from_timestamp_micros(*until_us) {
                    Some(until) => write!(f, "it was undone before; left alone until {until:?}"),
                    None => f.write_str("it was undone before; left alone for ever"),
                }
            }
            Self::Unused(why) => write!(f, "the planner would not use it: {why}"),
            Self::Busy(what) | Self::Disk(what) | Self::Writes(what) | Self::Plan(what) => {
                f.write_str(what)
            }
        }
    }
}

/// Every reason against applying `recommendation` now; none means that it may be.
pub fn refusals(
    config: &OptimizerConfig,
    recommendation: &Recommendation,
    approval: Option<&Approval>,
    known: &Known,
) -> Vec<Refusal> {
    let Some(action) = &recommendation.action else {
        return vec![Refusal::AdviceOnly];
    };
    let mut all = Vec::new();
    if config.dry_run {
        all.push(Refusal::DryRun);
    }
    all.extend(not_approved(config, recommendation, action, approval));
    all.extend(not_allowed(config, action.kind()));
    if known.now_us >= recommendation.expires_us {
        all.push(Refusal::Expired);
    }
    all.extend(known.in_flight.clone().map(Refusal::InFlight));
    all.extend(outside_of_window(config, known.now_us));
    all.extend(cooling_down(config, known));
    all.extend(busy(config, known));
    all.extend(disk_full(config, known));
    all.extend(written_too_much(config, recommendation, action, known));
    let expected = known.hypothetical.as_ref();
    all.extend(
        expected
            .and_then(Hypothetical::refused)
            .map(Refusal::Unused),
    );
    all
}

/// Whether an action is on the first list of what may be applied without a person. Creating an index
/// is, behind its second opt-in.
pub const fn may_be_automatic(action: &Action) -> bool {
    match action {
        Action::Warm { .. }
        | Action::Analyze { .. }
        | Action::Vacuum { .. }
        | Action::CreateIndex { .. } => true,
        Action::SetTableOption { option, .. } => !matches!(option, TableOption::Fillfactor),
        Action::SetSetting { setting, .. } => matches!(setting, Setting::MaxWalSize),
        Action::RedisConfigSet { parameter, .. } => matches!(parameter, RedisParameter::Maxmemory),
        Action::DropIndex { .. } => false,
    }
}

fn not_approved(
    config: &OptimizerConfig,
    recommendation: &Recommendation,
    action: &Action,
    approval: Option<&Approval>,
) -> Option<Refusal> {
    let why = match approval {
        _ if recommendation.auto == Auto::Never => return Some(Refusal::AdviceOnly),
        Some(Approval::Person(_)) => return None,
        None => "approve it by name",
        Some(Approval::Automatic) if !config.auto_approve => "optimizer.auto_approve is off",
        Some(Approval::Automatic) if recommendation.auto != Auto::Automatic => {
            "its rule leaves that to a person"
        }
        Some(Approval::Automatic) if !may_be_automatic(action) => {
            "actions of this kind are left to a person"
        }
        Some(Approval::Automatic) => return None,
    };
    Some(Refusal::NotApproved(why))
}

fn not_allowed(config: &OptimizerConfig, kind: ActionKind) -> Option<Refusal> {
    if kind == ActionKind::CreateIndex && !config.create_index {
        return Some(Refusal::NoSecondOptIn);
    }
    (!config.allow.contains(&kind)).then_some(Refusal::NotAllowed(kind))
}

fn outside_of_window(config: &OptimizerConfig, now_us: i64) -> Option<Refusal> {
    let hour = now_us.rem_euclid(DAY_US) / HOUR_US;
    let [from, to] = config.hours.map(i64::from);
    let in_hours = if from < to {
        (from..to).contains(&hour)
    } else {
        hour >= from || hour < to
    };
    let day = weekday(now_us);
    let in_days = config.days.is_empty() || config.days.contains(&day);
    if in_hours && in_days {
        return None;
    }
    let days: Vec<_> = config.days.iter().map(|d| format!("{d:?}")).collect();
    let days = if days.is_empty() {
        "every day".to_owned()
    } else {
        format!("on {}", days.join(", "))
    };
    Some(Refusal::OutsideOfWindow(format!(
        "from {from}:00 to {to}:00 UTC {days}"
    )))
}

/// 1970-01-01 was a Thursday.
fn weekday(now_us: i64) -> Day {
    match (now_us.div_euclid(DAY_US) + 3).rem_euclid(7) {
        0 => Day::Mon,
        1 => Day::Tue,
        2 => Day::Wed,
        3 => Day::Thu,
        4 => Day::Fri,
        5 => Day::Sat,
        _ => Day::Sun,
    }
}

fn cooling_down(config: &OptimizerConfig, known: &Known) -> Option<Refusal> {
    let until_us = known
        .undone_us?
        .saturating_add(duration::micros(config.cool_down));
    (known.now_us < until_us).then_some(Refusal::CoolingDown { until_us })
}

fn busy(config: &OptimizerConfig, known: &Known) -> Option<Refusal> {
    let over = |value: Option<f64>, max: f64| value.filter(|v| *v > max);
    if let Some(busy) = over(known.cpu_busy_percent, config.cpu_busy_max_percent) {
        return Some(Refusal::Busy(format!("{busy:.0} % of the CPU is busy")));
    }
    let pressure = over(known.cpu_pressure_percent, config.cpu_pressure_max_percent)?;
    Some(Refusal::Busy(format!(
        "tasks wait for a CPU {pressure:.0} % of the time"
    )))
}

fn disk_full(config: &OptimizerConfig, known: &Known) -> Option<Refusal> {
    let needs = known.needs_bytes?;
    let Some((used, all)) = known.disk else {
        let told = "the free space of the disk is not known; give the server's data_directory, or \
                    set optimizer.disk_unknown to true";
        return (!config.disk_unknown).then(|| Refusal::Disk(told.to_owned()));
    };
    let percent = 100.0 * used.saturating_add(needs) as f64 / all.max(1) as f64;
    (percent > config.disk_used_max_percent)
        .then(|| Refusal::Disk(format!("the disk would be {percent:.0} % full")))
}

fn written_too_much(
    config: &OptimizerConfig,
    recommendation: &Recommendation,
    action: &Action,
    known: &Known,
) -> Option<Refusal> {
    if action.kind() != ActionKind::CreateIndex {
        return None;
    }
    let (reads, writes) = known.reads_writes?;
    let enough = reads as f64 >= config.reads_per_write_min * writes as f64;
    let benefit = recommendation
        .estimate
        .as_ref()
        .is_some_and(|e| e.measure == EstimateMeasure::WorkSaved && e.low >= NET_BENEFIT);
    (!enough && !benefit).then(|| {
        Refusal::Writes(format!(
            "{reads} reads for {writes} writes, and no net benefit is proven"
        ))
    })
}

#[cfg(test)]
mod tests;
