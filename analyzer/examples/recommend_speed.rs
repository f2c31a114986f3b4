//! How long all rules take: over one host's hour, over an hour of a PostgreSQL server, and over a
//! thousand hosts' day of rollups. Prints the slowest rules of each.
//!
//!     cargo run --release -p driftline-analyzer --example recommend_speed

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    Array as _, ArrayRef, BinaryArray, Date32Array, DictionaryArray, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use driftline_analyzer::recommend::{RecommendOptions, Rules, RulesConfig, Source, recommend};
use driftline_analyzer::{Engine, EngineConfig, Lake, Window};
use driftline_schemas::arrow::{PARTITION_COLUMN, rollups_schema};
use driftline_schemas::{CATALOGUE, Component, Labels, MetricKind, MetricRef, SampleBatch, Series};
use driftline_sink::table::TableName;

const START_US: i64 = 1_700_006_400_000_000;
const S: i64 = 1_000_000;
const REPEATS: usize = 5;

/// The series of a host with two processors, two disks and two interfaces, and as many others as
/// make three hundred.
fn host_series() -> Vec<Series> {
    let mut all = Vec::new();
    let labels = |name: &str| -> Vec<Vec<(&'static str, &'static str)>> {
        match name {
            "system.cpu.time" => ["0", "1"]
                .into_iter()
                .flat_map(|cpu| {
                    ["user", "system", "idle", "iowait", "nice", "steal"]
                        .map(|mode| vec![("cpu.logical_number", cpu), ("cpu.mode", mode)])
                })
                .collect(),
            "system.pressure.stall_time" => ["cpu", "memory", "io"]
                .into_iter()
                .flat_map(|resource| {
                    ["some", "full"].map(|kind| {
                        vec![
                            ("system.pressure.resource", resource),
                            ("system.pressure.type", kind),
                        ]
                    })
                })
                .collect(),
            name if name.starts_with("system.disk") => ["sda", "sdb"]
                .into_iter()
                .flat_map(|disk| {
                    ["read", "write"]
                        .map(|way| vec![("disk.io.direction", way), ("system.device", disk)])
                })
                .collect(),
            name if name.starts_with("system.network.packet") => ["eth0", "lo"]
                .into_iter()
                .flat_map(|interface| {
                    ["receive", "transmit"].map(|way| {
                        vec![
                            ("network.interface.name", interface),
                            ("network.io.direction", way),
                        ]
                    })
                })
                .collect(),
            _ => vec![Vec::new()],
        }
    };
    for metric in CATALOGUE {
        if metric.component == Component::Host {
            all.extend(labels(metric.name).iter().map(|labels| Series {
                metric: MetricRef::Known(metric.id),
                labels: Labels::new(labels),
            }));
        }
    }
    let others = CATALOGUE
        .iter()
        .find(|metric| metric.name == "process.cpu.time");
    for pid in 0.. {
        let Some(metric) = others.filter(|_| all.len() < 300) else {
            break;
        };
        let pid = pid.to_string();
        all.push(Series {
            metric: MetricRef::Known(metric.id),
            labels: Labels::new(&[
                ("process.executable.name", "x"),
                ("process.pid", pid.as_str()),
            ]),
        });
    }
    all
}

/// A server with two hundred tables and five hundred statements.
fn server_series() -> Vec<Series> {
    let mut all = Vec::new();
    for metric in CATALOGUE
        .iter()
        .filter(|metric| metric.component == Component::Postgres)
    {
        let (count, key) = match metric.name {
            name if name.starts_with("postgresql.statement.") => (500, "postgresql.queryid"),
            name if name.starts_with("postgresql.table.") => (200, "postgresql.table.name"),
            name if name.starts_with("postgresql.index.") => (400, "postgresql.index.name"),
            _ => (1, "postgresql.other"),
        };
        for number in 0..count {
            let number = number.to_string();
            let labels = Labels::new(&[
                ("postgresql.database.name", "shop"),
                ("postgresql.rolname", "app"),
                ("postgresql.schema.name", "public"),
                (key, number.as_str()),
                ("service.instance.id", "main"),
            ]);
            all.push(Series {
                metric: MetricRef::Known(metric.id),
                labels,
            });
        }
    }
    all
}

fn kind(series: &Series) -> MetricKind {
    series
        .metric
        .view()
        .map_or(MetricKind::Gauge, |view| view.kind)
}

/// An hour of samples, second by second or as given.
fn hour(series: &[Series], every_s: i64) -> Vec<SampleBatch> {
    (0..3_600 / every_s)
        .collect::<Vec<_>>()
        .chunks(200)
        .map(|ticks| {
            SampleBatch::from_rows(ticks.iter().flat_map(|tick| {
                series.iter().map(move |one| {
                    let at = tick * every_s;
                    let value = match kind(one) {
                        MetricKind::Counter => 1_000.0 + 0.01 * at as f64,
                        _ => 0.1,
                    };
                    (one.clone(), START_US + at * S, value)
                })
            }))
        })
        .collect()
}

/// A day of rollups by the hour of one host.
fn rollups(
    host: &str,
    series: &[Series],
    step_s: i64,
    steps: i64,
) -> Result<RecordBatch, Box<dyn Error>> {
    let rows = || {
        series
            .iter()
            .flat_map(|one| (0..steps).map(move |step| (one, step)))
    };
    let dictionary = |texts: Vec<String>| -> ArrayRef {
        let column: DictionaryArray<Int32Type> = texts.iter().map(String::as_str).collect();
        Arc::new(column)
    };
    let names: Vec<String> = series
        .iter()
        .map(|one| one.metric.view().map_or("", |view| view.name).to_owned())
        .collect();
    let component = series
        .iter()
        .find_map(|one| one.metric.view())
        .map_or("", |view| view.component.as_str());
    let keyed = |values: Vec<String>| -> Result<ArrayRef, Box<dyn Error>> {
        let distinct = StringArray::from(values);
        let count = i32::try_from(distinct.len())?;
        let keys: Int32Array = (0..count)
            .flat_map(|key| (0..steps).map(move |_| key))
            .collect();
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(
            keys,
            Arc::new(distinct),
        )?))
    };
    let times = |offset: i64| -> ArrayRef {
        let times = rows().map(|(_, step)| START_US + step * step_s * S + offset);
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    let values = |at: f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows().map(
            |(one, step)| match kind(one) {
                MetricKind::Counter => 1_000.0 + 0.01 * (step * step_s) as f64 + at,
                _ => 0.1,
            },
        )))
    };
    let growth = 0.01 * (step_s - 1) as f64;
    let total = rows().count();
    let columns: Vec<ArrayRef> = vec![
        times(0),
        dictionary(vec![component.to_owned(); total]),
        dictionary(vec![host.to_owned(); total]),
        keyed(names)?,
        keyed(
            series
                .iter()
                .map(|one| one.labels.as_str().to_owned())
                .collect(),
        )?,
        Arc::new(Int64Array::from(vec![step_s; total])),
        Arc::new(Float64Array::from_iter_values(
            rows().map(|_| 0.1 * step_s as f64),
        )),
        Arc::new(Float64Array::from(vec![0.0; total])),
        values(0.0),
        values(growth),
        values(0.0),
        values(growth),
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

async fn measure(
    name: &str,
    lake: Lake,
    until_s: i64,
    source: Source,
) -> Result<(), Box<dyn Error>> {
    let engine = Engine::over(lake, &EngineConfig::default()).await?;
    let options = |rules: Rules| RecommendOptions {
        rules,
        window: Window {
            from_us: START_US,
            until_us: START_US + until_s * S,
        },
        source,
        judged_us: Default::default(),
    };
    let rules = Rules::load(&RulesConfig::default())?;
    let (all, report) = best(&engine, &options(rules.clone())).await?;
    println!(
        "{name}: {all:.1} ms for {} rules judged ({} waiting, {} failed, {} recommendations)",
        report.judged.len(),
        report.waiting.len(),
        report.failed.len(),
        report.recommendations.len()
    );
    for failed in &report.failed {
        println!("  {} failed: {}", failed.rule, failed.reason);
    }
    let (empty, _) = best(&engine, &options(Rules::default())).await?;
    println!("  {empty:.1} ms without any rule");
    let mut single = Vec::new();
    for rule in rules
        .recommendations
        .iter()
        .filter(|rule| report.judged.contains(&rule.id))
    {
        let alone = Rules {
            recommendations: vec![rule.clone()],
            windows: rules.windows.clone(),
        };
        single.push((best(&engine, &options(alone)).await?.0, rule.id.clone()));
    }
    single.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (took, id) in single.iter().take(6) {
        println!("  {took:6.1} ms alone, with its own window: {id}");
    }
    Ok(())
}

async fn best(
    engine: &Engine,
    options: &RecommendOptions,
) -> Result<(f64, driftline_analyzer::recommend::Report), Box<dyn Error>> {
    let mut least = f64::INFINITY;
    let mut last = driftline_analyzer::recommend::Report::default();
    for _ in 0..REPEATS {
        let started = Instant::now();
        last = recommend(engine, options).await?;
        least = least.min(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok((least, last))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let host = host_series();
    let seconds = hour(&host, 1);
    let lake = Lake::in_memory("h1", &seconds)?;
    measure(
        "one host, one hour of samples every second",
        lake,
        3_600,
        Source::Samples,
    )
    .await?;
    let series = Lake::in_memory("h1", &hour(&host, 3_600))?;
    let lake = series.with_rows(TableName::Samples1m, vec![rollups("h1", &host, 60, 60)?]);
    measure(
        "one host, one hour of rollups by the minute",
        lake,
        3_600,
        Source::Minutes,
    )
    .await?;
    let lake = Lake::in_memory("h1", &hour(&server_series(), 60))?;
    measure(
        "one PostgreSQL server, one hour of samples every minute",
        lake,
        3_600,
        Source::Samples,
    )
    .await?;
    let names: Vec<String> = (0..1_000).map(|number| format!("h{number}")).collect();
    let first = hour(&host, 3_600);
    let lake = Lake::of_hosts(
        names
            .iter()
            .flat_map(|name| first.iter().map(move |batch| (name.as_str(), batch))),
        [],
    )?;
    let days: Result<Vec<RecordBatch>, _> = names
        .iter()
        .map(|name| rollups(name, &host, 3_600, 24))
        .collect();
    let lake = lake.with_rows(TableName::Samples1h, days?);
    measure(
        "a thousand hosts, one day of rollups by the hour",
        lake,
        86_400,
        Source::Auto,
    )
    .await?;
    Ok(())
}
