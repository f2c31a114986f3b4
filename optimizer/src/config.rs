//! `[optimizer]` of the configuration: what may be done to which servers, when, and how much.
//! Nothing is done unless it is said here: a dry run is the default.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use driftline_schemas::metric::Component;
use serde::Deserialize;

use crate::action::ActionKind;
use crate::duration;

/// Most servers.
pub const SERVERS_MAX: usize = 64;
/// Most loaders.
pub const LOADERS_MAX: usize = 64;
/// The shortest window of measurement; below it counters of PostgreSQL have not been flushed.
const WINDOW_MIN: Duration = Duration::from_millis(200);

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("optimizer.{option} {problem}")]
pub struct ConfigError {
    /// The option.
    pub option: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// The optimizer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Plans only, and changes nothing. The first opt-in is to switch this off.
    pub dry_run: bool,
    /// Applies what is automatic without asking a person.
    pub auto_approve: bool,
    /// The kinds of actions that may be applied.
    pub allow: BTreeSet<ActionKind>,
    /// The second opt-in, for creating indexes.
    pub create_index: bool,
    /// Hours of the day (UTC) in which changes may begin, `[from, to)`; `[22, 6]` spans midnight.
    pub hours: [u8; 2],
    /// Days of the week (UTC) on which changes may begin, from `mon` to `sun`; empty means all.
    pub days: BTreeSet<Day>,
    /// Most of the CPU that may be busy when a change begins, in percent.
    pub cpu_busy_max_percent: f64,
    /// Most time that tasks may wait for a CPU when a change begins (PSI `some`, 10 s), in percent.
    pub cpu_pressure_max_percent: f64,
    /// Most of the disk that may be used, after what the change needs, in percent.
    pub disk_used_max_percent: f64,
    /// Allows changes that need space where the free space is not known.
    pub disk_unknown: bool,
    /// The least reads per write on a table for an index without a proven net benefit.
    pub reads_per_write_min: f64,
    /// How long an object is left alone after a revert or after a person removed our change.
    #[serde(with = "duration")]
    pub cool_down: Duration,
    /// The length of a window of measurement.
    #[serde(with = "duration")]
    pub window: Duration,
    /// How long a change may settle before it is measured.
    #[serde(with = "duration")]
    pub settle: Duration,
    /// Least windows for a baseline and for a verdict.
    pub windows_min: usize,
    /// Most windows before a baseline is given up or a verdict is inconclusive.
    pub windows_max: usize,
    /// How old a baseline may be when its change begins.
    #[serde(with = "duration")]
    pub baseline_max_age: Duration,
    /// When a change that was kept is measured again, after it was applied.
    #[serde(with = "duration")]
    pub recheck_first: Duration,
    /// When it is measured again for the last time.
    #[serde(with = "duration")]
    pub recheck_last: Duration,
    /// How long a lock is waited for.
    #[serde(with = "duration")]
    pub lock_timeout: Duration,
    /// How long a statement may take.
    #[serde(with = "duration")]
    pub statement_timeout: Duration,
    /// How long what removes our own remnants may wait; it blocks nobody.
    #[serde(with = "duration")]
    pub cleanup_timeout: Duration,
    /// Limits of warming.
    pub warm: WarmConfig,
    /// Limits of the verdict.
    pub verify: VerifyConfig,
    /// The servers.
    #[serde(rename = "server")]
    pub servers: Vec<ServerConfig>,
    /// How keys of a cache are loaded.
    #[serde(rename = "loader")]
    pub loaders: Vec<LoaderConfig>,
}

/// Limits of warming.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarmConfig {
    /// Milliseconds of the backend's time that loading may take, per second.
    pub backend_ms_per_s: f64,
    /// Loading stops when the slowest twentieth of recent loads takes longer.
    pub p95_max_ms: f64,
    /// Loading stops when Redis has evicted more keys since it began.
    pub evictions_max: u64,
    /// How far time to live is shortened at random, in percent, so that keys do not expire together.
    pub ttl_jitter_percent: f64,
    /// The longest value that is cached, in bytes.
    pub value_bytes_max: usize,
}

/// Limits of the verdict. The defaults come from measurements: on windows where nothing changed,
/// blocks per call stayed within 0.987 to 1.023, time within 0.48 to 1.59.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerifyConfig {
    /// Least calls of a statement for it to be compared.
    pub calls_min: u64,
    /// Least lookups in a cache for its hit ratio to be compared.
    pub lookups_min: u64,
    /// What counts as a change of work per call: this factor and more.
    pub noise: f64,
    /// What counts as a change of time per call: this factor and more.
    pub time_noise: f64,
    /// A statement is hurt when its work per call rises by this factor and more.
    pub hurt: f64,
    /// A change is reverted at once when a statement's work per call rises by this factor and more.
    pub hurt_hard: f64,
    /// A statement that is hurt is accepted where others save this many times as much.
    pub saved_per_lost: f64,
    /// A fall of the share of HOT updates that counts, in points.
    pub hot_fall_points: f64,
    /// A rise of the share of errors that ends a change at once, in points.
    pub error_rise_points: f64,
    /// A rise of evictions per lookup that ends a change at once.
    pub evictions_per_lookup_rise: f64,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// A server that may be changed.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The name by which recommendations know it.
    pub name: String,
    /// What it is.
    pub kind: ServerKind,
    /// `postgres://user@host:port/database` or `redis://host:port/0`.
    pub url: String,
    /// A file that holds the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// An environment variable that holds the password.
    #[serde(default)]
    pub password_env: Option<String>,
    /// The memory of its machine, in bytes; caps memory settings. Redis tells its own.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Where PostgreSQL keeps its files, if that is on this machine: lets free space be seen.
    #[serde(default)]
    pub data_directory: Option<PathBuf>,
}

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerKind {
    /// PostgreSQL.
    Postgres,
    /// Redis.
    Redis,
}

/// How the keys of a pattern are loaded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderConfig {
    /// The keys: literal text with `*` for each part that is captured.
    pub pattern: String,
    /// The configured PostgreSQL server that `sql` asks.
    #[serde(default)]
    pub server: Option<String>,
    /// A query of one row, with `{1}`, `{2}` for what was captured. It runs read-only.
    #[serde(default)]
    pub sql: Option<String>,
    /// An address that answers GET with the value, with `{1}`, `{2}` for what was captured.
    #[serde(default)]
    pub get: Option<String>,
    /// How the value is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// How long a value lives.
    #[serde(with = "duration")]
    pub ttl: Duration,
}

/// How a loaded row becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// The row's only column, as text.
    #[default]
    Text,
    /// The whole row, as a JSON object.
    Json,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            dry_run: true,
            auto_approve: false,
            allow: BTreeSet::from([
                ActionKind::Warm,
                ActionKind::Analyze,
                ActionKind::Vacuum,
                ActionKind::TableOption,
                ActionKind::Setting,
                ActionKind::RedisConfig,
            ]),
            create_index: false,
            hours: [0, 24],
            days: BTreeSet::new(),
            cpu_busy_max_percent: 80.0,
            cpu_pressure_max_percent: 20.0,
            disk_used_max_percent: 90.0,
            disk_unknown: false,
            reads_per_write_min: 3.0,
            cool_down: Duration::from_secs(7 * 86_400),
            window: Duration::from_secs(60),
            settle: Duration::from_secs(30),
            windows_min: 3,
            windows_max: 30,
            baseline_max_age: Duration::from_secs(3_600),
            recheck_first: Duration::from_secs(86_400),
            recheck_last: Duration::from_secs(7 * 86_400),
            lock_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(3_600),
            cleanup_timeout: Duration::from_secs(600),
            warm: WarmConfig::default(),
            verify: VerifyConfig::default(),
            servers: Vec::new(),
            loaders: Vec::new(),
        }
    }
}

impl Default for WarmConfig {
    fn default() -> Self {
        Self {
            backend_ms_per_s: 50.0,
            p95_max_ms: 20.0,
            evictions_max: 0,
            ttl_jitter_percent: 20.0,
            value_bytes_max: 1 << 20,
        }
    }
}

impl Default for VerifyConfig {
    fn default() -> Self {
        Self {
            calls_min: 30,
            lookups_min: 300,
            noise: 1.023,
            time_noise: 1.6,
            hurt: 1.1,
            hurt_hard: 2.0,
            saved_per_lost: 3.0,
            hot_fall_points: 30.0,
            error_rise_points: 5.0,
            evictions_per_lookup_rise: 0.01,
        }
    }
}

impl ServerKind {
    /// The component that it is observed as.
    pub const fn component(self) -> Component {
        match self {
            Self::Postgres => Component::Postgres,
            Self::Redis => Component::Redis,
        }
    }
}

/// A URL without what stands for a password in it.
pub(crate) fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.split('?').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let user = authority
        .rsplit_once('@')
        .map(|(user, _)| user.split(':').next().unwrap_or_default());
    match user {
        Some(user) if !user.is_empty() => format!("{scheme}://{user}@{host}/{path}"),
        _ => format!("{scheme}://{host}/{path}"),
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("url", &without_password(&self.url))
            .field("password_file", &self.password_file)
            .field("password_env", &self.password_env)
            .field("memory_bytes", &self.memory_bytes)
            .field("data_directory", &self.data_directory)
            .finish()
    }
}

impl OptimizerConfig {
    /// Whether every option is within its bounds and every name is known.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_times()?;
        self.check_servers()?;
        self.loaders.iter().try_for_each(|l| self.check_loader(l))?;
        bounded("server", self.servers.len(), SERVERS_MAX)?;
        bounded("loader", self.loaders.len(), LOADERS_MAX)
    }

    /// The server of this name.
    pub fn server(&self, name: &str) -> Option<&ServerConfig> {
        self.servers.iter().find(|server| server.name == name)
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        if self.hours[0] > 23 || self.hours[1] > 24 || self.hours[0] == self.hours[1] {
            return Err(error(
                "hours",
                "must be two hours of the day, such as [22, 6]",
            ));
        }
        if self.window < WINDOW_MIN {
            return Err(error("window", "is too short; give it at least 200ms"));
        }
        if self.windows_min < 1 || self.windows_max < self.windows_min || self.windows_max > 1_000 {
            return Err(error(
                "windows_max",
                "must be at least windows_min, which is at least 1, and at most 1000",
            ));
        }
        if self.recheck_last < self.recheck_first {
            return Err(error("recheck_last", "must not come before recheck_first"));
        }
        let warm = &self.warm;
        let rate = warm.backend_ms_per_s;
        if !(rate > 0.0 && rate <= 10_000.0 && (0.0..=90.0).contains(&warm.ttl_jitter_percent)) {
            return Err(error(
                "warm",
                "needs backend_ms_per_s within (0, 10000] and ttl_jitter_percent within 0 to 90",
            ));
        }
        Ok(())
    }

    fn check_servers(&self) -> Result<(), ConfigError> {
        let mut names = BTreeSet::new();
        for server in &self.servers {
            let name = &server.name;
            if name.is_empty() || !names.insert(name) {
                return Err(error(
                    "server",
                    format!("{name:?}: give each a name of its own"),
                ));
            }
            if server.password_file.is_some() && server.password_env.is_some() {
                return Err(error(
                    "server",
                    format!("{name:?}: password_file or password_env, not both"),
                ));
            }
        }
        Ok(())
    }

    fn check_loader(&self, loader: &LoaderConfig) -> Result<(), ConfigError> {
        let told = |problem: &str| error("loader", format!("{:?}: {problem}", loader.pattern));
        match (&loader.sql, &loader.get) {
            (Some(_), None) => {
                let server = loader.server.as_deref().and_then(|name| self.server(name));
                if server.is_none_or(|s| s.kind != ServerKind::Postgres) {
                    return Err(told("sql needs server, the name of a configured postgres"));
                }
            }
            (None, Some(_)) => {}
            _ => return Err(told("needs either sql or get")),
        }
        if loader.ttl < Duration::from_secs(1) {
            return Err(told("ttl must be at least 1s"));
        }
        if !loader.pattern.contains('*') {
            return Err(told("needs a * for what identifies the key"));
        }
        Ok(())
    }
}

fn bounded(option: &str, count: usize, max: usize) -> Result<(), ConfigError> {
    if count <= max {
        return Ok(());
    }
    Err(error(
        option,
        format!("has {count} entries, more than {max}; leave some out"),
    ))
}

fn error(option: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError {
        option: option.to_owned(),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests;
