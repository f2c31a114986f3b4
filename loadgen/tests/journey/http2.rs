//! HTTP/2: many requests on few connections.

use std::time::Duration;

use driftline_loadgen::Failure;
use driftline_loadgen::scenario::{HttpOptions, HttpVersion};
use futures::future::join_all;

use crate::fixture::{Fixture, get, plain, run, steps, until};
use crate::server::{Server, Serving};

fn fixture(server: &Server, path: &str, edit: impl FnOnce(&mut HttpOptions)) -> Fixture {
    Fixture::new(plain(server.address), |scenario| {
        scenario.http.version = HttpVersion::Http2;
        edit(&mut scenario.http);
        steps(scenario, vec![get(path)]);
    })
}

/// Makes journeys at once, lets all of them go when so many are held, and says that all went well.
async fn all_at_once(server: &Server, fixture: &Fixture, users: u64, held: u32) {
    let journeys = join_all((0..users).map(|user| fixture.once(user)));
    let watch = async {
        until(|| server.state.held.get() == held).await;
        server
            .state
            .release
            .add_permits(usize::try_from(users).expect("few"));
    };
    tokio::join!(journeys, watch);
    let operations = fixture.operations();
    assert_eq!(operations.len() as u64, users);
    assert!(
        operations.iter().all(|done| done.failure.is_none()),
        "{operations:?}"
    );
    assert_eq!((server.state.most_held.get(), fixture.waiting()), (held, 0));
}

#[test]
fn one_connection_carries_many_requests_at_once() {
    run(async {
        let server = Server::plain(HttpVersion::Http2).await;
        let fixture = fixture(&server, "/hold", |_| {});
        all_at_once(&server, &fixture, 60, 60).await;
        assert_eq!(server.state.accepted.get(), 1);
    });
}

#[test]
fn further_connections_are_made_up_to_the_limit() {
    run(async {
        let server = Server::plain(HttpVersion::Http2).await;
        let fixture = fixture(&server, "/hold", |http| {
            http.streams = 10;
            http.connections = 3;
        });
        all_at_once(&server, &fixture, 45, 30).await;
        assert_eq!(server.state.accepted.get(), 3);
    });
}

#[test]
fn more_streams_than_at_first_are_used_once_the_target_allows_them() {
    run(async {
        let serving = Serving {
            version: HttpVersion::Http2,
            max_streams: Some(150),
            tls: None,
        };
        let server = Server::start(serving).await;
        let fixture = fixture(&server, "/hold", |http| {
            http.streams = 200;
            http.connections = 1;
        });
        all_at_once(&server, &fixture, 180, 150).await;
        assert_eq!(server.state.accepted.get(), 1);
    });
}

#[test]
fn the_targets_own_limit_of_streams_is_kept() {
    run(async {
        let serving = Serving {
            version: HttpVersion::Http2,
            max_streams: Some(5),
            tls: None,
        };
        let server = Server::start(serving).await;
        let fixture = fixture(&server, "/hold", |http| http.connections = 1);
        // The first request brings the limit.
        server.state.release.add_permits(1);
        fixture.once(0).await;
        assert_eq!(fixture.operation().failure, None);
        all_at_once(&server, &fixture, 20, 5).await;
        assert_eq!(server.state.accepted.get(), 1);
    });
}

#[test]
fn a_stream_that_the_target_resets_is_a_reset_and_the_connection_goes_on() {
    run(async {
        let server = Server::plain(HttpVersion::Http2).await;
        let fixture = fixture(&server, "/fail", |_| {});
        for user in 0..3 {
            fixture.once(user).await;
            assert_eq!(fixture.operation().failure, Some(Failure::Reset));
        }
        assert_eq!((server.state.accepted.get(), server.seen().len()), (1, 3));
    });
}

#[test]
fn a_request_that_times_out_leaves_the_others_on_its_connection_alone() {
    run(async {
        let server = Server::plain(HttpVersion::Http2).await;
        let fixture = Fixture::new(plain(server.address), |scenario| {
            scenario.http.version = HttpVersion::Http2;
            scenario.http.timeout = Duration::from_millis(60);
            steps(scenario, vec![get("/hold")]);
            let quick = driftline_loadgen::scenario::Journey {
                steps: vec![get("/")],
                ..scenario.journeys[0].clone()
            };
            scenario.journeys.push(quick);
        });
        let mut other = driftline_loadgen::journey::User::new(&fixture.context, 1);
        let quick = async {
            until(|| server.state.held.get() == 1).await;
            let journey = &fixture.context.scenario.journeys[1];
            fixture
                .client
                .iterate(&mut other, journey, fixture.context.clock.now_ns())
                .await;
        };
        tokio::join!(fixture.once(0), quick);
        let failures: Vec<_> = fixture
            .operations()
            .iter()
            .map(|done| done.failure)
            .collect();
        assert_eq!(failures, [None, Some(Failure::Timeout)]);
        until(|| server.state.held.get() == 0).await;
        server.state.release.add_permits(1);
        fixture.once(2).await;
        assert_eq!(fixture.operation().failure, None);
        assert_eq!(server.state.accepted.get(), 1);
    });
}

#[test]
fn a_connection_that_stands_still_is_given_up_after_a_timeout() {
    run(async {
        let server = Server::plain(HttpVersion::Http2).await;
        let fixture = fixture(&server, "/hold", |http| {
            http.timeout = Duration::from_millis(30)
        });
        server.state.release.add_permits(1);
        fixture.once(0).await;
        assert_eq!(fixture.operation().failure, None);
        fixture.once(1).await;
        assert_eq!(fixture.operation().failure, Some(Failure::Timeout));
        until(|| fixture.connections() == 0 && server.state.open.get() == 0).await;
    });
}
