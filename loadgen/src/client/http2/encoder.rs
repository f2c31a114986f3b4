//! Header sections of requests (RFC 7541). Fields repeat with every request, so that each is spelt
//! out once per connection and afterwards named by its index, as other clients do; once a request's
//! fields are in the table its section is a copy of the last one.

use super::statics::{ENTRY_BYTES, STATIC, TABLE_BYTES};

/// The fields of all requests of a worker, each once.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<Field>);

#[derive(Debug)]
struct Field {
    name: Box<str>,
    value: Box<[u8]>,
}

/// A field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Its index in the static table.
    Static(u8),
    /// Where it stands among [`Fields`].
    Own(usize),
}

/// The encoder of one connection.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// In the order of the fields: how many were kept before it.
    kept: Vec<Option<usize>>,
    count: usize,
    size: usize,
    most: Option<usize>,
    /// Changes of the table's size that the peer has not been told.
    changes: Vec<u8>,
    /// In the order of the requests: the section, and how many fields were kept when it was made.
    sections: Vec<Option<(usize, Box<[u8]>)>>,
}

impl Fields {
    /// The tokens of a request's fields; new fields are added.
    pub(crate) fn tokens<'a>(
        &mut self,
        fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Vec<Token> {
        let mut tokens = Vec::new();
        for (name, value) in fields {
            tokens.push(self.token(name, value));
        }
        tokens
    }

    fn token(&mut self, name: &str, value: &[u8]) -> Token {
        let known = STATIC.iter().zip(1..);
        for ((static_name, static_value), index) in known {
            // An empty value in that table means that the entry is there for its name.
            if *static_name == name && static_value.as_bytes() == value && !static_value.is_empty()
            {
                return Token::Static(index);
            }
        }
        let same = |field: &Field| &*field.name == name && &*field.value == value;
        let at = self.0.iter().position(same).unwrap_or_else(|| {
            self.0.push(Field {
                name: name.into(),
                value: value.into(),
            });
            self.0.len() - 1
        });
        Token::Own(at)
    }
}

impl Encoder {
    /// The peer has said how large its table may be.
    pub(crate) fn limit(&mut self, most: usize) {
        let most = most.min(TABLE_BYTES);
        if self.most.unwrap_or(TABLE_BYTES) == most {
            return;
        }
        // Emptied and begun anew: which entries the peer evicts need not be known then.
        self.kept.clear();
        self.sections.clear();
        self.count = 0;
        self.size = 0;
        self.most = Some(most);
        self.changes.clear();
        integer(&mut self.changes, 0x20, 5, 0);
        integer(&mut self.changes, 0x20, 5, most);
    }

    /// Appends the section of a request.
    pub(crate) fn encode(
        &mut self,
        request: usize,
        tokens: &[Token],
        fields: &Fields,
        into: &mut Vec<u8>,
    ) {
        if self.sections.len() <= request {
            self.sections.resize(request + 1, None);
        }
        if let Some((count, section)) = &self.sections[request]
            && *count == self.count
            && self.changes.is_empty()
        {
            into.extend_from_slice(section);
            return;
        }
        into.append(&mut self.changes);
        let from = into.len();
        let before = self.count;
        for &token in tokens {
            match token {
                Token::Static(index) => integer(into, 0x80, 7, usize::from(index)),
                Token::Own(at) => self.own(at, &fields.0[at], into),
            }
        }
        self.sections[request] = (self.count == before).then(|| (before, Box::from(&into[from..])));
    }

    fn own(&mut self, at: usize, field: &Field, into: &mut Vec<u8>) {
        if self.kept.len() <= at {
            self.kept.resize(at + 1, None);
        }
        if let Some(place) = self.kept[at] {
            let index = STATIC.len() + self.count - place;
            return integer(into, 0x80, 7, index);
        }
        let bytes = field.name.len() + field.value.len() + ENTRY_BYTES;
        // Nothing is ever evicted: what finds no room is spelt out every time.
        let has_room = self.size + bytes <= self.most.unwrap_or(TABLE_BYTES);
        if has_room {
            self.kept[at] = Some(self.count);
            self.count += 1;
            self.size += bytes;
        }
        let (first, bits) = if has_room { (0x40, 6) } else { (0, 4) };
        let name = STATIC.iter().position(|(name, _)| **name == *field.name);
        integer(into, first, bits, name.map_or(0, |at| at + 1));
        if name.is_none() {
            text(into, field.name.as_bytes());
        }
        text(into, &field.value);
    }
}

fn text(into: &mut Vec<u8>, text: &[u8]) {
    integer(into, 0, 7, text.len());
    into.extend_from_slice(text);
}

/// An integer with a prefix of so many bits, and what stands before it (RFC 7541, 5.1).
fn integer(into: &mut Vec<u8>, first: u8, bits: u8, value: usize) {
    let mask = (1_usize << bits) - 1;
    if value < mask {
        into.push(first | value as u8);
        return;
    }
    into.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(
        encoder: &mut Encoder,
        request: usize,
        tokens: &[Token],
        fields: &Fields,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        encoder.encode(request, tokens, fields, &mut bytes);
        bytes
    }

    fn get(path: &str) -> [(&str, &[u8]); 4] {
        [
            (":method", b"GET"),
            (":scheme", b"http"),
            (":path", path.as_bytes()),
            (":authority", b"www.example.com"),
        ]
    }

    /// RFC 7541, C.3.
    #[test]
    fn fields_are_spelt_out_once() {
        let mut fields = Fields::default();
        let root = fields.tokens(get("/"));
        let mut encoder = Encoder::default();
        let first = encoded(&mut encoder, 0, &root, &fields);
        let expected = [&[0x82, 0x86, 0x84, 0x41, 0x0f][..], b"www.example.com"].concat();
        assert_eq!(first, expected);
        for _ in 0..2 {
            let again = encoded(&mut encoder, 0, &root, &fields);
            assert_eq!(again, [0x82, 0x86, 0x84, 0xbe]);
        }
        // A new field moves the others' indices.
        let other = fields.tokens(get("/a"));
        let first = encoded(&mut encoder, 1, &other, &fields);
        assert_eq!(first, [0x82, 0x86, 0x44, 2, b'/', b'a', 0xbf]);
        assert_eq!(
            encoded(&mut encoder, 1, &other, &fields),
            [0x82, 0x86, 0xbe, 0xbf]
        );
        assert_eq!(
            encoded(&mut encoder, 0, &root, &fields),
            [0x82, 0x86, 0x84, 0xbf]
        );
    }

    #[test]
    fn a_smaller_table_is_begun_anew() {
        let mut fields = Fields::default();
        let root = fields.tokens(get("/"));
        let mut encoder = Encoder::default();
        encoded(&mut encoder, 0, &root, &fields);
        encoder.limit(0);
        let spelt = [&[0x82, 0x86, 0x84, 0x01, 0x0f][..], b"www.example.com"].concat();
        let told = [&[0x20, 0x20][..], &spelt].concat();
        assert_eq!(encoded(&mut encoder, 0, &root, &fields), told);
        for _ in 0..2 {
            assert_eq!(encoded(&mut encoder, 0, &root, &fields), spelt);
        }
        // More than the default is not made use of.
        let mut encoder = Encoder::default();
        encoder.limit(1 << 20);
        assert!(encoder.changes.is_empty());
    }

    #[test]
    fn what_finds_no_room_is_spelt_out_every_time() {
        let mut fields = Fields::default();
        let long = vec![b'v'; 5_000];
        let tokens = fields.tokens([("x-long", &long[..]), ("x", b"y")]);
        let mut encoder = Encoder::default();
        let first = encoded(&mut encoder, 0, &tokens, &fields);
        assert_eq!(first[0], 0);
        let again = encoded(&mut encoder, 0, &tokens, &fields);
        assert_eq!(again.len(), 1 + 7 + 3 + 5_000 + 1);
        assert_eq!(again.last(), Some(&0xbe));
    }

    #[test]
    fn integers() {
        for (value, expected) in [
            (10, vec![0xea]),
            (1_337, vec![0xff, 0x9a, 0x0a]),
            (31, vec![0xff, 0x00]),
        ] {
            let mut bytes = Vec::new();
            integer(&mut bytes, 0xe0, 5, value);
            assert_eq!(bytes, expected);
        }
    }
}
