//! The head of an answer: its status, and how its body is delimited (RFC 9112, 6.3).

use std::mem::MaybeUninit;

use crate::operation::Failure;

/// Most bytes of the heads of one answer, interim ones included.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1_024;

/// Most header fields of an answer.
const MAX_FIELDS: usize = 256;

/// What the rest of an exchange needs to know of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// How a body is delimited where the answer may have one.
    pub(crate) framing: Framing,
    /// Whether the connection may be used again.
    pub(crate) keeps: bool,
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// The head at the beginning of some bytes and its length; none where it is not whole yet.
pub(crate) fn parse(input: &[u8]) -> Result<Option<(Head, usize)>, Failure> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, input, &mut fields);
    match parsed {
        Ok(httparse::Status::Complete(length)) if length > MAX_HEAD_BYTES => Err(Failure::TooLarge),
        Ok(httparse::Status::Complete(length)) => Ok(Some((judge(&response)?, length))),
        Ok(httparse::Status::Partial) if input.len() > MAX_HEAD_BYTES => Err(Failure::TooLarge),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(Failure::TooLarge),
        Err(_) => Err(Failure::Malformed),
    }
}

fn judge(response: &httparse::Response<'_, '_>) -> Result<Head, Failure> {
    let status = response.code.ok_or(Failure::Malformed)?;
    let mut keeps = response.version == Some(1);
    let mut length = None;
    let mut coding = None;
    for field in response.headers.iter() {
        // Most fields are none of the three; their names differ in length already.
        match field.name.len() {
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let value = decimal(field.value).ok_or(Failure::Malformed)?;
                if length.is_some_and(|other| other != value) {
                    return Err(Failure::Malformed);
                }
                length = Some(value);
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                coding = Some(field.value);
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                keeps = (keeps || has_token(field.value, b"keep-alive"))
                    && !has_token(field.value, b"close");
            }
            _ => {}
        }
    }
    let framing = match (coding, length) {
        (Some(coding), _) if is_chunked(coding) => Framing::Chunked,
        (Some(_), _) | (None, None) => Framing::UntilClose,
        (None, Some(length)) => Framing::Length(length),
    };
    // Both at once is how requests are smuggled: such a connection is not trusted any further.
    let is_ambiguous = coding.is_some() && length.is_some();
    Ok(Head {
        status,
        framing,
        keeps: keeps && !is_ambiguous,
    })
}

fn decimal(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &byte| {
        let digit = char::from(byte).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value
        .split(|&byte| byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

/// Whether chunked is the last coding.
fn is_chunked(value: &[u8]) -> bool {
    value
        .rsplit(|&byte| byte == b',')
        .next()
        .is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The last head of a request's answers. Most answers of a request have the same head until the
/// second of their `Date` changes; comparing it costs a tenth of parsing it.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    text: Vec<u8>,
    head: Option<Head>,
}

impl Memo {
    /// The same as [`parse`].
    pub(crate) fn parse(&mut self, input: &[u8]) -> Result<Option<(Head, usize)>, Failure> {
        if let Some(head) = self.head
            && input.starts_with(&self.text)
        {
            return Ok(Some((head, self.text.len())));
        }
        let parsed = parse(input)?;
        if let Some((head, length)) = parsed {
            self.text.clear();
            self.text.extend_from_slice(&input[..length]);
            self.head = Some(head);
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Head {
        let (head, length) = parse(text.as_bytes()).expect("valid").expect("whole");
        assert_eq!(length, text.len());
        head
    }

    #[test]
    fn framing_and_keeping() {
        let plain = head("HTTP/1.1 200 OK\r\ncontent-LENGTH: 12 \r\n\r\n");
        assert_eq!(
            plain,
            Head {
                status: 200,
                framing: Framing::Length(12),
                keeps: true
            }
        );
        let old = head("HTTP/1.0 200 OK\r\n\r\n");
        assert_eq!(
            old,
            Head {
                status: 200,
                framing: Framing::UntilClose,
                keeps: false
            }
        );
        assert!(head("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n").keeps);
        assert!(!head("HTTP/1.1 200 OK\r\nConnection: x, close\r\n\r\n").keeps);
        let chunked = head("HTTP/1.1 500 x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
        assert_eq!(chunked.framing, Framing::Chunked);
        let other = head("HTTP/1.1 200 x\r\nTransfer-Encoding: gzip\r\n\r\n");
        assert_eq!(other.framing, Framing::UntilClose);
        let both =
            head("HTTP/1.1 200 x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!((both.framing, both.keeps), (Framing::Chunked, false));
    }

    #[test]
    fn what_is_no_head() {
        for text in [
            "SSH-2.0-x\r\n",
            "HTTP/1.1 200 x\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 x\r\nContent-Length: 18446744073709551616\r\n\r\n",
            "HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 abc x\r\n\r\n",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Failure::Malformed), "{text}");
        }
        let long = format!("HTTP/1.1 200 x\r\na: {}", "b".repeat(MAX_HEAD_BYTES));
        assert_eq!(parse(long.as_bytes()), Err(Failure::TooLarge));
        let many = format!(
            "HTTP/1.1 200 x\r\n{}\r\n",
            "a: b\r\n".repeat(MAX_FIELDS + 1)
        );
        assert_eq!(parse(many.as_bytes()), Err(Failure::TooLarge));
    }

    proptest! {
        /// Remembering changes nothing: whatever was parsed before, the result is the parser's.
        #[test]
        fn a_memo_is_the_parser(texts in prop::collection::vec(
            "HTTP/1\\.[01] (200|204|503) O?K?\r\n(Content-Length: [0-9]{1,3}\r\n|Date: [a-c]\r\n|Connection: close\r\n|Transfer-Encoding: chunked\r\n|[!-~]{0,4}){0,3}\r?\n?[a-b\r\n]{0,6}",
            1..8,
        )) {
            let mut memo = Memo::default();
            for text in &texts {
                prop_assert_eq!(memo.parse(text.as_bytes()), parse(text.as_bytes()));
                prop_assert_eq!(memo.parse(text.as_bytes()), parse(text.as_bytes()));
            }
        }
    }
}
