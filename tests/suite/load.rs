//! Load tests as a user runs them, against the bundled target: recorded, committed, reported.

use std::path::Path;

use serde_json::Value;

use crate::process::{DEADLINE, Running, driftline, poll, run, stdout_of};

/// A target that listens, and where.
fn target(dir: &Path, args: &[&str]) -> (Running, String) {
    let mut command = driftline(&["target", "--listen", "127.0.0.1:0"]);
    let running = Running::start(command.args(args), dir, "target");
    let mut url = String::new();
    let listens = poll(DEADLINE, || {
        let output = std::fs::read_to_string(dir.join("target.output")).unwrap_or_default();
        let line = output
            .lines()
            .find_map(|line| line.strip_prefix("listening on "));
        url = line.unwrap_or_default().to_owned();
        !url.is_empty()
    });
    assert!(listens, "the target does not listen");
    (running, url)
}

/// Thresholds are wide, so that a busy machine judges as an idle one does: what a generator may be
/// late is measured against them.
fn scenario(dir: &Path, name: &str, rest: &str) -> String {
    let path = dir.join(format!("{name}.toml"));
    std::fs::write(&path, format!("name = \"{name}\"\nseed = 7\n{rest}")).expect("a scenario");
    path.display().to_string()
}

const MIX: &str = r#"
[[stages]]
duration = "3s"
rate = 100
arrival = "poisson"
[[requests]]
name = "home"
path = "/"
[[requests]]
name = "missing"
path = "/nowhere"
checks = { status = 404 }
"#;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect(text)
}

#[test]
fn a_run_is_recorded_committed_and_reported_the_same_each_time() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (_target, url) = target(dir.path(), &[]);
    let path = scenario(
        dir.path(),
        "mix",
        &format!("{MIX}\n[thresholds]\n\"p95\" = \"< 10s\"\n"),
    );
    let load = |more: &[&str]| {
        let mut command = driftline(&["load", &path, "--target", &url, "--data", "d", "--plain"]);
        run(command.args(more).current_dir(dir.path()))
    };
    let output = load(&["--run", "first", "--format", "json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let printed = String::from_utf8(output.stdout).expect("text");
    let report = json(&printed);
    assert_eq!(report["verdict"], "passed");
    assert_eq!(report["errors"], 0);
    let requests = report["requests"].as_u64().expect("a count");
    assert!((200..400).contains(&requests), "{requests} of about 300");

    let ask = |args: &[&str]| {
        stdout_of(
            driftline(args)
                .args(["--data", "d"])
                .current_dir(dir.path()),
        )
    };
    assert_eq!(ask(&["report", "first", "--format", "json"]), printed);
    let html = ask(&["report", "first", "--format", "html"]);
    assert!(html.contains("<svg"), "a report has charts");
    assert_eq!(ask(&["report", "first", "--format", "html"]), html);
    let counts =
        "select sum(operations) as n, count(*) as endpoints from run_summary where run = 'first'";
    let rows = json(&ask(&["query", "--format", "json", counts]));
    assert_eq!(
        (&rows[0]["n"], &rows[0]["endpoints"]),
        (&report["requests"], &2.into())
    );

    let again = load(&["--run", "first"]);
    assert_eq!(again.status.code(), Some(2), "a name is used once");
}

#[test]
fn a_broken_threshold_is_exit_code_3_and_strangers_are_not_loaded() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (_target, url) = target(dir.path(), &[]);
    let strict = format!("{MIX}\n[thresholds]\n\"p95\" = \"< 10s\"\n\"rate\" = \"> 100000/s\"\n");
    let path = scenario(dir.path(), "strict", &strict);
    let mut command = driftline(&["load", &path, "--target", &url, "--data", "d", "--plain"]);
    let output = run(command.current_dir(dir.path()));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(3), "{out}\n{err}");
    assert!(out.contains("rate"), "{out}");

    // Nothing listens on the discard port: a target that refuses at once is not a fast one.
    let wide = scenario(
        dir.path(),
        "wide",
        &format!("{MIX}\n[thresholds]\n\"p95\" = \"< 10s\"\n"),
    );
    let mut command = driftline(&[
        "load",
        &wide,
        "--target",
        "http://127.0.0.1:9",
        "--data",
        "d",
    ]);
    let output = run(command.arg("--plain").current_dir(dir.path()));
    assert_eq!(
        output.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );

    // An address that is set aside for documentation; nothing is sent to it.
    let mut command = driftline(&["load", &path, "--target", "http://192.0.2.1", "--data", "d"]);
    let output = run(command.current_dir(dir.path()));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--allow-target"));

    let wrong = scenario(
        dir.path(),
        "wrong",
        "[[stages]]\nduration = \"1s\"\nraet = 5\n",
    );
    let output = run(driftline(&["load", "check", &wrong]).current_dir(dir.path()));
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("raet") && message.contains("line 5"),
        "{message}"
    );
}

#[test]
fn ten_thousand_websockets_are_opened_held_and_answered() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (_target, url) = target(dir.path(), &[]);
    let many = r#"
drain = "60s"
[[stages]]
duration = "20s"
[[websockets]]
name = "many"
path = "/ws/echo"
connections = 10000
connect_rate = 2000
message = { every = "8s", size = 64 }
timeout = "60s"
[thresholds]
"error_rate" = "<= 0%"
"p95" = "< 60s"
"#;
    let path = scenario(dir.path(), "many", many);
    let mut command = driftline(&[
        "load", &path, "--target", &url, "--data", "d", "--run", "many",
    ]);
    let output = run(command
        .args(["--plain", "--format", "json"])
        .current_dir(dir.path()));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report = json(&String::from_utf8(output.stdout).expect("text"));
    assert_eq!(report["errors"], 0, "{stderr}");
    let sql = "select count(*) as n from requests where run = 'many' and endpoint = 'many.connect' and status = 101";
    let mut query = driftline(&["query", "--data", "d", "--format", "json", sql]);
    assert_eq!(
        json(&stdout_of(query.current_dir(dir.path())))[0]["n"],
        10_000
    );
    let sql = "select count(*) as n from requests where run = 'many' and endpoint = 'many.message' and error = ''";
    let mut query = driftline(&["query", "--data", "d", "--format", "json", sql]);
    let answered = json(&stdout_of(query.current_dir(dir.path())))[0]["n"].as_u64();
    assert!(
        answered.expect("a count") >= 10_000,
        "{answered:?} answers: {stderr}"
    );
}

/// The target serves eight requests at a time, 50 ms for a lone one; eight at once slow one another
/// by 1 + 0.05·7 + 0.002·8·7 = 1.462 (Universal Scalability Law), so that it serves
/// 8 / (0.05 s · 1.462) = 109.4 requests a second and no more.
#[test]
fn the_breaking_point_of_a_target_of_known_capacity_is_found() {
    const TRUTH: f64 = 109.4;
    let dir = tempfile::tempdir().expect("temporary directory");
    let law = [
        "--capacity",
        "8",
        "--service-time",
        "50ms",
        "--contention",
        "0.05",
    ];
    let (_target, url) = target(dir.path(), &[&law[..], &["--coherency", "0.002"]].concat());
    let rest = "[[stages]]\nduration = \"3s\"\nrate = 100\narrival = \"poisson\"\n\
                [[requests]]\npath = \"/items\"\n[thresholds]\n\"p95\" = \"< 500ms\"\n";
    let path = scenario(dir.path(), "knee", rest);
    let mut command = driftline(&["load", "find-limit", &path, "--target", &url, "--data", "d"]);
    command.args(["--start", "40", "--step-least", "3s", "--step-most", "6s"]);
    command.args([
        "--within", "100s", "--width", "0.2", "--result", "json", "--plain",
    ]);
    let output = run(command.current_dir(dir.path()));
    let err = String::from_utf8_lossy(&output.stderr);
    let found = json(&String::from_utf8_lossy(&output.stdout));
    let bound = |at: usize| found["interval"][at].as_f64();
    match found["verdict"].as_str() {
        Some(verdict @ ("found" | "time-box")) => {
            let (low, high) = (bound(0), bound(1));
            assert!(low.is_some() || verdict == "time-box", "{found}");
            let (low, high) = (low.unwrap_or(0.0), high.unwrap_or(f64::INFINITY));
            assert!(low <= TRUTH * 1.1 && TRUTH * 0.9 <= high, "{low} to {high}");
            let safe = found["safe_rate"].as_f64().unwrap_or(0.0);
            assert!(safe <= TRUTH, "{safe} is not safe");
        }
        // Other tests keep this machine busy: then the generator must not blame the target.
        Some("generator-limited") => {
            let held = found["held_rate"].as_f64().unwrap_or(0.0);
            assert!(held <= TRUTH * 1.1, "{held} cannot have held");
        }
        other => panic!("{other:?}\n{err}"),
    }
}
