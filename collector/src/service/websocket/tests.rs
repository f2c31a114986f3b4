//! Probes of real servers on the loopback interface.

use std::net::SocketAddr;

use driftline_schemas::Event;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::recorder::Recorder;
use crate::service::Meter;
use crate::testing::{Row, rows_of, value};

const CHAT: &str = "service.name=chat";

/// A room: what one says goes to all, itself included.
async fn room() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (said, _) = broadcast::channel::<Message>(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (said, mut heard) = (said.clone(), said.subscribe());
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream)
                    .await
                    .expect("a client");
                loop {
                    tokio::select! {
                        Ok(message) = heard.recv() => {
                            if socket.send(message).await.is_err() { break; }
                        }
                        message = socket.next() => match message {
                            Some(Ok(message @ Message::Text(_))) => drop(said.send(message)),
                            Some(Ok(_)) => {}
                            _ => break,
                        }
                    }
                }
            });
        }
    });
    address
}

fn config(address: SocketAddr) -> WebsocketProbeConfig {
    WebsocketProbeConfig {
        name: "chat".to_owned(),
        url: format!("ws://{address}/room"),
        echo: true,
        ..WebsocketProbeConfig::default()
    }
}

async fn pass(probe: &mut Probe) -> (Vec<Row>, Vec<Event>) {
    let mut out = Pass {
        recorder: Recorder::new(),
        batches: Vec::new(),
        events: Vec::new(),
        meter: Meter::default(),
    };
    out.recorder.begin(1_000_000);
    probe.pass(&mut out).await.expect("configured well");
    (rows_of(&out.recorder.finish()), out.events)
}

#[tokio::test]
async fn echo_and_fan_out_are_timed() {
    let config = WebsocketProbeConfig {
        fan_out: Some(FanOutConfig {
            subscribers: 3,
            messages: 4,
            ..FanOutConfig::default()
        }),
        ..config(room().await)
    };
    let (rows, events) = pass(&mut Probe::new(config, Path::new(TABLES))).await;
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(value(&rows, "websocket.probe.up", CHAT), 1.0);
    assert_eq!(value(&rows, "websocket.probe.handshakes", CHAT), 4.0);
    assert!(value(&rows, "websocket.probe.echo.duration", CHAT) > 0.0);
    assert_eq!(
        value(&rows, "websocket.probe.fan_out.deliveries", CHAT),
        12.0
    );
    assert_eq!(value(&rows, "websocket.probe.fan_out.lost", CHAT), 0.0);
    let most = value(
        &rows,
        "websocket.probe.fan_out.duration",
        "quantile=1,service.name=chat",
    );
    assert!(most > 0.0);
}

#[tokio::test]
async fn a_refused_handshake_is_counted_by_its_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut head = [0; 1024];
        let read = stream.read(&mut head).await.expect("a handshake");
        assert!(read > 0);
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.expect("taken");
    });
    let (rows, events) = pass(&mut Probe::new(config(address), Path::new(TABLES))).await;
    let labels = "error.type=403,service.name=chat";
    assert_eq!(
        value(&rows, "websocket.probe.handshake.failures", labels),
        1.0
    );
    assert_eq!(value(&rows, "websocket.probe.up", CHAT), 0.0);
    assert_eq!(events.len(), 1, "{events:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let config = WebsocketProbeConfig {
        time_out: Duration::from_millis(200),
        ..config(listener.local_addr().expect("bound"))
    };
    let (rows, _) = pass(&mut Probe::new(config, Path::new(TABLES))).await;
    let labels = "error.type=timeout,service.name=chat";
    assert_eq!(
        value(&rows, "websocket.probe.handshake.failures", labels),
        1.0
    );
}
