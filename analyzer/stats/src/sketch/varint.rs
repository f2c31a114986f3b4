//! Numbers of variable length, seven bits to a byte, the lowest first; each has one encoding only.

use super::SketchError;

/// Appends a number.
pub(crate) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Appends a number of either sign.
pub(crate) fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put(bytes, (number << 1 ^ number >> 63) as u64);
}

/// Appends the bits of a float, the lowest last: short decimals have few that are set.
pub(crate) fn put_bits(bytes: &mut Vec<u8>, bits: u64) {
    put(bytes, bits.swap_bytes());
}

/// Reads what the functions beside it have written.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, SketchError> {
        let (first, rest) = self.0.split_first().ok_or(SketchError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, SketchError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(SketchError::Malformed("a number exceeds 64 bits"));
            }
            number |= bits << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    return Err(SketchError::Malformed("a number is longer than it need be"));
                }
                return Ok(number);
            }
        }
        Err(SketchError::Malformed("a number exceeds 64 bits"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, SketchError> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(crate) fn bits(&mut self) -> Result<u64, SketchError> {
        Ok(self.number()?.swap_bytes())
    }

    pub(crate) fn finish(self) -> Result<(), SketchError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(SketchError::Malformed("bytes follow its end"))
        }
    }
}
