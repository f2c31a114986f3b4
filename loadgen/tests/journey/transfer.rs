//! How answers come: redirects, compression, chunks, and limits on their size.

use driftline_loadgen::Failure;
use driftline_loadgen::scenario::{Check, HttpVersion, Step};

use crate::fixture::{Fixture, get, plain, post, run, steps};
use crate::server::{Server, gzip};

const BOTH: [HttpVersion; 2] = [HttpVersion::Http1, HttpVersion::Http2];

async fn one(
    server: &Server,
    version: HttpVersion,
    step: Step,
    edit: impl FnOnce(&mut driftline_loadgen::scenario::HttpOptions),
) -> Fixture {
    let fixture = Fixture::new(plain(server.address), |scenario| {
        scenario.http.version = version;
        edit(&mut scenario.http);
        steps(scenario, vec![step]);
    });
    fixture.once(0).await;
    fixture
}

#[test]
fn redirects_keep_or_change_the_method_as_their_status_says() {
    run(async {
        for version in BOTH {
            for (status, method, body) in [
                (301, "GET", ""),
                (302, "GET", ""),
                (303, "GET", ""),
                (307, "POST", "body"),
                (308, "POST", "body"),
            ] {
                let server = Server::plain(version).await;
                let step = post(&format!("/redirect/{status}/to?x=1"), "body");
                let fixture = one(&server, version, step, |http| http.redirects = 3).await;
                let operation = fixture.operation();
                assert_eq!((operation.status, operation.failure), (200, None));
                assert_eq!(operation.bytes, ("elsewhere".len() + "ok".len()) as u64);
                let seen = server.seen();
                assert_eq!(seen[1].path, "/to?x=1");
                assert_eq!(
                    (seen[1].method.as_str(), seen[1].body.as_str()),
                    (method, body)
                );
                assert_eq!(seen[1].connection, seen[0].connection);
            }
        }
    });
}

#[test]
fn redirects_end_at_their_limit_and_never_lead_elsewhere() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let looping = get("/redirect/302/loop");
        let fixture = one(&server, HttpVersion::Http1, looping, |http| {
            http.redirects = 2
        })
        .await;
        assert_eq!(fixture.operation().failure, Some(Failure::Redirects));
        assert_eq!(server.seen().len(), 3);

        let away = get("/redirect/302/http://127.0.0.1:1/");
        let fixture = one(&server, HttpVersion::Http1, away, |http| http.redirects = 2).await;
        let operation = fixture.operation();
        assert_eq!((operation.status, operation.failure), (302, None));

        let fixture = one(&server, HttpVersion::Http1, get("/redirect/302/x"), |_| {}).await;
        let operation = fixture.operation();
        assert_eq!((operation.status, operation.failure), (302, None));
        assert_eq!(server.seen().len(), 5);
    });
}

#[test]
fn compressed_answers_are_checked_as_plain_text() {
    run(async {
        let server = Server::plain(HttpVersion::Http1).await;
        let plain_text = || vec![Check::Contains("plain text".to_owned())];
        for (path, compression, failure) in [
            ("/gzip", true, None),
            ("/deflate", true, None),
            ("/gzip", false, Some(Failure::Body)),
            ("/bomb", true, Some(Failure::TooLarge)),
            ("/broken", true, Some(Failure::Malformed)),
        ] {
            let step = Step {
                checks: plain_text(),
                ..get(path)
            };
            let fixture = one(&server, HttpVersion::Http1, step, |http| {
                http.compression = compression
            })
            .await;
            assert_eq!(fixture.operation().failure, failure, "{path}");
        }
        let seen = server.seen();
        assert_eq!(seen[0].header("accept-encoding"), Some("gzip, deflate"));
        assert_eq!(seen[2].header("accept-encoding"), None);
        // What nobody looks at is only counted, as it travelled.
        let fixture = one(&server, HttpVersion::Http1, get("/bomb"), |http| {
            http.compression = true
        })
        .await;
        let operation = fixture.operation();
        assert_eq!(operation.failure, None);
        assert_eq!(operation.bytes, gzip(&[0; 1 << 21]).len() as u64);
    });
}

#[test]
fn chunked_answers_are_read_whole() {
    run(async {
        for version in BOTH {
            let server = Server::plain(version).await;
            let step = Step {
                checks: vec![Check::Contains("<chunk 0><chunk 1><chunk 2>".to_owned())],
                ..get("/chunked")
            };
            let fixture = one(&server, version, step, |_| {}).await;
            let operation = fixture.operation();
            assert_eq!((operation.failure, operation.bytes), (None, 27));
        }
    });
}

#[test]
fn answers_beyond_the_limit_are_given_up_announced_or_not() {
    run(async {
        for version in BOTH {
            let server = Server::plain(version).await;
            for path in ["/big", "/flood"] {
                let fixture = one(&server, version, get(path), |_| {}).await;
                let operation = fixture.operation();
                assert_eq!(operation.failure, Some(Failure::TooLarge));
                assert_eq!(operation.status, 200);
                assert!(operation.bytes <= (1 << 20) + (1 << 17));
            }
        }
    });
}

#[test]
fn answers_without_a_body_are_answers() {
    run(async {
        for version in BOTH {
            let server = Server::plain(version).await;
            for step in [
                get("/empty"),
                Step {
                    method: "HEAD".to_owned(),
                    ..get("/")
                },
            ] {
                let fixture = one(&server, version, step, |_| {}).await;
                let operation = fixture.operation();
                assert_eq!((operation.failure, operation.bytes), (None, 0));
            }
        }
    });
}
