//! The body of an answer: counted and dropped, or kept and decompressed where it is looked at. Both
//! are bounded. What is made of it is left to `judge`.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::operation::Failure;

use super::failure;
use super::wire::Fate;

/// Room made at once for a body whose length is announced; longer ones grow as they come.
const MAX_ROOM_BYTES: u64 = 64 * 1_024;

/// How much of a body is taken and kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Take {
    /// Whether it is looked at.
    pub(crate) keep: bool,
    /// The most bytes.
    pub(crate) max_bytes: u64,
}

/// Reads a body to its end; `received` counts its bytes as they come, compressed as they are.
pub(crate) async fn read(
    mut body: Incoming,
    take: Take,
    fate: &Fate,
    received: &mut u64,
) -> Result<Vec<u8>, Failure> {
    let mut kept = Vec::new();
    if body.is_end_stream() {
        return Ok(kept);
    }
    if let Some(announced) = body.size_hint().exact() {
        if announced > take.max_bytes {
            return Err(Failure::TooLarge);
        }
        if take.keep {
            kept.reserve(usize::try_from(announced.min(MAX_ROOM_BYTES)).unwrap_or_default());
        }
    }
    let mut length = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure::of_exchange(&error, fate))?;
        let Ok(part): Result<Bytes, _> = frame.into_data() else {
            continue;
        };
        length += part.len() as u64;
        *received += part.len() as u64;
        if length > take.max_bytes {
            return Err(Failure::TooLarge);
        }
        if take.keep {
            kept.extend_from_slice(&part);
        }
    }
    Ok(kept)
}

/// Undoes the compression that the headers name. One that was not asked for is left as it is.
pub(crate) fn decompress(
    headers: &HeaderMap,
    body: Vec<u8>,
    max_bytes: u64,
) -> Result<Vec<u8>, Failure> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else {
        return Ok(body);
    };
    if body.is_empty() {
        return Ok(body);
    }
    match encoding.as_bytes().to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => expand(MultiGzDecoder::new(body.as_slice()), max_bytes),
        // Meant is the zlib format, but some servers send the bare stream.
        b"deflate" if is_zlib(&body) => expand(ZlibDecoder::new(body.as_slice()), max_bytes),
        b"deflate" => expand(DeflateDecoder::new(body.as_slice()), max_bytes),
        _ => Ok(body),
    }
}

fn expand(decoder: impl Read, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    let mut plain = Vec::new();
    decoder
        .take(max_bytes.saturating_add(1))
        .read_to_end(&mut plain)
        .map_err(|_| Failure::Malformed)?;
    if plain.len() as u64 > max_bytes {
        Err(Failure::TooLarge)
    } else {
        Ok(plain)
    }
}

/// RFC 1950, 2.2: method 8 and a header that is a multiple of 31.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn undo(encoding: &'static str, body: Vec<u8>, max_bytes: u64) -> Result<Vec<u8>, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, http::HeaderValue::from_static(encoding));
        decompress(&headers, body, max_bytes)
    }

    #[test]
    fn gzip_and_both_kinds_of_deflate_are_undone() {
        let text = b"the same text".repeat(20);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&text).expect("a vector takes all");
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&text).expect("a vector takes all");
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(&text).expect("a vector takes all");
        for (encoding, body) in [
            ("gzip", gzip.finish().expect("finishes")),
            ("deflate", zlib.finish().expect("finishes")),
            ("deflate", bare.finish().expect("finishes")),
            ("br", text.clone()),
        ] {
            assert_eq!(
                undo(encoding, body, 1_000).as_ref(),
                Ok(&text),
                "{encoding}"
            );
        }
    }

    #[test]
    fn a_bomb_and_garbage_are_refused() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![0; 1 << 20])
            .expect("a vector takes all");
        let bomb = bomb.finish().expect("finishes");
        assert_eq!(undo("gzip", bomb.clone(), 100_000), Err(Failure::TooLarge));
        let half = bomb[..bomb.len() / 2].to_vec();
        assert_eq!(undo("gzip", half, 1 << 21), Err(Failure::Malformed));
        assert_eq!(
            undo("gzip", b"not gzip".to_vec(), 100),
            Err(Failure::Malformed)
        );
    }
}
