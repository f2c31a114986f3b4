//! A real PostgreSQL server for tests, started by `postgres.sh` and killed when it is dropped.
//!
//! Tests of several crates include this file by its path. What to test is left to them.

#[path = "script.rs"]
mod script;

use script::{Script, Started};

const SCRIPT: Script = Script {
    file: "postgres.sh",
    what: "PostgreSQL",
    owner: "DRIFTLINE_POSTGRES_OWNER",
};

/// A server that answers.
#[derive(Debug)]
pub(crate) struct PostgresServer(Started);

impl PostgresServer {
    /// Starts a server with these settings (`name=value`). `None`, said aloud, where PostgreSQL cannot
    /// be had.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        SCRIPT.start(settings).map(Self)
    }

    /// The address of a superuser.
    #[allow(dead_code, reason = "not every test that includes this file uses it")]
    pub(crate) fn url(&self) -> &str {
        self.0.line("url")
    }

    /// The address of the role that has `pg_monitor` and nothing else.
    #[allow(dead_code, reason = "not every test that includes this file uses it")]
    pub(crate) fn driftline_url(&self) -> &str {
        self.0.line("driftline_url")
    }

    /// Kills the server and all its sessions, and waits until it is gone.
    #[allow(dead_code, reason = "only some tests kill servers")]
    pub(crate) fn kill(&self) {
        self.0.order("kill");
    }

    /// Starts a killed server again, or a running one anew, with the same port and data.
    #[allow(dead_code, reason = "only some tests kill servers")]
    pub(crate) fn restart(&self) {
        self.0.order("restart");
    }
}
