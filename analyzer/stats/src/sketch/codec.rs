//! The bytes of a sketch.
//!
//! Version 1: the version byte; the number of zeros; the positive, then the negative buckets; the
//! bits of the minimum, and the bits in which the maximum differs from it, where there are values.
//! Buckets of a sign: how many; the index of the first; then for each the distance from the one
//! before less one (0 for the first), shifted left by one with the lowest bit set where the count
//! exceeds 1, in which case the count less two follows. A minute of noise takes a byte per bucket.

use super::bucket::Bucket;
use super::varint::{Reader, put, put_bits, put_signed};
use super::{Buckets, MAX_BUCKETS, Sketch, SketchError};

const VERSION: u8 = 1;

pub(super) fn encode(sketch: &Sketch, bytes: &mut Vec<u8>) {
    bytes.push(VERSION);
    put(bytes, sketch.zeros);
    encode_buckets(&sketch.positive, bytes);
    encode_buckets(&sketch.negative, bytes);
    if let Some((min, max)) = sketch.extremes {
        put_bits(bytes, min.to_bits());
        put_bits(bytes, min.to_bits() ^ max.to_bits());
    }
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Sketch, SketchError> {
    let version = reader.byte()?;
    if version != VERSION {
        return Err(SketchError::Version(version));
    }
    let zeros = reader.number()?;
    let positive = decode_buckets(reader)?;
    let negative = decode_buckets(reader)?;
    let mut sketch = Sketch {
        positive,
        negative,
        zeros,
        extremes: None,
    };
    if sketch.count() > 0 {
        let min = reader.bits()?;
        let max = f64::from_bits(min ^ reader.bits()?);
        sketch.extremes = Some(checked(f64::from_bits(min), max, &sketch)?);
    }
    Ok(sketch)
}

/// The extremes must lie in the outermost buckets, or below the lowest where that has taken in
/// smaller ones.
fn checked(min: f64, max: f64, sketch: &Sketch) -> Result<(f64, f64), SketchError> {
    let negative_zero = |extreme: f64| extreme == 0.0 && extreme.is_sign_negative();
    let impossible = |extreme: f64| !extreme.is_finite() || negative_zero(extreme);
    if impossible(min) || impossible(max) || min > max {
        return Err(SketchError::Malformed("its extremes are impossible"));
    }
    let least = outermost(min, &sketch.negative, sketch.zeros, &sketch.positive);
    let greatest = outermost(-max, &sketch.positive, sketch.zeros, &sketch.negative);
    if least && greatest {
        Ok((min, max))
    } else {
        Err(SketchError::Malformed(
            "its extremes are not in its buckets",
        ))
    }
}

/// Whether the extreme on the side of `far` fits the buckets; `near` are those of the other sign.
fn outermost(extreme: f64, far: &Buckets, zeros: u64, near: &Buckets) -> bool {
    let bucket = Bucket::of(extreme.abs());
    if let Some((greatest, _)) = far.0.last() {
        return extreme < 0.0 && bucket == Some(*greatest);
    }
    if zeros > 0 {
        return bucket.is_none();
    }
    match (near.0.first(), near.0.last(), bucket) {
        (Some((least, _)), Some((greatest, _)), Some(bucket)) if extreme > 0.0 => {
            bucket == *least || (bucket < *least && *least == greatest.lowest_beside())
        }
        _ => false,
    }
}

fn encode_buckets(buckets: &Buckets, bytes: &mut Vec<u8>) {
    put(bytes, buckets.0.len() as u64);
    let Some((first, _)) = buckets.0.first() else {
        return;
    };
    put_signed(bytes, i64::from(first.index()));
    // The first bucket's distance is written as 0, as if it had a neighbour below.
    let mut before = first.index() - 1;
    for (bucket, count) in &buckets.0 {
        // Buckets ascend, so that the distance is positive.
        let distance = (bucket.index() - before - 1) as u64;
        put(bytes, distance << 1 | u64::from(*count > 1));
        if *count > 1 {
            put(bytes, count - 2);
        }
        before = bucket.index();
    }
}

fn decode_buckets(reader: &mut Reader<'_>) -> Result<Buckets, SketchError> {
    let len = reader.number()?;
    if len > MAX_BUCKETS as u64 {
        return Err(SketchError::Malformed("it has too many buckets"));
    }
    let len = len as usize;
    if len == 0 {
        return Ok(Buckets::default());
    }
    let first = reader.signed()?;
    // Each bucket takes a byte at least: no more is allocated than the bytes can fill.
    if len > reader.left() {
        return Err(SketchError::Truncated);
    }
    let outside = SketchError::Malformed("a bucket is out of range");
    let mut index = first.checked_sub(1).ok_or(outside)?;
    let mut buckets = Vec::with_capacity(len);
    for at in 0..len {
        let packed = reader.number()?;
        // Half of a u64 fits an i64.
        let distance = (packed >> 1) as i64;
        if at == 0 && distance != 0 {
            return Err(SketchError::Malformed("its first bucket has a distance"));
        }
        let next = index.checked_add(distance).and_then(|i| i.checked_add(1));
        index = next.ok_or(outside)?;
        let count = match packed & 1 {
            0 => 1,
            _ => reader.number()?.checked_add(2).ok_or(outside)?,
        };
        buckets.push((Bucket::at(index).ok_or(outside)?, count));
    }
    let (least, greatest) = (buckets[0].0, buckets[len - 1].0);
    if least < greatest.lowest_beside() {
        return Err(SketchError::Malformed("its buckets span too much"));
    }
    Ok(Buckets(buckets))
}
