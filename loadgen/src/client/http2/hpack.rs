//! Header sections of answers (RFC 7541): the dynamic table is kept exactly as the peer keeps it, but
//! of its entries, as of all fields, only the status and the length of the body are remembered.

use std::collections::VecDeque;

use super::huffman;
use super::statics::{ENTRY_BYTES, STATIC, TABLE_BYTES};

/// What an answer's header section says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// The status; none in trailers.
    pub(crate) status: Option<u16>,
    /// The length of the body, where it is given.
    pub(crate) length: Option<u64>,
    /// A field that must not be there, or twice, or has a value of another kind.
    pub(crate) is_broken: bool,
}

/// A section that cannot be decoded: the connection's tables are not the same any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Garbled;

/// The names that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Status,
    Length,
    /// Another name that begins with a colon: answers have none.
    Pseudo,
    Other,
}

/// A field as far as it matters; `value` is the number of a status or a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    name: Name,
    name_bytes: usize,
    value_bytes: usize,
    value: Option<u64>,
}

/// The decoder of one connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The newest first.
    table: VecDeque<Field>,
    size: usize,
    most: usize,
    scratch: Vec<u8>,
    /// The last section that left the table as it was; most answers are alike.
    last: Vec<u8>,
    last_section: Section,
}

/// A string as it stands in a section.
#[derive(Debug, Clone, Copy)]
struct Text<'a> {
    bytes: &'a [u8],
    is_coded: bool,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            most: TABLE_BYTES,
            scratch: Vec::new(),
            last: Vec::new(),
            last_section: Section::default(),
        }
    }

    /// Decodes a whole section.
    pub(crate) fn decode(&mut self, block: &[u8]) -> Result<Section, Garbled> {
        if !block.is_empty() && block == self.last {
            return Ok(self.last_section);
        }
        let mut section = Section::default();
        let mut changes = false;
        let mut is_begun = false;
        let mut rest = block;
        while let Some(&first) = rest.first() {
            if first & 0xe0 == 0x20 {
                // Only before the first field (RFC 7541, 4.2).
                let most = integer(&mut rest, 5)?;
                if is_begun || most > TABLE_BYTES {
                    return Err(Garbled);
                }
                self.most = most;
                self.evict(0);
                changes = true;
                continue;
            }
            is_begun = true;
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                section.note(self.field(index)?);
                continue;
            }
            let is_kept = first & 0x40 != 0;
            let field = self.literal(&mut rest, if is_kept { 6 } else { 4 }, is_kept)?;
            section.note(field);
            if is_kept {
                self.insert(field);
                changes = true;
            }
        }
        self.last.clear();
        if !changes {
            self.last.extend_from_slice(block);
            self.last_section = section;
        }
        Ok(section)
    }

    fn field(&self, index: usize) -> Result<Field, Garbled> {
        let at = index.checked_sub(1).ok_or(Garbled)?;
        match STATIC.get(at) {
            Some((name, value)) => {
                let name_kind = kind(name.as_bytes());
                Ok(Field {
                    name: name_kind,
                    name_bytes: name.len(),
                    value_bytes: value.len(),
                    value: number(name_kind, value.as_bytes()),
                })
            }
            None => self.table.get(at - STATIC.len()).copied().ok_or(Garbled),
        }
    }

    fn literal(&mut self, rest: &mut &[u8], bits: u8, is_kept: bool) -> Result<Field, Garbled> {
        let (name, name_bytes) = match integer(rest, bits)? {
            0 => {
                let text = text(rest)?;
                let plain = plain(text, &mut self.scratch)?;
                (kind(plain), plain.len())
            }
            index => {
                let named = self.field(index)?;
                (named.name, named.name_bytes)
            }
        };
        let text = text(rest)?;
        if !is_kept && name == Name::Other {
            // Neither its value nor its length is needed.
            return Ok(Field {
                name,
                name_bytes,
                value_bytes: 0,
                value: None,
            });
        }
        let plain = plain(text, &mut self.scratch)?;
        Ok(Field {
            name,
            name_bytes,
            value_bytes: plain.len(),
            value: number(name, plain),
        })
    }

    fn insert(&mut self, field: Field) {
        let bytes = field.bytes();
        self.evict(bytes);
        if bytes <= self.most {
            self.size += bytes;
            self.table.push_front(field);
        }
    }

    /// Makes room.
    fn evict(&mut self, wanted: usize) {
        while self.size + wanted > self.most
            && let Some(oldest) = self.table.pop_back()
        {
            self.size -= oldest.bytes();
        }
    }
}

impl Field {
    fn bytes(&self) -> usize {
        self.name_bytes + self.value_bytes + ENTRY_BYTES
    }
}

impl Section {
    fn note(&mut self, field: Field) {
        match field.name {
            Name::Other => {}
            Name::Pseudo => self.is_broken = true,
            Name::Status => {
                let status = field.value.and_then(|value| u16::try_from(value).ok());
                let status = status.filter(|status| (100..1_000).contains(status));
                self.is_broken |= status.is_none() || self.status.is_some();
                self.status = status;
            }
            Name::Length => {
                self.is_broken |= field.value.is_none()
                    || self.length.is_some_and(|known| Some(known) != field.value);
                self.length = field.value;
            }
        }
    }
}

fn kind(name: &[u8]) -> Name {
    match name {
        b":status" => Name::Status,
        b"content-length" => Name::Length,
        [b':', ..] => Name::Pseudo,
        _ => Name::Other,
    }
}

fn number(name: Name, text: &[u8]) -> Option<u64> {
    if matches!(name, Name::Other | Name::Pseudo) || text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &byte| {
        let digit = char::from(byte).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// An integer with a prefix of so many bits (RFC 7541, 5.1).
fn integer(rest: &mut &[u8], bits: u8) -> Result<usize, Garbled> {
    let (&first, mut tail) = rest.split_first().ok_or(Garbled)?;
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&byte, more) = tail.split_first().ok_or(Garbled)?;
            tail = more;
            // No length or index that makes sense has more than 28 bits.
            if shift > 21 {
                return Err(Garbled);
            }
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = tail;
    Ok(value)
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<Text<'a>, Garbled> {
    let is_coded = rest.first().ok_or(Garbled)? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (bytes, tail) = rest.split_at_checked(length).ok_or(Garbled)?;
    *rest = tail;
    Ok(Text { bytes, is_coded })
}

fn plain<'a>(text: Text<'a>, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Garbled> {
    if !text.is_coded {
        return Ok(text.bytes);
    }
    scratch.clear();
    match huffman::decode(text.bytes, scratch) {
        true => Ok(scratch),
        false => Err(Garbled),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn section(status: Option<u16>, length: Option<u64>) -> Section {
        Section {
            status,
            length,
            is_broken: false,
        }
    }

    fn literal(first: u8, name: &str, value: &str) -> Vec<u8> {
        let mut bytes = vec![first];
        for text in [name, value] {
            bytes.push(text.len() as u8);
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// Answers of RFC 7541, C.6, whose table holds 256 bytes and loses entries.
    #[test]
    fn the_examples_of_the_standard_with_evictions() {
        let mut decoder = Decoder::new();
        let mut first = vec![0x3f, 0xe1, 0x01];
        first.extend_from_slice(&[
            0x48, 0x82, 0x64, 0x02, 0x58, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b, 0x61, 0x96, 0xd0,
            0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81,
            0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff, 0x6e, 0x91, 0x9d, 0x29, 0xad, 0x17, 0x18,
            0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae, 0x82, 0xae, 0x43, 0xd3,
        ]);
        assert_eq!(decoder.decode(&first), Ok(section(Some(302), None)));
        assert_eq!((decoder.size, decoder.table.len()), (222, 4));
        let second = [0x48, 0x83, 0x64, 0x0e, 0xff, 0xc1, 0xc0, 0xbf];
        assert_eq!(decoder.decode(&second), Ok(section(Some(307), None)));
        assert_eq!((decoder.size, decoder.table.len()), (222, 4));
        let third = [
            0x88, 0xc1, 0x61, 0x96, 0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20,
            0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0, 0x84, 0xa6, 0x2d, 0x1b, 0xff, 0xc0, 0x5a,
            0x83, 0x9b, 0xd9, 0xab, 0x77, 0xad, 0x94, 0xe7, 0x82, 0x1d, 0xd7, 0xf2, 0xe6, 0xc7,
            0xb3, 0x35, 0xdf, 0xdf, 0xcd, 0x5b, 0x39, 0x60, 0xd5, 0xaf, 0x27, 0x08, 0x7f, 0x36,
            0x72, 0xc1, 0xab, 0x27, 0x0f, 0xb5, 0x29, 0x1f, 0x95, 0x87, 0x31, 0x60, 0x65, 0xc0,
            0x03, 0xed, 0x4e, 0xe5, 0xb1, 0x06, 0x3d, 0x50, 0x07,
        ];
        assert_eq!(decoder.decode(&third), Ok(section(Some(200), None)));
        assert_eq!((decoder.size, decoder.table.len()), (215, 3));
    }

    #[test]
    fn lengths_are_kept_in_the_table() {
        let mut decoder = Decoder::new();
        // content-length: 12, kept; afterwards by its index, the newest being 62.
        let block = [&[0x88, 0x5c, 2][..], b"12"].concat();
        assert_eq!(decoder.decode(&block), Ok(section(Some(200), Some(12))));
        for _ in 0..3 {
            assert_eq!(
                decoder.decode(&[0x88, 0xbe]),
                Ok(section(Some(200), Some(12)))
            );
        }
        // Another entry moves it, so that the same bytes mean something else.
        let block = [vec![0x89], literal(0x40, "x-y", "z")].concat();
        assert_eq!(decoder.decode(&block), Ok(section(Some(204), None)));
        assert_eq!(decoder.decode(&[0x88, 0xbe]), Ok(section(Some(200), None)));
        assert_eq!(
            decoder.decode(&[0x88, 0xbf]),
            Ok(section(Some(200), Some(12)))
        );
        // Trailers.
        assert_eq!(
            decoder.decode(&literal(0, "x", "y")),
            Ok(section(None, None))
        );
        assert_eq!(decoder.decode(&[]), Ok(section(None, None)));
    }

    #[test]
    fn broken_sections() {
        for block in [
            vec![0x88, 0x89],
            literal(0, ":status", "2x"),
            literal(0, ":status", "20"),
            literal(0, ":path", "/"),
            literal(0x10, "content-length", "-1"),
            [
                literal(0, "content-length", "1"),
                literal(0, "content-length", "2"),
            ]
            .concat(),
        ] {
            let section = Decoder::new().decode(&block).expect("not garbled");
            assert!(section.is_broken, "{block:x?}");
        }
        for block in [
            vec![0x80],
            vec![0xbe],
            vec![0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            vec![0x88, 0x20],
            vec![0x3f, 0xe2, 0x1f],
            vec![0x00, 0x81, 0xff, 0x00],
            vec![0x00, 0x05, b'a'],
            vec![0x48],
        ] {
            assert_eq!(Decoder::new().decode(&block), Err(Garbled), "{block:x?}");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let mut decoder = Decoder::new();
        for at in 0..1_000 {
            let block = literal(0x40, "x-some-name", &format!("value {at}"));
            decoder.decode(&block).expect("well made");
            assert!(decoder.size <= TABLE_BYTES);
        }
        // An entry that is too large empties it.
        let long = "v".repeat(120);
        decoder.decode(&[0x3f, 0x41]).expect("a smaller table");
        decoder
            .decode(&literal(0x40, "x", &long))
            .expect("well made");
        assert_eq!((decoder.size, decoder.table.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
            let mut decoder = Decoder::new();
            for block in blocks {
                let first = decoder.decode(&block);
                prop_assert!(decoder.size <= decoder.most);
                if first.is_err() {
                    break;
                }
            }
        }
    }
}
