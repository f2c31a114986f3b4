//! Properties of the bytes: what was written is read back, and damage is noticed.

use proptest::prelude::*;

use super::*;

const STREAM: &str = "host-a/000000000000000000000000000000ff/samples";

fn path() -> &'static Path {
    Path::new("segment")
}

fn is_corrupt<T>(outcome: Result<T, LogError>) -> bool {
    matches!(outcome, Err(LogError::Corrupt { .. }))
}

/// Reads records until something else comes; returns the payloads and what came.
fn scan(bytes: &[u8], seed: u32, first: u64) -> (Vec<Vec<u8>>, Parsed) {
    let mut payloads = Vec::new();
    let mut at = 0;
    loop {
        match parse_record(&bytes[at..], seed, first + payloads.len() as u64) {
            Parsed::Record { payload, next } => {
                payloads.push(bytes[at..][payload].to_vec());
                at += next;
            }
            other => return (payloads, other),
        }
    }
}

proptest! {
    #[test]
    fn records_are_read_back(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        first in any::<u32>(),
    ) {
        let (seed, first) = (seed(STREAM), u64::from(first));
        let mut bytes = Vec::new();
        for (seq, payload) in (first..).zip(&payloads) {
            encode_record(&mut bytes, seed, seq, payload);
        }
        let (found, end) = scan(&bytes, seed, first);
        prop_assert_eq!(found, payloads);
        prop_assert_eq!(end, Parsed::Incomplete { needed: RECORD_OVERHEAD });
    }

    #[test]
    fn a_cut_or_a_flipped_bit_never_yields_another_payload(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..8),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        cut in any::<bool>(),
    ) {
        let seed = seed(STREAM);
        let mut bytes = Vec::new();
        for (seq, payload) in (0..).zip(&payloads) {
            encode_record(&mut bytes, seed, seq, payload);
        }
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] ^= 1 << bit;
        }
        let (found, _) = scan(&bytes, seed, 0);
        prop_assert!(found.len() < payloads.len());
        prop_assert_eq!(&found[..], &payloads[..found.len()]);
    }

    #[test]
    fn headers_and_stamps_are_read_back_and_notice_damage(
        first_seq in any::<u64>(),
        next in any::<u64>(),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let mut bytes = encode_header(STREAM, first_seq);
        let size = bytes.len();
        let expected = Header { first_seq, stream: STREAM.to_owned(), size };
        prop_assert_eq!(decode_header(&bytes, path()).expect("intact"), expected);
        bytes[place.index(size)] ^= 1 << bit;
        let damaged = is_corrupt(decode_header(&bytes, path()));
        prop_assert!(damaged);

        let stamp = Stamp { next, segment: first_seq };
        let mut bytes = encode_stamp(Magic::Durable, stamp);
        prop_assert_eq!(bytes.len(), STAMP_BYTES);
        prop_assert_eq!(decode_stamp(&bytes, Magic::Durable, path()).expect("intact"), stamp);
        bytes[place.index(STAMP_BYTES)] ^= 1 << bit;
        let damaged = is_corrupt(decode_stamp(&bytes, Magic::Durable, path()));
        prop_assert!(damaged);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (found, _) = scan(&bytes, seed(STREAM), 0);
        prop_assert!(found.len() * RECORD_OVERHEAD <= bytes.len());
        prop_assert!(decode_header(&bytes, path()).is_err());
        prop_assert!(decode_stamp(&bytes, Magic::Cursor, path()).is_err());
    }
}

#[test]
fn a_record_belongs_to_its_stream_and_number() {
    let mut bytes = Vec::new();
    encode_record(&mut bytes, seed(STREAM), 7, b"payload");
    assert!(matches!(
        parse_record(&bytes, seed(STREAM), 7),
        Parsed::Record { .. }
    ));
    assert!(matches!(
        parse_record(&bytes, seed(STREAM), 8),
        Parsed::Bad { .. }
    ));
    assert!(matches!(
        parse_record(&bytes, seed("other"), 7),
        Parsed::Bad { .. }
    ));
}

#[test]
fn a_later_version_is_named() {
    let mut bytes = encode_header(STREAM, 0);
    bytes[8..12].copy_from_slice(&9_u32.to_le_bytes());
    let checksum = crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    let error = decode_header(&bytes, path()).expect_err("version 9 is not known");
    assert!(
        matches!(
            error,
            LogError::NewerFormat {
                found: 9,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
}
