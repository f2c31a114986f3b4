//! Live detection: an onset reaches the webhook while it happens, once, over a restart too.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::process::{DEADLINE, Running, driftline, poll, stdout_of};

/// From an onset to the webhook, at most.
const WITHIN: Duration = Duration::from_secs(60);
/// Seconds of a past before the onset.
const PAST_S: u64 = 2_700;

/// A webhook's receiver on loopback: yields the body of each request and when it came.
fn receiver() -> (String, Receiver<(Duration, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let (sender, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a header");
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .expect("an answer");
            let body = String::from_utf8(body).expect("text");
            if sender.send((now(), body)).is_err() {
                return;
            }
        }
    });
    (format!("http://{address}/hook"), bodies)
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
}

/// A file of two series, a point every ten seconds: one as it was, one at a level.
fn write_series(path: &Path, from_s: u64, until_s: u64, level: f64) {
    let mut text = "series,timestamp,value\n".to_owned();
    for at_s in (from_s..until_s).step_by(10) {
        // Some noise that is the same every time.
        let noise =
            |salt: u64| ((at_s / 10).wrapping_mul(2_654_435_761 + salt) % 997) as f64 / 997.0;
        writeln!(
            text,
            "checkout.latency,{at_s},{:.5}",
            level + 0.01 * noise(1)
        )
        .expect("text");
        writeln!(text, "search.latency,{at_s},{:.5}", 0.2 + 0.01 * noise(2)).expect("text");
    }
    std::fs::write(path, text).expect("a file");
}

fn import(dir: &Path, file: &str) {
    let meaning = ["--unit", "s", "--better", "lower", "--category", "latency"];
    let args = ["import", "csv", file, "--data", "d"];
    stdout_of(driftline(&args).args(meaning).current_dir(dir));
}

fn up(dir: &Path, name: &str) -> Running {
    let mut command = driftline(&["up", "--data", "d", "--config", "c.toml"]);
    command
        .current_dir(dir)
        .env("DRIFTLINE_LOG", "warn,driftline=debug");
    Running::start(&mut command, dir, name)
}

/// Waits until a process has looked so many times.
fn has_looked(dir: &Path, name: &str, times: usize) {
    let output = dir.join(format!("{name}.output"));
    let looked = || {
        let text = std::fs::read_to_string(&output).expect("its output");
        text.matches("looked at").count() >= times
    };
    assert!(poll(DEADLINE, looked), "{name} has not looked in time");
}

#[test]
fn an_onset_reaches_the_webhook_within_a_minute_and_is_told_once() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    let (address, bodies) = receiver();
    std::fs::write(dir.join("hook"), address).expect("the address");
    let config = "[notify]\nwebhook_file = \"hook\"\n\
                  [collector.process]\nenabled = false\n[collector.cgroup]\nenabled = false\n";
    std::fs::write(dir.join("c.toml"), config).expect("a configuration");

    let start_s = now().as_secs() / 10 * 10;
    write_series(&dir.join("past.csv"), start_s - PAST_S, start_s + 60, 0.1);
    import(dir, "past.csv");
    let first = up(dir, "first");
    has_looked(dir, "first", 1);

    // What is to come is known to the log already; it is looked at when its time has come.
    let onset_s = start_s + 60;
    write_series(&dir.join("onset.csv"), onset_s, onset_s + 600, 0.3);
    import(dir, "onset.csv");
    let (told, body) = bodies
        .recv_timeout(DEADLINE)
        .expect("a call of the webhook");
    let onset = Duration::from_secs(onset_s);
    assert!(told <= onset + WITHIN, "told {:?} after", told - onset);
    assert!(body.contains("checkout.latency"), "{body}");
    assert!(!body.contains("search.latency"), "{body}");

    first.kill();
    let _second = up(dir, "second");
    has_looked(dir, "second", 2);
    let begun = Instant::now();
    if let Ok((_, body)) = bodies.try_recv() {
        panic!("told again {:?} after a restart: {body}", begun.elapsed());
    }
    let list = ["findings", "--data", "d", "--format", "json"];
    let found = stdout_of(driftline(&list).current_dir(dir));
    let found: Value = serde_json::from_str(&found).expect("JSON");
    let about = |finding: &&Value| {
        finding["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("live-"))
    };
    let live: Vec<&Value> = found
        .as_array()
        .expect("a list")
        .iter()
        .filter(about)
        .collect();
    assert_eq!(live.len(), 1, "{found}");
    assert_eq!(live[0]["severity"], "regression");
}
