//! What is said of a metric that is in no catalogue: its unit, what it says about a resource and in
//! which direction a change is good, derived from its type, its unit and the words of its name.
//!
//! Pure. Where the words say nothing, a change counts as neither good nor bad.

use driftline_schemas::metric::{Better, Category, Component, MetricKind};
use driftline_schemas::series::MetricDef;

/// Which part of a metric a series holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The value itself, or its quantiles, its least or its greatest value.
    Value,
    /// Observations up to a bound.
    Bucket,
    /// Observations.
    Count,
    /// The sum of the observed values.
    Sum,
}

/// Words of failures.
const ERRORS: &[&str] = &[
    "abort",
    "aborted",
    "aborts",
    "conflict",
    "conflicts",
    "deadlock",
    "deadlocks",
    "discarded",
    "drop",
    "dropped",
    "drops",
    "error",
    "errors",
    "errs",
    "exception",
    "exceptions",
    "fail",
    "failed",
    "failure",
    "failures",
    "fails",
    "oom",
    "panic",
    "panics",
    "rejected",
    "rejections",
    "retransmits",
    "retries",
    "retry",
    "timeout",
    "timeouts",
    "5xx",
];
/// Words of work that waits.
const WAITING: &[&str] = &[
    "backlog",
    "blocked",
    "lag",
    "pending",
    "pressure",
    "queue",
    "queued",
    "saturation",
    "stalled",
    "starved",
    "throttled",
    "waiters",
    "waiting",
];
/// Words of durations.
const DURATIONS: &[&str] = &["delay", "duration", "elapsed", "latency", "rtt", "wait"];
/// Words of times that are no durations.
const DATES: &[&str] = &[
    "age",
    "boot",
    "created",
    "expiry",
    "last",
    "start",
    "timestamp",
    "uptime",
];
/// Words of what there should be much of.
const GOOD: &[&str] = &[
    "available",
    "free",
    "healthy",
    "hit",
    "hits",
    "idle",
    "ready",
    "succeeded",
    "success",
    "successes",
    "successful",
    "up",
];
/// Words of what is used.
const USED: &[&str] = &[
    "occupancy",
    "percent",
    "resident",
    "rss",
    "usage",
    "used",
    "utilisation",
    "utilization",
];
/// Units of time in UCUM.
const TIMES: &[&str] = &["s", "ms", "us", "ns", "min", "h"];

/// The definition of a part of a metric; the unit is that of the metric, in UCUM.
pub(crate) fn define(
    component: Component,
    name: String,
    unit: &str,
    kind: MetricKind,
    part: Part,
) -> MetricDef {
    let (category, better) = match part {
        Part::Value | Part::Sum => judge(&name, unit, kind),
        // How many observations there are says how much work is done, unless they are failures.
        Part::Bucket | Part::Count => judge(&name, "1", kind),
    };
    let better = if part == Part::Bucket {
        Better::Neither
    } else {
        better
    };
    let unit = match part {
        Part::Value | Part::Sum => unit,
        Part::Bucket | Part::Count => "1",
    };
    MetricDef {
        name,
        component,
        unit: unit.to_owned(),
        kind,
        category,
        better,
    }
}

fn judge(name: &str, unit: &str, kind: MetricKind) -> (Category, Better) {
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| {
        let mut parts = lower.split(|c: char| !c.is_ascii_alphanumeric());
        parts.any(|part| words.contains(&part))
    };
    let counter = kind == MetricKind::Counter;
    if has(ERRORS) {
        return (Category::Errors, Better::Lower);
    }
    if TIMES.contains(&unit) || has(DURATIONS) {
        if has(&["idle"]) {
            return (Category::Utilisation, Better::Higher);
        }
        if has(DATES) {
            return (Category::Utilisation, Better::Neither);
        }
        if counter && has(&["cpu", "busy"]) {
            return (Category::Utilisation, Better::Lower);
        }
        // A counter of operations whose name speaks of a duration counts, it does not last.
        if TIMES.contains(&unit) || !counter {
            return (Category::Latency, Better::Lower);
        }
    }
    if has(WAITING) {
        return (Category::Saturation, Better::Lower);
    }
    let category = if counter {
        Category::Throughput
    } else {
        Category::Utilisation
    };
    let better = match () {
        () if has(GOOD) => Better::Higher,
        () if !counter && has(USED) => Better::Lower,
        () => Better::Neither,
    };
    (category, better)
}

/// The UCUM unit of a Prometheus metric, from its declared unit or the words at the end of its name.
pub(crate) fn prometheus_unit(declared: &str, name: &str) -> &'static str {
    if let Some(unit) = ucum(declared) {
        return unit;
    }
    let mut words = name.rsplit('_');
    let parts = ["total", "sum", "max", "min", "avg", "mean", "created"];
    let last = words.find(|word| !parts.contains(word));
    last.and_then(ucum).unwrap_or("1")
}

fn ucum(word: &str) -> Option<&'static str> {
    Some(match word {
        "seconds" | "second" => "s",
        "milliseconds" | "ms" => "ms",
        "microseconds" => "us",
        "nanoseconds" => "ns",
        "minutes" => "min",
        "hours" => "h",
        "days" => "d",
        "bytes" | "byte" => "By",
        "bits" => "bit",
        "ratio" | "ratios" => "1",
        "percent" | "percentage" => "%",
        "celsius" => "Cel",
        "volts" => "V",
        "amperes" => "A",
        "watts" => "W",
        "joules" => "J",
        "grams" => "g",
        "meters" => "m",
        "hertz" => "Hz",
        "kelvin" => "K",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_name_tell_what_is_good() {
        use Better::{Higher, Lower, Neither};
        use Category::{Errors, Latency, Saturation, Throughput, Utilisation};
        let (gauge, counter) = (MetricKind::Gauge, MetricKind::Counter);
        for (name, unit, kind, expected) in [
            (
                "http_request_duration_seconds",
                "s",
                gauge,
                (Latency, Lower),
            ),
            ("http.server.request.duration", "s", gauge, (Latency, Lower)),
            ("http_requests_total", "1", counter, (Throughput, Neither)),
            ("http_request_errors_total", "1", counter, (Errors, Lower)),
            (
                "node_network_receive_drop_total",
                "1",
                counter,
                (Errors, Lower),
            ),
            (
                "process_cpu_seconds_total",
                "s",
                counter,
                (Utilisation, Lower),
            ),
            (
                "process_start_time_seconds",
                "s",
                gauge,
                (Utilisation, Neither),
            ),
            (
                "node_memory_MemAvailable_bytes",
                "By",
                gauge,
                (Utilisation, Neither),
            ),
            (
                "node_filesystem_free_bytes",
                "By",
                gauge,
                (Utilisation, Higher),
            ),
            ("cache_hits_total", "1", counter, (Throughput, Higher)),
            ("kafka_consumer_lag", "1", gauge, (Saturation, Lower)),
            ("jvm.memory.used", "By", gauge, (Utilisation, Lower)),
            ("temperature_celsius", "Cel", gauge, (Utilisation, Neither)),
        ] {
            assert_eq!(judge(name, unit, kind), expected, "{name}");
        }
    }

    #[test]
    fn units_come_from_the_declaration_or_the_name() {
        for (declared, name, expected) in [
            ("seconds", "x", "s"),
            ("", "x_seconds", "s"),
            ("", "x_seconds_total", "s"),
            ("", "x_bytes_sum", "By"),
            ("", "x_ratio", "1"),
            ("", "x", "1"),
            ("furlongs", "x_bytes", "By"),
        ] {
            assert_eq!(
                prometheus_unit(declared, name),
                expected,
                "{declared} {name}"
            );
        }
    }

    #[test]
    fn parts_of_a_histogram_have_units_of_their_own() {
        let of = |name: &str, part| {
            define(
                Component::Otlp,
                name.to_owned(),
                "s",
                MetricKind::Counter,
                part,
            )
        };
        let sum = of("latency_sum", Part::Sum);
        assert_eq!((sum.unit.as_str(), sum.better), ("s", Better::Lower));
        let count = of("latency_count", Part::Count);
        assert_eq!(
            (count.unit.as_str(), count.category),
            ("1", Category::Throughput)
        );
        assert_eq!(of("latency_bucket", Part::Bucket).better, Better::Neither);
    }
}
