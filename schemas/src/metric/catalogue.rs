//! The known metrics, their frozen ids, and which version of the conventions named them.
//!
//! Names, units and attributes follow the OpenTelemetry semantic conventions. What these lack
//! (pressure stall information, TCP counters, kernel memory) is named in the same style. Three
//! deviations: `system.network.packet.count` carries `network.interface.name` like its siblings,
//! where the conventions say `system.device`; `cpu.mode` also takes `softirq`; and control groups
//! have names of their own (`cgroup.*`), because most of them are no containers.
//!
//! Ranges of ids: host 1–199, process 200–299, cgroup 300–399, postgres 400–499, redis 500–599, http
//! 600–649, websocket 650–699, Driftline itself 900–999. An id is never used again for something else. How a metric is measured is the collector's business.

mod cgroup;
mod driftline;
mod host;
mod http;
mod postgres;
mod process;
mod redis;
mod websocket;

use super::{Better, Category, Component, Metric, MetricKind};

/// The version of the OpenTelemetry semantic conventions that the names follow.
pub const SEMCONV_VERSION: &str = "1.44.0";

/// All known metrics, sorted by id.
pub static CATALOGUE: &[Metric] = &TABLE;

/// The id of the metric with this name. Meant for constants: `const ID: u32 = id("system.uptime");`
/// is checked when compiled.
///
/// # Panics
/// When no known metric has this name.
pub const fn id(name: &str) -> u32 {
    let mut at = 0;
    while at < TABLE.len() {
        if same(TABLE[at].name.as_bytes(), name.as_bytes()) {
            return TABLE[at].id;
        }
        at += 1;
    }
    panic!("no metric of the catalogue has this name")
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[expect(
    clippy::too_many_arguments,
    reason = "one row of the table below, in the order of its columns"
)]
const fn row(
    id: u32,
    component: Component,
    name: &'static str,
    unit: &'static str,
    kind: MetricKind,
    category: Category,
    better: Better,
    brief: &'static str,
) -> Metric {
    Metric {
        id,
        name,
        component,
        unit,
        kind,
        category,
        better,
        brief,
    }
}

/// One table of all parts, whose ids grow from part to part.
const PARTS: [&[Metric]; 8] = [
    host::TABLE,
    process::TABLE,
    cgroup::TABLE,
    postgres::TABLE,
    redis::TABLE,
    http::TABLE,
    websocket::TABLE,
    driftline::TABLE,
];

const COUNT: usize = {
    let (mut count, mut part) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
};

static TABLE: [Metric; COUNT] = {
    let mut table = [host::TABLE[0]; COUNT];
    let (mut at, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut of_part = 0;
        while of_part < PARTS[part].len() {
            table[at] = PARTS[part][of_part];
            at += 1;
            of_part += 1;
        }
        part += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_sorted_and_names_are_unique() {
        assert!(
            CATALOGUE.windows(2).all(|pair| pair[0].id < pair[1].id),
            "ids grow strictly"
        );
        let names: HashSet<&str> = CATALOGUE.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    #[test]
    fn ids_lie_in_their_component_s_range() {
        for metric in CATALOGUE {
            let range = match metric.component {
                Component::Host => 1..=199,
                Component::Process => 200..=299,
                Component::Cgroup => 300..=399,
                Component::Postgres => 400..=499,
                Component::Redis => 500..=599,
                Component::Http => 600..=649,
                Component::Websocket => 650..=699,
                Component::Driftline => 900..=999,
                other => panic!("no range is set aside for {other}"),
            };
            assert!(
                range.contains(&metric.id),
                "{} has id {}",
                metric.name,
                metric.id
            );
        }
    }

    #[test]
    fn every_metric_is_described_in_the_conventions_style() {
        for metric in CATALOGUE {
            let named =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_');
            assert!(metric.name.chars().all(named), "{}", metric.name);
            let unit = metric.unit;
            let annotated = unit.starts_with('{') && unit.ends_with('}');
            assert!(
                matches!(unit, "s" | "By" | "1") || annotated,
                "{}: {unit}",
                metric.name
            );
            assert!(
                !metric.brief.is_empty() && !metric.brief.ends_with('.'),
                "{}",
                metric.name
            );
        }
    }

    /// What is written in logs must keep its meaning: spot checks that fail when ids are shifted.
    #[test]
    fn ids_are_frozen() {
        let frozen = [
            (1, "system.uptime"),
            (3, "system.cpu.time"),
            (22, "system.memory.linux.available"),
            (60, "system.pressure.stall_time"),
            (72, "system.disk.operation_time"),
            (95, "system.network.io"),
            (115, "system.network.tcp.retransmits"),
            (146, "system.file_handle.limit"),
            (151, "system.network.softnet.squeezed"),
            (200, "process.cpu.time"),
            (208, "process.uptime"),
            (300, "cgroup.cpu.time"),
            (316, "cgroup.task.limit"),
            (900, "driftline.collector.tick.lateness"),
            (910, "driftline.collector.sync.duration"),
        ];
        for (number, name) in frozen {
            assert_eq!(id(name), number, "{name}");
        }
    }
}
