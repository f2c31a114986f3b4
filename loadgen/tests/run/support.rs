//! Scenarios, worker threads and worker processes made for these tests, and reading of the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use driftline_eventlog::LogReader as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::{OnFull, SpoolConfig, SpoolReader};
use driftline_loadgen::Operation;
use driftline_loadgen::recorder::Tape;
use driftline_loadgen::run::{
    Launch, Prepare, RunRequest, SECRET_VARIABLE, Secret, Spawn, WorkerRequest, work,
};
use driftline_loadgen::scenario::{Arrival, HttpOptions, HttpVersion, Load, Scenario, Stage};
use driftline_loadgen::stop::Stop;
use driftline_loadgen::target::Target;
use driftline_loadgen::worker::{Parts, WorkerError};
use driftline_schemas::{Body, Envelope, Event, Kind};
use url::Url;

/// One operation of the whole run is due each millisecond.
const EVERY_NS: u64 = 1_000_000;
pub(crate) fn scenario(duration_ms: u64) -> Scenario {
    Scenario {
        name: "made up".to_owned(),
        seed: 7,
        text: duration_ms.to_string(),
        hash: "00000000000000aa".to_owned(),
        warm_up: Duration::ZERO,
        drain: Duration::from_secs(1),
        stages: vec![Stage {
            name: "1".to_owned(),
            duration: Duration::from_millis(duration_ms),
            load: Load::Rate {
                from: 1_000.0,
                to: 1_000.0,
                arrival: Arrival::Constant,
            },
        }],
        http: HttpOptions {
            version: HttpVersion::Http1,
            keep_alive: true,
            connections: 4,
            streams: 1,
            waiting: 10,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            redirects: 0,
            compression: false,
            max_answer_bytes: 1 << 20,
            insecure: false,
            ca: None,
            headers: Vec::new(),
        },
        journeys: Vec::new(),
        websockets: Vec::new(),
        feeds: BTreeMap::new(),
        thresholds: Vec::new(),
        endpoints: vec!["home".to_owned()],
    }
}

pub(crate) fn request(data: &Path, scenario: Scenario, spawn: Spawn) -> RunRequest {
    let target = Target {
        url: Url::parse("http://127.0.0.1:9/").expect("a constant"),
        tls: false,
        host: "127.0.0.1".to_owned(),
        authority: "127.0.0.1:9".to_owned(),
        addresses: vec![([127, 0, 0, 1], 9).into()],
    };
    let mut request = RunRequest::new(Arc::new(scenario), Arc::new(target), data);
    request.run = Some("test-run".to_owned());
    request.spawn = spawn;
    request
}

/// A worker thread that says that each operation of its share took 2 ms.
pub(crate) fn pushing(parts: Parts) -> Result<JoinHandle<Result<(), WorkerError>>, WorkerError> {
    Ok(thread::spawn(move || {
        let end = parts.scenario.stages.iter().map(|stage| stage.duration);
        let end_ns = end.sum::<Duration>().as_nanos() as u64;
        let tape = Tape::new(parts.share.index, parts.queue, parts.lost);
        let mut next = u64::from(parts.share.index);
        loop {
            let now_ns = parts.clock.now_ns();
            while next * EVERY_NS < end_ns.min(now_ns) {
                let intended_ns = next * EVERY_NS;
                tape.push(Operation {
                    endpoint: 0,
                    status: 200,
                    failure: None,
                    intended_ns,
                    sent_ns: intended_ns + 100_000,
                    first_byte_ns: intended_ns + 1_900_000,
                    done_ns: intended_ns + 2_000_000,
                    bytes: 100,
                });
                next += u64::from(parts.share.of);
                parts.gauges.arrivals.fetch_add(1, Ordering::Relaxed);
                parts.gauges.lateness_us[0].fetch_add(1, Ordering::Relaxed);
            }
            tape.flush();
            if next * EVERY_NS >= end_ns || parts.stop.is_requested() {
                return Ok(());
            }
            // The pace of this worker; nothing waits for it.
            thread::sleep(Duration::from_millis(5));
        }
    }))
}

/// A worker thread that cannot be started.
pub(crate) fn refusing(_parts: Parts) -> Result<JoinHandle<Result<(), WorkerError>>, WorkerError> {
    Err(WorkerError::Start(std::io::ErrorKind::WouldBlock.into()))
}

/// Starts this test binary again, as a worker process: its own test harness would not take the
/// options that a worker gets, so that a shell hands them over in the environment.
pub(crate) fn launch() -> Launch {
    let this = std::env::current_exe().expect("it is running");
    let script =
        "DRIFTLINE_TEST_CONNECT=$3 DRIFTLINE_TEST_DATA=$5 exec \"$1\" --exact worker_process";
    Launch {
        program: "/bin/sh".into(),
        arguments: ["-c", script, "sh", &this.display().to_string()]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// Does a worker process's part if [`launch`] has started this process.
pub(crate) fn work_if_started_as_worker() {
    let (Ok(connect), Ok(data)) = (
        std::env::var("DRIFTLINE_TEST_CONNECT"),
        std::env::var("DRIFTLINE_TEST_DATA"),
    ) else {
        return;
    };
    let secret = std::env::var(SECRET_VARIABLE).expect("the coordinator gives it");
    let worker = WorkerRequest {
        coordinator: connect.parse().expect("an address"),
        secret: Secret::parse(&secret).expect("the coordinator's own text"),
        data: data.into(),
        spool: SpoolConfig {
            on_full: OnFull::Refuse,
            ..SpoolConfig::default()
        },
        spawn: pushing,
        read: read_scenario,
        stop: Stop::new(),
    };
    work(&worker).expect("it does its part");
}

/// The text of these scenarios is their duration.
fn read_scenario(prepare: &Prepare) -> Result<Scenario, String> {
    let duration_ms = prepare.text.parse();
    duration_ms
        .map(scenario)
        .map_err(|_| format!("{:?} is no duration", prepare.text))
}

/// Kills process 1 of the run for good, as the system's killer would; the lock of its log tells its
/// process id.
pub(crate) fn kill_child(data: &Path) {
    let lock = data.join("log").join("load-test-run-1").join("lock");
    let pid = std::fs::read_to_string(lock).expect("process 1 has opened its log");
    let pid: i32 = pid.trim().parse().expect("it is a process id");
    assert_ne!(pid.unsigned_abs(), std::process::id());
    let pid = rustix::process::Pid::from_raw(pid).expect("it is not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is our child");
}

pub(crate) fn rows(data: &Path) -> u64 {
    let mut rows = 0;
    blocks(data, Kind::Requests, |body| rows += body.rows() as u64);
    rows
}

pub(crate) fn events(data: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    blocks(data, Kind::Events, |body| {
        if let Body::Events(more) = body {
            events.extend(more);
        }
    });
    events
}

fn blocks(data: &Path, kind: Kind, mut take: impl FnMut(Body)) {
    let mut reader = SpoolReader::read_only(Arc::new(RealDisk), &data.join("log"));
    for source in reader.sources(kind).expect("the log can be listed") {
        let mut next = 0;
        loop {
            let records = reader.read(&source, next, 1 << 20).expect("it can be read");
            let Some(last) = records.last() else { break };
            next = last.offset + 1;
            for record in &records {
                let envelope = Envelope::parse(&record.payload).expect("a whole block");
                take(envelope.decode().expect("a whole body"));
            }
        }
    }
}

pub(crate) fn attribute<'e>(event: &'e Event, key: &str) -> &'e str {
    let found = event.attributes.iter().find(|(name, _)| name == key);
    found.map_or_else(|| panic!("no {key} in {event:?}"), |(_, value)| value)
}
