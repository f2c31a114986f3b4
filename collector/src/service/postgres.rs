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

use super::Service;
use crate::config::{DiscoverConfig, duration};

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
    #[serde(
        with = "duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
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
