//! PostgreSQL servers, versions 13 to 18, through their statistics views.
//!
//! A pass reads the views of the whole server; statements, tables, indexes, sizes and settings have
//! intervals of their own. Counters are recorded as the server has them. Sessions call themselves
//! `driftline`, are read-only, and give up soon when they would wait for a lock. Rates and advice are
//! left to SQL.

mod address;
mod blockers;
mod chooser;
mod discovery;
mod facts;
mod query;
mod relations;
mod server;
mod session;
mod settings;
mod statements;
mod text;
mod tls;
mod views;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::options::Section;
use super::secret::Secret;
use super::{Service, ServiceError};
use crate::config::{DiscoverConfig, duration};

/// How often free space can be measured.
const FREE_SPACE_TIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(30 * 24 * 3_600);
/// The most statements, databases, tables or indexes that can be asked for.
const MAX_CHOSEN: usize = 100_000;

/// A PostgreSQL server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// What the server is called in labels and events.
    pub name: String,
    /// `postgresql://user@host:port/database`, or with `?host=/directory` for a Unix socket. `sslmode`
    /// is `disable` (the default), `prefer`, `require` (encrypted, the certificate is not checked) or
    /// `verify-full` (with the system's certificates, or those of `ssl_root_cert`).
    pub url: String,
    /// A file that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The environment variable that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// The certificates of the authorities that `verify-full` trusts, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_root_cert: Option<PathBuf>,
    /// How often the views of the whole server are read.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How often statements are read.
    #[serde(with = "duration")]
    pub statements_every: Duration,
    /// How often tables, indexes, sizes and settings are read.
    #[serde(with = "duration")]
    pub tables_every: Duration,
    /// After so long a pass is given up; also the longest that one of its statements may run.
    #[serde(with = "duration")]
    pub time_out: Duration,
    /// Of so many statements the counters are read, those with most execution time.
    pub max_statements: usize,
    /// So many of those that took most time since the last reading are reported, and so many of those
    /// with most calls. One that was reported stays for a while.
    pub top_statements: usize,
    /// Tables, indexes and sizes of at most so many databases, the largest in use first.
    pub max_databases: usize,
    /// The largest tables, over all databases.
    pub max_tables: usize,
    /// The largest indexes, over all databases.
    pub max_indexes: usize,
    /// How often the free space of large tables is measured with the extension pgstattuple, which reads
    /// parts of them. Left out, it is not.
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub free_space_every: Option<Duration>,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            name: "main".to_owned(),
            url: String::new(),
            password_file: None,
            password_env: None,
            ssl_root_cert: None,
            interval: Duration::from_secs(10),
            statements_every: Duration::from_secs(30),
            tables_every: Duration::from_secs(60),
            time_out: Duration::from_secs(8),
            max_statements: 5_000,
            top_statements: 50,
            max_databases: 8,
            max_tables: 200,
            max_indexes: 400,
            free_space_every: None,
        }
    }
}

/// The password in the address is not shown.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("name", &self.name)
            .field("url", &address::without_password(&self.url))
            .field("password_file", &self.password_file)
            .field("password_env", &self.password_env)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl PostgresConfig {
    /// Where the password is, if not in the address.
    pub(super) fn secret(&self) -> Option<Secret> {
        Secret::of(self.password_file.as_deref(), self.password_env.as_deref())
    }
}

/// Says what cannot work of a section.
pub(super) fn check(config: &PostgresConfig) -> Result<(), ServiceError> {
    let section = Section {
        kind: "postgres",
        name: &config.name,
    };
    section.check_name()?;
    section.check_times(&[
        ("interval", config.interval),
        ("statements_every", config.statements_every),
        ("tables_every", config.tables_every),
        ("time_out", config.time_out),
    ])?;
    let every = config.free_space_every;
    if every.is_some_and(|every| !FREE_SPACE_TIMES.contains(&every)) {
        let what = "free_space_every is out of range";
        return Err(section.refuse(what, "choose 10s to 720h"));
    }
    section.check_counts(&[
        ("max_statements", config.max_statements, 1..=MAX_CHOSEN),
        ("top_statements", config.top_statements, 1..=MAX_CHOSEN),
        ("max_databases", config.max_databases, 0..=MAX_CHOSEN),
        ("max_tables", config.max_tables, 0..=MAX_CHOSEN),
        ("max_indexes", config.max_indexes, 0..=MAX_CHOSEN),
    ])?;
    address::Address::parse(config).map(drop)
}

pub(super) fn services(
    configs: &[PostgresConfig],
    discover: &DiscoverConfig,
) -> Vec<Box<dyn Service>> {
    let mut all: Vec<Box<dyn Service>> = Vec::new();
    if configs.is_empty() && discover.postgres {
        all.push(Box::new(server::PostgresServer::discovered()));
    }
    for config in configs {
        all.push(Box::new(server::PostgresServer::new(config.clone())));
    }
    all
}
