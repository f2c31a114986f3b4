//! Metric families of Prometheus: their types, and which of their parts a sample's name says it is.

use driftline_schemas::metric::{Component, MetricKind};
use driftline_schemas::series::MetricDef;

use super::definition::{Part, define, prometheus_unit};

/// The type of a family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    #[default]
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

/// What may follow a family's name in that of a sample.
const SUFFIXES: [&str; 8] = [
    "_total", "_bucket", "_count", "_sum", "_created", "_gcount", "_gsum", "_info",
];

impl Family {
    /// The type as an exposition names it.
    pub(crate) fn parse(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"unknown" | b"untyped" => Self::Unknown,
            b"counter" => Self::Counter,
            b"gauge" => Self::Gauge,
            b"histogram" => Self::Histogram,
            b"gaugehistogram" => Self::GaugeHistogram,
            b"summary" => Self::Summary,
            b"info" => Self::Info,
            b"stateset" => Self::StateSet,
            _ => return None,
        })
    }

    /// The type by its number in the remote-write protocols; unknown numbers are unknown types.
    pub(crate) fn from_number(number: u64) -> Self {
        let all = [
            Self::Unknown,
            Self::Counter,
            Self::Gauge,
            Self::Histogram,
            Self::GaugeHistogram,
            Self::Summary,
            Self::Info,
            Self::StateSet,
        ];
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        all.get(at).copied().unwrap_or_default()
    }

    /// Whether a sample with this suffix belongs to the family.
    pub(crate) fn has_suffix(self, suffix: &[u8]) -> bool {
        let known: &[&[u8]] = match self {
            Self::Counter => &[b"", b"_total", b"_created"],
            Self::Histogram => &[b"_bucket", b"_count", b"_sum", b"_created"],
            Self::GaugeHistogram => &[b"_bucket", b"_gcount", b"_gsum"],
            Self::Summary => &[b"", b"_count", b"_sum", b"_created"],
            Self::Info => &[b"", b"_info"],
            Self::Unknown | Self::Gauge | Self::StateSet => &[b""],
        };
        known.contains(&suffix)
    }
}

/// The names that the family of a sample may have, the sample's own first.
pub(crate) fn candidates(name: &str) -> impl Iterator<Item = &str> {
    let stripped = SUFFIXES
        .into_iter()
        .filter_map(move |suffix| name.strip_suffix(suffix));
    std::iter::once(name).chain(stripped)
}

/// The definition of a sample of a family; the unit is a word of Prometheus, or empty.
pub(crate) fn definition(name: &str, family: Family, unit: &str) -> MetricDef {
    let (counter, gauge) = (MetricKind::Counter, MetricKind::Gauge);
    let suffix = name.rfind('_').map_or("", |at| &name[at..]);
    let (kind, part) = match (family, suffix) {
        (Family::Histogram | Family::Unknown, "_bucket") => (counter, Part::Bucket),
        (Family::Histogram | Family::Summary | Family::Unknown, "_count") => (counter, Part::Count),
        (Family::Histogram | Family::Summary | Family::Unknown, "_sum") => (counter, Part::Sum),
        (Family::GaugeHistogram, "_bucket") => (gauge, Part::Bucket),
        (Family::GaugeHistogram, "_gcount") => (gauge, Part::Count),
        (Family::GaugeHistogram, "_gsum") => (gauge, Part::Sum),
        (Family::Counter | Family::Histogram | Family::Summary, "_created") => {
            return define(
                Component::Prometheus,
                name.to_owned(),
                "s",
                gauge,
                Part::Value,
            );
        }
        (Family::Counter, _) | (Family::Unknown, "_total") => (counter, Part::Value),
        _ => (gauge, Part::Value),
    };
    let unit = prometheus_unit(unit, name);
    define(Component::Prometheus, name.to_owned(), unit, kind, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_families_have_their_kinds_and_units() {
        let (counter, gauge) = (MetricKind::Counter, MetricKind::Gauge);
        for (name, family, unit, expected) in [
            ("a_seconds_bucket", Family::Histogram, "", (counter, "1")),
            ("a_seconds_count", Family::Histogram, "", (counter, "1")),
            ("a_seconds_sum", Family::Histogram, "", (counter, "s")),
            ("a_seconds", Family::Summary, "", (gauge, "s")),
            ("a_bytes_total", Family::Counter, "", (counter, "By")),
            ("a", Family::Counter, "seconds", (counter, "s")),
            ("a_created", Family::Counter, "", (gauge, "s")),
            ("connection_count", Family::Gauge, "", (gauge, "1")),
            ("a_total", Family::Unknown, "", (counter, "1")),
            ("a", Family::Unknown, "", (gauge, "1")),
            ("a_gsum", Family::GaugeHistogram, "bytes", (gauge, "By")),
        ] {
            let def = definition(name, family, unit);
            assert_eq!((def.kind, def.unit.as_str()), expected, "{name} {family:?}");
        }
    }

    #[test]
    fn the_family_is_sought_by_name_and_without_suffix() {
        let found: Vec<&str> = candidates("a_count").collect();
        assert_eq!(found, ["a_count", "a"]);
        assert!(Family::Summary.has_suffix(b"_sum") && !Family::Gauge.has_suffix(b"_sum"));
        assert_eq!(Family::from_number(5), Family::Summary);
        assert_eq!(Family::from_number(99), Family::Unknown);
    }
}
