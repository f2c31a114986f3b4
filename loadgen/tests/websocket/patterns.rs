//! Every pattern against a decent server: all answers matched, all accounts exact.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use driftline_loadgen::scenario::{Pattern, Reconnect};
use driftline_loadgen::websocket::message::{STAMP_BYTES, Stamp};
use driftline_loadgen::{NEVER_NS, Stop};
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

use super::bed::{
    CLOSE, CONNECT, DELIVERY, MESSAGE, PING, accept, echo, group, ms, run, scenario, serve, target,
    trusting,
};

/// All good, `count` times, with this status.
fn good(status: u16, count: usize) -> BTreeMap<(u16, Option<driftline_loadgen::Failure>), usize> {
    BTreeMap::from([((status, None), count)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_connections_get_every_echo() {
    let address = serve(echo).await;
    let pattern = Pattern::Echo {
        every: ms(50),
        size: 64,
    };
    let scenario = scenario(ms(600), vec![group(200, pattern)]);
    let outcome = run(scenario, target("ws", address), Stop::new()).await;
    assert_eq!(outcome.tally(CONNECT), good(101, 200));
    assert_eq!(outcome.tally(CLOSE), good(1000, 200));
    let messages = outcome.of(MESSAGE);
    assert_eq!(outcome.tally(MESSAGE), good(0, messages.len()));
    assert!(!messages.is_empty());
    assert!(messages.iter().all(|message| message.bytes == 64));
    // The schedule alone decides when a message is intended: at most one in each 50 ms / 200.
    let mut intended: Vec<u64> = messages.iter().map(|message| message.intended_ns).collect();
    intended.sort_unstable();
    intended.dedup();
    assert_eq!(intended.len(), messages.len());
    assert!(intended.iter().all(|at| at % 250_000 == 0));
    // Every arrival and no other has been counted, with its lateness.
    let arrivals = outcome.gauges.arrivals.load(Ordering::SeqCst);
    assert_eq!(arrivals as usize, 200 + messages.len());
    let buckets = outcome.gauges.lateness_us.iter();
    let counted: u64 = buckets.map(|bucket| bucket.load(Ordering::SeqCst)).sum();
    assert_eq!(counted, arrivals);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_connections_open_and_close_cleanly() {
    let address = serve(echo).await;
    let scenario = scenario(
        ms(1_000),
        vec![group(2_000, Pattern::Idle { ping: ms(400) })],
    );
    let outcome = run(scenario, target("ws", address), Stop::new()).await;
    assert_eq!(outcome.tally(CONNECT), good(101, 2_000));
    assert_eq!(outcome.tally(CLOSE), good(1000, 2_000));
    let pings = outcome.of(PING).len();
    assert_eq!(outcome.tally(PING), good(0, pings));
    assert!(pings > 0);
    let mut intended: Vec<u64> = outcome
        .of(CONNECT)
        .iter()
        .map(|it| it.intended_ns)
        .collect();
    intended.sort_unstable();
    assert!(
        intended
            .iter()
            .copied()
            .eq((0..2_000).map(|number| number * 100_000))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_answered_in_any_order() {
    // Sends each burst of five back in reverse.
    let address = serve(async |socket: TcpStream, _| {
        let Some(mut socket) = accept(socket).await else {
            return;
        };
        let mut burst = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_binary() {
                burst.push(message);
            }
            if burst.len() == 5 {
                while let Some(message) = burst.pop() {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            }
        }
    })
    .await;
    let pattern = Pattern::Burst {
        every: ms(40),
        count: 5,
        size: 300,
    };
    let scenario = scenario(ms(400), vec![group(10, pattern)]);
    let outcome = run(scenario, target("ws", address), Stop::new()).await;
    let messages = outcome.of(MESSAGE).len();
    assert_eq!(outcome.tally(MESSAGE), good(0, messages));
    assert!(messages > 0 && messages % 5 == 0, "{messages}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_with_pings_between_are_one_answer() {
    let address = serve(async |socket: TcpStream, _| {
        let Some(mut socket) = accept(socket).await else {
            return;
        };
        while let Some(Ok(message)) = socket.next().await {
            let Message::Binary(content) = message else {
                continue;
            };
            let count = content.chunks(7).count();
            for (at, part) in content.chunks(7).enumerate() {
                let header = FrameHeader {
                    is_final: at + 1 == count,
                    opcode: OpCode::Data(if at == 0 {
                        Data::Binary
                    } else {
                        Data::Continue
                    }),
                    ..FrameHeader::default()
                };
                let frame = Frame::from_payload(header, part.to_vec().into());
                let sent = async {
                    socket.send(Message::Frame(frame)).await?;
                    socket.send(Message::Ping(b"between"[..].into())).await
                };
                if sent.await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let pattern = Pattern::Echo {
        every: ms(50),
        size: 100,
    };
    let scenario = scenario(ms(300), vec![group(5, pattern)]);
    let outcome = run(scenario, target("ws", address), Stop::new()).await;
    let messages = outcome.of(MESSAGE).len();
    assert_eq!(outcome.tally(MESSAGE), good(0, messages));
    assert!(messages > 0);
    assert_eq!(outcome.tally(CLOSE), good(1000, 5));
}

/// A room: everyone gets what anyone sends.
async fn room(socket: TcpStream, room: Arc<broadcast::Sender<Message>>) {
    let Some(socket) = accept(socket).await else {
        return;
    };
    let mut subscription = room.subscribe();
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(Ok(message)) if message.is_binary() => {
                    // At least this subscriber is there.
                    let _ = room.send(message);
                }
                Some(Ok(_)) => {}
                _ => return,
            },
            message = subscription.recv() => match message {
                Ok(message) if sink.send(message.clone()).await.is_ok() => {}
                Ok(_) => return,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_count_from_the_time_in_the_message() {
    let sender = Arc::new(broadcast::channel(1_024).0);
    let address = serve(move |socket, _| room(socket, Arc::clone(&sender))).await;
    let publish = Pattern::Publish {
        every: ms(50),
        size: 64,
    };
    let groups = vec![group(20, Pattern::Subscribe), group(2, publish)];
    let outcome = run(
        scenario(ms(500), groups),
        target("ws", address),
        Stop::new(),
    )
    .await;
    assert_eq!(outcome.tally(CONNECT), good(101, 22));
    let published = outcome.of(MESSAGE);
    assert_eq!(outcome.tally(MESSAGE), good(0, published.len()));
    let deliveries = outcome.of(DELIVERY);
    assert!(deliveries.len() > published.len());
    for delivery in &deliveries {
        assert_eq!(delivery.intended_ns, delivery.sent_ns);
        // It was sent when one of the publishers says so, to the microsecond.
        let is_from = |message: &&driftline_loadgen::Operation| {
            message.sent_ns / 1_000 == delivery.sent_ns / 1_000
        };
        assert!(published.iter().find(is_from).is_some(), "{delivery:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_consumer_holds_its_server_back() {
    // Sends as fast as the client takes it, and counts what it got rid of.
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let address = serve(move |socket: TcpStream, _| {
        let counter = Arc::clone(&counter);
        async move {
            let Some(socket) = accept(socket).await else {
                return;
            };
            let (mut sink, mut stream) = socket.split();
            let mut message = Stamp {
                connection: 0,
                sequence: 0,
                sent_us: 0,
            }
            .encode()
            .to_vec();
            message.resize(100_000, b'.');
            let flood = async {
                for _ in 0..2_000 {
                    let message = Message::Binary(message.clone().into());
                    if sink.send(message).await.is_err() {
                        return;
                    }
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            };
            tokio::select! {
                () = flood => {}
                () = async { while let Some(Ok(_)) = stream.next().await {} } => {}
            }
        }
    })
    .await;
    let scenario = scenario(
        ms(500),
        vec![group(1, Pattern::SlowConsumer { every: ms(50) })],
    );
    let stop = Stop::new();
    let outcome = run(scenario, target("ws", address), stop).await;
    let deliveries = outcome.of(DELIVERY);
    let in_time = deliveries.iter().filter(|it| it.done_ns <= 500_000_000);
    assert!(!deliveries.is_empty());
    assert!(in_time.count() <= 11, "no more than one in 50 ms");
    assert!(deliveries.iter().all(|delivery| delivery.bytes == 100_000));
    // 2,000 messages are 200 MB: more than sockets hold.
    assert!(sent.load(Ordering::SeqCst) < 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_closes_all_and_makes_all_again_with_jitter() {
    let address = serve(echo).await;
    let mut sockets = group(50, Pattern::Idle { ping: ms(10_000) });
    sockets.reconnect = Some(Reconnect {
        after: ms(20),
        jitter: ms(60),
        storm: Some(ms(1_000)),
    });
    let outcome = run(
        scenario(ms(1_900), vec![sockets]),
        target("ws", address),
        Stop::new(),
    )
    .await;
    assert_eq!(outcome.tally(CONNECT), good(101, 100));
    assert_eq!(outcome.tally(CLOSE), good(1000, 100));
    let mut again: Vec<u64> = outcome
        .of(CONNECT)
        .iter()
        .map(|connect| connect.intended_ns)
        .filter(|intended| *intended > 100_000_000)
        .collect();
    again.sort_unstable();
    again.dedup();
    assert_eq!(again.len(), 50, "no two come back at once");
    assert!(
        again
            .iter()
            .all(|at| (1_020_000_000..=1_080_000_000).contains(at))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_a_long_run_with_clean_closes() {
    let stop = Stop::new();
    let theirs = stop.clone();
    // The third message asks for the stop, so that no clock decides.
    let address = serve(move |socket: TcpStream, _| {
        let stop = theirs.clone();
        async move {
            let Some(mut socket) = accept(socket).await else {
                return;
            };
            let mut count = 0;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_binary() {
                    count += 1;
                    if count == 3 {
                        stop.request();
                    }
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            }
        }
    })
    .await;
    let pattern = Pattern::Echo {
        every: ms(20),
        size: STAMP_BYTES as u32,
    };
    let outcome = run(
        scenario(ms(3_600_000), vec![group(3, pattern)]),
        target("ws", address),
        stop,
    )
    .await;
    assert_eq!(outcome.tally(CLOSE), good(1000, 3));
    let messages = outcome.of(MESSAGE);
    assert_eq!(outcome.tally(MESSAGE), good(0, messages.len()));
    assert!(messages.iter().all(|message| message.sent_ns != NEVER_NS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_certificate_decides() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, issued.cert.pem()).expect("a file");
    let key = rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.expect("a key"))
        .expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let address = serve(move |socket: TcpStream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(socket) = acceptor.accept(socket).await else {
                return;
            };
            let Ok(mut socket) = tokio_tungstenite::accept_async(socket).await else {
                return;
            };
            while let Some(Ok(message)) = socket.next().await {
                if message.is_binary() && socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let pattern = Pattern::Echo {
        every: ms(50),
        size: 40_000,
    };
    let plan = || scenario(ms(400), vec![group(10, pattern.clone())]);
    let trusted = run(trusting(plan(), ca), target("wss", address), Stop::new()).await;
    assert_eq!(trusted.tally(CONNECT), good(101, 10));
    let messages = trusted.of(MESSAGE).len();
    assert_eq!(trusted.tally(MESSAGE), good(0, messages));
    assert!(messages > 0);
    assert_eq!(trusted.tally(CLOSE), good(1000, 10));

    let distrusted = run(plan(), target("wss", address), Stop::new()).await;
    let refused = (0, Some(driftline_loadgen::Failure::Tls));
    assert_eq!(distrusted.tally(CONNECT), BTreeMap::from([(refused, 10)]));

    let mut careless = plan();
    careless.http.insecure = true;
    let careless = run(careless, target("wss", address), Stop::new()).await;
    assert_eq!(careless.tally(CONNECT), good(101, 10));
}
