//! A real PostgreSQL server for tests, started by `postgres.sh` and killed when it is dropped.
//!
//! Tests of several crates include this file by its path. What to test is left to them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The exit code of `postgres.sh` when PostgreSQL cannot be had on this machine.
const CANNOT_BE_HAD: i32 = 77;

/// A server that answers.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    directory: tempfile::TempDir,
    lines: String,
}

impl PostgresServer {
    /// Starts a server with these settings (`name=value`). `None`, said aloud, where PostgreSQL cannot
    /// be had.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory for the server");
        match run("start", directory.path(), settings) {
            Ok(lines) => Some(Self { directory, lines }),
            Err(Some(CANNOT_BE_HAD)) => {
                let required =
                    std::env::var_os("DRIFTLINE_REQUIRE_SERVICES").is_some_and(|v| v == "1");
                assert!(
                    !required,
                    "PostgreSQL cannot be had here, and DRIFTLINE_REQUIRE_SERVICES=1"
                );
                skipped("a test of PostgreSQL: postgres.sh says above why it cannot be had here");
                None
            }
            Err(code) => panic!("postgres.sh start failed with {code:?}, see above"),
        }
    }

    /// The address of a superuser.
    #[allow(dead_code, reason = "not every test that includes this file uses it")]
    pub(crate) fn url(&self) -> &str {
        self.line("url")
    }

    /// The address of the role that has `pg_monitor` and nothing else.
    #[allow(dead_code, reason = "not every test that includes this file uses it")]
    pub(crate) fn driftline_url(&self) -> &str {
        self.line("driftline_url")
    }

    /// Kills the server and all its sessions, and waits until it is gone.
    #[allow(dead_code, reason = "only some tests kill servers")]
    pub(crate) fn kill(&self) {
        self.order("kill");
    }

    /// Starts a killed server again, or a running one anew, with the same port and data.
    #[allow(dead_code, reason = "only some tests kill servers")]
    pub(crate) fn restart(&self) {
        self.order("restart");
    }

    fn line(&self, key: &str) -> &str {
        self.lines
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .expect("postgres.sh prints every line")
    }

    fn order(&self, command: &str) {
        if let Err(code) = run(command, self.directory.path(), &[]) {
            panic!("postgres.sh {command} failed with {code:?}, see above");
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Its data goes with the directory, so there is nothing to end in order.
        if let Err(code) = run("kill", self.directory.path(), &[]) {
            eprintln!("postgres.sh kill failed with {code:?}");
        }
    }
}

/// Says aloud what was skipped: past the test harness, which keeps the output of tests that pass,
/// and for the summary of `tests/run`.
fn skipped(what: &str) {
    let line = format!("SKIPPED: {what}\n");
    let mut told = std::io::stderr().write_all(line.as_bytes());
    if let Some(log) = std::env::var_os("DRIFTLINE_SKIP_LOG") {
        told = told.and_then(|()| {
            let mut log = OpenOptions::new().create(true).append(true).open(log)?;
            log.write_all(line.as_bytes())
        });
    }
    told.expect("a skipped test can be told");
}

/// Runs the script; its output, or its exit code.
fn run(command: &str, directory: &Path, settings: &[&str]) -> Result<String, Option<i32>> {
    let output = Command::new(script())
        .arg(command)
        .arg(directory)
        .args(settings)
        .env("DRIFTLINE_POSTGRES_OWNER", std::process::id().to_string())
        .stderr(Stdio::inherit())
        .output()
        .expect("postgres.sh can be run");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(output.status.code())
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join("tests/services/postgres.sh"))
        .find(|path| path.exists())
        .expect("tests/services/postgres.sh is in the checkout")
}
