//! Baselines: what was usual for each series over a window, and for load runs, and where that is kept.
//!
//! A baseline is a file of its own below `<data>/baselines/`, which names the version of the table
//! that it came from, and is never written over: a later one supersedes it. [`Baseline::event`] is
//! what the log is told of it; to append it is left to the caller.

pub(crate) mod runs;
mod season;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use driftline_schemas::{Component, Event, EventName};
use driftline_sink::table::TableName;
use serde::{Deserialize, Serialize};

use crate::columns::{Columns, optional};
use crate::compare::Window;
use crate::engine::{Engine, EngineError};
use crate::nightly;
use crate::rule::built_in_named;

pub use runs::{RunBaseline, RunLevel, compare_with_baseline};
pub use season::{Period, Season};

/// The query file.
const RULE: &str = "host_window";
/// The version of the files' format; 1 had no seasons, 2 no load runs.
const FORMAT: u32 = 3;
/// Shorter windows have no season.
const SEASONAL_US: i64 = 3 * 86_400 * 1_000_000;
/// Directory below the data directory.
const DIRECTORY: &str = "baselines";
/// Longest name.
const MAX_NAME: usize = 100;

/// A baseline that cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The window could not be asked for.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A name that is no file's.
    #[error("baseline name {name:?} must consist of 1 to {MAX_NAME} of a to z, 0 to 9, - and _")]
    Name {
        /// The name.
        name: String,
    },
    /// There is one of that name.
    #[error("baseline {path} exists and is never written over; choose another name")]
    Exists {
        /// Its file.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("cannot {op} baseline {path}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a baseline.
    #[error("{path} is not a baseline that this build reads; move it away or take a new one")]
    Format {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The file is of a newer build.
    #[error("baseline {path} has format {found}, this build reads {FORMAT}; upgrade driftline")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// What was usual over a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Version of this format.
    pub format: u32,
    /// Its name.
    pub name: String,
    /// Start of the window, in microseconds since 1970 UTC.
    pub from_us: i64,
    /// End of the window, exclusive.
    pub until_us: i64,
    /// The version of the table `samples` that it came from; `None` where the rows were not yet in
    /// a table.
    pub samples_version: Option<u64>,
    /// Each series.
    pub series: Vec<SeriesBaseline>,
    /// What load runs came to, of each scenario and target the last accepted ones that began before
    /// the window's end, by endpoint.
    #[serde(default)]
    pub runs: Vec<RunBaseline>,
}

/// What was usual for one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesBaseline {
    /// What is observed.
    pub component: String,
    /// Where.
    pub host: String,
    /// The metric.
    pub metric: String,
    /// Its labels, canonical.
    pub labels: String,
    /// The unit of the values: of a counter, its unit per second.
    pub unit: String,
    /// What the metric says about a resource.
    pub category: String,
    /// Which direction is good: `lower`, `higher` or `neither`.
    pub better: String,
    /// Whether a person looks at it first.
    pub headline: bool,
    /// Number of samples.
    pub n: i64,
    /// The middle.
    pub median: f64,
    /// The spread: median absolute deviation, scaled to estimate a standard deviation.
    pub mad: f64,
    /// Quantiles.
    pub p5: f64,
    /// The median again, as a quantile.
    pub p50: f64,
    /// The upper tail.
    pub p95: f64,
    /// The far tail.
    pub p99: f64,
    /// What is usual by the hour, where that is known better than without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub season: Option<Season>,
}

/// Takes the baseline of a window.
pub async fn take(engine: &Engine, name: &str, window: Window) -> Result<Baseline, BaselineError> {
    check_name(name)?;
    let mut series = summarise(engine, window).await?;
    if window.until_us - window.from_us >= SEASONAL_US {
        add_seasons(engine, window, &mut series).await?;
    }
    Ok(Baseline {
        format: FORMAT,
        name: name.to_owned(),
        from_us: window.from_us,
        until_us: window.until_us,
        samples_version: engine.lake().version(TableName::Samples),
        series,
        runs: runs::take(engine, window.until_us).await?,
    })
}

async fn add_seasons(
    engine: &Engine,
    window: Window,
    series: &mut [SeriesBaseline],
) -> Result<(), EngineError> {
    let (_, points) = nightly::series(engine, window).await?;
    let mut seasons: BTreeMap<[String; 4], Season> = BTreeMap::new();
    for points in points {
        if let Some(season) = Season::of(&points.at_s, &points.values) {
            let of = [points.component, points.host, points.metric, points.labels];
            seasons.insert(of, season);
        }
    }
    for one in series {
        let of = [&one.component, &one.host, &one.metric, &one.labels].map(String::clone);
        one.season = seasons.remove(&of);
    }
    Ok(())
}

/// What was usual for each series over a window.
pub(crate) async fn summarise(
    engine: &Engine,
    window: Window,
) -> Result<Vec<SeriesBaseline>, EngineError> {
    let rule = built_in_named(RULE)?;
    let rows = engine.collect_rule(&rule, &window.bounds()).await?;
    read(&Columns::new(RULE, &rows)?)
}

fn read(columns: &Columns) -> Result<Vec<SeriesBaseline>, EngineError> {
    let [component, host, metric] = [
        columns.texts("component")?,
        columns.texts("host")?,
        columns.texts("metric")?,
    ];
    let [labels, unit, category] = [
        columns.texts("labels")?,
        columns.texts("unit")?,
        columns.texts("category")?,
    ];
    let (better, headline) = (columns.texts("better")?, columns.booleans("headline")?);
    let n = columns.integers("n")?;
    let names = ["median", "mad", "p5", "p50", "p95", "p99"];
    let mut numbers = Vec::with_capacity(names.len());
    for name in names {
        numbers.push(columns.floats(name)?);
    }
    let mut series = Vec::with_capacity(columns.rows());
    for row in 0..columns.rows() {
        // A series of nothing but infinities has no middle, and nothing can be compared with it.
        let values: Option<Vec<f64>> = numbers.iter().map(|column| optional(column, row)).collect();
        let Some(&[median, mad, p5, p50, p95, p99]) = values.as_deref() else {
            continue;
        };
        series.push(SeriesBaseline {
            component: component.value(row).to_owned(),
            host: host.value(row).to_owned(),
            metric: metric.value(row).to_owned(),
            labels: labels.value(row).to_owned(),
            unit: unit.value(row).to_owned(),
            category: category.value(row).to_owned(),
            better: better.value(row).to_owned(),
            headline: headline.value(row),
            n: n.value(row),
            median,
            mad,
            p5,
            p50,
            p95,
            p99,
            season: None,
        });
    }
    Ok(series)
}

impl Baseline {
    /// Keeps the baseline, durably, and says where.
    pub fn save(&self, data: &Path) -> Result<PathBuf, BaselineError> {
        let path = file_of(data, &self.name)?;
        let dir = data.join(DIRECTORY);
        let io = |op, path: &Path| {
            let path = path.to_path_buf();
            move |source| BaselineError::Io { op, path, source }
        };
        fs::create_dir_all(&dir).map_err(io("create the directory of", &dir))?;
        let text = serde_json::to_vec_pretty(self).map_err(|source| BaselineError::Format {
            path: path.clone(),
            source,
        })?;
        // Whole or not at all: readers look for the ending, which the rename gives it.
        let draft = path.with_extension("draft");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&draft)
            .map_err(io("create", &draft))?;
        file.write_all(&text).map_err(io("write", &draft))?;
        file.sync_all().map_err(io("sync", &draft))?;
        match fs::hard_link(&draft, &path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(BaselineError::Exists { path });
            }
            linked => linked.map_err(io("name", &path))?,
        }
        fs::remove_file(&draft).map_err(io("remove the draft of", &draft))?;
        File::open(&dir)
            .and_then(|dir| dir.sync_all())
            .map_err(io("sync the directory of", &dir))?;
        Ok(path)
    }

    /// What the log is told: which window and which version of the table it describes, and a
    /// fingerprint of its file.
    pub fn event(&self, now_us: i64) -> Event {
        let seasonal = self.series.iter().filter(|one| one.season.is_some());
        let mut attributes = vec![
            ("from_us".to_owned(), self.from_us.to_string()),
            ("until_us".to_owned(), self.until_us.to_string()),
            ("series".to_owned(), self.series.len().to_string()),
            ("seasonal".to_owned(), seasonal.count().to_string()),
            ("run_endpoints".to_owned(), self.runs.len().to_string()),
        ];
        if let Some(version) = self.samples_version {
            attributes.push(("samples_version".to_owned(), version.to_string()));
        }
        if let Ok(text) = serde_json::to_string(self) {
            attributes.push(("fingerprint".to_owned(), nightly::fingerprint(&[&text])));
        }
        Event {
            ts_us: now_us,
            name: EventName::BaselineTaken,
            component: Component::Driftline,
            subject: self.name.clone(),
            message: format!(
                "baseline {} of {} series is taken",
                self.name,
                self.series.len()
            ),
            attributes,
        }
    }

    /// The baseline of this name; `None` where there is none.
    pub fn load(data: &Path, name: &str) -> Result<Option<Self>, BaselineError> {
        let path = file_of(data, name)?;
        if path.exists() {
            read_file(&path).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The baseline whose window ended last; `None` where there is none.
    pub fn latest(data: &Path) -> Result<Option<Self>, BaselineError> {
        let dir = data.join(DIRECTORY);
        if !dir.exists() {
            return Ok(None);
        }
        let io = |source| BaselineError::Io {
            op: "list",
            path: dir.clone(),
            source,
        };
        let mut latest: Option<Self> = None;
        for entry in fs::read_dir(&dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let found = read_file(&path)?;
            let newer =
                |latest: &Self| (found.until_us, &found.name) > (latest.until_us, &latest.name);
            if latest.as_ref().is_none_or(newer) {
                latest = Some(found);
            }
        }
        Ok(latest)
    }
}

fn check_name(name: &str) -> Result<(), BaselineError> {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(inside) {
        return Err(BaselineError::Name {
            name: name.to_owned(),
        });
    }
    Ok(())
}

fn file_of(data: &Path, name: &str) -> Result<PathBuf, BaselineError> {
    check_name(name)?;
    Ok(data.join(DIRECTORY).join(format!("{name}.json")))
}

fn read_file(path: &Path) -> Result<Baseline, BaselineError> {
    let bytes = fs::read(path).map_err(|source| BaselineError::Io {
        op: "read",
        path: path.to_path_buf(),
        source,
    })?;
    let format = |source| BaselineError::Format {
        path: path.to_path_buf(),
        source,
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(format)?;
    let found = value.get("format").and_then(serde_json::Value::as_u64);
    if let Some(found) = found.and_then(|found| u32::try_from(found).ok())
        && found > FORMAT
    {
        return Err(BaselineError::Newer {
            path: path.to_path_buf(),
            found,
        });
    }
    serde_json::from_value(value).map_err(format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{S, T0, engine, lake, samples};

    async fn baseline(name: &str, until_s: i64) -> Baseline {
        let rows = (0..101).map(|s| {
            let value = f64::from((s * 37) % 101);
            (
                "system.memory.linux.available",
                [].as_slice(),
                T0 + i64::from(s) * S,
                value,
            )
        });
        let (_dir, lake) = lake(&[samples(rows)], &[]);
        let window = Window {
            from_us: T0,
            until_us: T0 + until_s * S,
        };
        take(&engine(lake).await, name, window)
            .await
            .expect("a baseline")
    }

    #[tokio::test]
    async fn says_what_was_usual() {
        let taken = baseline("first", 101).await;
        assert_eq!((taken.samples_version, taken.series.len()), (Some(7), 1));
        let series = &taken.series[0];
        assert_eq!(
            (series.unit.as_str(), series.better.as_str(), series.n),
            ("By", "higher", 101)
        );
        assert_eq!(
            [series.p5, series.median, series.p95, series.p99],
            [5.0, 50.0, 95.0, 99.0]
        );
        assert!((series.mad - 25.0 * driftline_stats::robust::MAD_TO_SIGMA).abs() < 1e-12);
    }

    #[tokio::test]
    async fn is_kept_for_good() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Baseline::latest(dir.path()).expect("none"), None);
        let (first, second) = (baseline("first", 50).await, baseline("second", 101).await);
        let path = second.save(dir.path()).expect("saved");
        first.save(dir.path()).expect("saved");
        assert_eq!(
            Baseline::load(dir.path(), "first").expect("read"),
            Some(first.clone())
        );
        assert_eq!(Baseline::load(dir.path(), "third").expect("read"), None);
        assert_eq!(Baseline::latest(dir.path()).expect("read"), Some(second));
        let again = first.save(dir.path()).expect_err("never written over");
        assert!(matches!(again, BaselineError::Exists { .. }), "{again}");
        let up = Baseline {
            name: "../up".to_owned(),
            ..first
        }
        .save(dir.path());
        assert!(matches!(up, Err(BaselineError::Name { .. })));
        std::fs::write(&path, "{\"format\": 9}").expect("written");
        let newer = Baseline::latest(dir.path()).expect_err("of a newer build");
        assert!(
            matches!(newer, BaselineError::Newer { found: 9, .. }),
            "{newer}"
        );
        std::fs::write(&path, "[").expect("written");
        assert!(matches!(
            Baseline::latest(dir.path()),
            Err(BaselineError::Format { .. })
        ));
    }
}
