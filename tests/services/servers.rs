//! Real servers for tests, started by the scripts beside this file and killed when they are dropped;
//! what is skipped is said aloud.
//!
//! Tests of several crates include this file by its path, beside `skipped.rs`. What to test is left to them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::skipped::skip;

/// The exit code of a script whose server cannot be had on this machine.
const CANNOT_BE_HAD: i32 = 77;

#[allow(dead_code, reason = "not every test that includes this file uses it")]
const POSTGRES: Script = Script {
    file: "postgres.sh",
    what: "PostgreSQL",
    owner: "DRIFTLINE_POSTGRES_OWNER",
};

/// A PostgreSQL server that answers.
#[allow(dead_code, reason = "not every test that includes this file uses it")]
#[derive(Debug)]
pub(crate) struct PostgresServer(Started);

#[allow(
    dead_code,
    reason = "not every test that includes this file uses all of it"
)]
impl PostgresServer {
    /// Starts a server with these settings (`name=value`). `None`, said aloud, where PostgreSQL cannot
    /// be had.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        POSTGRES.start(settings).map(Self)
    }

    /// The address of a superuser.
    pub(crate) fn url(&self) -> &str {
        self.0.line("url")
    }

    /// The address of the role that has `pg_monitor` and nothing else.
    pub(crate) fn driftline_url(&self) -> &str {
        self.0.line("driftline_url")
    }

    /// Kills the server and all its sessions, and waits until it is gone.
    pub(crate) fn kill(&self) {
        self.0.order("kill");
    }

    /// Starts a killed server again, or a running one anew, with the same port and data.
    pub(crate) fn restart(&self) {
        self.0.order("restart");
    }
}

#[allow(dead_code, reason = "not every test that includes this file uses it")]
const REDIS: Script = Script {
    file: "redis.sh",
    what: "Redis",
    owner: "DRIFTLINE_REDIS_OWNER",
};

/// A Redis server that answers.
#[allow(dead_code, reason = "not every test that includes this file uses it")]
#[derive(Debug)]
pub(crate) struct RedisServer(Started);

#[allow(
    dead_code,
    reason = "not every test that includes this file uses all of it"
)]
impl RedisServer {
    /// Starts a server with these options (`--name value`). `None`, said aloud, where Redis cannot be
    /// had.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        REDIS.start(options).map(Self)
    }

    /// The address of the default user, without a password.
    pub(crate) fn url(&self) -> &str {
        self.0.line("url")
    }

    /// Kills the server, and waits until it is gone.
    pub(crate) fn kill(&self) {
        self.0.order("kill");
    }

    /// Starts a killed server again, with the same port and options, and no data.
    pub(crate) fn restart(&self) {
        self.0.order("start");
    }
}

/// A server that a script has started. It is killed when this is dropped: its data goes with the
/// directory, so there is nothing to end in order.
#[derive(Debug)]
struct Started {
    script: Script,
    directory: tempfile::TempDir,
    lines: String,
}

/// One of the scripts.
#[derive(Debug, Clone, Copy)]
struct Script {
    /// Its file.
    file: &'static str,
    /// What it starts, in the words of an operator.
    what: &'static str,
    /// The environment variable that names the process whose end ends the server.
    owner: &'static str,
}

impl Script {
    /// Starts a server with these options. `None`, said aloud, where it cannot be had.
    fn start(self, options: &[&str]) -> Option<Started> {
        let (file, what) = (self.file, self.what);
        let directory = tempfile::tempdir().expect("a directory for the server");
        match self.run("start", directory.path(), options) {
            Ok(lines) => Some(Started {
                script: self,
                directory,
                lines,
            }),
            Err(Some(CANNOT_BE_HAD)) => {
                skip(&format!(
                    "a test of {what}: {file} says above why it cannot be had here"
                ));
                None
            }
            Err(code) => panic!("{file} start failed with {code:?}, see above"),
        }
    }

    /// Runs the script; its output, or its exit code.
    fn run(self, command: &str, directory: &Path, options: &[&str]) -> Result<String, Option<i32>> {
        let output = Command::new(self.path())
            .arg(command)
            .arg(directory)
            .args(options)
            .env(self.owner, std::process::id().to_string())
            .stderr(Stdio::inherit())
            .output()
            .expect("the script can be run");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(output.status.code())
        }
    }

    fn path(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|directory| directory.join("tests/services").join(self.file))
            .find(|path| path.exists())
            .expect("the script is in the checkout")
    }
}

impl Started {
    /// The value of `key=value`, as the script printed it.
    fn line(&self, key: &str) -> &str {
        self.lines
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .expect("the script prints every line")
    }

    /// Has the script do something with the server, and waits until that is done.
    fn order(&self, command: &str) {
        let file = self.script.file;
        if let Err(code) = self.script.run(command, self.directory.path(), &[]) {
            panic!("{file} {command} failed with {code:?}, see above");
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Err(code) = self.script.run("kill", self.directory.path(), &[]) {
            eprintln!("{} kill failed with {code:?}", self.script.file);
        }
    }
}
