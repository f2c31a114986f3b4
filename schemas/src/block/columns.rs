//! Protobuf columns without intermediate vectors: packed fields are written straight into bytes, and
//! read where they lie in the body. What is written is what prost writes for the same message; what
//! is read may also be split or unpacked, as protobuf allows any writer to do.

use std::borrow::Cow;

use super::DecodeError;

/// A varint takes at most this many bytes.
const MAX_VARINT_BYTES: usize = 10;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// Appends a varint.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed varint, small for values near zero of either sign.
#[inline]
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a length-delimited field, empty or not.
pub(super) fn put_bytes(out: &mut Vec<u8>, tag: u64, bytes: &[u8]) {
    put_varint(out, tag << 3 | BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a packed column; an empty one is left out.
pub(super) fn put_packed(out: &mut Vec<u8>, tag: u64, column: &[u8]) {
    if !column.is_empty() {
        put_bytes(out, tag, column);
    }
}

/// Appends a scalar field; zero is left out.
pub(super) fn put_scalar(out: &mut Vec<u8>, tag: u64, value: u64) {
    if value != 0 {
        put_varint(out, tag << 3 | VARINT);
        put_varint(out, value);
    }
}

/// Varints one after another.
pub(super) struct Varints<'a>(&'a [u8]);

impl Varints<'_> {
    /// The next one; `None` at the end, or where the bytes are no varint.
    #[inline]
    pub(super) fn next(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        if *first < 0x80 {
            self.0 = rest;
            return Some(u64::from(*first));
        }
        self.next_long()
    }

    /// The next one, signed.
    #[inline]
    pub(super) fn next_signed(&mut self) -> Option<i64> {
        let value = self.next()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn next_long(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for (at, byte) in self.0.iter().take(MAX_VARINT_BYTES).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Some(value);
            }
        }
        None
    }
}

/// The content of a field.
pub(super) enum Content<'a> {
    /// A single number.
    Varint(u64),
    /// Eight bytes, little-endian.
    Fixed64(&'a [u8]),
    /// Text, or a packed column.
    Bytes(&'a [u8]),
    /// Four bytes: no field of ours has them.
    Fixed32,
}

/// The fields of a message in the order in which they were written.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl<'a> Fields<'a> {
    /// The fields of a message's bytes; `message` names it in errors.
    pub(super) fn new(bytes: &'a [u8], message: &'static str) -> Self {
        Self {
            rest: bytes,
            message,
        }
    }

    /// The next field's tag and content.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Content<'a>)>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let content = match key & 7 {
            VARINT => Content::Varint(self.varint()?),
            FIXED64 => Content::Fixed64(self.take(8)?),
            BYTES => {
                let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Content::Bytes(self.take(len)?)
            }
            FIXED32 => {
                self.take(4)?;
                Content::Fixed32
            }
            _ => return Err(self.malformed()),
        };
        Ok(Some((key >> 3, content)))
    }

    /// Bytes that are still to come.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut varints = Varints(self.rest);
        let value = varints.next();
        self.rest = varints.0;
        value.ok_or_else(|| self.malformed())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    fn malformed(&self) -> DecodeError {
        DecodeError::Malformed { what: self.message }
    }
}

/// A column of numbers as it lies in the body; copied only where its writer split it.
#[derive(Default)]
pub(super) struct Column<'a>(Cow<'a, [u8]>);

impl<'a> Column<'a> {
    /// Takes one field of a column of varints.
    pub(super) fn add(
        &mut self,
        name: &'static str,
        content: Content<'a>,
    ) -> Result<(), DecodeError> {
        match content {
            Content::Bytes(bytes) => self.extend(bytes),
            Content::Varint(value) => put_varint(self.0.to_mut(), value),
            Content::Fixed64(_) | Content::Fixed32 => {
                return Err(DecodeError::Malformed { what: name });
            }
        }
        Ok(())
    }

    /// Takes one field of a column of eight-byte numbers.
    pub(super) fn add_fixed(
        &mut self,
        name: &'static str,
        content: Content<'a>,
    ) -> Result<(), DecodeError> {
        match content {
            Content::Bytes(bytes) if bytes.len() % 8 == 0 => self.extend(bytes),
            Content::Fixed64(bytes) => self.extend(bytes),
            _ => return Err(DecodeError::Malformed { what: name }),
        }
        Ok(())
    }

    fn extend(&mut self, bytes: &'a [u8]) {
        if self.0.is_empty() {
            self.0 = Cow::Borrowed(bytes);
        } else {
            self.0.to_mut().extend_from_slice(bytes);
        }
    }

    /// How many varints there are.
    pub(super) fn len(&self) -> usize {
        self.0.iter().filter(|byte| **byte < 0x80).count()
    }

    /// Whether all varints are zero, each in one byte.
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// How many eight-byte numbers there are.
    pub(super) fn len_fixed(&self) -> usize {
        self.0.len() / 8
    }

    /// The varints.
    pub(super) fn varints(&self) -> Varints<'_> {
        Varints(&self.0)
    }

    /// The eight-byte numbers.
    pub(super) fn fixed(&self) -> impl Iterator<Item = u64> {
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        self.0.chunks_exact(8).map(number)
    }
}

/// A field of text.
pub(super) fn text<'a>(name: &'static str, content: Content<'a>) -> Result<&'a str, DecodeError> {
    let Content::Bytes(bytes) = content else {
        return Err(DecodeError::Malformed { what: name });
    };
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed { what: name })
}
