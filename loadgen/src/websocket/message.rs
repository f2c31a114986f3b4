//! What the generator's own messages say: which connection sent them, as its how-manieth message,
//! and when. Answers are matched by it, and delivery times are counted from it. The rest of a
//! message is filler.

/// Bytes of a [`Stamp`]; no message of the generator is smaller.
pub const STAMP_BYTES: usize = 20;
/// Stands at the beginning of every message of the generator.
pub const MAGIC: [u8; 4] = *b"DLm1";
/// What the rest of a message is filled with.
pub const FILLER: u8 = b'.';

/// The beginning of a message: the magic, then connection, sequence (4 bytes each) and time (8
/// bytes), little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The sender's number within the run.
    pub connection: u32,
    /// The message's number within its connection.
    pub sequence: u32,
    /// The sender's wall-clock time, in microseconds since 1970 UTC.
    pub sent_us: i64,
}

impl Stamp {
    /// As it stands in a message.
    pub fn encode(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.connection.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[12..].copy_from_slice(&self.sent_us.to_le_bytes());
        bytes
    }

    /// The stamp at a message's beginning, where it has one.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let rest = message.get(..STAMP_BYTES)?.strip_prefix(&MAGIC)?;
        let (connection, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (sent_us, _) = rest.split_first_chunk()?;
        Some(Self {
            connection: u32::from_le_bytes(*connection),
            sequence: u32::from_le_bytes(*sequence),
            sent_us: i64::from_le_bytes(*sent_us),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_and_strangers_have_none() {
        let stamp = Stamp {
            connection: 7,
            sequence: u32::MAX,
            sent_us: 1_800_000_000_000_001,
        };
        let mut message = stamp.encode().to_vec();
        assert_eq!(Stamp::decode(&message[..STAMP_BYTES - 1]), None);
        message.extend_from_slice(b"...");
        assert_eq!(Stamp::decode(&message), Some(stamp));
        message[0] = b'{';
        assert_eq!(Stamp::decode(&message), None);
    }
}
