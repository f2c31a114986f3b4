//! Reads `[[stages]]`: arrival rates, virtual users, steps and spikes.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::de::DeValue;

use super::document::{Item, Section};
use super::quantity::MAX_DURATION;
use super::{Arrival, Load, Stage};

/// Highest arrival rate, per second.
pub const MAX_RATE: f64 = 10_000_000.0;
/// Lowest arrival rate other than none, per second.
pub const MIN_RATE: f64 = 1e-6;
/// Most virtual users.
pub const MAX_USERS: u32 = 1_000_000;
/// Most stages, those of steps and spikes included.
pub const MAX_STAGES: usize = 10_000;

const KEYS: [&str; 5] = ["name", "duration", "rate", "users", "arrival"];
const RATE_REMEDY: &str = "from 0 to 10000000 (arrivals per second)";

/// What a scenario has to put load on.
#[derive(Clone, Copy)]
pub(super) struct Subjects {
    pub(super) journeys: bool,
    pub(super) websockets: bool,
}

/// The stages, at least one if there was no fault.
pub(super) fn read(root: &Section<'_>, subjects: Subjects) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut names = BTreeSet::new();
    let sections = root.sections("stages", "stage", &KEYS);
    if sections.is_empty() {
        root.fault("there are no stages; write [[stages]] with a duration and a rate or users");
    }
    for section in sections {
        if let Some(parts) = read_stage(&section, subjects, stages.len()) {
            for part in &parts {
                if !names.insert(part.name.clone()) {
                    section.fault(format!(
                        "two stages are called `{}`; give each a `name` of its own",
                        part.name
                    ));
                }
            }
            stages.extend(parts);
        }
        if stages.len() > MAX_STAGES {
            section.fault(format!(
                "there are more than {MAX_STAGES} stages; write fewer"
            ));
            return stages;
        }
    }
    check_whole(root, &stages, subjects);
    stages
}

fn check_whole(root: &Section<'_>, stages: &[Stage], subjects: Subjects) {
    let total: Duration = stages.iter().map(|stage| stage.duration).sum();
    if total > MAX_DURATION {
        root.fault("the stages last longer than 30 days in all; write shorter ones");
    }
    let is_idle = |load: &Load| match *load {
        Load::Rate { from, to, .. } => from.max(to) == 0.0,
        Load::Users { from, to } => from.max(to) == 0,
        Load::Hold => true,
    };
    let all_idle = !stages.is_empty() && stages.iter().all(|stage| is_idle(&stage.load));
    if subjects.journeys && all_idle {
        root.fault("no stage sends a request; give one of them a rate or users above 0");
    }
}

fn read_stage(section: &Section<'_>, subjects: Subjects, before: usize) -> Option<Vec<Stage>> {
    let name = section.get("name").and_then(|item| item.filled_text());
    let duration = section
        .need("duration", "duration = \"30s\"")
        .and_then(|item| item.duration());
    let arrival_item = section.get("arrival");
    let arrival = arrival_item
        .as_ref()
        .and_then(|item| {
            item.word(&[
                ("constant", Arrival::Constant),
                ("poisson", Arrival::Poisson),
            ])
        })
        .unwrap_or_default();
    let rate = section.get("rate");
    let users = section.get("users");
    for item in [&rate, &users].into_iter().flatten() {
        if !subjects.journeys {
            item.key_fault(format!(
                "{} has nothing to send; write [[requests]] or [[journeys]], or leave it out to hold WebSockets alone",
                item.what
            ));
        }
    }
    if let (Some(item), None) = (&arrival_item, &rate) {
        item.key_fault(format!(
            "{} needs a `rate`; write one, or leave it out",
            item.what
        ));
    }
    let what = &section.what;
    let loads = match (rate, users) {
        (Some(_), Some(users)) => {
            users.key_fault(format!(
                "{what} has both `rate` and `users`; keep one of them"
            ));
            return None;
        }
        (Some(rate), None) => read_rate(&rate, duration?, arrival)?,
        (None, Some(users)) => vec![("", duration?, read_users(&users)?)],
        (None, None) => {
            if !subjects.websockets {
                section.fault(format!(
                    "{what} has no load; write rate = 500 or users = 64"
                ));
            }
            vec![("", duration?, Load::Hold)]
        }
    };
    let stages = loads
        .into_iter()
        .enumerate()
        .map(|(at, (part, duration, load))| Stage {
            name: match (name, part) {
                (Some(name), "") => name.to_owned(),
                (Some(name), "step") => format!("{name}.{}", at + 1),
                (Some(name), part) => format!("{name}.{part}"),
                (None, _) => (before + at + 1).to_string(),
            },
            duration,
            load,
        });
    Some(stages.collect())
}

/// Parts of a stage: what distinguishes the part's name, how long, how much.
type Loads = Vec<(&'static str, Duration, Load)>;

fn read_rate(item: &Item<'_>, duration: Duration, arrival: Arrival) -> Option<Loads> {
    let even = |rate: f64| Load::Rate {
        from: rate,
        to: rate,
        arrival,
    };
    let DeValue::Table(table) = item.value() else {
        let rate = read_number(
            item,
            "from 0 to 10000000 (arrivals per second), or a table such as { from = 0, to = 500 }, { steps = [100, 200] } or { base = 100, spike = 1000, for = \"5s\" }",
        )?;
        return Some(vec![("", duration, even(rate))]);
    };
    if table.contains_key("steps") {
        let section = item.section(&["steps"])?;
        let steps = section.get("steps")?;
        let rates: Option<Vec<f64>> = steps
            .elements()?
            .iter()
            .map(|step| read_number(step, RATE_REMEDY))
            .collect();
        let rates = rates?;
        if rates.is_empty() || rates.len() > MAX_STAGES {
            steps.fault(format!(
                "{} needs from 1 to {MAX_STAGES} rates; write them",
                steps.what
            ));
            return None;
        }
        let parts = split_evenly(duration, rates.len());
        if parts.iter().any(Duration::is_zero) {
            steps.fault(format!(
                "{} are too many for the stage's duration; write fewer",
                steps.what
            ));
            return None;
        }
        return Some(
            rates
                .into_iter()
                .zip(parts)
                .map(|(rate, part)| ("step", part, even(rate)))
                .collect(),
        );
    }
    if table.contains_key("spike") || table.contains_key("base") {
        let section = item.section(&["base", "spike", "for", "at"])?;
        return read_spike(&section, duration).map(|parts| {
            parts
                .into_iter()
                .map(|(name, part, rate)| (name, part, even(rate)))
                .collect()
        });
    }
    let section = item.section(&["from", "to"])?;
    let from = section.need("from", "from = 0");
    let to = section.need("to", "to = 500");
    let (from, to) = (
        read_number(&from?, RATE_REMEDY)?,
        read_number(&to?, RATE_REMEDY)?,
    );
    Some(vec![("", duration, Load::Rate { from, to, arrival })])
}

fn read_number(item: &Item<'_>, remedy: &str) -> Option<f64> {
    let rate = item.number(0.0..=MAX_RATE, remedy)?;
    if rate > 0.0 && rate < MIN_RATE {
        item.fault(format!(
            "{} is below {MIN_RATE} arrivals per second; write more, or 0 for none",
            item.what
        ));
        return None;
    }
    Some(rate)
}

/// A spike between two parts at the base rate: in the middle unless `at` says when it begins.
fn read_spike(
    section: &Section<'_>,
    duration: Duration,
) -> Option<Vec<(&'static str, Duration, f64)>> {
    let base = section.need("base", "base = 100");
    let spike = section.need("spike", "spike = 1000");
    let length = section.need("for", "for = \"5s\"");
    let base = read_number(&base?, RATE_REMEDY)?;
    let spike = read_number(&spike?, RATE_REMEDY)?;
    let length_item = length?;
    let length = length_item.duration()?;
    let at = match section.get("at") {
        Some(item) => item.duration_or_zero()?,
        None => duration.saturating_sub(length) / 2,
    };
    let Some(after) = duration.checked_sub(at + length) else {
        length_item.fault(format!(
            "the spike ends after its stage, which lasts {duration:?}; make the spike shorter or the stage longer"
        ));
        return None;
    };
    let parts = [
        ("before", at, base),
        ("spike", length, spike),
        ("after", after, base),
    ];
    Some(
        parts
            .into_iter()
            .filter(|(_, part, _)| !part.is_zero())
            .collect(),
    )
}

/// Parts that add up exactly and differ by a nanosecond at most.
fn split_evenly(duration: Duration, parts: usize) -> Vec<Duration> {
    let whole = duration.as_nanos() as u64;
    let parts = parts as u64;
    (0..parts)
        .map(|at| Duration::from_nanos(whole / parts + u64::from(at < whole % parts)))
        .collect()
}

fn read_users(item: &Item<'_>) -> Option<Load> {
    let DeValue::Table(_) = item.value() else {
        let users = item.whole_u32(0..=MAX_USERS)?;
        return Some(Load::Users {
            from: users,
            to: users,
        });
    };
    let section = item.section(&["from", "to"])?;
    let from = section.need("from", "from = 1");
    let to = section.need("to", "to = 64");
    Some(Load::Users {
        from: from?.whole_u32(0..=MAX_USERS)?,
        to: to?.whole_u32(0..=MAX_USERS)?,
    })
}
