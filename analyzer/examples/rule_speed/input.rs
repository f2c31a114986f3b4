//! What the rules are timed over.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use driftline_analyzer::Lake;
use driftline_analyzer::recommend::Source;
use driftline_schemas::arrow::{PARTITION_COLUMN, rollups_schema};
use driftline_schemas::{CATALOGUE, Component, Labels, MetricKind, MetricRef, SampleBatch, Series};
use driftline_sink::table::TableName;

use crate::case;

pub(crate) const START_US: i64 = case::START_US;
const S: i64 = 1_000_000;
/// Every so many hosts one is in trouble.
const SICK_EVERY: usize = 50;
const HOSTS: usize = 1_000;
const HOST_SERIES: usize = 300;

type Made = Result<Lake, Box<dyn Error>>;

/// Tables, and the window of them that is judged.
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) lake: fn() -> Made,
    pub(crate) seconds: i64,
    pub(crate) source: Source,
}

pub(crate) const ALL: [Input; 6] = [
    Input {
        name: "host",
        about: "one host of 300 series, one hour of samples every second",
        lake: || Ok(Lake::in_memory("h1", &hour(&host_series(), 1))?),
        seconds: 3_600,
        source: Source::Samples,
    },
    Input {
        name: "minutes",
        about: "the same host, one hour of rollups by the minute",
        lake: || {
            let series = host_series();
            let lake = Lake::in_memory("h1", &hour(&series, 3_600))?;
            Ok(lake.with_rows(
                TableName::Samples1m,
                vec![rollups("h1", &series, 60, 60, false)?],
            ))
        },
        seconds: 3_600,
        source: Source::Minutes,
    },
    Input {
        name: "everything",
        about: "one host with PostgreSQL, Redis, a web service and WebSockets: every rule's inputs, one hour by ten seconds",
        lake: || {
            let mut series = host_series();
            series.extend(service_series(20, 50));
            Ok(Lake::in_memory("h1", &hour(&series, 10))?)
        },
        seconds: 3_600,
        source: Source::Samples,
    },
    Input {
        name: "cases",
        about: "the cases in which rules fire, all of them at once, each host with its case's name",
        lake: cases,
        seconds: 3_600,
        source: Source::Samples,
    },
    Input {
        name: "server",
        about: "one PostgreSQL server of 200 tables and 500 statements, one hour by the minute",
        lake: || Ok(Lake::in_memory("h1", &hour(&service_series(200, 500), 60))?),
        seconds: 3_600,
        source: Source::Samples,
    },
    Input {
        name: "hosts",
        about: "a thousand hosts of 300 series, one day of rollups by the hour, one host in fifty in trouble",
        lake: hosts,
        seconds: 86_400,
        source: Source::Auto,
    },
];

fn cases() -> Made {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let mut all = case::Case::default();
    for entry in std::fs::read_dir(&place)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            all.add(&name, case::read(&entry.path().join("fires"))?);
        }
    }
    Ok(all.lake()?)
}

fn hosts() -> Made {
    let series = host_series();
    let names: Vec<String> = (0..HOSTS).map(|number| format!("h{number}")).collect();
    let first = hour(&series, 3_600);
    let seen = names
        .iter()
        .flat_map(|name| first.iter().map(move |batch| (name.as_str(), batch)));
    let days: Result<Vec<RecordBatch>, _> = names
        .iter()
        .enumerate()
        .map(|(number, name)| rollups(name, &series, 3_600, 24, number % SICK_EVERY == 0))
        .collect();
    Ok(Lake::of_hosts(seen, [])?.with_rows(TableName::Samples1h, days?))
}

/// The labels that the series of a metric of a host with two processors, disks and interfaces have.
fn host_labels(metric: &str) -> Vec<Labels> {
    let pairs = |first: &str, firsts: &[&str], second: &str, seconds: &[&str]| -> Vec<Labels> {
        firsts
            .iter()
            .flat_map(|one| {
                seconds
                    .iter()
                    .map(move |other| Labels::new(&[(first, *one), (second, *other)]))
            })
            .collect()
    };
    match metric {
        "system.cpu.time" => pairs(
            "cpu.logical_number",
            &["0", "1"],
            "cpu.mode",
            &["user", "system", "idle", "iowait", "nice", "steal"],
        ),
        "system.pressure.stall_time" => pairs(
            "system.pressure.resource",
            &["cpu", "memory", "io"],
            "system.pressure.type",
            &["some", "full"],
        ),
        "system.paging.faults" => {
            pairs("system.paging.fault.type", &["major", "minor"], "x", &["y"])
        }
        "system.paging.usage" => pairs("system.paging.state", &["used", "free"], "x", &["y"]),
        name if name.starts_with("system.disk") => pairs(
            "disk.io.direction",
            &["read", "write"],
            "system.device",
            &["sda", "sdb"],
        ),
        name if name.starts_with("system.network.packet") => pairs(
            "network.interface.name",
            &["eth0", "lo"],
            "network.io.direction",
            &["receive", "transmit"],
        ),
        _ => vec![Labels::new(&[])],
    }
}

fn host_series() -> Vec<Series> {
    let mut all = Vec::new();
    for metric in CATALOGUE {
        if metric.component == Component::Host {
            all.extend(host_labels(metric.name).into_iter().map(|labels| Series {
                metric: MetricRef::Known(metric.id),
                labels,
            }));
        }
    }
    let of_processes: Vec<_> = CATALOGUE
        .iter()
        .filter(|metric| ["process.cpu.time", "process.memory.usage"].contains(&metric.name))
        .collect();
    for number in all.len()..HOST_SERIES {
        let metric = of_processes[number % of_processes.len()];
        let (program, pid) = (format!("p{}", number % 40), number.to_string());
        all.push(Series {
            metric: MetricRef::Known(metric.id),
            labels: Labels::new(&[
                ("process.executable.name", program.as_str()),
                ("process.pid", pid.as_str()),
            ]),
        });
    }
    all
}

/// A PostgreSQL server, a Redis server, a web service and WebSockets: each metric that a rule may
/// rest on.
fn service_series(tables: usize, statements: usize) -> Vec<Series> {
    let mut all = Vec::new();
    for metric in CATALOGUE {
        if matches!(metric.component, Component::Host | Component::Process) {
            continue;
        }
        let (count, key) = match metric.name {
            name if name.starts_with("postgresql.statement.") => (statements, "postgresql.queryid"),
            name if name.starts_with("postgresql.table.") => (tables, "postgresql.table.name"),
            name if name.starts_with("postgresql.index.") => (2 * tables, "postgresql.index.name"),
            name if name.starts_with("redis.key.") => (tables, "pattern"),
            name if name.starts_with("http.server.") => (tables, "http.route"),
            _ => (1, "number"),
        };
        for number in 0..count {
            let number = number.to_string();
            let labels = [
                ("http.request.method", "GET"),
                ("postgresql.database.name", "shop"),
                ("postgresql.rolname", "app"),
                ("postgresql.schema.name", "public"),
                ("quantile", "0.99"),
                ("server.port", "443"),
                ("service.instance.id", "main"),
                ("service.name", "shop"),
                (key, number.as_str()),
            ];
            all.push(Series {
                metric: MetricRef::Known(metric.id),
                labels: Labels::new(&labels),
            });
        }
    }
    all
}

/// What a series shows: where a counter starts, or a gauge's value, and how much it grows in a
/// second. A sick host has no idle processor, waits for everything and is short of memory.
fn course(series: &Series, sick: bool) -> (f64, f64) {
    let view = series.metric.view();
    let name = view.as_ref().map_or("", |view| view.name);
    let idle = ["cpu.mode=idle", "cpu.mode=iowait"]
        .iter()
        .any(|mode| series.labels.as_str().contains(mode));
    let counter = view.is_some_and(|view| view.kind == MetricKind::Counter);
    match (name, counter, sick) {
        ("system.cpu.time", _, false) => (1_000.0, if idle { 0.45 } else { 0.02 }),
        ("system.cpu.time", _, true) => (1_000.0, if idle { 0.02 } else { 0.24 }),
        ("system.memory.linux.available", _, false) => (8e9, 0.0),
        ("system.memory.linux.available", _, true) => (5e8, 0.0),
        ("system.memory.limit", ..) => (16e9, 0.0),
        ("system.cpu.logical.count", ..) => (2.0, 0.0),
        (_, true, true) => (1_000.0, 1.0),
        (_, true, false) => (1_000.0, 0.01),
        (_, false, _) => (0.1, 0.0),
    }
}

/// An hour of samples, second by second or as given.
fn hour(series: &[Series], every_s: i64) -> Vec<SampleBatch> {
    let courses: Vec<(f64, f64)> = series.iter().map(|one| course(one, false)).collect();
    (0..3_600 / every_s)
        .collect::<Vec<_>>()
        .chunks(200)
        .map(|ticks| {
            SampleBatch::from_rows(ticks.iter().flat_map(|tick| {
                series.iter().zip(&courses).map(move |(one, course)| {
                    let at = tick * every_s;
                    let value = course.0 + course.1 * at as f64;
                    (one.clone(), START_US + at * S, value)
                })
            }))
        })
        .collect()
}

/// Rollups of one host.
fn rollups(
    host: &str,
    series: &[Series],
    step_s: i64,
    steps: i64,
    sick: bool,
) -> Result<RecordBatch, Box<dyn Error>> {
    let count = usize::try_from(steps)?;
    let total = series.len() * count;
    // One value for each series.
    let keyed = |values: Vec<&str>| -> Result<ArrayRef, Box<dyn Error>> {
        let keys = (0..i32::try_from(values.len())?)
            .flat_map(|key| std::iter::repeat_n(key, count))
            .collect::<Int32Array>();
        let values = Arc::new(StringArray::from(values));
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(
            keys, values,
        )?))
    };
    let views: Vec<_> = series.iter().filter_map(|one| one.metric.view()).collect();
    let rows = || {
        series.iter().flat_map(|one| {
            let course = course(one, sick);
            (0..steps).map(move |step| (course, step * step_s))
        })
    };
    let times = |offset: i64| -> ArrayRef {
        let times = rows().map(|(_, at)| START_US + at * S + offset);
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    let floats = |value: &dyn Fn((f64, f64), f64) -> f64| -> ArrayRef {
        let values = rows().map(|(course, at)| value(course, at as f64));
        Arc::new(values.collect::<Float64Array>())
    };
    let last = (step_s - 1) as f64;
    let first = floats(&|(start, slope), at| start + slope * at);
    let newest = floats(&|(start, slope), at| start + slope * (at + last));
    let columns: Vec<ArrayRef> = vec![
        times(0),
        keyed(views.iter().map(|view| view.component.as_str()).collect())?,
        keyed(vec![host; series.len()])?,
        keyed(views.iter().map(|view| view.name).collect())?,
        keyed(series.iter().map(|one| one.labels.as_str()).collect())?,
        Arc::new(Int64Array::from(vec![step_s; total])),
        floats(&|(start, slope), at| (start + slope * (at + last / 2.0)) * step_s as f64),
        Arc::new(Float64Array::from(vec![0.0; total])),
        Arc::clone(&first),
        Arc::clone(&newest),
        first,
        newest,
        times(0),
        times((step_s - 1) * S),
        Arc::new(BinaryArray::from(vec![&b""[..]; total])),
        Arc::new(Date32Array::from(vec![
            i32::try_from(START_US / S / 86_400)?;
            total
        ])),
    ];
    let mut fields = rollups_schema().fields().to_vec();
    let date = Field::new(PARTITION_COLUMN, arrow::datatypes::DataType::Date32, false);
    fields.push(Arc::new(date));
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}
