//! Workers against real sockets: what they record is held against what the servers saw.

#[path = "worker/faults.rs"]
mod faults;
#[path = "worker/http2.rs"]
mod http2;
#[path = "worker/http2_faults.rs"]
mod http2_faults;
#[path = "worker/peer.rs"]
mod peer;
#[path = "worker/run.rs"]
mod run;
#[path = "worker/server.rs"]
mod server;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use driftline_loadgen::scenario::{Pattern, Template, Think, WebSocket, WebSocketEndpoints};
use driftline_loadgen::{Failure, NEVER_NS, Stop};

use run::{rate, request, run, scenario, users};
use server::{Server, await_close, next_request};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Mean, p95 and p99 of response times in nanoseconds.
fn summary(mut times: Vec<f64>) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    let at = |quantile: f64| times[((times.len() - 1) as f64 * quantile) as usize];
    [
        times.iter().sum::<f64>() / times.len() as f64,
        at(0.95),
        at(0.99),
    ]
}

/// A server that stops for 300 ms in a run of 200 arrivals per second. The truth is the schedule,
/// by which arrivals are 5 ms apart, and the server's own log.
fn stalled(connections: u32, is_shared: bool) {
    let stall = Duration::from_millis(300);
    let begun: Mutex<Option<Instant>> = Mutex::new(None);
    let log = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&log);
    let server = Server::new(move |mut stream| {
        while next_request(&mut stream) {
            let came = Instant::now();
            let first = *begun.lock().expect("no panic").get_or_insert(came);
            let from = first + Duration::from_millis(500);
            if came >= from && came < from + stall {
                std::thread::sleep((from + stall).saturating_duration_since(came));
            }
            let answered = Instant::now();
            if stream.write_all(OK).is_err() {
                return;
            }
            written.lock().expect("no panic").push((came, answered));
        }
    });
    let mut scenario = scenario(vec![rate(200.0, 1_500)]);
    scenario.http.connections = connections;
    if is_shared {
        scenario.websockets.push(no_websockets());
    }
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    outcome.assert_all(None, "a stalled server");
    let recorded = outcome
        .operations
        .iter()
        .map(|operation| (operation.done_ns - operation.intended_ns) as f64)
        .collect();
    let mut log = log.lock().expect("no panic").clone();
    log.sort();
    assert_eq!(log.len(), 300);
    assert_eq!(outcome.operations.len(), 300);
    let truth = log.iter().enumerate().map(|(number, &(_, answered))| {
        let intended = outcome.clock.instant(number as u64 * 5_000_000);
        answered.duration_since(intended).as_nanos() as f64
    });
    closeness(summary(recorded), summary(truth.collect()));
}

/// What is recorded is within 5 % of the truth.
fn closeness(recorded: [f64; 3], truth: [f64; 3]) {
    for (recorded, truth) in recorded.into_iter().zip(truth) {
        let off = (recorded - truth).abs() / truth;
        assert!(off < 0.05, "recorded {recorded} ns, in truth {truth} ns");
    }
}

/// A group without connections: its thread is shared with a runtime's tasks.
fn no_websockets() -> WebSocket {
    WebSocket {
        name: "none".to_owned(),
        path: Template::literal("/"),
        headers: Vec::new(),
        connections: 0,
        connect_rate: 1.0,
        pattern: Pattern::Subscribe,
        reconnect: None,
        timeout: Duration::from_secs(1),
        endpoints: WebSocketEndpoints {
            connect: 0,
            message: 0,
            delivery: 0,
            ping: 0,
            close: 0,
        },
    }
}

#[test]
fn a_stall_is_seen_whole() {
    stalled(128, false);
}

#[test]
fn a_stall_is_seen_whole_when_arrivals_wait_for_connections() {
    stalled(4, false);
}

#[test]
fn a_stall_is_seen_whole_on_a_shared_thread() {
    stalled(16, true);
}

#[test]
fn dropped_arrivals_are_counted_exactly() {
    let server = Server::new(|mut stream| await_close(&mut stream));
    let mut scenario = scenario(vec![rate(100.0, 500)]);
    scenario.http.connections = 2;
    scenario.http.waiting = 3;
    scenario.drain = Duration::from_millis(50);
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    assert_eq!(outcome.arrivals(), 50);
    assert_eq!(outcome.operations.len(), 50);
    assert_eq!(outcome.failed_with(Failure::Dropped), 45);
    assert_eq!(outcome.failed_with(Failure::Unfinished), 5);
    let unfinished = outcome
        .operations
        .iter()
        .filter(|operation| operation.failure == Some(Failure::Unfinished));
    assert_eq!(
        unfinished
            .filter(|operation| operation.sent_ns == NEVER_NS)
            .count(),
        3
    );
    for operation in &outcome.operations {
        assert!(operation.done_ns >= operation.intended_ns);
        if operation.failure == Some(Failure::Dropped) {
            assert_eq!(operation.sent_ns, NEVER_NS);
        }
    }
}

#[test]
fn every_arrival_becomes_one_operation() {
    let server = Server::answering(|| Some(OK.to_vec()));
    let mut scenario = scenario(vec![rate(400.0, 300), rate(900.0, 200)]);
    scenario.journeys.push(request("POST"));
    let outcome = run(scenario, &server.url(), 3, &Stop::new());
    outcome.assert_all(None, "a good server");
    assert_eq!(outcome.operations.len(), 300);
    assert_eq!(outcome.arrivals(), 300);
    let mut intended: Vec<u64> = outcome
        .operations
        .iter()
        .map(|operation| operation.intended_ns)
        .collect();
    intended.sort_unstable();
    intended.dedup();
    assert_eq!(intended.len(), 300, "two arrivals are intended at one time");
    for operation in &outcome.operations {
        assert!(operation.intended_ns <= operation.sent_ns);
        assert!(operation.sent_ns <= operation.first_byte_ns);
        assert!(operation.first_byte_ns <= operation.done_ns);
        assert_eq!((operation.status, operation.bytes), (200, OK.len() as u64));
    }
}

#[test]
fn a_stop_ends_arrivals_and_keeps_what_is_under_way() {
    let stop = Stop::new();
    let asked = stop.clone();
    let count = AtomicUsize::new(0);
    let server = Server::answering(move || {
        if count.fetch_add(1, Ordering::SeqCst) == 20 {
            asked.request();
        }
        Some(OK.to_vec())
    });
    let outcome = run(scenario(vec![rate(200.0, 15_000)]), &server.url(), 1, &stop);
    outcome.assert_all(None, "a stopped run");
    assert!((21..3_000).contains(&outcome.operations.len()));
    assert_eq!(outcome.arrivals(), outcome.operations.len() as u64);
}

/// Requests that a server has in hand at once, at most.
fn concurrency(stages: Vec<driftline_loadgen::scenario::Stage>, connections: u32) -> usize {
    let present = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let server = Server::answering(move || {
        let now = present.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
        present.fetch_sub(1, Ordering::SeqCst);
        Some(OK.to_vec())
    });
    let mut scenario = scenario(stages);
    scenario.http.connections = connections;
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    outcome.assert_all(None, "a good server");
    assert_eq!(outcome.arrivals(), outcome.operations.len() as u64);
    most.load(Ordering::SeqCst)
}

#[test]
fn there_are_never_more_requests_than_users_or_connections() {
    let most = concurrency(
        vec![users(1, 8, 200), users(8, 8, 100), users(8, 1, 200)],
        64,
    );
    assert!((2..=8).contains(&most), "{most} at once");
    let most = concurrency(vec![users(9, 9, 200)], 3);
    assert!((2..=3).contains(&most), "{most} at once");
}

#[test]
fn users_think() {
    let server = Server::answering(|| Some(OK.to_vec()));
    let mut scenario = scenario(vec![users(2, 2, 400)]);
    let think = Duration::from_millis(50);
    scenario.journeys[0].steps[0].think = Some(Think {
        from: think,
        to: think,
    });
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    outcome.assert_all(None, "a good server");
    // Two users make at most one request each in 50 ms.
    assert!((2..=2 * 8).contains(&outcome.operations.len()));
}

#[test]
fn a_connection_closed_between_requests_does_no_harm() {
    let server = Server::new(|mut stream| {
        if next_request(&mut stream) && stream.write_all(OK).is_err() {
            await_close(&mut stream);
        }
    });
    let outcome = run(
        scenario(vec![users(2, 2, 200)]),
        &server.url(),
        1,
        &Stop::new(),
    );
    outcome.assert_all(None, "a server that closes");
    assert!(outcome.operations.len() > 2);
}

/// Requests that a server received, and the run, where every connection is closed on its second.
fn closed_on_the_second(method: &str) -> (usize, run::Outcome) {
    let received = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&received);
    let server = Server::new(move |mut stream| {
        for answer in [OK, b""] {
            if !next_request(&mut stream) {
                return;
            }
            count.fetch_add(1, Ordering::SeqCst);
            stream.write_all(answer).expect("an open connection");
        }
    });
    let mut scenario = scenario(vec![users(1, 1, 200)]);
    scenario.journeys = vec![request(method)];
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    (received.load(Ordering::SeqCst), outcome)
}

#[test]
fn only_what_does_no_harm_is_sent_twice() {
    let (received, outcome) = closed_on_the_second("GET");
    outcome.assert_all(None, "GET");
    assert!(
        received > outcome.operations.len(),
        "nothing was sent twice"
    );
    let twice = (received - outcome.operations.len()) as u64;
    assert_eq!(outcome.gauges[0].retries.load(Ordering::SeqCst), twice);

    let (received, outcome) = closed_on_the_second("POST");
    assert_eq!(received, outcome.operations.len());
    let failed = outcome.failed_with(Failure::Closed) + outcome.failed_with(Failure::Reset);
    assert_eq!(failed, outcome.operations.len() / 2);
}

#[test]
fn every_request_on_a_connection_of_its_own() {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let server = Server::new(move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        while next_request(&mut stream) {
            stream.write_all(OK).expect("an open connection");
        }
    });
    let mut scenario = scenario(vec![rate(200.0, 200)]);
    scenario.http.keep_alive = false;
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    outcome.assert_all(None, "a good server");
    assert_eq!(opened.load(Ordering::SeqCst), outcome.operations.len());
}

#[test]
fn journeys_elsewhere_are_bounded_and_recorded() {
    let server = Server::answering(|| Some(OK.to_vec()));
    let mut open = scenario(vec![rate(200.0, 300), users(3, 3, 200)]);
    open.http.connections = 2;
    let mut journey = request("GET");
    journey.cookies = true;
    let step = journey.steps[0].clone();
    journey.steps.push(step);
    open.journeys = vec![journey, request("GET")];
    let outcome = run(open, &server.url(), 1, &Stop::new());
    outcome.assert_all(None, "a good server");
    assert!(outcome.operations.len() as u64 > outcome.arrivals());

    let server = Server::new(|mut stream| await_close(&mut stream));
    let mut stuck = scenario(vec![rate(100.0, 100)]);
    stuck.journeys[0].cookies = true;
    stuck.http.connections = 2;
    stuck.http.waiting = 3;
    stuck.drain = Duration::from_millis(20);
    let outcome = run(stuck, &server.url(), 1, &Stop::new());
    assert_eq!(outcome.operations.len(), 10);
    assert_eq!(outcome.failed_with(Failure::Dropped), 5);
    assert_eq!(outcome.failed_with(Failure::Unfinished), 5);
}
