//! Answers: what they say, and their bytes in HTTP/1.1.

use std::io::Write;
use std::rc::Rc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::fault::Fault;
use super::request::Rejection;
use super::websocket::Place;

/// How many items the shop has.
pub(crate) const ITEMS: usize = 20;
/// The piece of which long bodies are made.
pub(crate) const PATTERN: &[u8; 16 * 1024] = &[b'x'; 16 * 1024];
/// Media types.
pub(crate) const JSON: &str = "application/json";
pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";

/// What a request is answered by.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(Reply),
    Fault(Fault),
    /// An accepted handshake, with its `Sec-WebSocket-Accept`.
    WebSocket {
        accept: String,
        place: Place,
    },
}

/// An ordinary answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: Body,
    /// Whether latency, capacity and errors apply to it.
    pub(crate) gated: bool,
    /// Whether it is the slow endpoint.
    pub(crate) slow: bool,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    Bytes(Bytes),
    /// An answer of which every byte is known beforehand.
    Prebuilt(Rc<Prebuilt>),
    /// So many bytes of the pattern.
    Pattern(usize),
    /// The same in chunks.
    Chunked(usize),
}

/// What is known before it is asked for.
#[derive(Debug)]
pub(crate) struct Prebuilt {
    pub(crate) body: Bytes,
    /// Head and body, for a connection that stays open.
    pub(crate) http1: Vec<u8>,
}

/// All prebuilt answers of a thread.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) root: Rc<Prebuilt>,
    pub(crate) items: Rc<Prebuilt>,
    pub(crate) item: Vec<Rc<Prebuilt>>,
    pub(crate) health: Rc<Prebuilt>,
    /// A text, and the same compressed.
    pub(crate) text: Bytes,
    pub(crate) text_gzip: Bytes,
}

/// What is left to be written of an answer whose head is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    Pattern(usize),
    Chunked(usize),
}

impl Reply {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type,
            fields: Vec::new(),
            body: Body::Bytes(body.into()),
            gated: true,
            slow: false,
        }
    }

    pub(crate) fn prebuilt(prebuilt: &Rc<Prebuilt>, content_type: &'static str) -> Self {
        Self {
            body: Body::Prebuilt(Rc::clone(prebuilt)),
            ..Self::new(200, content_type, Bytes::new())
        }
    }

    pub(crate) fn error(status: u16, text: &'static str) -> Self {
        Self::new(status, PLAIN, Bytes::from_static(text.as_bytes()))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub(crate) fn ungated(mut self) -> Self {
        self.gated = false;
        self
    }

    /// Writes it, except the tail of a long body. `head_only` is for the method HEAD.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        keep_alive: bool,
        head_only: bool,
    ) -> Option<Tail> {
        if let Body::Prebuilt(prebuilt) = &self.body
            && keep_alive
            && !head_only
            && self.fields.is_empty()
        {
            out.extend_from_slice(&prebuilt.http1);
            return None;
        }
        self.write_head(out, keep_alive);
        if head_only {
            return None;
        }
        match &self.body {
            Body::Bytes(body) => out.extend_from_slice(body),
            Body::Prebuilt(prebuilt) => out.extend_from_slice(&prebuilt.body),
            Body::Pattern(bytes) => return Some(Tail::Pattern(*bytes)),
            Body::Chunked(bytes) => return Some(Tail::Chunked(*bytes)),
        }
        None
    }

    fn write_head(&self, out: &mut Vec<u8>, keep_alive: bool) {
        let reason = reason(self.status);
        // Writing to a vector cannot fail.
        let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", self.status);
        if !self.content_type.is_empty() {
            let _ = write!(out, "content-type: {}\r\n", self.content_type);
        }
        let length = match &self.body {
            Body::Bytes(body) => Some(body.len()),
            Body::Prebuilt(prebuilt) => Some(prebuilt.body.len()),
            Body::Pattern(bytes) => Some(*bytes),
            Body::Chunked(_) => None,
        };
        let _ = match length {
            // RFC 9110, 8.6: a 304 would have to tell the length of what it does not carry.
            Some(_) if self.status == 304 => Ok(()),
            Some(length) => write!(out, "content-length: {length}\r\n"),
            None => write!(out, "transfer-encoding: chunked\r\n"),
        };
        for (name, value) in &self.fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        if !keep_alive {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Tail {
    /// Writes the next piece; `None` when that was the last.
    pub(crate) fn write(self, out: &mut Vec<u8>) -> Option<Self> {
        match self {
            Self::Pattern(bytes) => {
                let piece = bytes.min(PATTERN.len());
                out.extend_from_slice(&PATTERN[..piece]);
                (bytes > piece).then(|| Self::Pattern(bytes - piece))
            }
            Self::Chunked(0) => {
                out.extend_from_slice(b"0\r\n\r\n");
                None
            }
            Self::Chunked(bytes) => {
                let piece = bytes.min(PATTERN.len());
                let _ = write!(out, "{piece:x}\r\n");
                out.extend_from_slice(&PATTERN[..piece]);
                out.extend_from_slice(b"\r\n");
                Some(Self::Chunked(bytes - piece))
            }
        }
    }
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        let item = |id: usize| {
            let price = 4.99 + 3.5 * id as f64;
            serde_json::json!({ "id": id, "name": format!("item {id}"), "price": price })
        };
        let items: Vec<_> = (1..=ITEMS).map(item).collect();
        let text = "All work and no play makes a dull test.\n".repeat(100);
        Self {
            root: Prebuilt::new(PLAIN, "driftline target\n".to_owned()),
            items: Prebuilt::new(JSON, serde_json::Value::from(items.clone()).to_string()),
            item: items
                .iter()
                .map(|item| Prebuilt::new(JSON, item.to_string()))
                .collect(),
            health: Prebuilt::new(PLAIN, "ok\n".to_owned()),
            text_gzip: gzip(text.as_bytes()),
            text: text.into(),
        }
    }
}

impl Prebuilt {
    fn new(content_type: &'static str, body: String) -> Rc<Self> {
        let body = Bytes::from(body);
        let mut http1 = Vec::new();
        Reply::new(200, content_type, body.clone()).write(&mut http1, true, false);
        Rc::new(Self { body, http1 })
    }
}

impl From<Rejection> for Reply {
    fn from(rejection: Rejection) -> Self {
        let (status, text) = match rejection {
            Rejection::Malformed => (400, "the request is malformed\n"),
            Rejection::HeadTooLarge => (431, "the head is over 16 KiB or 64 fields\n"),
            Rejection::BodyTooLarge => (413, "the body is over 1 MiB\n"),
            Rejection::UnknownExpectation => (417, "only 100-continue can be expected\n"),
            Rejection::UnknownCoding => (501, "only the transfer coding chunked is known\n"),
        };
        Self::error(status, text).ungated()
    }
}

fn gzip(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.expect("writing to a vector cannot fail").into()
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply, keep_alive: bool, head_only: bool) -> String {
        let mut out = Vec::new();
        let mut tail = reply.write(&mut out, keep_alive, head_only);
        while let Some(rest) = tail {
            tail = rest.write(&mut out);
        }
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn prebuilt_and_written_answers_are_the_same() {
        let catalogue = Catalogue::new();
        let prebuilt = Reply::prebuilt(&catalogue.root, PLAIN);
        let plain = Reply::new(200, PLAIN, "driftline target\n");
        assert_eq!(
            written(&prebuilt, true, false),
            written(&plain, true, false)
        );
        let closing = written(&prebuilt, false, false);
        assert_eq!(closing, written(&plain, false, false));
        assert!(closing.contains("connection: close\r\n"));
        assert!(written(&prebuilt, true, true).ends_with("content-length: 17\r\n\r\n"));
    }

    #[test]
    fn long_bodies_have_their_length() {
        for bytes in [0, 1, PATTERN.len(), PATTERN.len() + 1, 100_000] {
            let mut reply = Reply::new(200, PLAIN, "");
            reply.body = Body::Pattern(bytes);
            let text = written(&reply, true, false);
            assert_eq!(text.split_once("\r\n\r\n").expect("a head").1.len(), bytes);
            reply.body = Body::Chunked(bytes);
            let text = written(&reply, true, false);
            assert!(text.ends_with("0\r\n\r\n"));
            let chunks = text.split_once("\r\n\r\n").expect("a head").1;
            assert_eq!(chunks.matches('x').count(), bytes);
        }
    }
}
