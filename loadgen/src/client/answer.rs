//! One answer, read piece by piece: heads are kept until they are whole, bodies are only counted.

use super::chunks::Chunks;
use super::head::{Framing, Head, MAX_HEAD_BYTES, Memo, parse};
use crate::operation::Failure;

/// The reader of one connection's answers.
#[derive(Debug)]
pub(crate) struct Answer {
    phase: Phase,
    /// The request was a HEAD: whatever the head says, there is no body.
    head_only: bool,
    /// The beginning of a head that is not whole yet.
    pending: Vec<u8>,
    /// How much of it has been tried already.
    tried: usize,
    /// Bytes of interim heads.
    interim: usize,
    body_bytes: u64,
    status: u16,
    keeps: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Head,
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

impl Answer {
    pub(crate) const fn new() -> Self {
        Self {
            phase: Phase::Head,
            head_only: false,
            pending: Vec::new(),
            tried: 0,
            interim: 0,
            body_bytes: 0,
            status: 0,
            keeps: false,
        }
    }

    /// Prepares for the next answer.
    pub(crate) fn begin(&mut self, head_only: bool) {
        self.phase = Phase::Head;
        self.head_only = head_only;
        self.pending.clear();
        self.tried = 0;
        self.interim = 0;
        self.body_bytes = 0;
        self.status = 0;
        self.keeps = false;
    }

    /// The status; 0 while the head is not whole.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the head allows the connection to be used again.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Whether the answer is whole when the connection is closed now.
    pub(crate) fn ends_with_connection(&self) -> bool {
        matches!(self.phase, Phase::UntilClose)
    }

    /// Takes what was received; says how much of it was the answer's when it is whole.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        memo: &mut Memo,
        max_body_bytes: u64,
    ) -> Result<Option<usize>, Failure> {
        let mut at = 0;
        while matches!(self.phase, Phase::Head) {
            let Some((head, used)) = self.head(&input[at..], memo)? else {
                return Ok(None);
            };
            at += used;
            if (100..200).contains(&head.status) && head.status != 101 {
                self.interim += used;
                if self.interim > MAX_HEAD_BYTES {
                    return Err(Failure::TooLarge);
                }
                continue;
            }
            if self.begin_body(head, max_body_bytes)? {
                return Ok(Some(at));
            }
        }
        let rest = &input[at..];
        let (used, content, whole) = match &mut self.phase {
            Phase::Head => (0, 0, false),
            Phase::UntilClose => (rest.len(), rest.len() as u64, false),
            Phase::Chunked(chunks) => {
                let fed = chunks.feed(rest)?;
                (fed.used, fed.content, fed.whole)
            }
            Phase::Length(left) => {
                let taken = (rest.len() as u64).min(*left);
                *left -= taken;
                (taken as usize, taken, *left == 0)
            }
        };
        self.body_bytes += content;
        if self.body_bytes > max_body_bytes {
            return Err(Failure::TooLarge);
        }
        Ok(whole.then_some(at + used))
    }

    /// The next head, and how much of the input was needed to complete it.
    fn head(&mut self, input: &[u8], memo: &mut Memo) -> Result<Option<(Head, usize)>, Failure> {
        if self.pending.is_empty() {
            if input.is_empty() {
                return Ok(None);
            }
            let parsed = memo.parse(input)?;
            if parsed.is_none() {
                self.pending.extend_from_slice(input);
                self.tried = input.len();
            }
            return Ok(parsed);
        }
        let before = self.pending.len();
        self.pending.extend_from_slice(input);
        // A head that drips in is not parsed anew for every byte: only where it may be whole, and
        // where it has doubled.
        if !may_end(&self.pending[before.saturating_sub(3)..])
            && self.pending.len() < 2 * self.tried
            && self.pending.len() <= MAX_HEAD_BYTES
        {
            return Ok(None);
        }
        self.tried = self.pending.len();
        let Some((head, length)) = parse(&self.pending)? else {
            return Ok(None);
        };
        self.pending.clear();
        Ok(Some((head, length.saturating_sub(before))))
    }

    /// Says whether the answer is whole without a body.
    fn begin_body(&mut self, head: Head, max_body_bytes: u64) -> Result<bool, Failure> {
        self.status = head.status;
        self.keeps = head.keeps && head.status != 101;
        if self.head_only || matches!(head.status, 101 | 204 | 304) {
            return Ok(true);
        }
        self.phase = match head.framing {
            Framing::Length(0) => return Ok(true),
            Framing::Length(length) if length > max_body_bytes => return Err(Failure::TooLarge),
            Framing::Length(length) => Phase::Length(length),
            Framing::Chunked => Phase::Chunked(Chunks::new()),
            Framing::UntilClose => Phase::UntilClose,
        };
        Ok(false)
    }
}

/// Whether an empty line ends somewhere in some bytes.
fn may_end(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1_000;

    fn fed(text: &str, head_only: bool) -> Result<Option<usize>, Failure> {
        let mut answer = Answer::new();
        answer.begin(head_only);
        answer.feed(text.as_bytes(), &mut Memo::default(), LIMIT)
    }

    #[test]
    fn bodies_of_every_kind() {
        let whole = |text: &str| assert_eq!(fed(text, false), Ok(Some(text.len())), "{text:?}");
        whole("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        whole("HTTP/1.1 204 No\r\n\r\n");
        whole("HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n");
        whole(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\nx",
        );
        whole("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n");
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(fed(head, true), Ok(Some(head.len())));
        assert_eq!(fed(head, false), Ok(None));
        // What comes after an answer is not the answer's.
        assert_eq!(
            fed(&format!("{head}hi there"), false),
            Ok(Some(head.len() + 2))
        );
    }

    #[test]
    fn until_the_connection_ends() {
        let mut answer = Answer::new();
        let text = b"HTTP/1.1 200 OK\r\n\r\nabc";
        assert!(!answer.ends_with_connection());
        assert_eq!(answer.feed(text, &mut Memo::default(), LIMIT), Ok(None));
        assert!(answer.ends_with_connection());
        assert_eq!(answer.status(), 200);
    }

    #[test]
    fn bounds() {
        assert_eq!(
            fed("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", false),
            Err(Failure::TooLarge)
        );
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1_001));
        assert_eq!(fed(&endless, false), Err(Failure::TooLarge));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_HEAD_BYTES / 20);
        assert_eq!(fed(&interim, false), Err(Failure::TooLarge));
        let mut answer = Answer::new();
        let mut memo = Memo::default();
        let mut ended = Ok(None);
        for piece in std::iter::once(&b"HTTP/1.1 200 OK\r\na: "[..])
            .chain(std::iter::repeat_n(&b"bbbbbbbb"[..], MAX_HEAD_BYTES))
        {
            ended = answer.feed(piece, &mut memo, LIMIT);
            if ended.is_err() {
                break;
            }
        }
        assert_eq!(ended, Err(Failure::TooLarge));
        assert_eq!(fed("\u{0}garbage\r\n", false), Err(Failure::Malformed));
    }

    proptest! {
        #[test]
        fn pieces_are_the_whole(
            interim in any::<bool>(),
            body in 0_usize..30,
            kind in 0_u8..3,
            cuts in prop::collection::vec(1_usize..17, 1..8),
        ) {
            let mut text = if interim { "HTTP/1.1 100 Continue\r\n\r\n".to_owned() } else { String::new() };
            let content = "b".repeat(body);
            text.push_str(&match kind {
                0 => format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n{content}"),
                1 if body > 0 => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body:X}\r\n{content}\r\n0\r\n\r\n"),
                1 => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
                _ => "HTTP/1.1 204 Nothing\r\nX: y\r\n\r\n".to_owned(),
            });
            let mut answer = Answer::new();
            let mut memo = Memo::default();
            answer.begin(false);
            let mut rest = text.as_bytes();
            for &cut in cuts.iter().cycle() {
                let piece = &rest[..cut.min(rest.len())];
                rest = &rest[piece.len()..];
                let fed = answer.feed(piece, &mut memo, LIMIT);
                let expected = if rest.is_empty() { Some(piece.len()) } else { None };
                prop_assert_eq!(fed, Ok(expected));
                if rest.is_empty() {
                    break;
                }
            }
        }
    }
}
