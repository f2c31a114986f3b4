//! Servers that misbehave, and answers of every form.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use driftline_loadgen::scenario::Check;
use driftline_loadgen::{Failure, NEVER_NS, Stop};

use super::run::{Outcome, rate, request, run, scenario};
use super::server::{Server, await_close, next_request};

/// Ten arrivals.
fn ten(server: &Server) -> Outcome {
    let mut scenario = scenario(vec![rate(100.0, 100)]);
    scenario.http.timeout = Duration::from_secs(2);
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    assert_eq!(outcome.operations.len(), 10);
    outcome
}

/// What ten requests come to when each connection is treated so after its first request.
fn failing(of: &str, failure: Failure, behave: impl Fn(&mut TcpStream) + Send + Sync + 'static) {
    let server = Server::new(move |mut stream| {
        if next_request(&mut stream) {
            behave(&mut stream);
        }
    });
    ten(&server).assert_all(Some(failure), of);
}

/// Writes until the other side has had enough.
fn flood(stream: &mut TcpStream, text: &str) {
    while stream.write_all(text.as_bytes()).is_ok() {}
}

#[test]
fn refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let open = scenario(vec![rate(100.0, 100)]);
    let url = format!("http://{address}");
    let outcome = run(open, &url, 1, &Stop::new());
    outcome.assert_all(Some(Failure::Refused), "nobody listens");
    assert_eq!(outcome.operations.len(), 10);
    assert!(
        outcome
            .operations
            .iter()
            .all(|operation| operation.sent_ns == NEVER_NS)
    );

    // Users try again, but not as fast as they can.
    let closed = scenario(vec![super::users(2, 2, 200)]);
    let outcome = run(closed, &url, 1, &Stop::new());
    outcome.assert_all(Some(Failure::Refused), "nobody listens");
    assert!((2..=40).contains(&outcome.operations.len()));
}

#[test]
fn reset() {
    failing("a reset", Failure::Reset, |stream| {
        let socket = socket2::SockRef::from(&*stream);
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("an open socket");
    });
}

#[test]
fn closed_too_early() {
    failing("no answer", Failure::Closed, |_| {});
    failing("half closed", Failure::Closed, |stream| {
        stream.shutdown(Shutdown::Write).expect("an open socket");
        await_close(stream);
    });
    for part in [
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    ] {
        failing("a part", Failure::Closed, move |stream| {
            stream.write_all(part.as_bytes()).expect("an open socket");
        });
    }
}

#[test]
fn garbage() {
    for text in ["\u{1}\u{2}\u{3}\r\n\r\n", "220 mail.example ESMTP\r\n"] {
        failing("garbage", Failure::Malformed, move |stream| {
            stream.write_all(text.as_bytes()).expect("an open socket");
            await_close(stream);
        });
    }
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    failing("no chunks", Failure::Malformed, move |stream| {
        stream.write_all(chunks.as_bytes()).expect("an open socket");
        await_close(stream);
    });
}

#[test]
fn floods() {
    failing("an endless head", Failure::TooLarge, |stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n")
            .expect("an open socket");
        flood(
            stream,
            "X-Filler: 0123456789012345678901234567890123456789\r\n",
        );
    });
    failing("an endless body", Failure::TooLarge, |stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            .expect("an open socket");
        flood(stream, &"x".repeat(10_000));
    });
    failing("endless chunks", Failure::TooLarge, |stream| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).expect("an open socket");
        flood(stream, &format!("3e8\r\n{}\r\n", "x".repeat(1_000)));
    });
    failing("an announced size", Failure::TooLarge, |stream| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n";
        stream.write_all(head).expect("an open socket");
        await_close(stream);
    });
}

#[test]
fn never_answered() {
    let server = Server::new(|mut stream| await_close(&mut stream));
    let mut timed = scenario(vec![rate(100.0, 100)]);
    timed.http.timeout = Duration::from_millis(100);
    let outcome = run(timed, &server.url(), 1, &Stop::new());
    outcome.assert_all(Some(Failure::Timeout), "a timeout");
    assert_eq!(outcome.operations.len(), 10);
    for operation in &outcome.operations {
        assert!(operation.done_ns - operation.sent_ns >= 100_000_000);
        assert_eq!(operation.first_byte_ns, NEVER_NS);
    }

    let mut ended = scenario(vec![rate(100.0, 100)]);
    ended.drain = Duration::from_millis(20);
    let outcome = run(ended, &server.url(), 1, &Stop::new());
    outcome.assert_all(Some(Failure::Unfinished), "the end");
    assert_eq!(outcome.operations.len(), 10);
}

#[test]
fn forms_of_answers() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
    ] {
        let server = Server::answering(move || Some(answer.as_bytes().to_vec()));
        let outcome = ten(&server);
        outcome.assert_all(None, answer);
        for operation in &outcome.operations {
            assert_eq!(
                (operation.status, operation.bytes),
                (200, answer.len() as u64)
            );
        }
    }
    let until_close = "HTTP/1.0 200 OK\r\n\r\nuntil the end";
    let server = Server::new(move |mut stream| {
        if next_request(&mut stream) {
            stream
                .write_all(until_close.as_bytes())
                .expect("an open socket");
        }
    });
    let outcome = ten(&server);
    outcome.assert_all(None, until_close);
    assert!(
        outcome
            .operations
            .iter()
            .all(|operation| operation.bytes == until_close.len() as u64)
    );
}

#[test]
fn heads_have_no_body() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
    let server = Server::answering(move || Some(head.as_bytes().to_vec()));
    let mut scenario = scenario(vec![rate(100.0, 100)]);
    scenario.journeys = vec![request("HEAD")];
    let outcome = run(scenario, &server.url(), 1, &Stop::new());
    outcome.assert_all(None, "HEAD");
    assert_eq!(outcome.operations.len(), 10);
}

#[test]
fn answers_are_held_to_checks() {
    let not_found = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let server = Server::answering(move || Some(not_found.as_bytes().to_vec()));
    ten(&server).assert_all(Some(Failure::Status), "404");
    for (check, failure) in [
        (Check::Status(vec![200..=299, 404..=404]), None),
        (Check::Status(vec![200..=299]), Some(Failure::Status)),
    ] {
        let mut scenario = scenario(vec![rate(100.0, 100)]);
        scenario.journeys[0].steps[0].checks = vec![check];
        run(scenario, &server.url(), 1, &Stop::new()).assert_all(failure, "404");
    }
    let mut scenario = scenario(vec![rate(100.0, 100)]);
    let any = Check::Status(vec![100..=599]);
    scenario.journeys[0].steps[0].checks = vec![any, Check::Within(Duration::from_nanos(1))];
    run(scenario, &server.url(), 1, &Stop::new()).assert_all(Some(Failure::Slow), "late");
}
