//! What becomes of connections: kept or not, shared, waited for, found ended, given up.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use driftline_loadgen::scenario::HttpVersion;
use driftline_loadgen::{Failure, NEVER_NS};
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{Fixture, get, plain, post, run, steps, until};
use crate::server::{Server, raw};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn holding(server: &Server, connections: u32, waiting: u32) -> Fixture {
    Fixture::new(plain(server.address), |scenario| {
        scenario.http.connections = connections;
        scenario.http.waiting = waiting;
        steps(scenario, vec![get("/hold?${user}")]);
    })
}

#[test]
fn connections_are_kept_or_made_for_each_request() {
    run(async {
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            for (keep_alive, connections) in [(true, 1), (false, 5)] {
                let server = Server::plain(version).await;
                let fixture = Fixture::new(plain(server.address), |scenario| {
                    scenario.http.version = version;
                    scenario.http.keep_alive = keep_alive;
                    steps(scenario, vec![get("/")]);
                });
                for user in 0..5 {
                    fixture.once(user).await;
                }
                assert!(
                    fixture
                        .operations()
                        .iter()
                        .all(|done| done.failure.is_none())
                );
                assert_eq!(server.state.accepted.get(), connections);
                if version == HttpVersion::Http1 {
                    let close = (!keep_alive).then_some("close");
                    assert_eq!(server.seen()[0].header("connection"), close);
                }
                until(|| fixture.connections() == i64::from(keep_alive)).await;
            }
        }
    });
}

#[test]
fn callers_without_a_connection_wait_in_order_and_keep_their_intended_time() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let fixture = holding(&server, 2, 10);
        let users = join_all((0..6).map(|user| fixture.once(user)));
        let watch = async {
            until(|| server.state.held.get() == 2 && fixture.waiting() == 4).await;
            server.state.release.add_permits(6);
        };
        tokio::join!(users, watch);
        let operations = fixture.operations();
        assert_eq!(operations.len(), 6);
        assert!(operations.iter().all(|done| done.failure.is_none()));
        assert_eq!(server.state.most_held.get(), 2);
        assert_eq!(server.state.accepted.get(), 2);
        assert_eq!(fixture.waiting(), 0);
        let asked: Vec<String> = (0..6).map(|user| format!("/hold?{user}")).collect();
        assert_eq!(server.paths(), asked);
        let first_done = operations.iter().map(|done| done.done_ns).min();
        for waited in &operations[2..] {
            assert!(Some(waited.intended_ns) < first_done);
            assert!(Some(waited.sent_ns) >= first_done);
        }
    });
}

#[test]
fn a_caller_without_room_to_wait_is_dropped() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let fixture = holding(&server, 1, 1);
        let users = join_all((0..3).map(|user| fixture.once(user)));
        let watch = async {
            until(|| server.state.held.get() == 1).await;
            server.state.release.add_permits(3);
        };
        tokio::join!(users, watch);
        let operations = fixture.operations();
        let dropped: Vec<_> = operations
            .iter()
            .filter(|done| done.failure.is_some())
            .collect();
        assert_eq!((operations.len(), dropped.len()), (3, 1));
        assert_eq!(dropped[0].failure, Some(Failure::Dropped));
        assert_eq!(dropped[0].sent_ns, NEVER_NS);
        assert_eq!(server.seen().len(), 2);
    });
}

/// A server whose every connection answers one request and ends at the second.
async fn ends_at_second(connections: Rc<Cell<u32>>) -> std::net::SocketAddr {
    raw(move |mut stream| {
        connections.set(connections.get() + 1);
        async move {
            let mut buffer = [0; 1_024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(ANSWER).await;
            let _ = stream.read(&mut buffer).await;
        }
    })
    .await
}

#[test]
fn a_request_on_a_kept_connection_that_ends_is_sent_again_if_that_is_safe() {
    run(async {
        for (step, failure, accepted) in [
            (get("/"), None, 2),
            (post("/", "x"), Some(Failure::Closed), 1),
        ] {
            let connections = Rc::new(Cell::new(0));
            let address = ends_at_second(Rc::clone(&connections)).await;
            let fixture = Fixture::new(plain(address), |scenario| {
                scenario.http.connections = 1;
                steps(scenario, vec![step]);
            });
            fixture.once(0).await;
            assert_eq!(fixture.operation().failure, None);
            let before_ns = fixture.context.clock.now_ns();
            fixture.once(1).await;
            let operation = fixture.operation();
            assert_eq!(operation.failure, failure);
            assert_eq!(connections.get(), accepted);
            let retries = fixture.context.gauges.retries.load(Ordering::Relaxed);
            assert_eq!(retries, u64::from(accepted) - 1);
            assert!(operation.intended_ns >= before_ns && operation.sent_ns >= before_ns);
        }
    });
}

#[test]
fn connections_that_end_while_idle_are_replaced() {
    run(async {
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            let server = Server::plain(version).await;
            let fixture = Fixture::new(plain(server.address), |scenario| {
                scenario.http.version = version;
                scenario.http.connections = 1;
                steps(scenario, vec![post("/", "not idempotent")]);
            });
            for round in 1..=3 {
                fixture.once(round).await;
                assert_eq!(fixture.operation().failure, None);
                assert_eq!(u64::from(server.state.accepted.get()), round);
                server.state.leave.notify_waiters();
                until(|| fixture.connections() == 0).await;
            }
        }
    });
}

#[test]
fn an_answer_that_does_not_come_in_time_gives_up_its_connection() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let fixture = Fixture::new(plain(server.address), |scenario| {
            scenario.http.timeout = Duration::from_millis(30);
            steps(scenario, vec![get("/hold")]);
        });
        fixture.once(0).await;
        let operation = fixture.operation();
        assert_eq!(operation.failure, Some(Failure::Timeout));
        assert!(operation.sent_ns >= operation.intended_ns);
        assert!(operation.done_ns - operation.sent_ns >= 29_000_000);
        assert_eq!(operation.first_byte_ns, NEVER_NS);
        until(|| fixture.connections() == 0 && server.state.open.get() == 0).await;
        server.state.release.add_permits(1);
        fixture.once(1).await;
        assert_eq!(fixture.operation().failure, None);
    });
}

#[test]
fn a_journey_dropped_under_way_is_unfinished_and_leaves_its_place() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let fixture = holding(&server, 1, 10);
        {
            let mut sent = pin!(fixture.once(0));
            let mut waits = pin!(fixture.once(1));
            let held = async { until(|| server.state.held.get() == 1).await };
            tokio::select! {
                biased;
                () = sent.as_mut() => unreachable!("it is held"),
                () = held => {}
            }
            let polled = waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(polled, Poll::Pending);
        }
        let operations = fixture.operations();
        assert_eq!(operations.len(), 2);
        assert!(
            operations
                .iter()
                .all(|done| done.failure == Some(Failure::Unfinished))
        );
        assert_eq!(
            operations
                .iter()
                .filter(|done| done.sent_ns == NEVER_NS)
                .count(),
            1
        );
        until(|| server.state.held.get() == 0).await;
        server.state.release.add_permits(1);
        fixture.once(2).await;
        assert_eq!(fixture.operation().failure, None);
        assert_eq!(fixture.waiting(), 0);
    });
}

#[test]
fn dropping_the_client_closes_its_connections() {
    run(async {
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            let server = Server::plain(version).await;
            let fixture = Fixture::new(plain(server.address), |scenario| {
                scenario.http.version = version;
                steps(scenario, vec![get("/")]);
            });
            fixture.once(0).await;
            assert_eq!((fixture.connections(), server.state.open.get()), (1, 1));
            let gauges = std::sync::Arc::clone(&fixture.context.gauges);
            drop(fixture);
            until(|| server.state.open.get() == 0).await;
            assert_eq!(
                gauges
                    .connections
                    .load(std::sync::atomic::Ordering::Relaxed),
                0
            );
        }
    });
}
