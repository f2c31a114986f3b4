//! Processes of the product, under a deadline.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything in this suite.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The product's binary with some arguments, in a directory of its own, with no environment of
/// ours that it would listen to.
pub(crate) fn driftline(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftline"));
    command.args(args);
    for name in [
        "DRIFTLINE_DATA",
        "DRIFTLINE_CONFIG",
        "DRIFTLINE_KAFKA_BROKERS",
        "DRIFTLINE_ABORT_AT",
    ] {
        command.env_remove(name);
    }
    command
}

/// An example of the product, which the test build has built too.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let profile = test.ancestors().nth(2).expect("the profile's directory");
    profile.join("examples").join(name)
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .expect("run the command")
}

/// Runs a command that must succeed, and yields its standard output.
pub(crate) fn stdout_of(command: &mut Command) -> String {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// A process that is killed when the test lets go of it.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a command with its output in a file below `dir`.
    pub(crate) fn start(command: &mut Command, dir: &Path, name: &str) -> Self {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join(format!("{name}.output")))
            .expect("open the output file");
        let error = log.try_clone().expect("second handle");
        let child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error)
            .spawn();
        Self(child.expect("start the process"))
    }

    /// Kills it at once.
    pub(crate) fn kill(mut self) {
        // It may have died by its own plan.
        let _ = self.0.kill();
        self.0.wait().expect("wait for the process");
    }

    /// Asks it to end, and waits until it has; says whether it ended well.
    pub(crate) fn terminate(mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.0);
        // It may have ended already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        self.wait()
    }

    /// Waits until it has ended by itself; says whether it ended well.
    pub(crate) fn finish(mut self) -> bool {
        self.wait()
    }

    /// Waits at most this long; says whether it has ended.
    pub(crate) fn ended_within(&mut self, time: Duration) -> bool {
        poll(time, || {
            self.0.try_wait().expect("look at the process").is_some()
        })
    }

    fn wait(&mut self) -> bool {
        assert!(
            self.ended_within(DEADLINE),
            "the process did not end in time"
        );
        self.0.wait().expect("wait for the process").success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again and again until something holds; says whether it did in time.
pub(crate) fn poll(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if begun.elapsed() >= time {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
