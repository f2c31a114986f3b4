//! The Huffman code of HPACK (RFC 7541, 5.2 and Appendix B), decoded. The code is canonical, so that
//! the lengths of its codes are all there is to know of it.

/// Code lengths of the 256 bytes, then that of the end of a string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The end of a string, which must not stand in one.
const END: u16 = 256;

const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// What decodes the code.
struct Code {
    /// By length: the first code, at the upper end of 32 bits.
    first: [u32; LONGEST + 1],
    /// By length: the first code that is longer, at the upper end of 33 bits.
    end: [u64; LONGEST + 1],
    /// By length: where its symbols begin.
    at: [u16; LONGEST + 1],
    /// In the order of their codes.
    symbols: [u16; 257],
}

const CODE: Code = code();

const fn code() -> Code {
    let mut made = Code {
        first: [0; LONGEST + 1],
        end: [0; LONGEST + 1],
        at: [0; LONGEST + 1],
        symbols: [0; 257],
    };
    let mut length = SHORTEST;
    let mut next = 0_u64;
    let mut count = 0;
    while length <= LONGEST {
        made.first[length] = (next << (32 - length)) as u32;
        made.at[length] = count as u16;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                made.symbols[count] = symbol as u16;
                count += 1;
                next += 1;
            }
            symbol += 1;
        }
        made.end[length] = next << (32 - length);
        next <<= 1;
        length += 1;
    }
    made
}

/// Appends what was encoded; says whether it was encoded well.
pub(crate) fn decode(input: &[u8], into: &mut Vec<u8>) -> bool {
    let mut bits = 0_u64;
    let mut held = 0_usize;
    let mut rest = input.iter();
    loop {
        while held <= 56
            && let Some(&byte) = rest.next()
        {
            bits |= u64::from(byte) << (56 - held);
            held += 8;
        }
        // Behind the last bits there are ones, which are the beginning of the end's code.
        let ahead = (bits >> 32) as u32 | u32::MAX.checked_shr(held as u32).unwrap_or(0);
        let length = (SHORTEST..=LONGEST).find(|&length| u64::from(ahead) < CODE.end[length]);
        let Some(length) = length.filter(|&length| length <= held) else {
            // Padding is less than a byte, all ones.
            return held < 8 && ahead == u32::MAX;
        };
        let offset = (ahead - CODE.first[length]) >> (32 - length);
        let symbol = CODE.symbols[CODE.at[length] as usize + offset as usize];
        if symbol == END {
            return false;
        }
        into.push(symbol as u8);
        bits <<= length;
        held -= length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a peer encodes it.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for &byte in text {
            let length = LENGTHS[byte as usize] as usize;
            let mut same = CODE.symbols[CODE.at[length] as usize..].iter();
            let offset = same.position(|&symbol| symbol == u16::from(byte));
            let first = CODE.first[length] >> (32 - length);
            let code = first + offset.expect("every byte has a code") as u32;
            bits.extend((0..length).rev().map(|at| code >> at & 1 == 1));
        }
        while bits.len() % 8 != 0 {
            bits.push(true);
        }
        let bytes = bits.chunks(8);
        bytes
            .map(|bits| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit)))
            .collect()
    }

    fn decoded(input: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        decode(input, &mut text).then_some(text)
    }

    /// From the examples of RFC 7541, Appendix C.
    #[test]
    fn examples_of_the_standard() {
        for (bytes, text) in [
            (
                &[
                    0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
                ][..],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x64, 0x02], "302"),
            (&[0x64, 0x0e, 0xff], "307"),
            (
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04,
                    0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ] {
            assert_eq!(decoded(bytes).as_deref(), Some(text.as_bytes()), "{text}");
            assert_eq!(encode(text.as_bytes()), bytes, "{text}");
        }
    }

    #[test]
    fn bad_padding_and_an_end_are_refused() {
        assert_eq!(decoded(&[]), Some(Vec::new()));
        // A whole byte of padding, zeros as padding, and the end of a string in it.
        for bad in [
            &[0xff][..],
            &[0x64, 0x0e, 0xff, 0xff],
            &[0x64, 0x0e, 0xfe],
            &[0xff; 4],
        ] {
            assert_eq!(decoded(bad), None, "{bad:x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(decoded(&encode(&text)), Some(text));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(text) = decoded(&bytes) {
                prop_assert_eq!(encode(&text), bytes);
            }
        }
    }
}
