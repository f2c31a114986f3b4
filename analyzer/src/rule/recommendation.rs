//! What a recommendation's file says beside its SQL: what is to be changed, at what risk, and what
//! it rests on.

use std::fmt;
use std::str::FromStr;

use driftline_schemas::Component;

/// The harm that an action could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// It is undone in seconds, and nobody waits meanwhile.
    Low,
    /// It may cost load or a short wait.
    Medium,
    /// It may lose work, or time that is not made up for.
    High,
}

/// Whether a recommendation may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auto {
    /// Without asking, once the operator has allowed this action.
    Automatic,
    /// After a person has agreed to this very action.
    Approval,
    /// Never: it is advice.
    Advice,
}

/// How it is seen that an action helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// The work for each call falls.
    WorkPerCall,
    /// The rule stays quiet for three windows, and the guards hold.
    SignalClears,
    /// Hits rise, and calls to the backend fall.
    HitRatio,
}

/// What a rule rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A metric.
    Metric {
        /// What emits it.
        component: Component,
        /// Its name.
        metric: String,
        /// Whether the rule works without.
        optional: bool,
    },
    /// A table other than `samples`.
    Table(String),
}

/// The keys of a recommendation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recommending {
    /// What to do, in a few words.
    pub title: String,
    /// What is to be changed.
    pub component: Component,
    /// The harm that it could do.
    pub risk: Risk,
    /// Whether it may be applied.
    pub auto: Auto,
    /// How it is seen that it helped.
    pub verify: Verify,
    /// How it is undone; `None` for advice.
    pub undo: Option<String>,
    /// What the rule rests on.
    pub inputs: Vec<Input>,
    /// Where its thresholds come from.
    pub sources: String,
    /// How often it is worth judging, in seconds.
    pub every_s: u64,
}

/// The tables that are inputs beside metrics.
const TABLES: [&str; 2] = ["events", "requests"];

impl Risk {
    const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The word in front matter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// What a recommendation's priority is divided by: each step of risk must save three times as
    /// much to come as early.
    pub const fn weight(self) -> f64 {
        match self {
            Self::Low => 1.0,
            Self::Medium => 3.0,
            Self::High => 9.0,
        }
    }
}

impl Auto {
    const ALL: [Self; 3] = [Self::Automatic, Self::Approval, Self::Advice];

    /// The word in front matter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Approval => "approval",
            Self::Advice => "advice",
        }
    }
}

impl Verify {
    const ALL: [Self; 3] = [Self::WorkPerCall, Self::SignalClears, Self::HitRatio];

    /// The word in front matter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkPerCall => "work_per_call",
            Self::SignalClears => "signal_clears",
            Self::HitRatio => "hit_ratio",
        }
    }
}

impl FromStr for Input {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, optional) = match text.strip_suffix('?') {
            Some(name) => (name, true),
            None => (text, false),
        };
        if TABLES.contains(&name) {
            return Ok(Self::Table(name.to_owned()));
        }
        let form = || {
            format!(
                "input {text:?} is neither component/metric nor one of {}",
                TABLES.join(", ")
            )
        };
        let (component, metric) = name.split_once('/').ok_or_else(form)?;
        // The names stand as texts in SQL of our own.
        let in_names = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
        if metric.is_empty() || !metric.chars().all(in_names) {
            return Err(form());
        }
        Ok(Self::Metric {
            component: component
                .parse::<Component>()
                .map_err(|error| format!("input {text:?}: {error}"))?,
            metric: metric.to_owned(),
            optional,
        })
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metric {
                component, metric, ..
            } => write!(f, "{component}/{metric}"),
            Self::Table(name) => f.write_str(name),
        }
    }
}

impl Recommending {
    /// Reads the keys; `given` yields a key's text or says that it is missing.
    pub(super) fn read(mut given: impl FnMut(&str) -> Option<String>) -> Result<Self, String> {
        let mut need = |key: &str| {
            let value = given(key).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("key {key} is missing, which a recommendation needs"))
        };
        let auto = word("auto", &need("auto")?, Auto::ALL, Auto::as_str)?;
        let read = Self {
            title: need("title")?,
            component: need("component")?
                .parse::<Component>()
                .map_err(|error| error.to_string())?,
            risk: word("risk", &need("risk")?, Risk::ALL, Risk::as_str)?,
            auto,
            verify: word("verify", &need("verify")?, Verify::ALL, Verify::as_str)?,
            undo: match auto {
                Auto::Advice => None,
                Auto::Automatic | Auto::Approval => Some(need("undo")?),
            },
            inputs: need("inputs")?
                .split(',')
                .map(|input| input.trim().parse())
                .collect::<Result<_, _>>()?,
            sources: need("sources")?,
            every_s: duration(&need("every")?)?,
        };
        if auto == Auto::Advice && given("undo").is_some() {
            return Err("key undo stands beside auto: advice, which nothing undoes".to_owned());
        }
        Ok(read)
    }

    /// The metrics that it rests on, with what emits them and whether it works without.
    pub fn metrics(&self) -> impl Iterator<Item = (Component, &str, bool)> {
        self.inputs.iter().filter_map(|input| match input {
            Input::Metric {
                component,
                metric,
                optional,
            } => Some((*component, metric.as_str(), *optional)),
            Input::Table(_) => None,
        })
    }
}

fn word<T: Copy, const N: usize>(
    key: &str,
    text: &str,
    all: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    let found = all.into_iter().find(|one| name(*one) == text);
    found.ok_or_else(|| format!("{key} {text} is none of {}", all.map(name).join(", ")))
}

/// `5m`, `1h`, `7d` in seconds.
fn duration(text: &str) -> Result<u64, String> {
    let form = || format!("every {text:?} is not a number and m, h or d, as in 5m");
    let unit = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(form()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| form())?;
    let seconds = number.checked_mul(unit).filter(|seconds| *seconds > 0);
    seconds.ok_or_else(form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::parse;

    const GOOD: &str = "-- id: x\n-- kind: recommendation\n-- title: Do it\n-- component: host\n-- risk: low\n-- auto: automatic\n-- verify: hit_ratio\n-- undo: Undo it\n-- inputs: host/system.uptime, redis/a.b?, events\n-- sources: ours\n-- every: 5m\n-- reads: window_series\n-- why: Because.\nSELECT 1\n";

    #[test]
    fn reads_what_the_format_says() {
        let rule = parse("x.sql", GOOD).expect("a rule");
        let keys = rule.recommending.expect("a recommendation");
        assert_eq!((keys.risk, keys.auto), (Risk::Low, Auto::Automatic));
        assert_eq!((keys.verify, keys.every_s), (Verify::HitRatio, 300));
        let metrics: Vec<_> = keys.metrics().collect();
        assert_eq!(
            metrics,
            [
                (Component::Host, "system.uptime", false),
                (Component::Redis, "a.b", true)
            ]
        );
        assert_eq!(keys.inputs[2].to_string(), "events");
    }

    #[test]
    fn says_what_is_wrong() {
        for (from, to, part) in [
            ("-- title: Do it\n", "", "key title is missing"),
            (
                "risk: low",
                "risk: tiny",
                "risk tiny is none of low, medium, high",
            ),
            ("every: 5m", "every: 5", "every \"5\" is not"),
            ("every: 5m", "every: 0h", "every \"0h\" is not"),
            (
                "host/system.uptime",
                "system.uptime",
                "is neither component/metric",
            ),
            ("host/system.uptime", "hosts/system.uptime", "hosts"),
            ("auto: automatic", "auto: advice", "key undo stands beside"),
            ("-- undo: Undo it\n", "", "key undo is missing"),
            (
                "kind: recommendation",
                "kind: view",
                "only recommendations have",
            ),
        ] {
            let error = parse("x.sql", &GOOD.replace(from, to)).expect_err(part);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
