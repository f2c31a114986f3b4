//! What the tests run in: a scenario in code, a worker's runtime, and servers.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use driftline_loadgen::operation::{Failure, Operation};
use driftline_loadgen::recorder::Tape;
use driftline_loadgen::scenario::{
    HttpOptions, HttpVersion, Load, Pattern, Scenario, Stage, Template, WebSocket,
    WebSocketEndpoints,
};
use driftline_loadgen::target::Target;
use driftline_loadgen::worker::{Context, Gauges, Share};
use driftline_loadgen::{NEVER_NS, RunClock, Stop, websocket};
use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Longer than any test; a run that goes on until then has failed.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const CONNECT: u32 = 0;
pub(crate) const MESSAGE: u32 = 1;
pub(crate) const DELIVERY: u32 = 2;
pub(crate) const PING: u32 = 3;
pub(crate) const CLOSE: u32 = 4;

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A group of `connections`, opened at 10,000 per second.
pub(crate) fn group(connections: u32, pattern: Pattern) -> WebSocket {
    WebSocket {
        name: "ws".to_owned(),
        path: Template::literal("/ws"),
        headers: Vec::new(),
        connections,
        connect_rate: 10_000.0,
        pattern,
        reconnect: None,
        timeout: Duration::from_secs(10),
        endpoints: WebSocketEndpoints {
            connect: CONNECT,
            message: MESSAGE,
            delivery: DELIVERY,
            ping: PING,
            close: CLOSE,
        },
    }
}

pub(crate) fn scenario(duration: Duration, websockets: Vec<WebSocket>) -> Scenario {
    Scenario {
        name: "test".to_owned(),
        seed: 7,
        text: String::new(),
        hash: String::new(),
        warm_up: Duration::ZERO,
        drain: Duration::from_secs(5),
        stages: vec![Stage {
            name: "1".to_owned(),
            duration,
            load: Load::Hold,
        }],
        http: HttpOptions {
            version: HttpVersion::Http1,
            keep_alive: true,
            connections: 1,
            streams: 1,
            waiting: 1,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            redirects: 0,
            compression: false,
            max_answer_bytes: 1 << 20,
            insecure: false,
            ca: None,
            headers: Vec::new(),
        },
        journeys: Vec::new(),
        websockets,
        feeds: BTreeMap::new(),
        thresholds: Vec::new(),
        endpoints: ["connect", "message", "delivery", "ping", "close"]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// Trusts the certificates in a file, and nothing else.
pub(crate) fn trusting(mut scenario: Scenario, ca: PathBuf) -> Scenario {
    scenario.http.ca = Some(ca);
    scenario
}

pub(crate) fn target(scheme: &str, address: SocketAddr) -> Target {
    let url = format!("{scheme}://localhost:{}", address.port());
    Target {
        url: url::Url::parse(&url).expect("a URL"),
        tls: scheme == "wss",
        host: "localhost".to_owned(),
        authority: format!("localhost:{}", address.port()),
        addresses: vec![address],
    }
}

/// What a run left behind.
pub(crate) struct Outcome {
    pub(crate) operations: Vec<Operation>,
    pub(crate) gauges: Arc<Gauges>,
}

impl Outcome {
    pub(crate) fn of(&self, endpoint: u32) -> Vec<Operation> {
        let is_it = |operation: &&Operation| operation.endpoint == endpoint;
        self.operations.iter().filter(is_it).copied().collect()
    }

    /// How many operations of an endpoint there are, by what became of them.
    pub(crate) fn tally(&self, endpoint: u32) -> BTreeMap<(u16, Option<Failure>), usize> {
        let mut tally = BTreeMap::new();
        for operation in self.of(endpoint) {
            *tally
                .entry((operation.status, operation.failure))
                .or_default() += 1;
        }
        tally
    }
}

/// Runs a worker over a scenario, on a thread of its own as a real one does.
pub(crate) async fn run(scenario: Scenario, target: Target, stop: Stop) -> Outcome {
    let gauges = Arc::new(Gauges::default());
    let theirs = Arc::clone(&gauges);
    let (queue, batches) = sync_channel(4_096);
    let lost = Arc::new(AtomicU64::new(0));
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let context = Context {
                scenario: Arc::new(scenario),
                target: Arc::new(target),
                share: Share { index: 0, of: 1 },
                clock: RunClock::starting_in(ms(5)),
                tape: Tape::new(0, queue, lost),
                stop,
                gauges: theirs,
            };
            tokio::time::timeout(LIMIT, websocket::run(context))
                .await
                .expect("the run ends in time");
        });
    });
    tokio::task::spawn_blocking(move || worker.join().expect("the worker lives"))
        .await
        .expect("the worker ends");
    let operations: Vec<Operation> = batches.iter().flat_map(|batch| batch.operations).collect();
    for operation in &operations {
        // The server's stamps are rounded down to microseconds.
        assert!(operation.intended_ns <= operation.done_ns, "{operation:?}");
        if operation.sent_ns != NEVER_NS {
            assert!(operation.intended_ns <= operation.sent_ns, "{operation:?}");
            assert!(operation.sent_ns <= operation.done_ns, "{operation:?}");
        }
        if operation.first_byte_ns != NEVER_NS {
            assert!(
                operation.first_byte_ns <= operation.done_ns,
                "{operation:?}"
            );
        }
    }
    let open = gauges.connections.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(open, 0, "every opened connection has a close");
    Outcome { operations, gauges }
}

/// A server that treats every TCP connection alike; its number counts from 0.
pub(crate) async fn serve<F>(treat: impl Fn(TcpStream, usize) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(treat(socket, number));
            number += 1;
        }
    });
    address
}

/// Tungstenite's side of a handshake.
pub(crate) async fn accept(socket: TcpStream) -> Option<WebSocketStream<TcpStream>> {
    tokio_tungstenite::accept_async(socket).await.ok()
}

/// Sends every message back, until the client closes.
pub(crate) async fn echo(socket: TcpStream, _: usize) {
    let Some(mut socket) = accept(socket).await else {
        return;
    };
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(_) | Message::Binary(_) = message
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}
