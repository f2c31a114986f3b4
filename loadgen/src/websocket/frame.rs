//! The frames of RFC 6455, client side: masked frames are written, unmasked ones are read as a
//! stream. A message's content is looked at while it passes by and never kept, except for its first
//! bytes, so that a connection's memory does not grow with what it is sent. What frames mean to a
//! connection is left to [`super::connection`].

use super::message::STAMP_BYTES;
use super::utf8::Utf8Check;

/// Most bytes of a control frame's content (RFC 6455, 5.5).
pub(crate) const CONTROL_BYTES: usize = 125;
/// Most bytes of a header without a mask.
const HEADER_BYTES: usize = 10;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn of(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A stream of masks. RFC 6455 wants masks that a *sender of content* cannot predict, so that no
/// content can be made that looks like HTTP to an intermediary. All content here is the generator's
/// own, so that a fast sequence (SplitMix64) serves; it is no secret and need not be one.
#[derive(Debug, Clone)]
pub(crate) struct Masks(u64);

impl Masks {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> [u8; 4] {
        self.0 = self.0.wrapping_add(super::plan::GOLDEN);
        let [a, b, c, d, ..] = super::plan::mix(self.0).to_le_bytes();
        [a, b, c, d]
    }
}

/// Appends a final, masked frame; `content` appends exactly `length` bytes.
pub(crate) fn encode_with(
    out: &mut Vec<u8>,
    opcode: Opcode,
    mask: [u8; 4],
    length: usize,
    content: impl FnOnce(&mut Vec<u8>),
) {
    out.push(0x80 | opcode as u8);
    if length < 126 {
        out.push(0x80 | length as u8);
    } else if let Ok(short) = u16::try_from(length) {
        out.push(0x80 | 126);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        out.push(0x80 | 127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
    out.extend_from_slice(&mask);
    let begin = out.len();
    content(out);
    debug_assert_eq!(out.len() - begin, length, "content has the length it said");
    apply_mask(&mut out[begin..], mask);
}

/// Appends a final, masked frame.
pub(crate) fn encode(out: &mut Vec<u8>, opcode: Opcode, mask: [u8; 4], content: &[u8]) {
    encode_with(out, opcode, mask, content.len(), |out| {
        out.extend_from_slice(content);
    });
}

/// Masks or unmasks content, eight bytes at a time.
pub(crate) fn apply_mask(content: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = content.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let value = u64::from_ne_bytes((&*chunk).try_into().expect("a chunk of eight"));
        chunk.copy_from_slice(&(value ^ wide).to_ne_bytes());
    }
    for (byte, key) in chunks
        .into_remainder()
        .iter_mut()
        .zip(mask.into_iter().cycle())
    {
        *byte ^= key;
    }
}

/// What a stream of frames says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A whole message; its first bytes are in [`Decoder::head`].
    Message { length: u64, text: bool },
    /// Content in [`Decoder::control`].
    Ping,
    /// Content in [`Decoder::control`].
    Pong,
    /// With its code, where it has one.
    Close(Option<u16>),
}

/// What is not a stream of server frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("a reserved bit is set without an extension")]
    Reserved,
    #[error("an unknown opcode")]
    Opcode,
    #[error("a masked frame from a server")]
    Masked,
    #[error("a control frame that is fragmented or over 125 bytes")]
    Control,
    #[error("a continuation of nothing, or a new message inside another")]
    Fragment,
    #[error("a length of more than 63 bits")]
    Length,
    #[error("a close frame with half a code, or with one that must not be sent")]
    Close,
    #[error("text that is not UTF-8")]
    Utf8,
    #[error("a message larger than allowed")]
    TooLarge,
}

impl ProtocolError {
    /// The close code that tells the peer (RFC 6455, 7.4.1).
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Self::Utf8 => 1007,
            Self::TooLarge => 1009,
            _ => 1002,
        }
    }
}

/// Reads a stream of server frames, whatever pieces it comes in.
#[derive(Debug)]
pub(crate) struct Decoder {
    remaining: u64,
    length: u64,
    control: Vec<u8>,
    head: [u8; STAMP_BYTES],
    header: [u8; HEADER_BYTES],
    header_length: u8,
    in_content: bool,
    opcode: Opcode,
    last: bool,
    /// The message that is under way: whether it is text.
    message: Option<bool>,
    utf8: Utf8Check,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            remaining: 0,
            length: 0,
            control: Vec::new(),
            head: [0; STAMP_BYTES],
            header: [0; HEADER_BYTES],
            header_length: 0,
            in_content: false,
            opcode: Opcode::Continuation,
            last: true,
            message: None,
            utf8: Utf8Check::default(),
        }
    }

    /// The first bytes of the last message, as many as there are.
    pub(crate) fn head(&self) -> &[u8] {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        &self.head[..length.min(STAMP_BYTES)]
    }

    /// The content of the last control frame.
    pub(crate) fn control(&self) -> &[u8] {
        &self.control
    }

    /// The same, to keep.
    pub(crate) fn take_control(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.control)
    }

    /// Whether the next byte begins a message (or a control frame between messages).
    pub(crate) fn is_between_messages(&self) -> bool {
        self.message.is_none() && self.header_length == 0
    }

    /// How many bytes may be read without reading past the end of the frame that is under way, so
    /// that a slow consumer leaves the rest to the kernel's buffer.
    pub(crate) fn wanted(&self) -> usize {
        if self.in_content {
            usize::try_from(self.remaining).unwrap_or(usize::MAX).max(1)
        } else {
            self.header_size() - usize::from(self.header_length)
        }
    }

    /// Takes bytes off `input` up to the next event; `None` when all are taken. Messages of more
    /// than `max` bytes are an error.
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        max: u64,
    ) -> Result<Option<Event>, ProtocolError> {
        loop {
            if !self.in_content {
                if !self.take_header(input)? {
                    return Ok(None);
                }
                self.begin_frame(max)?;
            }
            let length = usize::try_from(self.remaining)
                .unwrap_or(usize::MAX)
                .min(input.len());
            let (part, rest) = input.split_at(length);
            *input = rest;
            self.remaining -= length as u64;
            if self.opcode.is_control() {
                self.control.extend_from_slice(part);
            } else {
                self.take_content(part)?;
            }
            if self.remaining > 0 {
                return Ok(None);
            }
            self.in_content = false;
            self.header_length = 0;
            if let Some(event) = self.end_frame()? {
                return Ok(Some(event));
            }
        }
    }

    fn header_size(&self) -> usize {
        match self.header[1] & 0x7f {
            _ if self.header_length < 2 => 2,
            126 => 4,
            127 => HEADER_BYTES,
            _ => 2,
        }
    }

    /// Whether the header is whole.
    fn take_header(&mut self, input: &mut &[u8]) -> Result<bool, ProtocolError> {
        loop {
            let have = usize::from(self.header_length);
            let size = self.header_size();
            if have == size {
                return Ok(true);
            }
            if input.is_empty() {
                return Ok(false);
            }
            let length = (size - have).min(input.len());
            let (part, rest) = input.split_at(length);
            self.header[have..have + length].copy_from_slice(part);
            self.header_length += length as u8;
            *input = rest;
            if self.header_length >= 2 && self.header[1] & 0x80 != 0 {
                return Err(ProtocolError::Masked);
            }
        }
    }

    fn begin_frame(&mut self, max: u64) -> Result<(), ProtocolError> {
        let [first, second, a, b, c, d, e, f, g, h] = self.header;
        if first & 0x70 != 0 {
            return Err(ProtocolError::Reserved);
        }
        self.last = first & 0x80 != 0;
        self.opcode = Opcode::of(first & 0x0f).ok_or(ProtocolError::Opcode)?;
        self.remaining = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        };
        if self.remaining >> 63 != 0 {
            return Err(ProtocolError::Length);
        }
        self.in_content = true;
        if self.opcode.is_control() {
            if !self.last || self.remaining > CONTROL_BYTES as u64 {
                return Err(ProtocolError::Control);
            }
            self.control.clear();
            return Ok(());
        }
        match (self.opcode, self.message) {
            (Opcode::Continuation, Some(_)) => {}
            (Opcode::Continuation, None) | (_, Some(_)) => return Err(ProtocolError::Fragment),
            (opcode, None) => {
                self.message = Some(opcode == Opcode::Text);
                self.length = 0;
                self.utf8 = Utf8Check::default();
            }
        }
        match self.length.checked_add(self.remaining) {
            Some(length) if length <= max => Ok(()),
            _ => Err(ProtocolError::TooLarge),
        }
    }

    fn take_content(&mut self, part: &[u8]) -> Result<(), ProtocolError> {
        if self.length < STAMP_BYTES as u64 {
            let have = self.length as usize;
            let length = part.len().min(STAMP_BYTES - have);
            self.head[have..have + length].copy_from_slice(&part[..length]);
        }
        self.length += part.len() as u64;
        if self.message == Some(true) && !self.utf8.take(part) {
            return Err(ProtocolError::Utf8);
        }
        Ok(())
    }

    fn end_frame(&mut self) -> Result<Option<Event>, ProtocolError> {
        match self.opcode {
            Opcode::Ping => Ok(Some(Event::Ping)),
            Opcode::Pong => Ok(Some(Event::Pong)),
            Opcode::Close => close_code(&self.control).map(|code| Some(Event::Close(code))),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                if !self.last {
                    return Ok(None);
                }
                let text = self.message.take().unwrap_or(false);
                if text && !self.utf8.is_whole() {
                    return Err(ProtocolError::Utf8);
                }
                Ok(Some(Event::Message {
                    length: self.length,
                    text,
                }))
            }
        }
    }
}

/// The code of a close frame's content; only codes that may be sent are taken (RFC 6455, 7.4).
fn close_code(content: &[u8]) -> Result<Option<u16>, ProtocolError> {
    let [high, low, reason @ ..] = content else {
        return if content.is_empty() {
            Ok(None)
        } else {
            Err(ProtocolError::Close)
        };
    };
    let code = u16::from_be_bytes([*high, *low]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(ProtocolError::Close);
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(ProtocolError::Utf8);
    }
    Ok(Some(code))
}

#[cfg(test)]
mod tests;
