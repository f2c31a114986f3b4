//! A plain client of HTTP/1.1 that shows every byte, and a service to talk to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use driftline_loadgen::service::{LogRow, LogTo, Service, ServiceConfig};

/// No exchange in these tests may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A service of two threads that logs into memory.
pub(crate) fn service(change: impl FnOnce(&mut ServiceConfig)) -> Service {
    let mut config = ServiceConfig {
        threads: NonZeroUsize::new(2),
        log: LogTo::Memory,
        ..ServiceConfig::default()
    };
    change(&mut config);
    Service::start(config).expect("the service starts")
}

/// A connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(service: &Service) -> Self {
        let stream = TcpStream::connect(service.address()).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .get_mut()
            .write_all(bytes.as_ref())
            .expect("sent");
    }

    /// Reads an answer to anything but HEAD.
    pub(crate) fn receive(&mut self) -> Response {
        let head = self.receive_head();
        let field = |name: &str| field(&head, name);
        let body = if let Some(length) = field("content-length") {
            let mut body = vec![0; length.parse().expect("a number")];
            self.stream.read_exact(&mut body).expect("the body");
            body
        } else if field("transfer-encoding").as_deref() == Some("chunked") {
            self.receive_chunks()
        } else {
            Vec::new()
        };
        let status = head[9..12].parse().expect("a status");
        Response { status, head, body }
    }

    /// Reads a head alone.
    pub(crate) fn receive_head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut head).expect("a head");
            assert!(read > 0, "the connection ended in the head {head:?}");
        }
        head
    }

    fn receive_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("a size");
            let size = usize::from_str_radix(line.trim(), 16).expect("a size");
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk).expect("a chunk");
            assert!(chunk.ends_with(b"\r\n"));
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Everything until the end; an error is how it ended.
    pub(crate) fn receive_rest(&mut self) -> (Vec<u8>, std::io::Result<()>) {
        let mut rest = Vec::new();
        let end = self.stream.read_to_end(&mut rest).map(drop);
        (rest, end)
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(get(path, ""));
        self.receive()
    }

    pub(crate) fn post(&mut self, path: &str, fields: &str, body: &str) -> Response {
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n{fields}\r\n{body}"
        ));
        self.receive()
    }
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("json")
    }
}

/// A request.
pub(crate) fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: t\r\n{fields}\r\n")
}

/// A sample of the service's metrics.
pub(crate) fn metric(service: &Service, name: &str) -> u64 {
    let response = Client::new(service).get("/metrics");
    let name = format!("driftline_target_{name} ");
    let line = response
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(&name).map(str::to_owned));
    line.expect("the metric").parse().expect("a whole number")
}

/// Asks for a metric until it is as it should be.
pub(crate) fn await_metric(service: &Service, name: &str, wanted: impl Fn(u64) -> bool) {
    let start = Instant::now();
    loop {
        let value = metric(service, name);
        if wanted(value) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{name} is still {value}");
    }
}

/// The log, once it has so many rows: a row is made when its answer is written, which may be just
/// after the client has read it.
pub(crate) fn log_of(service: &Service, rows: usize) -> Vec<LogRow> {
    let start = Instant::now();
    loop {
        let log = service.log();
        if log.len() >= rows {
            return log;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "only {} of {rows} rows",
            log.len()
        );
        std::thread::yield_now();
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
}
