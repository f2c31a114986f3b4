//! Protobuf as it lies in a request: fields one after the other, borrowed, without a copy.
//!
//! Every length is checked against what is there; nothing is allocated. Which field means what is
//! left to the callers. Format: the protobuf encoding guide (varint, 64 bit, length-delimited and
//! 32 bit fields; groups have been out of use since proto2 and are refused).

/// Bytes that are not the message that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf in {what}")]
pub(crate) struct Malformed {
    /// Which message or field.
    pub(crate) what: &'static str,
}

/// The content of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Content<'a> {
    pub(crate) fn bytes(self, what: &'static str) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed { what }),
        }
    }

    pub(crate) fn text(self, what: &'static str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| Malformed { what })
    }

    pub(crate) fn varint(self, what: &'static str) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Malformed { what }),
        }
    }

    pub(crate) fn fixed64(self, what: &'static str) -> Result<u64, Malformed> {
        match self {
            Self::Fixed64(value) => Ok(value),
            _ => Err(Malformed { what }),
        }
    }

    pub(crate) fn double(self, what: &'static str) -> Result<f64, Malformed> {
        self.fixed64(what).map(f64::from_bits)
    }

    /// A `sint32` or `sint64`.
    pub(crate) fn zigzag(self, what: &'static str) -> Result<i64, Malformed> {
        let raw = self.varint(what)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Appends a repeated field of 64 bit values, packed or one by one.
    pub(crate) fn extend_fixed64(
        self,
        what: &'static str,
        out: &mut Vec<u64>,
    ) -> Result<(), Malformed> {
        match self {
            Self::Fixed64(value) => out.push(value),
            Self::Bytes(bytes) => {
                let (values, []) = bytes.as_chunks::<8>() else {
                    return Err(Malformed { what });
                };
                out.extend(values.iter().map(|value| u64::from_le_bytes(*value)));
            }
            _ => return Err(Malformed { what }),
        }
        Ok(())
    }

    /// Appends a repeated field of varints, packed or one by one.
    pub(crate) fn extend_varints(
        self,
        what: &'static str,
        out: &mut Vec<u64>,
    ) -> Result<(), Malformed> {
        match self {
            Self::Varint(value) => out.push(value),
            Self::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    out.push(varint(&mut bytes).ok_or(Malformed { what })?);
                }
            }
            _ => return Err(Malformed { what }),
        }
        Ok(())
    }
}

/// The fields of a message.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8], what: &'static str) -> Self {
        Self {
            rest: message,
            what,
        }
    }

    /// The next field's number and content.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Content<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let field = self.take();
        field.map(Some).ok_or(Malformed { what: self.what })
    }

    #[inline]
    fn take(&mut self) -> Option<(u64, Content<'a>)> {
        let key = varint(&mut self.rest)?;
        let content = match key & 7 {
            0 => Content::Varint(varint(&mut self.rest)?),
            1 => Content::Fixed64(u64::from_le_bytes(*self.take_array()?)),
            2 => {
                let len = usize::try_from(varint(&mut self.rest)?).ok()?;
                let (bytes, rest) = self.rest.split_at_checked(len)?;
                self.rest = rest;
                Content::Bytes(bytes)
            }
            5 => Content::Fixed32(u32::from_le_bytes(*self.take_array()?)),
            _ => return None,
        };
        let number = key >> 3;
        (number != 0).then_some((number, content))
    }

    #[inline]
    fn take_array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (value, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(value)
    }
}

#[inline]
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    let mut value = u64::from(first & 0x7f);
    for (at, &byte) in rest.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * (at + 1));
        if byte < 0x80 {
            *bytes = &rest[at + 1..];
            // The tenth byte has room for one bit.
            return (at < 8 || byte <= 1).then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_lengths_are_checked() {
        let message = [
            0x08, 0x96, 0x01, // 1: varint 150
            0x12, 0x02, b'o', b'k', // 2: bytes
            0x19, 1, 0, 0, 0, 0, 0, 0, 0, // 3: 64 bit
            0x25, 2, 0, 0, 0, // 4: 32 bit
        ];
        let mut fields = Fields::new(&message, "it");
        let mut found = Vec::new();
        while let Some(field) = fields.next().expect("well formed") {
            found.push(field);
        }
        assert_eq!(
            found,
            [
                (1, Content::Varint(150)),
                (2, Content::Bytes(b"ok")),
                (3, Content::Fixed64(1)),
                (4, Content::Fixed32(2)),
            ]
        );
        let whole = [0, 3, 7, 16];
        for len in (0..message.len()).filter(|len| !whole.contains(len)) {
            let mut fields = Fields::new(&message[..len], "it");
            let outcome = std::iter::from_fn(|| fields.next().transpose()).find_map(Result::err);
            assert_eq!(outcome, Some(Malformed { what: "it" }), "cut at {len}");
        }
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        for bad in [
            &[0x0b][..],                           // a group
            &[0x00, 0x00],                         // field 0
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], // longer than all
            &[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
            ], // more than 64 bit
        ] {
            assert!(Fields::new(bad, "it").next().is_err(), "{bad:?}");
        }
        let mut long = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..];
        assert_eq!(varint(&mut long), Some(u64::MAX));
        assert_eq!(Content::Varint(3).zigzag("it"), Ok(-2));
    }

    #[test]
    fn repeated_fields_are_read_packed_or_not() {
        let mut values = Vec::new();
        let packed = [7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
        let packed = Content::Bytes(&packed);
        packed.extend_fixed64("it", &mut values).expect("two");
        let one = Content::Fixed64(9);
        one.extend_fixed64("it", &mut values).expect("one");
        let varints = Content::Bytes(&[1, 0x80, 1]);
        varints.extend_varints("it", &mut values).expect("two more");
        assert_eq!(values, [7, 8, 9, 1, 128]);
        let bad = Content::Bytes(&[1, 2]).extend_fixed64("it", &mut values);
        assert!(bad.is_err());
    }
}
