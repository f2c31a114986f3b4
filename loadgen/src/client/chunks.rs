//! Chunked bodies (RFC 9112, 7.1), counted and not kept.

use crate::operation::Failure;

/// Most hexadecimal digits of a chunk's size: all of a `u64`.
const MAX_DIGITS: u8 = 16;

/// Most bytes of one chunk's extensions, and of all trailers.
const MAX_LINE_BYTES: usize = 16 * 1_024;

/// Where in a chunked body its reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunks {
    state: State,
    /// Of the present chunk.
    left: u64,
    digits: u8,
    /// Bytes of the present extensions, or of all trailers.
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    /// Anything between the size and its line's end.
    Extension,
    SizeEnd,
    Data,
    DataEnd,
    DataLineFeed,
    /// At the beginning of a trailer's line.
    Trailer,
    InTrailer,
    LastLineFeed,
}

/// What a piece of a chunked body came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fed {
    /// Bytes of the piece that belong to the body.
    pub(crate) used: usize,
    /// Bytes of content among them.
    pub(crate) content: u64,
    /// Whether the body is whole.
    pub(crate) whole: bool,
}

impl Chunks {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Size,
            left: 0,
            digits: 0,
            line: 0,
        }
    }

    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<Fed, Failure> {
        let mut used = 0;
        let mut content = 0;
        while used < input.len() {
            if self.state == State::Data {
                let rest = (input.len() - used) as u64;
                let taken = rest.min(self.left);
                used += taken as usize;
                content += taken;
                self.left -= taken;
                if self.left == 0 {
                    self.state = State::DataEnd;
                }
                continue;
            }
            let byte = input[used];
            used += 1;
            if self.step(byte)? {
                let whole = true;
                return Ok(Fed {
                    used,
                    content,
                    whole,
                });
            }
        }
        let whole = false;
        Ok(Fed {
            used,
            content,
            whole,
        })
    }

    /// Takes one byte that is not content; says whether it was the body's last.
    fn step(&mut self, byte: u8) -> Result<bool, Failure> {
        self.state = match (self.state, byte) {
            (State::Size, b'\r' | b'\n' | b';' | b' ' | b'\t') if self.digits > 0 => match byte {
                b'\r' => State::SizeEnd,
                b'\n' => self.begin_data(),
                _ => State::Extension,
            },
            (State::Size, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Failure::Malformed)?;
                if self.digits == MAX_DIGITS {
                    return Err(Failure::Malformed);
                }
                self.digits += 1;
                self.left = self.left << 4 | u64::from(digit);
                State::Size
            }
            (State::Extension, b'\r') => State::SizeEnd,
            (State::Extension | State::SizeEnd, b'\n') => self.begin_data(),
            (State::Extension, _) => self.long_line(State::Extension)?,
            (State::DataEnd, b'\r') => State::DataLineFeed,
            (State::DataEnd | State::DataLineFeed, b'\n') => {
                *self = Self::new();
                State::Size
            }
            (State::Trailer, b'\r') => State::LastLineFeed,
            (State::Trailer | State::LastLineFeed, b'\n') => return Ok(true),
            (State::InTrailer, b'\n') => State::Trailer,
            (State::Trailer | State::InTrailer, _) => self.long_line(State::InTrailer)?,
            (State::SizeEnd | State::DataEnd | State::DataLineFeed | State::LastLineFeed, _) => {
                return Err(Failure::Malformed);
            }
            (State::Data, _) => State::Data,
        };
        Ok(false)
    }

    fn begin_data(&mut self) -> State {
        self.line = 0;
        match self.left {
            0 => State::Trailer,
            _ => State::Data,
        }
    }

    fn long_line(&mut self, state: State) -> Result<State, Failure> {
        self.line += 1;
        match self.line > MAX_LINE_BYTES {
            true => Err(Failure::TooLarge),
            false => Ok(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(text: &str) -> Result<Fed, Failure> {
        Chunks::new().feed(text.as_bytes())
    }

    #[test]
    fn whole_bodies() {
        for (text, content) in [
            ("0\r\n\r\n", 0),
            ("5\r\nhello\r\n0\r\n\r\n", 5),
            (
                "5;a=b\r\nhello\r\n00a \r\n0123456789\r\n0\r\nx: y\r\n\r\n",
                15,
            ),
            ("3\nabc\n0\n\n", 3),
        ] {
            let fed = Fed {
                used: text.len(),
                content,
                whole: true,
            };
            assert_eq!(feed(text), Ok(fed), "{text:?}");
            assert_eq!(feed(&format!("{text}HTTP/1.1")), Ok(fed), "{text:?}");
        }
    }

    #[test]
    fn malformed_and_endless() {
        for text in [
            "\r\n",
            "g\r\n",
            "1\r\nab",
            "1\rx",
            "11112222333344445\r\n",
            "0\r\n\rx",
        ] {
            assert_eq!(feed(text), Err(Failure::Malformed), "{text:?}");
        }
        let extension = format!("1;{}", "x".repeat(MAX_LINE_BYTES + 1));
        assert_eq!(feed(&extension), Err(Failure::TooLarge));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(MAX_LINE_BYTES));
        assert_eq!(feed(&trailers), Err(Failure::TooLarge));
    }

    proptest! {
        #[test]
        fn pieces_are_the_whole(
            chunks in prop::collection::vec(1_usize..40, 0..6),
            cuts in prop::collection::vec(1_usize..9, 1..8),
        ) {
            let mut text = String::new();
            for &size in &chunks {
                text.push_str(&format!("{size:x}\r\n{}\r\n", "z".repeat(size)));
            }
            text.push_str("0\r\n\r\n");
            let mut reader = Chunks::new();
            let mut rest = text.as_bytes();
            let mut content = 0;
            for &cut in cuts.iter().cycle() {
                let piece = &rest[..cut.min(rest.len())];
                let fed = reader.feed(piece).expect("well-formed");
                prop_assert_eq!(fed.used, piece.len());
                content += fed.content;
                rest = &rest[piece.len()..];
                prop_assert_eq!(fed.whole, rest.is_empty());
                if fed.whole {
                    break;
                }
            }
            prop_assert_eq!(content, chunks.iter().sum::<usize>() as u64);
        }
    }
}
