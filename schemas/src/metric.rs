//! What a metric is: a name, a unit, a kind, a category and a better direction.
//!
//! The known metrics stand in [`catalogue`] with frozen numeric ids, so that a block names them in
//! one or two bytes. Metrics that other systems bring travel with their definition
//! ([`crate::MetricDef`]).

pub mod catalogue;

pub use catalogue::CATALOGUE;
use std::fmt;
use std::str::FromStr;

/// A word that is not one of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {found:?} is not known")]
pub struct UnknownWord {
    /// Which set.
    pub what: &'static str,
    /// What was given.
    pub found: String,
}

/// How a metric's values behave over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// A level that goes up and down.
    Gauge,
    /// A total that only grows, except where it restarts from zero.
    Counter,
    /// A distribution.
    Histogram,
}

/// What a metric says about a resource: the USE method's and the RED method's views together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// How much of the resource is in use.
    Utilisation,
    /// How much work waits for it.
    Saturation,
    /// How often it fails.
    Errors,
    /// How long an operation takes.
    Latency,
    /// How much work it does.
    Throughput,
}

/// In which direction a change of the metric is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// A change is neither good nor bad in itself.
    Neither,
}

/// What is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The machine.
    Host,
    /// A process on it.
    Process,
    /// A control group on it.
    Cgroup,
    /// A PostgreSQL server.
    Postgres,
    /// A Redis server.
    Redis,
    /// An HTTP API.
    Http,
    /// A WebSocket service.
    Websocket,
    /// A scraped Prometheus or OpenMetrics exporter.
    Prometheus,
    /// What arrives by OTLP.
    Otlp,
    /// Driftline itself.
    Driftline,
}

impl MetricKind {
    /// Every value, in the order of its number on the wire.
    pub const ALL: [Self; 3] = [Self::Gauge, Self::Counter, Self::Histogram];

    /// The word used in tables, SQL and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }

    /// The frozen number on the wire, from 1.
    pub(crate) const fn number(self) -> u32 {
        self as u32 + 1
    }

    /// The value with this number on the wire.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
            .copied()
    }
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MetricKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        find_word(&Self::ALL, Self::as_str, "metric kind", text)
    }
}

impl Category {
    /// Every value, in the order of its number on the wire.
    pub const ALL: [Self; 5] = [
        Self::Utilisation,
        Self::Saturation,
        Self::Errors,
        Self::Latency,
        Self::Throughput,
    ];

    /// The word used in tables, SQL and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utilisation => "utilisation",
            Self::Saturation => "saturation",
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Throughput => "throughput",
        }
    }

    /// The frozen number on the wire, from 1.
    pub(crate) const fn number(self) -> u32 {
        self as u32 + 1
    }

    /// The value with this number on the wire.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
            .copied()
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Category {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        find_word(&Self::ALL, Self::as_str, "category", text)
    }
}

impl Better {
    /// Every value, in the order of its number on the wire.
    pub const ALL: [Self; 3] = [Self::Lower, Self::Higher, Self::Neither];

    /// The word used in tables, SQL and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Higher => "higher",
            Self::Neither => "neither",
        }
    }

    /// The frozen number on the wire, from 1.
    pub(crate) const fn number(self) -> u32 {
        self as u32 + 1
    }

    /// The value with this number on the wire.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
            .copied()
    }
}

impl fmt::Display for Better {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Better {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        find_word(&Self::ALL, Self::as_str, "better direction", text)
    }
}

impl Component {
    /// Every value, in the order of its number on the wire.
    pub const ALL: [Self; 10] = [
        Self::Host,
        Self::Process,
        Self::Cgroup,
        Self::Postgres,
        Self::Redis,
        Self::Http,
        Self::Websocket,
        Self::Prometheus,
        Self::Otlp,
        Self::Driftline,
    ];

    /// The word used in tables, SQL and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Process => "process",
            Self::Cgroup => "cgroup",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Http => "http",
            Self::Websocket => "websocket",
            Self::Prometheus => "prometheus",
            Self::Otlp => "otlp",
            Self::Driftline => "driftline",
        }
    }

    /// The frozen number on the wire, from 1.
    pub(crate) const fn number(self) -> u32 {
        self as u32 + 1
    }

    /// The value with this number on the wire.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
            .copied()
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Component {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        find_word(&Self::ALL, Self::as_str, "component", text)
    }
}

fn find_word<T: Copy>(
    all: &[T],
    word: impl Fn(T) -> &'static str,
    what: &'static str,
    text: &str,
) -> Result<T, UnknownWord> {
    all.iter()
        .copied()
        .find(|value| word(*value) == text)
        .ok_or_else(|| UnknownWord {
            what,
            found: text.chars().take(80).collect(),
        })
}

/// A known metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its frozen number, never used again for another metric.
    pub id: u32,
    /// Its name, after the OpenTelemetry semantic conventions where they have one.
    pub name: &'static str,
    /// What it is a metric of.
    pub component: Component,
    /// Its unit, in UCUM.
    pub unit: &'static str,
    /// How its values behave.
    pub kind: MetricKind,
    /// What it says about a resource.
    pub category: Category,
    /// Which direction is good.
    pub better: Better,
    /// One sentence on its meaning.
    pub brief: &'static str,
}

/// The known metric with this id.
pub fn metric(id: u32) -> Option<&'static Metric> {
    let at = CATALOGUE
        .binary_search_by_key(&id, |metric| metric.id)
        .ok()?;
    CATALOGUE.get(at)
}

/// The known metric with this name.
pub fn metric_named(name: &str) -> Option<&'static Metric> {
    CATALOGUE.iter().find(|metric| metric.name == name)
}
