//! Probes of real servers on the loopback interface.

mod tls;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::recorder::Recorder;
use crate::service::Meter;
use crate::testing::{Row, rows_of, value};

const SHOP: &str = "service.name=shop";

/// Answers each connection with this text, or never where there is none.
async fn serve(answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if let Some(answer) = answer {
                let mut head = [0; 1024];
                let read = stream.read(&mut head).await.expect("a request");
                assert!(head[..read].starts_with(b"GET /x?y HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.expect("taken");
            }
            held.push(stream);
        }
    });
    address
}

fn config(address: SocketAddr) -> HttpProbeConfig {
    HttpProbeConfig {
        name: "shop".to_owned(),
        url: format!("http://{address}/x?y"),
        time_out: Duration::from_millis(500),
        ..HttpProbeConfig::default()
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

async fn fails(config: HttpProbeConfig, reason: &str) {
    let (rows, events) = pass(&mut Probe::new(config)).await;
    assert_eq!(value(&rows, "httpcheck.up", SHOP), 0.0);
    let labels = format!("error.type={reason},{SHOP}");
    assert_eq!(value(&rows, "httpcheck.errors", &labels), 1.0);
    assert_eq!(events.len(), 1, "{events:?}");
}

#[tokio::test]
async fn a_good_answer_is_measured_and_compared() {
    let answer = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\nhello";
    let config = HttpProbeConfig {
        expect_body: "ell".to_owned(),
        ..config(serve(Some(answer)).await)
    };
    let mut probe = Probe::new(config);
    pass(&mut probe).await;
    let (rows, events) = pass(&mut probe).await;
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(value(&rows, "httpcheck.up", SHOP), 1.0);
    assert_eq!(value(&rows, "httpcheck.requests", SHOP), 2.0);
    assert_eq!(value(&rows, "httpcheck.response.size", SHOP), 5.0);
    assert_eq!(value(&rows, "httpcheck.responses.identical", SHOP), 1.0);
    let first_byte = value(&rows, "httpcheck.response.first_byte.duration", SHOP);
    let total = value(&rows, "httpcheck.duration", SHOP);
    assert!(
        0.0 < first_byte && first_byte < total,
        "{first_byte} {total}"
    );
}

#[tokio::test]
async fn failures_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = listener.local_addr().expect("bound");
    drop(listener);
    fails(config(closed), "refused").await;
    fails(config(serve(None).await), "timeout").await;
    let answer = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    fails(config(serve(Some(answer)).await), "status").await;
    fails(config(serve(Some("nonsense\r\n\r\n")).await), "protocol").await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno";
    let wanting = HttpProbeConfig {
        expect_body: "yes".to_owned(),
        ..config(serve(Some(answer)).await)
    };
    fails(wanting, "body").await;
}

#[test]
fn statuses_are_ranges() {
    assert_eq!(status_range("2xx"), Some((200, 299)));
    assert_eq!(status_range("404"), Some((404, 404)));
    assert_eq!(status_range("200-204"), Some((200, 204)));
    for bad in ["", "xx", "9xx", "204-200", "99", "2x"] {
        assert_eq!(status_range(bad), None, "{bad}");
    }
}
