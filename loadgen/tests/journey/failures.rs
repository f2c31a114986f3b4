//! Targets that misbehave, and what is recorded of them.

use std::net::SocketAddr;
use std::time::Duration;

use driftline_loadgen::scenario::HttpVersion;
use driftline_loadgen::{Failure, NEVER_NS, Operation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{Fixture, get, plain, run, steps, target};
use crate::server::{raw, reset};

async fn operation(address: SocketAddr, version: HttpVersion) -> Operation {
    let fixture = Fixture::new(plain(address), |scenario| {
        scenario.http.version = version;
        steps(scenario, vec![get("/")]);
    });
    fixture.once(0).await;
    fixture.operation()
}

/// A server that reads the beginning of a request, says something and ends.
async fn says(text: &'static [u8], by_reset: bool) -> SocketAddr {
    raw(move |mut stream: TcpStream| async move {
        let mut buffer = [0; 1_024];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(text).await;
        if by_reset {
            return reset(&stream);
        }
        // What is left unread would make the end a reset.
        let _ = stream.shutdown().await;
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    })
    .await
}

#[test]
fn a_target_that_is_not_there_refuses() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            let operation = operation(address, version).await;
            assert_eq!(operation.failure, Some(Failure::Refused));
            assert_eq!(
                (operation.sent_ns, operation.first_byte_ns),
                (NEVER_NS, NEVER_NS)
            );
            assert!(operation.done_ns >= operation.intended_ns && operation.done_ns != NEVER_NS);
        }
    });
}

#[test]
fn a_target_without_an_address_is_not_resolved() {
    run(async {
        let mut nowhere = plain("127.0.0.1:9".parse().expect("valid"));
        nowhere.addresses.clear();
        let fixture = Fixture::new(nowhere, |scenario| steps(scenario, vec![get("/")]));
        fixture.once(0).await;
        assert_eq!(fixture.operation().failure, Some(Failure::Resolve));
    });
}

#[test]
fn another_address_is_tried_where_one_refuses() {
    run(async {
        let server = crate::server::Server::plain(HttpVersion::Http1).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let dead = listener.local_addr().expect("it is bound");
        drop(listener);
        let mut two = plain(server.address);
        two.addresses.insert(0, dead);
        let fixture = Fixture::new(two, |scenario| steps(scenario, vec![get("/")]));
        fixture.once(0).await;
        assert_eq!(fixture.operation().failure, None);
    });
}

#[test]
fn a_handshake_that_stalls_is_a_connect_timeout() {
    run(async {
        let address = raw(|mut stream: TcpStream| async move {
            let mut buffer = [0; 1_024];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        })
        .await;
        let url = format!("https://127.0.0.1:{}", address.port());
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            let fixture = Fixture::new(target(&url, address), |scenario| {
                scenario.http.version = version;
                scenario.http.connect_timeout = Duration::from_millis(30);
                scenario.http.insecure = true;
                steps(scenario, vec![get("/")]);
            });
            fixture.once(0).await;
            let operation = fixture.operation();
            assert_eq!(operation.failure, Some(Failure::ConnectTimeout));
            assert_eq!(operation.sent_ns, NEVER_NS);
            assert_eq!(fixture.connections(), 0);
        }
    });
}

#[test]
fn ends_before_the_answer_is_whole_are_told_apart() {
    run(async {
        let cases: [(&'static [u8], bool, Failure); 8] = [
            (b"", false, Failure::Closed),
            (b"", true, Failure::Reset),
            (b"HTTP/1.1 200", false, Failure::Closed),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
                false,
                Failure::Closed,
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
                true,
                Failure::Reset,
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nha",
                false,
                Failure::Closed,
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nha",
                false,
                Failure::Malformed,
            ),
            (b"SSH-2.0-OpenSSH_9\r\n", false, Failure::Malformed),
        ];
        for (text, by_reset, failure) in cases {
            let address = says(text, by_reset).await;
            let operation = operation(address, HttpVersion::Http1).await;
            let said = String::from_utf8_lossy(text);
            assert_eq!(
                operation.failure,
                Some(failure),
                "{said:?} by reset: {by_reset}"
            );
            assert_ne!(operation.sent_ns, NEVER_NS);
        }
    });
}

#[test]
fn ends_of_http2_are_told_apart() {
    run(async {
        let cases: [(&'static [u8], bool, Failure); 3] = [
            (b"", false, Failure::Closed),
            (b"", true, Failure::Reset),
            (
                b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
                false,
                Failure::Malformed,
            ),
        ];
        for (text, by_reset, failure) in cases {
            let address = says(text, by_reset).await;
            let operation = operation(address, HttpVersion::Http2).await;
            let said = String::from_utf8_lossy(text);
            assert_eq!(
                operation.failure,
                Some(failure),
                "{said:?} by reset: {by_reset}"
            );
        }
    });
}

#[test]
fn a_flood_of_headers_is_too_large() {
    run(async {
        let address = raw(|mut stream: TcpStream| async move {
            let mut buffer = [0; 1_024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            let line = format!("x: {}\r\n", "y".repeat(10_000));
            while stream.write_all(line.as_bytes()).await.is_ok() {}
        })
        .await;
        let operation = operation(address, HttpVersion::Http1).await;
        assert_eq!(operation.failure, Some(Failure::TooLarge));
    });
}
