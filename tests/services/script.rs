//! Runs the scripts beside it, which start real servers for tests, and says aloud what is skipped.
//!
//! What the lines mean that a script prints is left to the files that include this one.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The exit code of a script whose server cannot be had on this machine.
const CANNOT_BE_HAD: i32 = 77;

/// A server that a script has started. It is killed when this is dropped: its data goes with the
/// directory, so there is nothing to end in order.
#[derive(Debug)]
pub(crate) struct Started {
    script: Script,
    directory: tempfile::TempDir,
    lines: String,
}

/// One of the scripts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    /// Its file.
    pub(crate) file: &'static str,
    /// What it starts, in the words of an operator.
    pub(crate) what: &'static str,
    /// The environment variable that names the process whose end ends the server.
    pub(crate) owner: &'static str,
}

impl Script {
    /// Starts a server with these options. `None`, said aloud, where it cannot be had.
    pub(crate) fn start(self, options: &[&str]) -> Option<Started> {
        let (file, what) = (self.file, self.what);
        let directory = tempfile::tempdir().expect("a directory for the server");
        match self.run("start", directory.path(), options) {
            Ok(lines) => Some(Started {
                script: self,
                directory,
                lines,
            }),
            Err(Some(CANNOT_BE_HAD)) => {
                let required =
                    std::env::var_os("DRIFTLINE_REQUIRE_SERVICES").is_some_and(|v| v == "1");
                assert!(
                    !required,
                    "{what} cannot be had here, and DRIFTLINE_REQUIRE_SERVICES=1"
                );
                skipped(&format!(
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
    pub(crate) fn line(&self, key: &str) -> &str {
        self.lines
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .expect("the script prints every line")
    }

    /// Has the script do something with the server, and waits until that is done.
    pub(crate) fn order(&self, command: &str) {
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

/// Says aloud what was skipped: past the test harness, which keeps the output of tests that pass,
/// and for the summary of `tests/run`.
pub(crate) fn skipped(what: &str) {
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
