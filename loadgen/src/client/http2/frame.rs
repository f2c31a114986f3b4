//! Frames of HTTP/2 (RFC 9113, 4 and 6) as bytes. Pure; what they mean is left to `session`.

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head.
pub(crate) const HEAD_BYTES: usize = 9;

/// The longest payload that is taken, and made: what every peer takes.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 16_384;

/// The largest window.
pub(crate) const MAX_WINDOW: i64 = (1 << 31) - 1;

/// Every window at first.
pub(crate) const FIRST_WINDOW: i64 = 65_535;

/// Kinds of frames.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Settings (RFC 9113, 6.5.2).
pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// Why something is ended (RFC 9113, 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Code {
    NoError = 0,
    Protocol = 1,
    FlowControl = 3,
    FrameSize = 6,
    Refused = 7,
    Cancel = 8,
    Compression = 9,
    EnhanceYourCalm = 11,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Head {
    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The frame at the beginning of some bytes and the length of the whole; none where it is not whole
/// yet. A length that no peer may use is told by the first three bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Code> {
    let [high, middle, low, rest @ ..] = bytes else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
    if length > MAX_PAYLOAD_BYTES {
        return Err(Code::FrameSize);
    }
    let [kind, flags, a, b, c, d, payload @ ..] = rest else {
        return Ok(None);
    };
    if payload.len() < length {
        return Ok(None);
    }
    let head = Head {
        kind: *kind,
        flags: *flags,
        stream: u32::from_be_bytes([*a, *b, *c, *d]) & 0x7fff_ffff,
    };
    Ok(Some((head, HEAD_BYTES + length)))
}

/// The head of a frame to be sent.
pub(crate) fn head(kind: u8, flags: u8, stream: u32, length: usize) -> [u8; HEAD_BYTES] {
    let [_, high, middle, low] = (length as u32).to_be_bytes();
    let [a, b, c, d] = stream.to_be_bytes();
    [high, middle, low, kind, flags, a, b, c, d]
}

/// Appends a whole frame.
pub(crate) fn write(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    into.extend_from_slice(&head(kind, flags, stream, payload.len()));
    into.extend_from_slice(payload);
}

/// Appends the header section that was appended last to its frame's room, in as many frames as it
/// needs; `at` is where that room begins.
pub(crate) fn close_section(into: &mut Vec<u8>, at: usize, stream: u32, ends_stream: bool) {
    let length = into.len() - at - HEAD_BYTES;
    let end = if ends_stream { flag::END_STREAM } else { 0 };
    if length <= MAX_PAYLOAD_BYTES {
        let head = head(kind::HEADERS, end | flag::END_HEADERS, stream, length);
        into[at..at + HEAD_BYTES].copy_from_slice(&head);
        return;
    }
    let section = into.split_off(at + HEAD_BYTES);
    into.truncate(at);
    let mut parts = section.chunks(MAX_PAYLOAD_BYTES).peekable();
    let mut kind = kind::HEADERS;
    let mut flags = end;
    while let Some(part) = parts.next() {
        let last = if parts.peek().is_none() {
            flag::END_HEADERS
        } else {
            0
        };
        write(into, kind, flags | last, stream, part);
        kind = kind::CONTINUATION;
        flags = 0;
    }
}

/// Takes the padding off a payload, where there is any; none where it is longer than the payload.
pub(crate) fn unpadded(head: Head, payload: &[u8]) -> Option<&[u8]> {
    if !head.has(flag::PADDED) {
        return Some(payload);
    }
    let (&padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(padding))?)
}

/// A number of 32 bits at the beginning of a payload.
pub(crate) fn number(payload: &[u8]) -> Option<u32> {
    payload
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_parsed() {
        let mut bytes = Vec::new();
        write(&mut bytes, kind::PING, flag::ACK, 0x8000_0005, b"12345678");
        let head = Head {
            kind: kind::PING,
            flags: flag::ACK,
            stream: 5,
        };
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None));
        }
        bytes.push(0);
        assert_eq!(parse(&bytes), Ok(Some((head, 17))));
        assert_eq!(parse(b"HTT"), Err(Code::FrameSize));
    }

    #[test]
    fn long_sections_are_continued() {
        let mut bytes = b"before".to_vec();
        bytes.extend_from_slice(&[0; HEAD_BYTES]);
        bytes.extend(std::iter::repeat_n(b'x', 2 * MAX_PAYLOAD_BYTES + 5));
        close_section(&mut bytes, 6, 7, true);
        let mut rest = &bytes[6..];
        let mut frames = Vec::new();
        while let Ok(Some((head, length))) = parse(rest) {
            frames.push((head.kind, head.flags, head.stream, length - HEAD_BYTES));
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        let full = MAX_PAYLOAD_BYTES;
        assert_eq!(frames, [(1, 1, 7, full), (9, 0, 7, full), (9, 4, 7, 5)]);
    }

    #[test]
    fn padding() {
        let padded = Head {
            kind: 0,
            flags: flag::PADDED,
            stream: 1,
        };
        assert_eq!(unpadded(padded, &[2, 9, 8, 0, 0]), Some(&[9, 8][..]));
        assert_eq!(unpadded(padded, &[2, 0, 0]), Some(&[][..]));
        assert_eq!(unpadded(padded, &[3, 0, 0]), None);
        assert_eq!(unpadded(padded, &[]), None);
    }
}
