//! The opening handshake of RFC 6455 as bytes: the request, and what its answer comes to.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Largest head of an answer, in bytes.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// What has come so far in answer to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not yet a whole head.
    Incomplete,
    /// The connection is open; frames begin after so many bytes.
    Open { used: usize },
    /// An HTTP answer that does not open the connection.
    Refused { status: u16 },
    /// Not HTTP, or without end.
    Malformed,
}

/// The request of a handshake. Headers replace those of the same name that stand here by default,
/// except for the ones that make the handshake.
pub(crate) fn request(
    path: &str,
    authority: &str,
    headers: &[(&str, String)],
    key: &str,
) -> Vec<u8> {
    let mut text = String::with_capacity(256);
    let mut line = |name: &str, value: &str| {
        // A value from a feed or a capture must not begin a header of its own.
        let one_line = value
            .chars()
            .filter(|letter| !matches!(letter, '\r' | '\n' | '\0'));
        text.push_str(name);
        text.extend(one_line);
        text.push_str("\r\n");
    };
    line("GET ", &format!("{path} HTTP/1.1"));
    let is_given = |wanted: &str| {
        headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    if !is_given("host") {
        line("Host: ", authority);
    }
    line("Connection: ", "Upgrade");
    line("Upgrade: ", "websocket");
    line("Sec-WebSocket-Version: ", "13");
    line("Sec-WebSocket-Key: ", key);
    for (name, value) in headers {
        line(&format!("{name}: "), value);
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Judges what has been received in answer to a request with `key`.
pub(crate) fn answer(received: &[u8], key: &str) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let used = match response.parse(received) {
        Ok(httparse::Status::Complete(used)) if used <= MAX_HEAD_BYTES => used,
        Ok(httparse::Status::Partial) if received.len() < MAX_HEAD_BYTES => {
            return Answer::Incomplete;
        }
        Ok(_) | Err(_) => return Answer::Malformed,
    };
    let status = response.code.unwrap_or(0);
    let value = |wanted: &str| {
        response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(wanted))
            .map(|header| header.value)
    };
    let has_token = |name: &str, token: &str| {
        value(name).is_some_and(|value| {
            value
                .split(|byte| *byte == b',')
                .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
        })
    };
    let is_open = status == 101
        && has_token("upgrade", "websocket")
        && has_token("connection", "upgrade")
        // No extension is offered, so that none may be taken.
        && value("sec-websocket-extensions").is_none()
        && value("sec-websocket-accept") == Some(derive_accept_key(key.as_bytes()).as_bytes());
    if is_open {
        Answer::Open { used }
    } else {
        Answer::Refused { status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::handshake::client::generate_key;
    use tokio_tungstenite::tungstenite::handshake::server::create_response;

    fn response(request: &[u8]) -> Vec<u8> {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Request::new(&mut headers);
        assert!(parsed.parse(request).expect("a request").is_complete());
        let mut builder = http::Request::builder()
            .uri(parsed.path.expect("a path"))
            .method(parsed.method.expect("a method"));
        for header in parsed.headers.iter() {
            builder = builder.header(header.name, header.value);
        }
        let response = create_response(&builder.body(()).expect("a request"))
            .expect("tungstenite takes the request");
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
        for (name, value) in response.headers() {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    #[test]
    fn tungstenite_accepts_the_request_and_is_accepted() {
        let key = generate_key();
        let headers = [("X-User", "7\r\nX-Evil: 1".to_owned())];
        let request = request("/ws?room=1", "host:80", &headers, &key);
        let text = String::from_utf8(request.clone()).expect("text");
        assert!(text.contains("Host: host:80\r\n") && text.contains("X-User: 7X-Evil: 1\r\n"));
        let mut bytes = response(&request);
        let used = bytes.len();
        bytes.extend_from_slice(b"\x82\x00");
        assert_eq!(answer(&bytes, &key), Answer::Open { used });
        for end in 0..used {
            assert_eq!(answer(&bytes[..end], &key), Answer::Incomplete);
        }
        assert_eq!(
            answer(&bytes, &generate_key()),
            Answer::Refused { status: 101 }
        );
    }

    #[test]
    fn refusals_and_garbage_are_told_apart() {
        let refused = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(answer(refused, "k"), Answer::Refused { status: 403 });
        assert_eq!(answer(b"SSH-2.0-x\r\n", "k"), Answer::Malformed);
        let endless = [
            b"HTTP/1.1 101 A\r\nX: ".to_vec(),
            vec![b'a'; MAX_HEAD_BYTES],
        ]
        .concat();
        assert_eq!(answer(&endless, "k"), Answer::Malformed);
    }
}
