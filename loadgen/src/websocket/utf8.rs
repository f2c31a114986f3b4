//! Whether text that comes in pieces is UTF-8, without keeping the text.

/// Most bytes of one character.
const CHARACTER_BYTES: usize = 4;

/// The check of one text; keeps no more than a character that is not whole yet.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Utf8Check {
    tail: [u8; CHARACTER_BYTES],
    length: u8,
}

impl Utf8Check {
    /// Takes the next piece; whether the text can still be UTF-8.
    pub(crate) fn take(&mut self, mut part: &[u8]) -> bool {
        while self.length > 0 {
            let Some((first, rest)) = part.split_first() else {
                return true;
            };
            self.tail[usize::from(self.length)] = *first;
            self.length += 1;
            part = rest;
            match std::str::from_utf8(&self.tail[..usize::from(self.length)]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() => return false,
                // Four bytes are a whole character or an error, so that the tail has room.
                Err(_) => {}
            }
        }
        match std::str::from_utf8(part) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let tail = &part[error.valid_up_to()..];
                self.tail[..tail.len()].copy_from_slice(tail);
                self.length = tail.len() as u8;
                true
            }
        }
    }

    /// Whether the text may end here.
    pub(crate) fn is_whole(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pieces: &[&[u8]]) -> bool {
        let mut check = Utf8Check::default();
        pieces.iter().all(|piece| check.take(piece)) && check.is_whole()
    }

    #[test]
    fn a_character_may_be_cut_but_must_be_finished() {
        assert!(check(&[b"a\xe2", b"\x82", b"\xac"]));
        assert!(!check(&[b"a\xe2", b"\x82"]));
        assert!(!check(&[b"a\xe2", b"a"]));
        assert!(check(&[b"\xf0\x9f\x98\x80", b""]));
    }

    proptest! {
        #[test]
        fn agrees_with_the_check_of_the_whole(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..24),
                "\\PC{0,12}".prop_map(String::into_bytes),
            ],
            cut in 1usize..5,
        ) {
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(check(&pieces), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
