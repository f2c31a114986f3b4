//! Servers of HTTP/2 that misbehave, and TLS.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftline_loadgen::scenario::{Scenario, Template};
use driftline_loadgen::{Failure, NEVER_NS, Stop};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::http2::scenario;
use super::peer::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PUSH_PROMISE, Peer, RST_STREAM, WINDOW_UPDATE, field,
};
use super::run::{Outcome, rate, request, run, users};
use super::server::Server;

/// Ten arrivals.
fn ten() -> Scenario {
    let mut scenario = scenario(vec![rate(100.0, 100)]);
    scenario.http.timeout = Duration::from_secs(2);
    scenario
}

/// What ten requests come to when each is treated so.
fn failing(of: &str, failure: Failure, behave: impl Fn(&mut Peer, u32) + Send + Sync + 'static) {
    let server = Server::new(move |stream| {
        let Some(mut peer) = Peer::new(stream, &[]) else {
            return;
        };
        while let Some(id) = peer.request() {
            behave(&mut peer, id);
        }
    });
    let outcome = run(ten(), &server.url(), 1, &Stop::new());
    assert_eq!(outcome.operations.len(), 10);
    outcome.assert_all(Some(failure), of);
}

#[test]
fn refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let url = format!("http://{address}");
    let outcome = run(ten(), &url, 1, &Stop::new());
    outcome.assert_all(Some(Failure::Refused), "nobody listens");
    assert_eq!(outcome.operations.len(), 10);
    assert!(
        outcome
            .operations
            .iter()
            .all(|done| done.sent_ns == NEVER_NS)
    );

    // Users try again, but not as fast as they can.
    let closed = scenario(vec![users(2, 2, 200)]);
    let outcome = run(closed, &url, 1, &Stop::new());
    outcome.assert_all(Some(Failure::Refused), "nobody listens");
    assert!((2..=40).contains(&outcome.operations.len()));
}

#[test]
fn connections_that_end_too_early() {
    for part in [&[][..], &[0, 0, 4, 1, 4, 0, 0, 0, 1, 0x88]] {
        failing("closed", Failure::Closed, move |peer, _| {
            peer.stream.write_all(part).expect("an open socket");
            peer.stream
                .shutdown(Shutdown::Write)
                .expect("an open socket");
            peer.await_close();
        });
    }
    let server = Server::new(|stream| {
        let Some(mut peer) = Peer::new(stream, &[]) else {
            return;
        };
        if peer.request().is_some() {
            let socket = socket2::SockRef::from(&peer.stream);
            socket
                .set_linger(Some(Duration::ZERO))
                .expect("an open socket");
        }
    });
    let outcome = run(ten(), &server.url(), 1, &Stop::new());
    outcome.assert_all(Some(Failure::Reset), "a reset");
}

#[test]
fn streams_that_cannot_go_on() {
    failing("a reset", Failure::Reset, |peer, id| {
        peer.send(RST_STREAM, 0, id, &[0, 0, 0, 2]);
    });
    failing("no status", Failure::Malformed, |peer, id| {
        peer.send(HEADERS, END_HEADERS | END_STREAM, id, &field("x", "y"));
    });
    failing("a body without a head", Failure::Malformed, |peer, id| {
        peer.send(DATA, END_STREAM, id, b"ok");
    });
    for body in ["o", "okay"] {
        failing("another length", Failure::Malformed, move |peer, id| {
            let head = [vec![0x88], field("content-length", "2")].concat();
            peer.send(HEADERS, END_HEADERS, id, &head);
            peer.send(DATA, END_STREAM, id, body.as_bytes());
        });
    }
    failing("a long body", Failure::TooLarge, |peer, id| {
        peer.send(HEADERS, END_HEADERS, id, &[0x88]);
        for _ in 0..7 {
            peer.send(DATA, 0, id, &[b'x'; 16_000]);
        }
    });
    failing("a long body, announced", Failure::TooLarge, |peer, id| {
        let head = [vec![0x88], field("content-length", "100001")].concat();
        peer.send(HEADERS, END_HEADERS, id, &head);
    });
    failing("a window that overflows", Failure::Malformed, |peer, id| {
        peer.send(WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff]);
    });
    failing("a status of the client", Failure::Status, |peer, id| {
        // By the static table: status 404.
        peer.send(HEADERS, END_HEADERS | END_STREAM, id, &[0x8d]);
    });
}

#[test]
fn connections_that_cannot_go_on() {
    failing("a garbled section", Failure::Malformed, |peer, id| {
        peer.send(HEADERS, END_HEADERS, id, &[0xff, 0xff, 0xff]);
    });
    failing("a push", Failure::Malformed, |peer, id| {
        peer.send(PUSH_PROMISE, END_HEADERS, id, &[0, 0, 0, 2, 0x88]);
    });
    failing("an answer to nothing", Failure::Malformed, |peer, id| {
        peer.answer(id + 100, b"ok");
    });
    failing("a long frame", Failure::Malformed, |peer, id| {
        peer.send(DATA, 0, id, &[0; 16_385]);
    });
    for text in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\u{1}\u{2}\u{3}\r\n\r\n",
        "\0\0\0\u{1}",
    ] {
        let server = Server::new(move |mut stream| {
            stream.write_all(text.as_bytes()).expect("an open socket");
            super::server::await_close(&mut stream);
        });
        let outcome = run(ten(), &server.url(), 1, &Stop::new());
        outcome.assert_all(Some(Failure::Malformed), text);
    }
}

/// Grants all that a client may want to send.
fn open_windows(peer: &mut Peer) -> bool {
    let most = (0x7fff_ffff_u32 - 65_535).to_be_bytes();
    peer.send(WINDOW_UPDATE, 0, 0, &most)
}

/// One request whose body no socket takes at once.
fn large_posts(scenario: &mut Scenario) {
    scenario.journeys = vec![request("POST")];
    let body = "x".repeat(24 << 20);
    scenario.journeys[0].steps[0].body = Some(Template::literal(&body));
}

#[test]
fn a_target_that_reads_slowly_gets_all_of_it() {
    let server = Server::new(|stream| {
        let Some(mut peer) = Peer::new(stream, &[(4, 0x7fff_ffff)]) else {
            return;
        };
        open_windows(&mut peer);
        let mut length = 0;
        while let Some(frame) = peer.next() {
            if frame.kind == DATA {
                length += frame.payload.len();
                if frame.flags & END_STREAM != 0 {
                    assert_eq!(length, 24 << 20);
                    peer.answer(frame.stream, b"ok");
                    return peer.await_close();
                }
            }
        }
    });
    let mut one = scenario(vec![rate(10.0, 100)]);
    large_posts(&mut one);
    let outcome = run(one, &server.url(), 1, &Stop::new());
    outcome.assert_all(None, "a slow reader");
    assert_eq!(outcome.operations.len(), 1);
}

#[test]
fn a_target_that_does_not_read_is_waited_for_no_longer_than_allowed() {
    let (end, ended) = channel::<()>();
    let ended = Mutex::new(ended);
    let server = Server::new(move |stream| {
        if let Some(mut peer) = Peer::new(stream, &[(4, 0x7fff_ffff)])
            && open_windows(&mut peer)
        {
            // What was sent stays in the socket until the test is over.
            let over = ended.lock().expect("no panic").recv();
            assert!(over.is_err(), "nothing is ever said");
        }
    });
    let mut stuck = scenario(vec![rate(20.0, 300)]);
    large_posts(&mut stuck);
    stuck.http.timeout = Duration::from_millis(100);
    let outcome = run(stuck, &server.url(), 1, &Stop::new());
    outcome.assert_all(Some(Failure::Timeout), "nothing is read");
    assert_eq!(outcome.operations.len(), 6);
    drop(end);
}

/// A server whose certificate nobody has signed but itself.
fn over_tls(alpn: &[&[u8]], insecure: bool) -> Outcome {
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a valid name");
    let key = KeyPair::generate().expect("a key can be made");
    let certificate = params.self_signed(&key).expect("it signs itself");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("key and certificate fit");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let config = Arc::new(config);
    let server = Server::new(move |stream| {
        let tls = ServerConnection::new(Arc::clone(&config)).expect("a sound configuration");
        serve_over(StreamOwned::new(tls, stream));
    });
    let mut scenario = ten();
    scenario.http.insecure = insecure;
    let url = format!("https://{}", server.address);
    run(scenario, &url, 1, &Stop::new())
}

fn serve_over(stream: StreamOwned<ServerConnection, TcpStream>) {
    let Some(mut peer) = Peer::new(stream, &[]) else {
        return;
    };
    while let Some(id) = peer.request() {
        peer.answer(id, &[b'x'; 10_000]);
    }
}

#[test]
fn within_tls() {
    let outcome = over_tls(&[b"h2"], true);
    outcome.assert_all(None, "any certificate is taken");
    assert_eq!(outcome.operations.len(), 10);
    let whole = |done: &driftline_loadgen::Operation| (done.status, done.bytes) == (200, 10_000);
    assert!(outcome.operations.iter().all(whole));

    over_tls(&[b"h2"], false).assert_all(Some(Failure::Tls), "a certificate of its own");
    over_tls(&[b"http/1.1"], true).assert_all(Some(Failure::Tls), "no HTTP/2");
    over_tls(&[], true).assert_all(Some(Failure::Tls), "nothing is agreed on");
}
