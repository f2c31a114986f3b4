//! WebSocket, against a client of another make and against raw bytes.

use driftline_loadgen::service::Service;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Client, PATIENCE, await_metric, service};

pub(crate) type Socket = WebSocketStream<TcpStream>;

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let bounded = async { tokio::time::timeout(PATIENCE, test).await };
    runtime
        .expect("a runtime")
        .block_on(bounded)
        .expect("in time");
}

pub(crate) async fn open(service: &Service, path: &str) -> Socket {
    let stream = TcpStream::connect(service.address())
        .await
        .expect("it accepts");
    let url = format!("ws://{}{path}", service.address());
    client_async(url, stream).await.expect("a handshake").0
}

pub(crate) async fn next(socket: &mut Socket) -> Message {
    socket
        .next()
        .await
        .expect("not the end")
        .expect("a message")
}

#[test]
fn messages_are_echoed_whatever_their_size() {
    let service = service(|_| {});
    run(async {
        let mut socket = open(&service, "/ws/echo").await;
        for length in [0, 1, 125, 126, 65_535, 65_536, 300_000, 1_048_576] {
            let text = Message::text("y".repeat(length));
            let binary = Message::binary(vec![0xfe; length]);
            for message in [text, binary] {
                socket.send(message.clone()).await.expect("sent");
                assert!(next(&mut socket).await == message, "{length}");
            }
        }
    });
}

#[test]
fn many_messages_at_once_come_back_in_order() {
    let service = service(|_| {});
    run(async {
        let (mut sink, mut stream) = open(&service, "/ws/echo").await.split();
        let send = async {
            for n in 0..20_000 {
                sink.feed(Message::text(n.to_string())).await.expect("sent");
            }
            sink.flush().await.expect("sent");
        };
        let receive = async {
            for n in 0..20_000 {
                let message = stream
                    .next()
                    .await
                    .expect("not the end")
                    .expect("a message");
                assert_eq!(message, Message::text(n.to_string()));
            }
        };
        futures::future::join(send, receive).await;
    });
}

#[test]
fn fragments_pings_and_closes_are_understood() {
    let service = service(|_| {});
    run(async {
        let mut socket = open(&service, "/ws/echo").await;
        let fragment = |text: &'static str, code, last| {
            Message::Frame(Frame::message(text, OpCode::Data(code), last))
        };
        socket
            .send(fragment("fra", Data::Text, false))
            .await
            .expect("sent");
        socket.send(Message::Ping("p".into())).await.expect("sent");
        socket
            .send(fragment("gme", Data::Continue, false))
            .await
            .expect("sent");
        socket
            .send(fragment("nts", Data::Continue, true))
            .await
            .expect("sent");
        assert_eq!(next(&mut socket).await, Message::Pong("p".into()));
        assert_eq!(next(&mut socket).await, Message::text("fragments"));
        let close = CloseFrame {
            code: CloseCode::Library(4_000),
            reason: "done".into(),
        };
        socket.close(Some(close.clone())).await.expect("sent");
        assert_eq!(next(&mut socket).await, Message::Close(Some(close)));
        assert!(socket.next().await.is_none_or(|end| end.is_err()));
    });
    await_metric(&service, "websockets_open", |n| n == 0);
}

fn raw(service: &Service) -> Client {
    let mut client = Client::new(service);
    client.send(
        "GET /ws/echo HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let head = client.receive_head();
    // The example of RFC 6455, 1.3.
    assert!(
        head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{head}"
    );
    client
}

#[test]
fn broken_rules_close_with_their_code() {
    let service = service(|config| config.max_message_bytes = 1_000);
    for (bytes, code) in [
        // Not masked.
        (&b"\x81\x01a"[..], 1002u16),
        // A reserved bit.
        (b"\xc1\x81\0\0\0\0a", 1002),
        // Continues nothing.
        (b"\x80\x81\0\0\0\0a", 1002),
        // A ping in fragments.
        (b"\x09\x81\0\0\0\0a", 1002),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x82\xfe\x03\xe9\0\0\0\0", 1009),
        // Announces 2^63 bytes.
        (b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 1009),
    ] {
        let mut client = raw(&service);
        client.send(bytes);
        let (rest, end) = client.receive_rest();
        let code = code.to_be_bytes();
        assert_eq!(rest, [0x88, 2, code[0], code[1]], "{bytes:?}");
        assert!(end.is_ok(), "{end:?}");
    }
}

#[test]
fn an_incomplete_handshake_is_refused() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    client.send(
        "GET /ws/echo HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 8\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let response = client.receive();
    assert_eq!(response.status, 400);
    assert_eq!(
        response.field("sec-websocket-version").as_deref(),
        Some("13")
    );
}

#[test]
fn frames_may_come_byte_by_byte_and_with_the_handshake() {
    let service = service(|_| {});
    let mut client = raw(&service);
    for byte in b"\x81\x83\x01\x02\x03\x04\x60\x60\x60" {
        client.send([*byte]);
    }
    client.send(b"\x88\x80\0\0\0\0");
    assert_eq!(client.receive_rest().0, b"\x81\x03abc\x88\0");
}
