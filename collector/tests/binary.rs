//! The binary as operators meet it: what it prints, its exit codes, and that it ends in order.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn collector() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftline-collector"));
    // Nothing of the machine that runs the test may configure it.
    for name in [
        "DRIFTLINE_DATA",
        "DRIFTLINE_CONFIG",
        "DRIFTLINE_KAFKA_BROKERS",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command
}

#[test]
fn it_prints_this_host_as_json_lines() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = collector()
        .args(["--once", "--print"])
        .current_dir(directory.path())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    for metric in [
        "system.cpu.time",
        "system.memory.usage",
        "process.memory.usage",
    ] {
        assert!(
            lines.iter().any(|line| line["metric"] == metric),
            "{metric} is missing"
        );
    }
    let left = directory.path().read_dir().expect("readable").count();
    assert_eq!(left, 0, "nothing is written");
}

#[test]
fn a_mistake_in_the_configuration_is_named_with_exit_code_2() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("driftline.toml");
    for (text, expected) in [
        ("[collector]\nintervall = \"1s\"\n", "intervall"),
        ("[colector]\n", "colector"),
        (
            "[collector]\ninterval = \"1ms\"\n",
            "collector.interval = 1ms",
        ),
    ] {
        std::fs::write(&file, text).expect("written");
        let output = collector()
            .arg("--once")
            .current_dir(directory.path())
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{text}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_sections_of_other_roles_are_none_of_its_business() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("other.toml");
    let text = "data = \"here\"\n[sink]\ncommit_seconds = 10\n[query]\nx = 1\n";
    std::fs::write(&file, text).expect("written");
    let output = collector()
        .args(["--once", "--config"])
        .arg(&file)
        .current_dir(directory.path())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert!(directory.path().join("here/log").is_dir());
}

#[test]
fn it_stops_in_order_on_a_signal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut child = collector()
        .arg("--data")
        .arg(directory.path())
        .current_dir(directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut first = String::new();
    stderr.read_line(&mut first).expect("readable");
    assert!(first.starts_with("collecting every 1s into"), "{first}");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM).expect("it runs still");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("readable");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}: {rest}");
    assert!(rest.contains("ticks, 0 missed"), "{rest}");
}
