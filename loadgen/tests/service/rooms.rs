//! Rooms over all threads, and members that are too slow.

use futures::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{await_metric, service};
use crate::websocket::{Socket, next, open, run};

/// With so many members, both of two threads have some: the kernel spreads connections by a hash.
const MEMBERS: usize = 24;

#[test]
fn a_message_reaches_every_member_of_its_room_once() {
    let service = service(|_| {});
    run(async {
        let mut members: Vec<Socket> = Vec::new();
        for _ in 0..MEMBERS {
            members.push(open(&service, "/ws/rooms/a").await);
        }
        let mut stranger = open(&service, "/ws/rooms/b").await;
        await_metric(&service, "websockets_open", |n| n == MEMBERS as u64 + 1);
        for round in 0..20 {
            for sender in [0, MEMBERS / 2, MEMBERS - 1] {
                let message = Message::text(format!("{round} from {sender}"));
                members[sender].send(message.clone()).await.expect("sent");
                for member in &mut members {
                    assert_eq!(next(member).await, message);
                }
            }
        }
        stranger.send(Message::text("alone")).await.expect("sent");
        assert_eq!(
            next(&mut stranger).await,
            Message::text("alone"),
            "it heard nothing else"
        );
        members.truncate(2);
        await_metric(&service, "websockets_open", |n| n == 3);
        members[0].send(Message::text("left")).await.expect("sent");
        assert_eq!(next(&mut members[1]).await, Message::text("left"));
    });
    await_metric(&service, "websockets_open", |n| n == 0);
}

/// Says long messages into a room with a member that does not read, until `metric` is as wanted.
fn with_a_slow_member(patience: u64, metric: &str) {
    let service = service(|config| {
        config.room_queue = 8;
        config.room_patience = patience;
    });
    run(async {
        let slow = open(&service, "/ws/rooms/a").await;
        let (mut sink, mut stream) = open(&service, "/ws/rooms/a").await.split();
        await_metric(&service, "websockets_open", |n| n == 2);
        // Each message is heard by its sender before the next, so that only the other one is slow.
        for _ in 0..1_000 {
            sink.send(Message::binary(vec![7; 60_000]))
                .await
                .expect("sent");
            let heard = stream
                .next()
                .await
                .expect("not the end")
                .expect("a message");
            assert_eq!(heard.len(), 60_000);
        }
        await_metric(&service, metric, |n| n > 0);
        drop(slow);
    });
}

#[test]
fn a_slow_member_loses_messages_and_delays_nobody() {
    with_a_slow_member(0, "room_lost_deliveries_total");
}

#[test]
fn a_member_that_stays_slow_is_disconnected() {
    with_a_slow_member(20, "room_slow_disconnects_total");
}
