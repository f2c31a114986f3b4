//! Requests of HTTP/1.1 out of bytes: head, framing and body, with their bounds.
//!
//! Pure. What a request is answered by is left to `routes`, and reading to `http1`.

use httparse::Status;

/// The most bytes of a head.
pub(crate) const MOST_HEAD_BYTES: usize = 16 * 1024;
/// The most fields of a head.
const MOST_FIELDS: usize = 64;
/// The most bytes of a body, as sent.
pub(crate) const MOST_BODY_BYTES: usize = 1024 * 1024;

/// The methods that some path knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Other,
}

/// What a request says that an answer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request<'b> {
    pub(crate) method: Method,
    /// The path with its query.
    pub(crate) target: &'b str,
    pub(crate) keep_alive: bool,
    pub(crate) version_10: bool,
    /// The value of the cookie `session`, or of a bearer's token.
    pub(crate) token: Option<&'b str>,
    pub(crate) form: bool,
    pub(crate) if_none_match: Option<&'b str>,
    pub(crate) accepts_gzip: bool,
    pub(crate) upgrade: Upgrade<'b>,
    pub(crate) body: &'b [u8],
}

/// Whether WebSocket is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade<'b> {
    No,
    /// With this key.
    WebSocket(&'b [u8]),
    /// By an incomplete handshake.
    Incomplete,
}

/// Why a request is refused before it is understood; the connection ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    Malformed,
    HeadTooLarge,
    BodyTooLarge,
    UnknownExpectation,
    UnknownCoding,
}

/// How much of a request is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<'b> {
    /// Not before there are that many bytes in all.
    Needs {
        bytes: usize,
        /// The client waits for `100 Continue` before it sends the body.
        waits: bool,
    },
    /// A whole one, which took that many bytes. A chunked body is in [`Chunks::take`].
    Whole {
        request: Request<'b>,
        bytes: usize,
        chunked: bool,
    },
}

/// A chunked body as far as it is there; kept between reads so that nothing is scanned twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunks {
    /// Where the next chunk begins, from the beginning of the body.
    at: usize,
    body: Vec<u8>,
}

impl Chunks {
    /// The body; empty afterwards.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).body
    }

    /// Decodes more of a body: `Ok(Ok(bytes))` when it is whole, `Ok(Err(bytes))` when it needs more.
    fn scan(&mut self, body: &[u8]) -> Result<Result<usize, usize>, Rejection> {
        loop {
            if self.at > MOST_BODY_BYTES {
                return Err(Rejection::BodyTooLarge);
            }
            let rest = body.get(self.at..).unwrap_or_default();
            let parsed = httparse::parse_chunk_size(rest).map_err(|_| Rejection::Malformed)?;
            let Status::Complete((line_bytes, size)) = parsed else {
                return Ok(Err(body.len() + 1));
            };
            if size == 0 {
                return self.trailers(&rest[line_bytes..], body.len(), line_bytes);
            }
            let size = usize::try_from(size)
                .ok()
                .filter(|size| *size <= MOST_BODY_BYTES)
                .ok_or(Rejection::BodyTooLarge)?;
            let end = line_bytes + size;
            let Some(chunk) = rest.get(line_bytes..end + 2) else {
                return Ok(Err(self.at + end + 2));
            };
            let Some(content) = chunk.strip_suffix(b"\r\n") else {
                return Err(Rejection::Malformed);
            };
            self.body.extend_from_slice(content);
            self.at += end + 2;
        }
    }

    fn trailers(
        &self,
        rest: &[u8],
        body_bytes: usize,
        line_bytes: usize,
    ) -> Result<Result<usize, usize>, Rejection> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        match httparse::parse_headers(rest, &mut fields) {
            Ok(Status::Complete((bytes, _))) => Ok(Ok(self.at + line_bytes + bytes)),
            Ok(Status::Partial) if rest.len() > MOST_HEAD_BYTES => Err(Rejection::HeadTooLarge),
            Ok(Status::Partial) => Ok(Err(body_bytes + 1)),
            Err(_) => Err(Rejection::Malformed),
        }
    }
}

/// The framing of a body, and other fields that concern the connection alone.
#[derive(Debug, Default)]
struct Framing {
    length: Option<usize>,
    chunked: bool,
    waits: bool,
    hosts: u8,
    upgrades: bool,
    connection_upgrades: bool,
    socket_key: Option<()>,
    socket_version_13: bool,
}

/// Takes the first request from bytes.
pub(crate) fn take<'b>(bytes: &'b [u8], chunks: &mut Chunks) -> Result<Taken<'b>, Rejection> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let head_bytes = match head.parse(bytes) {
        Ok(Status::Complete(head_bytes)) if head_bytes <= MOST_HEAD_BYTES => head_bytes,
        Ok(Status::Partial) if bytes.len() <= MOST_HEAD_BYTES => {
            let bytes = bytes.len() + 1;
            return Ok(Taken::Needs {
                bytes,
                waits: false,
            });
        }
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Rejection::HeadTooLarge),
        Err(_) => return Err(Rejection::Malformed),
    };
    let (request, framing) = understand(&head)?;
    let body = &bytes[head_bytes..];
    let needs = |bytes| Taken::Needs {
        bytes,
        waits: framing.waits && body.is_empty(),
    };
    if framing.chunked {
        return Ok(match chunks.scan(body)? {
            Err(needed) => needs(head_bytes + needed),
            Ok(body_bytes) => Taken::Whole {
                request,
                bytes: head_bytes + body_bytes,
                chunked: true,
            },
        });
    }
    let length = framing.length.unwrap_or(0);
    if length > MOST_BODY_BYTES {
        return Err(Rejection::BodyTooLarge);
    }
    Ok(match body.get(..length) {
        None => needs(head_bytes + length),
        Some(body) => Taken::Whole {
            request: Request { body, ..request },
            bytes: head_bytes + length,
            chunked: false,
        },
    })
}

fn understand<'b>(head: &httparse::Request<'_, 'b>) -> Result<(Request<'b>, Framing), Rejection> {
    let version_10 = head.version == Some(0);
    let mut framing = Framing::default();
    let mut request = Request {
        method: method(head.method.unwrap_or_default()),
        target: head.path.unwrap_or_default(),
        keep_alive: !version_10,
        version_10,
        token: None,
        form: false,
        if_none_match: None,
        accepts_gzip: false,
        upgrade: Upgrade::No,
        body: &[],
    };
    let mut key: &[u8] = &[];
    for field in head.headers.iter() {
        if field.name.eq_ignore_ascii_case("sec-websocket-key") {
            framing.socket_key = Some(());
            key = field.value;
        } else if !request.notice(field.name, field.value) {
            framing.notice(field.name, field.value, &mut request.keep_alive)?;
        }
    }
    // RFC 9112, 3.2 and 6.3: one host, and one framing of the body.
    let ambiguous = framing.chunked && (framing.length.is_some() || version_10);
    if ambiguous || framing.hosts > 1 || (framing.hosts == 0 && !version_10) {
        return Err(Rejection::Malformed);
    }
    if framing.upgrades {
        let complete = framing.connection_upgrades && framing.socket_version_13 && !version_10;
        request.upgrade = match complete && framing.socket_key.is_some() {
            true => Upgrade::WebSocket(key),
            false => Upgrade::Incomplete,
        };
    }
    Ok((request, framing))
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => Method::Other,
    }
}

impl<'b> Request<'b> {
    /// Takes note of a field that answers depend on; `false` when it is none. HTTP/2 uses it as well.
    pub(crate) fn notice(&mut self, name: &str, value: &'b [u8]) -> bool {
        // The length decides most fields without comparing them.
        match name.len() {
            6 if name.eq_ignore_ascii_case("cookie") => {
                let session = session(text(value));
                self.token = session.or(self.token);
            }
            12 if name.eq_ignore_ascii_case("content-type") => {
                self.form = text(value).starts_with("application/x-www-form-urlencoded");
            }
            13 if name.eq_ignore_ascii_case("authorization") => {
                let token = text(value).strip_prefix("Bearer ").map(str::trim);
                self.token = token.or(self.token);
            }
            13 if name.eq_ignore_ascii_case("if-none-match") => {
                self.if_none_match = Some(text(value));
            }
            15 if name.eq_ignore_ascii_case("accept-encoding") => {
                self.accepts_gzip = accepts_gzip(text(value));
            }
            _ => return false,
        }
        true
    }
}

impl Framing {
    fn notice(&mut self, name: &str, value: &[u8], keep_alive: &mut bool) -> Result<(), Rejection> {
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.hosts = self.hosts.saturating_add(1),
            6 if name.eq_ignore_ascii_case("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Rejection::UnknownExpectation);
                }
                self.waits = true;
            }
            7 if name.eq_ignore_ascii_case("upgrade") => {
                self.upgrades |= has_token(text(value), "websocket");
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                let value = text(value);
                self.connection_upgrades |= has_token(value, "upgrade");
                *keep_alive &= !has_token(value, "close");
                *keep_alive |= has_token(value, "keep-alive");
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let length = match digits {
                    // More digits than a number holds are more bytes than are taken.
                    true => text(value).parse().unwrap_or(usize::MAX),
                    false => return Err(Rejection::Malformed),
                };
                if self.length.replace(length).is_some_and(|old| old != length) {
                    return Err(Rejection::Malformed);
                }
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if self.chunked {
                    return Err(Rejection::Malformed);
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Rejection::UnknownCoding);
                }
                self.chunked = true;
            }
            21 if name.eq_ignore_ascii_case("sec-websocket-version") => {
                self.socket_version_13 = value == b"13";
            }
            _ => {}
        }
        Ok(())
    }
}

/// A value that is not UTF-8 says nothing to this service.
fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or_default()
}

fn has_token(list: &str, token: &str) -> bool {
    list.split(',')
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn session(cookies: &str) -> Option<&str> {
    cookies
        .split(';')
        .find_map(|cookie| cookie.trim().strip_prefix("session="))
}

fn accepts_gzip(codings: &str) -> bool {
    codings.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = matches!(
            weight.trim().trim_start_matches("q="),
            "0" | "0.0" | "0.00" | "0.000"
        );
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &str = "POST /cart?x=1 HTTP/1.1\r\nHost: a\r\n";

    fn rejection(text: &str) -> Option<Rejection> {
        take(text.as_bytes(), &mut Chunks::default()).err()
    }

    #[test]
    fn a_body_is_framed_by_its_length_whatever_comes_after() {
        let text = format!("{POST}content-length: 5\r\ncookie: a=b; session=s1\r\n\r\nhelloGET /");
        let taken = take(text.as_bytes(), &mut Chunks::default()).expect("valid");
        let Taken::Whole { request, bytes, .. } = taken else {
            panic!("{taken:?}");
        };
        assert_eq!((request.body, bytes), (&b"hello"[..], text.len() - 5));
        assert_eq!(
            (request.method, request.target),
            (Method::Post, "/cart?x=1")
        );
        assert_eq!(request.token, Some("s1"));
    }

    #[test]
    fn a_chunked_body_may_come_byte_by_byte() {
        let text = format!(
            "{POST}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: u\r\n\r\nrest"
        );
        let mut chunks = Chunks::default();
        let whole = text.len() - "rest".len();
        for end in 0..whole {
            let taken = take(&text.as_bytes()[..end], &mut chunks).expect("valid so far");
            assert!(matches!(taken, Taken::Needs { bytes, .. } if bytes > end && bytes <= whole));
        }
        let taken = take(text.as_bytes(), &mut chunks).expect("valid");
        assert!(matches!(taken, Taken::Whole { bytes, chunked: true, .. } if bytes == whole));
        assert_eq!(chunks.take(), b"abcde");
    }

    #[test]
    fn what_is_malformed_or_too_large_is_refused() {
        use Rejection::{BodyTooLarge, HeadTooLarge, Malformed, UnknownCoding, UnknownExpectation};
        let long = "x".repeat(MOST_HEAD_BYTES);
        let many = "a: b\r\n".repeat(MOST_FIELDS);
        for (text, expected) in [
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), Malformed),
            ("\x01\x02\x03\r\n\r\n".to_owned(), Malformed),
            (format!("{POST}Host: b\r\n\r\n"), Malformed),
            (
                format!("{POST}content-length: 1\r\ncontent-length: 2\r\n\r\n"),
                Malformed,
            ),
            (format!("{POST}content-length: +1\r\n\r\n"), Malformed),
            (
                format!("{POST}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
                Malformed,
            ),
            (
                format!("{POST}transfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n"),
                Malformed,
            ),
            (
                format!("{POST}transfer-encoding: gzip\r\n\r\n"),
                UnknownCoding,
            ),
            (format!("{POST}expect: tea\r\n\r\n"), UnknownExpectation),
            (
                format!("{POST}content-length: 99999999\r\n\r\n"),
                BodyTooLarge,
            ),
            (
                format!("{POST}transfer-encoding: chunked\r\n\r\nfffffff\r\n"),
                BodyTooLarge,
            ),
            (format!("{POST}{many}\r\n"), HeadTooLarge),
            (format!("GET /{long}"), HeadTooLarge),
        ] {
            let start = text.get(..80).unwrap_or(&text);
            assert_eq!(rejection(&text), Some(expected), "{start:?}");
        }
    }

    #[test]
    fn a_handshake_is_whole_or_incomplete() {
        let head = "GET /ws/echo HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n";
        let upgrade = |text: String| match take(text.as_bytes(), &mut Chunks::default()) {
            Ok(Taken::Whole { request, .. }) => format!("{:?}", request.upgrade),
            other => panic!("{other:?}"),
        };
        let version = "sec-websocket-version: 13\r\n";
        assert_eq!(upgrade(format!("{head}{version}\r\n")), "Incomplete");
        let whole = upgrade(format!("{head}{version}sec-websocket-key: ab\r\n\r\n"));
        assert_eq!(whole, "WebSocket([97, 98])");
    }

    #[test]
    fn gzip_is_accepted_unless_its_weight_is_zero() {
        assert!(accepts_gzip("br, gzip;q=0.5"));
        assert!(!accepts_gzip("br, gzip;q=0"));
        assert!(!accepts_gzip("deflate"));
    }
}
