//! Commands as a user types them: help, mistakes, exit codes.

use crate::process::{driftline, run, stdout_of};

fn fails(args: &[&str], code: i32, words: &[&str]) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let output = run(driftline(args).current_dir(dir.path()));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    assert!(output.stdout.is_empty(), "errors go to stderr alone");
    for word in words {
        assert!(
            message.contains(word),
            "{args:?} does not say {word:?}: {message}"
        );
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        "demo", "up", "collect", "sink", "query", "sql", "analyze", "baseline", "topics", "load",
        "report", "target", "import",
    ] {
        let help = stdout_of(&mut driftline(&[command, "--help"]));
        assert!(help.contains(&format!("driftline {command}")), "{help}");
        assert!(help.contains("Example"), "{command} has no example: {help}");
    }
}

#[test]
fn mistakes_are_named_with_the_remedy_and_the_documented_exit_code() {
    fails(&["frobnicate"], 2, &["frobnicate"]);
    fails(&["query"], 2, &["SQL"]);
    fails(&["query", "select * from nothing"], 1, &["nothing"]);
    fails(&["query", "select from"], 1, &[]);
    fails(&["query", "drop table samples"], 1, &["read"]);
    fails(
        &["query", "--config", "absent.toml", "select 1"],
        1,
        &["absent.toml"],
    );
    fails(
        &["query", "--at", "yesterday-ish", "select 1"],
        2,
        &["--at"],
    );
    fails(&["query", "--table", "t", "select 1"], 2, &["NAME=PATH"]);
    fails(
        &["query", "--table", "t=absent/*.parquet", "select 1"],
        1,
        &["absent"],
    );
}

#[test]
fn unknown_keys_of_the_configuration_are_errors() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("driftline.toml");
    for (text, word) in [
        ("[sink]\ncommit_secs = 3\n", "commit_secs"),
        ("[collector.host]\ndisk = 1\n", "disk"),
        ("colector = 1\n", "colector"),
        ("[sink]\ncommit_seconds = -1\n", "commit_seconds"),
    ] {
        std::fs::write(&path, text).expect("write");
        let config = path.display().to_string();
        let output = run(&mut driftline(&["query", "--config", &config, "select 1"]));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(
            message.contains(word) && message.contains("driftline.toml"),
            "{message}"
        );
    }
}

#[test]
fn an_unreachable_broker_is_named() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let data = dir.path().join("data").display().to_string();
    let args = [
        "topics",
        "create",
        "--data",
        &data,
        "--kafka-brokers",
        "127.0.0.1:1",
    ];
    let output = run(&mut driftline(&args));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("127.0.0.1:1"), "{message}");
}

#[test]
fn a_data_directory_that_cannot_be_one_is_named() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("file");
    std::fs::write(&file, b"not a directory").expect("write");
    let data = file.join("data").display().to_string();
    let output = run(&mut driftline(&["up", "--data", &data]));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("data directory"), "{message}");
}

#[test]
fn other_parquet_files_can_be_queried_and_formats_are_what_they_say() {
    let sql = "select 1 as one, 'a,b' as text";
    assert_eq!(
        stdout_of(&mut driftline(&["query", "--format", "csv", sql])),
        "one,text\n1,\"a,b\"\n"
    );
    let json = stdout_of(&mut driftline(&["query", "--format", "json", sql]));
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["text"], "a,b");
    let dir = tempfile::tempdir().expect("temporary directory");
    let parquet = run(&mut driftline(&[
        "query",
        "--format",
        "parquet",
        "select 42 as answer",
    ]))
    .stdout;
    std::fs::write(dir.path().join("a.parquet"), parquet).expect("write");
    let table = format!("t={}/*.parquet", dir.path().display());
    let answer = stdout_of(&mut driftline(&[
        "query",
        "--table",
        &table,
        "--format",
        "csv",
        "select answer from t",
    ]));
    assert_eq!(answer, "answer\n42\n");
}
