//! Servers that refuse, vanish, flood and lie: each has its own name in the record, and nothing is
//! missing from it.

use std::collections::BTreeMap;

use driftline_loadgen::scenario::{Pattern, Reconnect, WebSocket};
use driftline_loadgen::{Failure, NEVER_NS, Stop};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::bed::{
    CLOSE, CONNECT, MESSAGE, Outcome, PING, accept, group, ms, run, scenario, serve, target,
};

const ECHO: Pattern = Pattern::Echo {
    every: ms(50),
    size: 64,
};

fn all(status: u16, failure: Failure, count: usize) -> BTreeMap<(u16, Option<Failure>), usize> {
    BTreeMap::from([((status, Some(failure)), count)])
}

/// Reads a request and writes these bytes instead of an answer.
async fn answer(mut socket: TcpStream, bytes: &[u8]) -> TcpStream {
    let mut request = [0; 2_048];
    if socket.read(&mut request).await.is_ok() {
        // A client that has gone does not want it.
        let _ = socket.write_all(bytes).await;
    }
    socket
}

/// Reads until the client goes.
async fn hold(mut socket: TcpStream) {
    let mut buffer = [0; 4_096];
    while matches!(socket.read(&mut buffer).await, Ok(1..)) {}
}

async fn against<F>(
    sockets: WebSocket,
    treat: impl Fn(TcpStream, usize) -> F + Send + 'static,
) -> Outcome
where
    F: Future<Output = ()> + Send + 'static,
{
    let address = serve(treat).await;
    run(
        scenario(ms(1_000), vec![sockets]),
        target("ws", address),
        Stop::new(),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_handshake_has_its_status() {
    let outcome = against(group(20, ECHO), async |socket, _| {
        let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
        hold(answer(socket, refusal).await).await;
    })
    .await;
    assert_eq!(outcome.tally(CONNECT), all(403, Failure::Handshake, 20));
    assert_eq!(outcome.operations.len(), 20);
    assert!(
        outcome
            .of(CONNECT)
            .iter()
            .all(|it| it.first_byte_ns >= it.sent_ns)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_for_an_answer_is_malformed() {
    let outcome = against(group(5, ECHO), async |socket, _| {
        hold(answer(socket, b"220 mail ESMTP\r\n").await).await;
    })
    .await;
    assert_eq!(outcome.tally(CONNECT), all(0, Failure::Malformed, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_a_timeout_and_a_hang_up_is_closed() {
    let mut sockets = group(6, ECHO);
    sockets.timeout = ms(100);
    let outcome = against(sockets, async |socket, number| {
        if number % 2 == 0 {
            hold(socket).await;
        } else {
            drop(answer(socket, b"").await);
        }
    })
    .await;
    let expected = BTreeMap::from([
        ((0, Some(Failure::Timeout)), 3),
        ((0, Some(Failure::Closed)), 3),
    ]);
    assert_eq!(outcome.tally(CONNECT), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_refused() {
    // A port that was free a moment ago, and is not listened to.
    let address = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let plan = scenario(ms(100), vec![group(10, ECHO)]);
    let outcome = run(plan, target("ws", address), Stop::new()).await;
    assert_eq!(outcome.tally(CONNECT), all(0, Failure::Refused, 10));
    assert_eq!(outcome.operations.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_code_is_recorded_and_takes_what_is_outstanding_with_it() {
    let outcome = against(group(10, ECHO), async |socket, _| {
        let Some(mut socket) = accept(socket).await else {
            return;
        };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_binary() {
                let close = CloseFrame {
                    code: 1008.into(),
                    reason: "policy".into(),
                };
                // The client's own close may have come first.
                let _ = socket.close(Some(close)).await;
            }
        }
    })
    .await;
    assert_eq!(outcome.tally(CLOSE), all(1008, Failure::CloseCode, 10));
    let messages = outcome.of(MESSAGE).len();
    assert!(messages >= 10);
    assert_eq!(outcome.tally(MESSAGE), all(0, Failure::Closed, messages));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_none_end_the_connection_with_1002() {
    let outcome = against(group(5, Pattern::Subscribe), async |socket, _| {
        let Some(socket) = accept(socket).await else {
            return;
        };
        // The raw socket: a masked frame, which no server may send.
        let mut socket = socket.into_inner();
        let _ = socket.write_all(&[0x82, 0x81, 1, 2, 3, 4, 5]).await;
        hold(socket).await;
    })
    .await;
    assert_eq!(outcome.tally(CLOSE), all(1002, Failure::Malformed, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_ends_the_connection_with_1009() {
    let outcome = against(group(2, Pattern::Subscribe), async |socket, _| {
        let Some(mut socket) = accept(socket).await else {
            return;
        };
        let _ = socket.send(Message::Binary(vec![0; 1 << 21].into())).await;
    })
    .await;
    assert_eq!(outcome.tally(CLOSE), all(1009, Failure::TooLarge, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_that_are_never_answered_time_out() {
    let mut sockets = group(4, Pattern::Idle { ping: ms(50) });
    sockets.timeout = ms(60);
    let outcome = against(sockets, async |socket, _| {
        if let Some(socket) = accept(socket).await {
            // Reads below tungstenite, which would answer.
            hold(socket.into_inner()).await;
        }
    })
    .await;
    let pings = outcome.of(PING);
    assert!(!pings.is_empty());
    assert_eq!(outcome.tally(PING), all(0, Failure::Timeout, pings.len()));
    assert!(
        pings
            .iter()
            .all(|ping| ping.done_ns - ping.sent_ns >= 60_000_000)
    );
    // Nobody answers the close either; the drain ends it.
    assert_eq!(outcome.tally(CLOSE), all(1006, Failure::Timeout, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_neither_starves_others_nor_hides_echoes() {
    let outcome = against(group(4, ECHO), async |socket, number| {
        let Some(socket) = accept(socket).await else {
            return;
        };
        let (mut sink, mut stream) = socket.split();
        loop {
            // The first connection gets a flood of messages and pings between its echoes.
            let next = stream.next();
            tokio::pin!(next);
            let message = loop {
                if number > 0 {
                    break next.await;
                }
                tokio::select! {
                    biased;
                    message = &mut next => break message,
                    sent = sink.send(Message::Ping(vec![1; 100].into())) => if sent.is_err() { return },
                }
                if sink.send(Message::Binary(vec![0; 30_000].into())).await.is_err() {
                    return;
                }
            };
            match message {
                Some(Ok(message)) if message.is_binary() => {
                    if sink.send(message).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                _ => return,
            }
        }
    })
    .await;
    let messages = outcome.of(MESSAGE).len();
    assert!(messages > 0);
    let good = BTreeMap::from([((0, None), messages)]);
    assert_eq!(outcome.tally(MESSAGE), good);
    assert_eq!(outcome.of(CLOSE).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_a_reset_and_is_made_again_after_a_pause() {
    let mut sockets = group(10, ECHO);
    sockets.reconnect = Some(Reconnect {
        after: ms(30),
        jitter: ms(40),
        storm: None,
    });
    let outcome = against(sockets, async |socket, number| {
        let Some(mut socket) = accept(socket).await else {
            return;
        };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_binary() && number < 10 {
                // Without lingering, a close is a reset.
                let socket = socket2::SockRef::from(socket.get_ref());
                socket.set_linger(Some(ms(0))).expect("a socket");
                return;
            }
            if message.is_binary() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let closes = outcome.tally(CLOSE);
    assert_eq!(
        closes.get(&(1006, Some(Failure::Reset))),
        Some(&10),
        "{closes:?}"
    );
    assert_eq!(closes.get(&(1000, None)), Some(&10), "{closes:?}");
    let connects = outcome.of(CONNECT);
    assert_eq!(connects.len(), 20);
    let ends: Vec<u64> = outcome
        .of(CLOSE)
        .iter()
        .filter(|close| close.status == 1006)
        .map(|close| close.done_ns)
        .collect();
    let pause_fits = |intended: u64| {
        ends.iter()
            .any(|end| (30_000_000..=70_000_000).contains(&intended.saturating_sub(*end)))
    };
    let again = connects
        .iter()
        .filter(|connect| connect.intended_ns > 1_000_000);
    assert!(again.clone().count() >= 10);
    assert!(
        again
            .into_iter()
            .all(|connect| pause_fits(connect.intended_ns))
    );
    assert!(outcome.tally(MESSAGE)[&(0, Some(Failure::Reset))] >= 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_read_is_back_pressure() {
    let pattern = Pattern::Burst {
        every: ms(10),
        count: 10,
        size: 100_000,
    };
    let mut plan = scenario(ms(400), vec![group(1, pattern)]);
    plan.drain = ms(300);
    let address = serve(async |socket, _| {
        let Some(socket) = accept(socket).await else {
            return;
        };
        // Neither read nor closed, for as long as the client is there.
        let _held = socket;
        std::future::pending::<()>().await;
    })
    .await;
    let outcome = run(plan, target("ws", address), Stop::new()).await;
    let tally = outcome.tally(MESSAGE);
    assert!(tally[&(0, Some(Failure::Backpressure))] >= 10, "{tally:?}");
    assert!(tally[&(0, Some(Failure::Unfinished))] >= 10, "{tally:?}");
    let unsent = outcome
        .of(MESSAGE)
        .into_iter()
        .filter(|message| message.failure == Some(Failure::Backpressure));
    assert!(
        unsent
            .into_iter()
            .all(|message| message.sent_ns == NEVER_NS)
    );
    // Every turn of the schedule is ten operations, sent or not.
    assert_eq!(outcome.of(MESSAGE).len() % 10, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connects_that_the_end_overtakes_are_on_the_record() {
    // Accepted by the kernel, never answered; the drain is over before their time.
    let mut plan = scenario(ms(100), vec![group(1_000, ECHO)]);
    plan.drain = ms(100);
    plan.websockets[0].connect_rate = 5_000.0;
    let address = serve(async |socket, _| hold(socket).await).await;
    let outcome = run(plan, target("ws", address), Stop::new()).await;
    // 5,000 per second for 0.1 s; the other 500 were not scheduled before the end.
    assert_eq!(outcome.tally(CONNECT), all(0, Failure::Unfinished, 500));
    assert_eq!(outcome.operations.len(), 500);
}
