//! Queries as files: their front matter, their parameters, and the ones that are built in.
//!
//! The format stands in `queries/README.md`. Running them is left to [`crate::Engine`].

mod built_in;
mod front_matter;
mod recommendation;
mod rolled;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use datafusion::scalar::ScalarValue;

pub use front_matter::parse;
pub use recommendation::{Auto, Input, Recommending, Risk, Verify};

/// A query file that is not in order, or parameters that do not fit it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The front matter is not what the format says.
    #[error("{file}, line {line}: {reason}; see queries/README.md for the format")]
    FrontMatter {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Views that read each other, or a name that is taken.
    #[error("view {view} cannot be ordered: it reads {reads} in a circle; remove one of the two")]
    Circle {
        /// A view of the circle.
        view: String,
        /// What it waits for.
        reads: String,
    },
    /// A parameter without value and default.
    #[error("query {rule} needs a value for ${parameter} ({about})")]
    MissingParameter {
        /// The query.
        rule: String,
        /// The parameter.
        parameter: String,
        /// What it means.
        about: String,
    },
    /// A value for a parameter that the query does not have, or of another type.
    #[error("query {rule} takes no ${parameter} of type {found}; it takes {takes}")]
    UnknownParameter {
        /// The query.
        rule: String,
        /// The parameter.
        parameter: String,
        /// The type of the value.
        found: String,
        /// The parameters that there are.
        takes: String,
    },
    /// A column of a recommendation's result that is not what the format says.
    #[error(
        "column {column} of recommendation {rule}: {reason}; see queries/README.md for the format"
    )]
    Column {
        /// The rule.
        rule: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No query has this id.
    #[error("no query is named {id}; there are {known}")]
    UnknownRule {
        /// What was asked for.
        id: String,
        /// The ids that there are.
        known: String,
    },
}

/// What a query is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleKind {
    /// A table that other queries may use by its name.
    View,
    /// What is usual.
    Baseline,
    /// What has changed.
    Regression,
    /// A table over the window that is judged, which recommendations may use by its name.
    Window,
    /// What to do.
    Recommendation,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// A moment, in microseconds since 1970 UTC.
    Timestamp,
    /// A number.
    Float,
    /// A whole number.
    Integer,
    /// A text.
    Text,
}

/// A parameter of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name, which the SQL writes after a `$`.
    pub name: String,
    /// Its type.
    pub kind: ParameterKind,
    /// What it is where nothing else is given.
    pub default: Option<ScalarValue>,
    /// What it means.
    pub about: String,
}

/// A query file.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name; a view's name in SQL.
    pub id: String,
    /// What it is for.
    pub kind: RuleKind,
    /// The tables and views that it selects from.
    pub reads: Vec<String>,
    /// The question that it answers.
    pub why: String,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// What a recommendation says besides; the other kinds say nothing.
    pub recommending: Option<Recommending>,
    /// The statement.
    pub sql: String,
}

/// A value for a parameter.
pub type Binding = (String, ScalarValue);

/// A moment as a parameter's value.
pub fn timestamp(us: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into()))
}

/// A whole number as a parameter's value.
pub fn integer(value: i64) -> ScalarValue {
    ScalarValue::Int64(Some(value))
}

/// A text as a parameter's value.
pub fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

impl Rule {
    /// A value for each of the parameters: those given, and the defaults of the others.
    pub fn bind(&self, given: &[Binding]) -> Result<Vec<Binding>, RuleError> {
        for (name, value) in given {
            let fits =
                |parameter: &&Parameter| parameter.name == *name && parameter.kind.fits(value);
            if !self.parameters.iter().any(|parameter| fits(&parameter)) {
                let takes: Vec<String> = self
                    .parameters
                    .iter()
                    .map(|p| format!("${} {}", p.name, p.kind))
                    .collect();
                return Err(RuleError::UnknownParameter {
                    rule: self.id.clone(),
                    parameter: name.clone(),
                    found: value.data_type().to_string(),
                    takes: if takes.is_empty() {
                        "none".to_owned()
                    } else {
                        takes.join(", ")
                    },
                });
            }
        }
        let value = |parameter: &Parameter| {
            let found = given.iter().find(|(name, _)| *name == parameter.name);
            let value = found
                .map(|(_, value)| value.clone())
                .or_else(|| parameter.default.clone());
            let value = value.ok_or_else(|| RuleError::MissingParameter {
                rule: self.id.clone(),
                parameter: parameter.name.clone(),
                about: parameter.about.clone(),
            })?;
            Ok((parameter.name.clone(), value))
        };
        self.parameters.iter().map(value).collect()
    }
}

impl RuleKind {
    const ALL: [Self; 5] = [
        Self::View,
        Self::Baseline,
        Self::Regression,
        Self::Window,
        Self::Recommendation,
    ];

    /// The word in front matter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Baseline => "baseline",
            Self::Regression => "regression",
            Self::Window => "window",
            Self::Recommendation => "recommendation",
        }
    }
}

impl ParameterKind {
    const ALL: [Self; 4] = [Self::Timestamp, Self::Float, Self::Integer, Self::Text];

    /// The word in front matter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Text => "text",
        }
    }

    fn fits(self, value: &ScalarValue) -> bool {
        match self {
            Self::Timestamp => matches!(value, ScalarValue::TimestampMicrosecond(Some(_), Some(_))),
            Self::Float => matches!(value, ScalarValue::Float64(Some(_))),
            Self::Integer => matches!(value, ScalarValue::Int64(Some(_))),
            Self::Text => matches!(value, ScalarValue::Utf8(Some(_))),
        }
    }

    /// A default as it stands in front matter.
    fn read(self, text: &str) -> Option<ScalarValue> {
        match self {
            // A moment that is right for every query does not exist.
            Self::Timestamp => None,
            Self::Float => text
                .parse()
                .ok()
                .map(|value| ScalarValue::Float64(Some(value))),
            Self::Integer => text
                .parse()
                .ok()
                .map(|value| ScalarValue::Int64(Some(value))),
            Self::Text => Some(ScalarValue::Utf8(Some(text.to_owned()))),
        }
    }
}

impl fmt::Display for ParameterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RuleKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| {
            format!(
                "kind {text} is none of {}",
                words(&Self::ALL.map(Self::as_str))
            )
        })
    }
}

impl FromStr for ParameterKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| {
            format!(
                "type {text} is none of {}",
                words(&Self::ALL.map(Self::as_str))
            )
        })
    }
}

/// All built-in queries, views in an order in which each comes after those that it reads.
pub fn built_in() -> Result<Vec<Rule>, RuleError> {
    let rules: Result<Vec<Rule>, RuleError> = built_in::files()
        .map(|(path, text)| parse(path, text))
        .collect();
    let mut rules = rules?;
    let rolled: Vec<Rule> = rules.iter().flat_map(rolled::over_rollups).collect();
    rules.extend(rolled);
    in_order(rules)
}

/// The built-in query with this id.
pub fn built_in_named(id: &str) -> Result<Rule, RuleError> {
    let rules = built_in()?;
    let known = rules
        .iter()
        .map(|rule| rule.id.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let found = rules.iter().find(|rule| rule.id == id).cloned();
    found.ok_or_else(|| RuleError::UnknownRule {
        id: id.to_owned(),
        known,
    })
}

/// Words with commas between them.
fn words(words: &[&str]) -> String {
    words.join(", ")
}

/// Orders rules so that each comes after those that it reads; otherwise as they came.
pub(crate) fn in_order(rules: Vec<Rule>) -> Result<Vec<Rule>, RuleError> {
    let mut waiting: BTreeMap<String, Rule> = rules
        .into_iter()
        .map(|rule| (rule.id.clone(), rule))
        .collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let open: BTreeSet<String> = waiting.keys().cloned().collect();
        let ready: Vec<String> = waiting
            .values()
            .filter(|rule| rule.reads.iter().all(|read| !open.contains(read)))
            .map(|rule| rule.id.clone())
            .collect();
        if ready.is_empty() {
            let stuck = waiting.into_values().next();
            let (view, reads) = stuck
                .map(|rule| (rule.id, rule.reads.join(", ")))
                .unwrap_or_default();
            return Err(RuleError::Circle { view, reads });
        }
        ordered.extend(ready.iter().filter_map(|id| waiting.remove(id)));
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_queries_are_in_order_and_named_like_their_files() {
        let rules = built_in().expect("the built-in queries");
        let rolled = rules
            .iter()
            .filter(|rule| rule.why.contains("This is its form over "));
        assert_eq!(rules.len() - rolled.count(), built_in::files().count());
        for (path, text) in built_in::files() {
            let rule = parse(path, text).expect("front matter");
            let folder = format!("{}s/", rule.kind.as_str());
            assert_eq!(path, format!("{folder}{}.sql", rule.id));
            assert!(
                !matches!(rule.kind, RuleKind::View | RuleKind::Window)
                    || rule.parameters.is_empty(),
                "{path}"
            );
        }
        let place = |id: &str| rules.iter().position(|rule| rule.id == id).expect("a rule");
        assert!(place("counter_rates") < place("disk_latency"));
        assert!(place("cpu_utilisation") < place("derived_series"));
        assert!(place("derived_series") < place("window_shift"));
        assert!(place("minute_counter_rates") < place("minute_derived_series"));
    }

    /// A metric is written `system.…`, `process.…`, `cgroup.…` or `driftline.…`; names that a view
    /// derives and keys of labels are known here.
    #[test]
    fn every_metric_that_a_query_names_exists() {
        let ours = [
            "system.cpu.utilization",
            "system.disk.latency",
            "system.disk.utilization",
        ];
        let keys = [
            "system.device",
            "system.pressure.resource",
            "system.pressure.type",
            "system.paging.fault.type",
            "system.paging.state",
            "process.pid",
            "process.executable.name",
        ];
        let mut seen = 0;
        for rule in built_in().expect("the built-in queries") {
            for text in rule.sql.split('\'').skip(1).step_by(2) {
                let component = text.split('.').next().unwrap_or_default();
                let named = ["system", "process", "cgroup", "driftline"].contains(&component);
                if !named || !text.contains('.') || ours.contains(&text) || keys.contains(&text) {
                    continue;
                }
                seen += 1;
                let metric = driftline_schemas::metric_named(text);
                assert!(
                    metric.is_some(),
                    "{} names {text}, which no collector records",
                    rule.id
                );
            }
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn parameters_are_checked() {
        let rule = built_in_named("window_shift").expect("a rule");
        let time = |name: &str| (name.to_owned(), timestamp(1));
        let times = [time("a0"), time("a1"), time("b0"), time("b1")];
        let bound = rule.bind(&times).expect("bindings");
        assert_eq!(bound.len(), 7);
        assert!(bound.contains(&("confidence".to_owned(), ScalarValue::Float64(Some(0.99)))));
        let missing = rule.bind(&times[..3]).expect_err("b1 is missing");
        assert!(
            missing.to_string().contains("$b1 (end of window b"),
            "{missing}"
        );
        let unknown = rule.bind(&[time("c0")]).expect_err("no c0");
        assert!(unknown.to_string().contains("$a0 timestamp"), "{unknown}");
        let text = (
            "a0".to_owned(),
            ScalarValue::Utf8(Some("yesterday".to_owned())),
        );
        assert!(rule.bind(&[text]).is_err());
    }

    #[test]
    fn circles_are_named() {
        let view = |id: &str, reads: &str| {
            let text =
                format!("-- id: {id}\n-- kind: view\n-- reads: {reads}\n-- why: w\nSELECT 1\n");
            parse("x.sql", &text).expect("a rule")
        };
        let error = in_order(vec![view("a", "b"), view("b", "a")]).expect_err("a circle");
        assert!(matches!(error, RuleError::Circle { .. }), "{error}");
    }
}
