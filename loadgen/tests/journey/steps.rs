//! What users send: variables, captures, checks, pauses, cookies.

use std::sync::Arc;
use std::time::Duration;

use driftline_loadgen::journey::User;
use driftline_loadgen::scenario::{CaptureFrom, Check, Feed, HttpVersion, Step, Think};
use driftline_loadgen::{Failure, NEVER_NS};
use regex::Regex;

use crate::fixture::{Fixture, capture, get, plain, post, run, steps, target, template};
use crate::server::Server;

#[test]
fn captured_values_and_feeds_reach_path_headers_and_body() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let fixture = Fixture::new(plain(server.address), |scenario| {
            let feed = Feed {
                columns: vec!["name".to_owned()],
                rows: vec![vec!["ann".to_owned()], vec!["bob".to_owned()]],
            };
            scenario.feeds.insert("people".to_owned(), Arc::new(feed));
            let first = Step {
                captures: vec![
                    capture("name", CaptureFrom::Json("/name".to_owned())),
                    capture("token", CaptureFrom::Header("X-Token".to_owned())),
                    capture(
                        "id",
                        CaptureFrom::Regex(Regex::new(r#""id":(\d)"#).expect("valid")),
                    ),
                ],
                ..get("/json")
            };
            let second = Step {
                headers: vec![("x-given".to_owned(), template("<${token}>"))],
                ..post(
                    "/${name}?q=${token}",
                    "${id} ${people.name} ${user} ${iteration}",
                )
            };
            steps(scenario, vec![first, second]);
        });
        let mut user = User::new(&fixture.context, 3);
        fixture.again(&mut user).await;
        fixture.again(&mut user).await;
        assert!(
            fixture
                .operations()
                .iter()
                .all(|operation| operation.failure.is_none())
        );
        let seen = server.seen();
        assert_eq!(seen.len(), 4);
        assert_eq!(seen[1].path, "/a%2Fb%20c?q=t%261");
        assert_eq!(seen[1].header("x-given"), Some("<t&1>"));
        assert_eq!(seen[1].header("content-length"), Some("9"));
        assert_eq!(seen[1].body, "7 bob 3 0");
        assert_eq!(seen[3].body, "7 bob 3 1");
    });
}

#[test]
fn a_users_random_values_are_its_own_and_come_again_in_a_second_run() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        for _ in 0..2 {
            let fixture = Fixture::new(plain(server.address), |scenario| {
                steps(scenario, vec![get("/r?${random}")]);
            });
            fixture.once(1).await;
            fixture.once(2).await;
        }
        let paths = server.paths();
        assert_eq!(paths[0..2], paths[2..4]);
        assert_ne!(paths[0], paths[1]);
        assert_eq!(paths[0].len(), "/r?".len() + 16);
    });
}

#[test]
fn a_failed_step_ends_the_journey() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let fixture = Fixture::new(plain(server.address), |scenario| {
            steps(scenario, vec![get("/"), get("/status/404"), get("/never")]);
        });
        fixture.once(0).await;
        let operations = fixture.operations();
        assert_eq!(operations.len(), 2);
        assert_eq!((operations[0].status, operations[0].failure), (200, None));
        assert_eq!(
            (operations[1].status, operations[1].failure),
            (404, Some(Failure::Status))
        );
        assert_eq!(server.paths(), ["/", "/status/404"]);
    });
}

#[test]
fn a_step_is_intended_when_the_one_before_and_its_pause_are_over() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let pause = Duration::from_millis(3);
        let fixture = Fixture::new(plain(server.address), |scenario| {
            let think = Some(Think {
                from: pause,
                to: pause,
            });
            steps(
                scenario,
                vec![Step { think, ..get("/a") }, get("/b"), get("/c")],
            );
        });
        fixture.once(0).await;
        let operations = fixture.operations();
        assert_eq!(operations.len(), 3);
        assert_eq!(operations[1].intended_ns, operations[0].done_ns + 3_000_000);
        assert_eq!(operations[2].intended_ns, operations[1].done_ns);
        for operation in operations {
            assert!(operation.intended_ns <= operation.sent_ns);
            assert!(operation.sent_ns <= operation.first_byte_ns);
            assert!(operation.first_byte_ns <= operation.done_ns);
        }
    });
}

#[test]
fn a_stop_ends_a_journey_at_its_next_pause() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let fixture = Fixture::new(plain(server.address), |scenario| {
            let hour = Duration::from_secs(3_600);
            let think = Some(Think {
                from: hour,
                to: hour,
            });
            steps(scenario, vec![Step { think, ..get("/a") }, get("/b")]);
        });
        fixture.context.stop.request();
        fixture.once(0).await;
        assert_eq!(fixture.operation().failure, None);
        assert_eq!(server.paths(), ["/a"]);
    });
}

#[test]
fn answers_that_the_checks_do_not_allow_are_failures() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let missing = vec![capture("x", CaptureFrom::Json("/missing".to_owned()))];
        let cases = [
            (vec![Check::Contains("\"id\":7".to_owned())], vec![], None),
            (
                vec![Check::Contains("absent".to_owned())],
                vec![],
                Some(Failure::Body),
            ),
            (
                vec![Check::Matches(Regex::new("id.:8").expect("valid"))],
                vec![],
                Some(Failure::Body),
            ),
            (
                vec![Check::Within(Duration::ZERO)],
                vec![],
                Some(Failure::Slow),
            ),
            (
                vec![Check::Status(vec![201..=299])],
                vec![],
                Some(Failure::Status),
            ),
            (vec![], missing, Some(Failure::Capture)),
        ];
        for (checks, captures, failure) in cases {
            let fixture = Fixture::new(plain(server.address), |scenario| {
                steps(
                    scenario,
                    vec![Step {
                        checks,
                        captures,
                        ..get("/json")
                    }],
                );
            });
            fixture.once(0).await;
            let operation = fixture.operation();
            assert_eq!(operation.failure, failure);
            assert_eq!(operation.status, 200);
            assert!(operation.done_ns >= operation.first_byte_ns);
        }
    });
}

#[test]
fn a_header_value_with_a_line_end_is_never_sent() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let fixture = Fixture::new(plain(server.address), |scenario| {
            let first = Step {
                captures: vec![capture("evil", CaptureFrom::Json("/evil".to_owned()))],
                ..get("/json")
            };
            let second = Step {
                headers: vec![("x-given".to_owned(), template("${evil}"))],
                ..get("/second")
            };
            steps(scenario, vec![first, second]);
        });
        fixture.once(0).await;
        let operations = fixture.operations();
        assert_eq!(operations[1].failure, Some(Failure::Malformed));
        assert_eq!(operations[1].sent_ns, NEVER_NS);
        assert_eq!(server.paths(), ["/json"]);
    });
}

#[test]
fn cookies_last_for_one_journey_and_only_where_they_are_wanted() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        for cookies in [true, false] {
            let fixture = Fixture::new(plain(server.address), |scenario| {
                let paths = ["/first", "/login", "/next", "/deep/x", "/logout", "/last"];
                steps(scenario, paths.map(get).to_vec());
                scenario.journeys[0].cookies = cookies;
            });
            let mut user = User::new(&fixture.context, 0);
            fixture.again(&mut user).await;
            fixture.again(&mut user).await;
        }
        let seen = server.seen();
        let sent: Vec<Option<&str>> = seen.iter().map(|seen| seen.header("cookie")).collect();
        let visit = [
            None,
            None,
            Some("sid=1"),
            Some("deep=2; sid=1"),
            Some("sid=1"),
            None,
        ];
        assert_eq!(sent[..6], visit);
        assert_eq!(sent[6..12], visit, "a second visit begins without cookies");
        assert!(sent[12..].iter().all(Option::is_none));
    });
}

#[test]
fn the_targets_path_and_name_are_part_of_every_request() {
    run(async {
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            let server = Server::plain(version).await;
            let port = server.address.port();
            let url = format!("http://shop.test:{port}/base/");
            let fixture = Fixture::new(target(&url, server.address), |scenario| {
                scenario.http.version = version;
                scenario.http.headers = vec![("x-all".to_owned(), template("yes"))];
                let named = Step {
                    headers: vec![("Host".to_owned(), template("other.test"))],
                    ..get("/b")
                };
                steps(scenario, vec![get("/a?x=1"), named]);
            });
            fixture.once(0).await;
            let seen = server.seen();
            assert_eq!(server.paths(), ["/base/a?x=1", "/base/b"]);
            assert_eq!(seen[0].header("x-all"), Some("yes"));
            let names: Vec<Option<&str>> = seen
                .iter()
                .map(|seen| match version {
                    HttpVersion::Http1 => seen.header("host"),
                    HttpVersion::Http2 => seen.authority.as_deref(),
                })
                .collect();
            assert_eq!(
                names,
                [
                    Some(format!("shop.test:{port}").as_str()),
                    Some("other.test")
                ]
            );
        }
    });
}
