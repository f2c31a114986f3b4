//! A real Redis server for tests, started by `redis.sh` and killed when it is dropped.
//!
//! Tests of several crates include this file by its path. What to test is left to them.

#[path = "script.rs"]
mod script;

use script::{Script, Started};

const SCRIPT: Script = Script {
    file: "redis.sh",
    what: "Redis",
    owner: "DRIFTLINE_REDIS_OWNER",
};

/// A server that answers.
#[derive(Debug)]
pub(crate) struct RedisServer(Started);

impl RedisServer {
    /// Starts a server with these options (`--name value`). `None`, said aloud, where Redis cannot be
    /// had.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        SCRIPT.start(options).map(Self)
    }

    /// The address of the default user, without a password.
    pub(crate) fn url(&self) -> &str {
        self.0.line("url")
    }

    /// Kills the server, and waits until it is gone.
    #[allow(dead_code, reason = "only some tests kill servers")]
    pub(crate) fn kill(&self) {
        self.0.order("kill");
    }

    /// Starts a killed server again, with the same port and options, and no data.
    #[allow(dead_code, reason = "only some tests kill servers")]
    pub(crate) fn restart(&self) {
        self.0.order("start");
    }
}
