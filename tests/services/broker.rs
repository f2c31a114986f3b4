//! A real Kafka broker for tests, started by `kafka.sh` and stopped when it is dropped.
//!
//! Tests of several crates include this file by its path, beside `skipped.rs`. Topics and what to test are left to them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::skipped::skip;

/// The exit code of `kafka.sh` when Kafka cannot be had on this machine.
const CANNOT_BE_HAD: i32 = 77;

/// A broker that answers.
#[derive(Debug)]
pub(crate) struct Broker {
    directory: tempfile::TempDir,
    address: String,
}

impl Broker {
    /// Starts a broker, or takes the one of `DRIFTLINE_KAFKA_BROKERS`. `None`, said
    /// aloud, where Kafka cannot be had.
    #[allow(
        dead_code,
        reason = "not every test binary that includes this file takes any broker"
    )]
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[], None)
    }

    /// Starts a broker that the test may kill: never the one of `DRIFTLINE_KAFKA_BROKERS`.
    #[allow(
        dead_code,
        reason = "not every test binary that includes this file kills brokers"
    )]
    pub(crate) fn start_own() -> Option<Self> {
        Self::start_with(&["DRIFTLINE_KAFKA_BROKERS"], None)
    }

    /// Starts a broker that also listens within TLS, with this private key and certificate (PEM).
    #[allow(dead_code, reason = "only tests of TLS do")]
    pub(crate) fn start_own_with_tls(keystore: &str) -> Option<Self> {
        Self::start_with(&["DRIFTLINE_KAFKA_BROKERS"], Some(keystore))
    }

    fn start_with(without: &[&str], keystore: Option<&str>) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory for the broker");
        if let Some(keystore) = keystore {
            std::fs::write(directory.path().join("keystore.pem"), keystore)
                .expect("the key is written");
        }
        match run("start", directory.path(), without) {
            Ok(address) => Some(Self { directory, address }),
            Err(Some(CANNOT_BE_HAD)) => {
                skip("a test of Kafka: kafka.sh says above why it cannot be had here");
                None
            }
            Err(code) => panic!("kafka.sh start failed with {code:?}, see above"),
        }
    }

    /// `host:port` without credentials.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// `host:port` of the listener that asks for credentials.
    #[allow(dead_code, reason = "only some tests log in")]
    pub(crate) fn sasl_address(&self) -> String {
        self.order("sasl")
    }

    /// `host:port` within TLS, without credentials.
    #[allow(dead_code, reason = "only tests of TLS do")]
    pub(crate) fn tls_address(&self) -> String {
        self.order("tls")
    }

    /// `host:port` within TLS that asks for credentials.
    #[allow(dead_code, reason = "only tests of TLS do")]
    pub(crate) fn sasl_tls_address(&self) -> String {
        self.order("sasl_tls")
    }

    /// kill -9, and waits until the process is gone.
    #[allow(dead_code, reason = "only some tests kill brokers")]
    pub(crate) fn kill(&self) {
        self.order("kill");
    }

    /// Starts the broker again with the same ports and data, and waits until it answers.
    #[allow(dead_code, reason = "only some tests kill brokers")]
    pub(crate) fn restart(&self) {
        self.order("restart");
    }

    fn order(&self, command: &str) -> String {
        run(command, self.directory.path(), &["DRIFTLINE_KAFKA_BROKERS"])
            .unwrap_or_else(|code| panic!("kafka.sh {command} failed with {code:?}, see above"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its data goes with the directory, so there is nothing to end in order.
        if let Err(code) = run("kill", self.directory.path(), &["DRIFTLINE_KAFKA_BROKERS"]) {
            eprintln!("kafka.sh kill failed with {code:?}");
        }
    }
}

/// Runs the script; its output, or its exit code.
fn run(command: &str, directory: &Path, without: &[&str]) -> Result<String, Option<i32>> {
    let mut script = Command::new(script());
    for variable in without {
        script.env_remove(variable);
    }
    let output = script
        .arg(command)
        .arg(directory)
        .env("DRIFTLINE_KAFKA_OWNER", std::process::id().to_string())
        .stderr(Stdio::inherit())
        .output()
        .expect("kafka.sh can be run");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(output.status.code())
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join("tests/services/kafka.sh"))
        .find(|path| path.exists())
        .expect("tests/services/kafka.sh is in the checkout")
}
