//! The fast path over HTTP/2: what holds over HTTP/1.1 holds here, too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use driftline_loadgen::scenario::{Check, HttpVersion, Scenario, Stage, Template};
use driftline_loadgen::{Failure, NEVER_NS, Stop};

use super::peer::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, Peer, RST_STREAM,
    WINDOW_UPDATE, field,
};
use super::run::{Outcome, rate, request, run, scenario as http1, users};
use super::server::Server;
use super::{closeness, summary};

/// GET requests in these stages over HTTP/2.
pub(crate) fn scenario(stages: Vec<Stage>) -> Scenario {
    let mut scenario = http1(stages);
    scenario.http.version = HttpVersion::Http2;
    scenario.http.connections = 2;
    scenario.http.streams = 50;
    scenario
}

/// A server that answers every request, after it was told to `meanwhile`.
fn good(meanwhile: impl Fn() + Send + Sync + 'static) -> Server {
    Server::new(move |stream| {
        let Some(mut peer) = Peer::new(stream, &[]) else {
            return;
        };
        while let Some(id) = peer.request() {
            meanwhile();
            if !peer.answer(id, b"ok") {
                return;
            }
        }
    })
}

fn retries(outcome: &Outcome) -> u64 {
    let each = outcome.gauges.iter();
    each.map(|gauges| gauges.retries.load(Ordering::SeqCst))
        .sum()
}

/// As over HTTP/1.1: the truth is the schedule and the server's own log.
fn stalled(connections: u32, streams: u32) {
    let stall = Duration::from_millis(300);
    let begun: Mutex<Option<Instant>> = Mutex::new(None);
    let log = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&log);
    let server = Server::new(move |stream| {
        let Some(mut peer) = Peer::new(stream, &[]) else {
            return;
        };
        while let Some(id) = peer.request() {
            let came = Instant::now();
            let first = *begun.lock().expect("no panic").get_or_insert(came);
            let from = first + Duration::from_millis(500);
            if came >= from && came < from + stall {
                std::thread::sleep((from + stall).saturating_duration_since(came));
            }
            let answered = Instant::now();
            if !peer.answer(id, b"ok") {
                return;
            }
            written.lock().expect("no panic").push(answered);
        }
    });
    let mut scenario = scenario(vec![rate(200.0, 1_500)]);
    scenario.http.connections = connections;
    scenario.http.streams = streams;
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    outcome.assert_all(None, "a stalled server");
    let recorded = outcome.operations.iter();
    let recorded = recorded.map(|done| (done.done_ns - done.intended_ns) as f64);
    let log = log.lock().expect("no panic").clone();
    assert_eq!((log.len(), outcome.operations.len()), (300, 300));
    let truth = log.iter().zip(0..).map(|(answered, number)| {
        let intended = outcome.clock.instant(number * 5_000_000);
        answered.duration_since(intended).as_nanos() as f64
    });
    closeness(summary(recorded.collect()), summary(truth.collect()));
}

#[test]
fn a_stall_is_seen_whole_on_many_streams() {
    stalled(1, 100);
}

#[test]
fn a_stall_is_seen_whole_when_arrivals_wait_for_streams() {
    stalled(1, 4);
}

#[test]
fn dropped_arrivals_are_counted_exactly() {
    let server = Server::new(|stream| {
        if let Some(mut peer) = Peer::new(stream, &[]) {
            peer.await_close();
        }
    });
    let mut scenario = scenario(vec![rate(100.0, 500)]);
    scenario.http.connections = 1;
    scenario.http.streams = 2;
    scenario.http.waiting = 3;
    scenario.drain = Duration::from_millis(50);
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    assert_eq!((outcome.arrivals(), outcome.operations.len()), (50, 50));
    assert_eq!(outcome.failed_with(Failure::Dropped), 45);
    assert_eq!(outcome.failed_with(Failure::Unfinished), 5);
    let unsent = outcome
        .operations
        .iter()
        .filter(|done| done.failure == Some(Failure::Unfinished) && done.sent_ns == NEVER_NS);
    assert_eq!(unsent.count(), 3);
}

#[test]
fn every_arrival_becomes_one_operation() {
    let server = good(|| {});
    let mut scenario = scenario(vec![rate(400.0, 300), rate(900.0, 200)]);
    scenario.http.connections = 6;
    scenario.journeys.push(request("POST"));
    let outcome = run(scenario, &server.url(), 3, &Stop::new());
    outcome.assert_all(None, "a good server");
    assert_eq!((outcome.arrivals(), outcome.operations.len()), (300, 300));
    let each = outcome.operations.iter();
    let mut intended: Vec<u64> = each.map(|done| done.intended_ns).collect();
    intended.sort_unstable();
    intended.dedup();
    assert_eq!(intended.len(), 300, "two arrivals are intended at one time");
    for done in &outcome.operations {
        assert!(done.intended_ns <= done.sent_ns && done.sent_ns <= done.first_byte_ns);
        assert!(done.first_byte_ns <= done.done_ns);
        assert_eq!((done.status, done.bytes), (200, 2));
    }
    assert_eq!(retries(&outcome), 0);
}

#[test]
fn users_share_connections_and_a_stop_ends_them() {
    let stop = Stop::new();
    let asked = stop.clone();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let server = good(move || {
        if counted.fetch_add(1, Ordering::SeqCst) == 500 {
            asked.request();
        }
    });
    let outcome = run(
        scenario(vec![users(80, 80, 15_000)]),
        &server.url(),
        1,
        &stop,
    );
    outcome.assert_all(None, "a stopped run");
    assert_eq!(outcome.operations.len(), count.load(Ordering::SeqCst));
    assert_eq!(outcome.arrivals(), outcome.operations.len() as u64);
}

#[test]
fn the_targets_own_limit_of_streams_is_kept() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let server = Server::new(move |stream| {
        let Some(mut peer) = Peer::new(stream, &[(3, 3)]) else {
            return;
        };
        // The first request may come before the limit is known; afterwards all of them together.
        let Some(first) = peer.request() else { return };
        peer.answer(first, b"ok");
        let mut open = Vec::new();
        while let Some(id) = peer.request() {
            open.push(id);
            seen.fetch_max(open.len(), Ordering::SeqCst);
            if open.len() == 3 {
                for id in open.drain(..) {
                    peer.answer(id, b"ok");
                }
            }
        }
    });
    let mut scenario = scenario(vec![rate(20.0, 50), rate(1_000.0, 300)]);
    scenario.http.connections = 1;
    scenario.drain = Duration::from_millis(300);
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    let good = outcome
        .operations
        .iter()
        .filter(|done| done.failure.is_none());
    assert!(good.count() >= 298, "{:?}", outcome.operations.last());
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn every_request_on_a_connection_of_its_own() {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let server = Server::new(move |stream| {
        count.fetch_add(1, Ordering::SeqCst);
        let Some(mut peer) = Peer::new(stream, &[]) else {
            return;
        };
        while let Some(id) = peer.request() {
            peer.answer(id, b"ok");
        }
    });
    let mut scenario = scenario(vec![rate(200.0, 200)]);
    scenario.http.keep_alive = false;
    scenario.http.connections = 64;
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    outcome.assert_all(None, "a good server");
    assert_eq!(opened.load(Ordering::SeqCst), outcome.operations.len());
}

#[test]
fn checks_hold_answers_to_account() {
    let server = good(|| {});
    for (check, failure) in [
        (Check::Status(vec![200..=200]), None),
        (Check::Status(vec![201..=299]), Some(Failure::Status)),
        (Check::Within(Duration::ZERO), Some(Failure::Slow)),
    ] {
        let mut scenario = scenario(vec![rate(100.0, 50)]);
        scenario.journeys[0].steps[0].checks = vec![check];
        let outcome = run(scenario, &server.url(), 1, &Stop::new());
        outcome.assert_all(failure, "checks");
    }
}

/// A body goes out as the windows open, and comes whole.
#[test]
fn bodies_wait_for_windows() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    let server = Server::new(move |stream| {
        // Streams may send ten bytes at first.
        let Some(mut peer) = Peer::new(stream, &[(4, 10)]) else {
            return;
        };
        let mut body = Vec::new();
        while let Some(frame) = peer.next() {
            if frame.kind != DATA {
                continue;
            }
            body.extend_from_slice(&frame.payload);
            if frame.flags & END_STREAM != 0 {
                seen.lock()
                    .expect("no panic")
                    .push(std::mem::take(&mut body));
                peer.answer(frame.stream, b"ok");
            } else if body.len() < 100_000 && !frame.payload.is_empty() {
                let more = 7_000_u32.to_be_bytes();
                peer.send(WINDOW_UPDATE, 0, frame.stream, &more);
                peer.send(WINDOW_UPDATE, 0, 0, &more);
            }
        }
    });
    let text: String = (0..20_000)
        .map(|at| char::from(b'a' + (at % 23) as u8))
        .collect();
    let mut scenario = scenario(vec![users(1, 1, 100)]);
    scenario.journeys = vec![request("POST")];
    scenario.journeys[0].steps[0].body = Some(Template::literal(&text));
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    outcome.assert_all(None, "bodies");
    let bodies = bodies.lock().expect("no panic");
    assert_eq!(bodies.len(), outcome.operations.len());
    assert!(bodies.iter().all(|body| body == text.as_bytes()));
}

#[test]
fn answers_of_every_form() {
    let server = Server::new(|stream| {
        let Some(mut peer) = Peer::new(stream, &[(1, 0), (3, 100), (0xabcd, 7)]) else {
            return;
        };
        while let Some(id) = peer.request() {
            peer.send(PING, 0, 0, b"12345678");
            peer.send(0x77, 0xff, id, b"of the future");
            // An interim answer, then one in pieces, padded, with a length and with trailers.
            peer.send(HEADERS, END_HEADERS, id, &field(":status", "103"));
            let head = [vec![0x88], field("content-length", "5"), field("x-y", "z")].concat();
            peer.send(HEADERS, 0, id, &head[..3]);
            peer.send(CONTINUATION, 0, id, &head[3..9]);
            peer.send(CONTINUATION, END_HEADERS, id, &head[9..]);
            peer.send(DATA, 8, id, &[2, b'h', b'e', 0, 0]);
            peer.send(DATA, 0, id, b"llo");
            peer.send(HEADERS, END_HEADERS | END_STREAM, id, &field("x", "y"));
        }
    });
    let outcome = run(
        scenario(vec![users(3, 3, 150)]),
        &server.url(),
        1,
        &Stop::new(),
    );
    outcome.assert_all(None, "answers in pieces");
    let whole = |done: &driftline_loadgen::Operation| (done.status, done.bytes) == (200, 5);
    assert!(outcome.operations.iter().all(whole));
}

/// What a kept connection's end comes to: `method` is sent on a connection that has answered once.
fn ended_on_the_second(method: &str, end: fn(&mut Peer, u32)) -> (usize, Outcome) {
    let received = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&received);
    let server = Server::new(move |stream| {
        let Some(mut peer) = Peer::new(stream, &[]) else {
            return;
        };
        let Some(first) = peer.request() else { return };
        count.fetch_add(1, Ordering::SeqCst);
        peer.answer(first, b"ok");
        if let Some(second) = peer.request() {
            count.fetch_add(1, Ordering::SeqCst);
            end(&mut peer, second);
        }
    });
    let mut scenario = scenario(vec![users(1, 1, 200)]);
    scenario.http.connections = 1;
    scenario.journeys = vec![request(method)];
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    (received.load(Ordering::SeqCst), outcome)
}

#[test]
fn what_is_sent_twice_does_no_harm_and_is_counted() {
    let close = |_: &mut Peer, _| {};
    let (received, outcome) = ended_on_the_second("GET", close);
    outcome.assert_all(None, "GET");
    let twice = received - outcome.operations.len();
    assert!(twice > 0, "nothing was sent twice");
    assert_eq!(retries(&outcome), twice as u64);

    let (received, outcome) = ended_on_the_second("POST", close);
    assert_eq!((received, retries(&outcome)), (outcome.operations.len(), 0));
    let failed = outcome.failed_with(Failure::Closed) + outcome.failed_with(Failure::Reset);
    assert_eq!(failed, outcome.operations.len() / 2);

    // What the target says that it has not looked at may be sent again, whatever it is.
    let refuse = |peer: &mut Peer, id: u32| {
        let last = (id - 2).to_be_bytes();
        peer.send(GOAWAY, 0, 0, &[&last[..], &[0; 4]].concat());
        peer.await_close();
    };
    let (received, outcome) = ended_on_the_second("POST", refuse);
    outcome.assert_all(None, "a goodbye");
    let twice = received - outcome.operations.len();
    assert!(twice > 0, "nothing was sent twice");
    assert_eq!(retries(&outcome), twice as u64);
}

#[test]
fn a_refused_stream_is_sent_once_more_and_not_for_ever() {
    let server = Server::new(|stream| {
        let Some(mut peer) = Peer::new(stream, &[]) else {
            return;
        };
        while let Some(id) = peer.request() {
            peer.send(RST_STREAM, 0, id, &[0, 0, 0, 7]);
        }
    });
    let outcome = run(
        scenario(vec![rate(100.0, 100)]),
        &server.url(),
        1,
        &Stop::new(),
    );
    outcome.assert_all(Some(Failure::Reset), "refused twice");
    assert_eq!((outcome.operations.len(), retries(&outcome)), (10, 10));
}

#[test]
fn a_late_answer_is_censored_and_leaves_others_alone() {
    let server = Server::new(|stream| {
        let Some(mut peer) = Peer::new(stream, &[]) else {
            return;
        };
        let Some(never) = peer.request() else { return };
        while let Some(id) = peer.request() {
            peer.answer(id, b"ok");
        }
        assert_eq!(never, 1);
    });
    let mut scenario = scenario(vec![rate(100.0, 300)]);
    scenario.http.connections = 1;
    scenario.http.timeout = Duration::from_millis(80);
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    assert_eq!(outcome.operations.len(), 30);
    let late: Vec<_> = outcome
        .operations
        .iter()
        .filter(|done| done.failure.is_some())
        .collect();
    let [late] = late.as_slice() else {
        panic!("one is never answered: {late:?}");
    };
    assert_eq!(
        (late.failure, late.first_byte_ns),
        (Some(Failure::Timeout), NEVER_NS)
    );
    assert!(late.done_ns - late.sent_ns >= 80_000_000);
}

#[test]
fn journeys_elsewhere_use_all_streams() {
    let server = Server::new(|stream| {
        let Some(mut peer) = Peer::new(stream, &[]) else {
            return;
        };
        let mut open = Vec::new();
        while let Some(id) = peer.request() {
            open.push(id);
            if open.len() == 5 {
                for id in open.drain(..) {
                    peer.answer(id, b"ok");
                }
            }
        }
    });
    let mut scenario = scenario(vec![users(5, 5, 200)]);
    scenario.http.connections = 1;
    scenario.journeys[0].cookies = true;
    scenario.drain = Duration::from_millis(50);
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    let good = outcome
        .operations
        .iter()
        .filter(|done| done.failure.is_none());
    assert!(good.count() >= 5);
}
