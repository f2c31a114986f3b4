//! The columns' bytes against prost, which defines what they must be.

use proptest::prelude::*;
use prost::Message as _;

use super::columns::{Content, Fields, put_bytes, put_varint};
use super::{requests, samples};
use crate::metric::{Better, Category, Component, MetricKind};
use crate::request::{Request, RequestBatch};
use crate::series::{Labels, MetricDef, MetricRef, Sample, SampleBatch, Series};
use crate::wire::{RequestsMessage, SamplesMessage};

fn sample_batch(rows: &[(u32, i64, f64)]) -> SampleBatch {
    let custom = std::sync::Arc::new(MetricDef {
        name: "app.jobs".to_owned(),
        component: Component::Prometheus,
        unit: "{job}".to_owned(),
        kind: MetricKind::Gauge,
        category: Category::Saturation,
        better: Better::Lower,
    });
    let series = (0..4).map(|at| Series {
        metric: if at == 3 {
            MetricRef::Custom(std::sync::Arc::clone(&custom))
        } else {
            MetricRef::Known(at + 1)
        },
        labels: Labels::new(&[("cpu", &at.to_string())]),
    });
    let sample = |(series, ts_us, value): &(u32, i64, f64)| Sample {
        series: *series,
        ts_us: *ts_us,
        value: *value,
    };
    SampleBatch {
        series: series.collect(),
        samples: rows.iter().map(sample).collect(),
    }
}

/// The same message as another writer may write it: packed columns in two pieces, and columns of
/// varints once more as single fields where `unpacked`.
fn written_otherwise(raw: &[u8], packed: std::ops::RangeInclusive<u64>, unpacked: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut fields = Fields::new(raw, "test");
    while let Some((tag, content)) = fields.next().expect("own bytes") {
        match content {
            Content::Bytes(bytes) if packed.contains(&tag) && unpacked => {
                let mut varints = bytes.split_inclusive(|byte| *byte < 0x80);
                varints.try_for_each(|varint| {
                    put_varint(&mut out, tag << 3);
                    out.extend_from_slice(varint);
                    Some(())
                });
            }
            Content::Bytes(bytes) if packed.contains(&tag) => {
                let end_of_first = bytes
                    .iter()
                    .position(|byte| *byte < 0x80)
                    .map_or(0, |at| at + 1);
                let (first, second) = bytes.split_at(end_of_first);
                put_bytes(&mut out, tag, first);
                put_bytes(&mut out, tag, second);
            }
            Content::Bytes(bytes) => put_bytes(&mut out, tag, bytes),
            Content::Varint(value) => {
                put_varint(&mut out, tag << 3);
                put_varint(&mut out, value);
            }
            Content::Fixed64(_) | Content::Fixed32 => panic!("no such field is written"),
        }
    }
    out
}

fn any_rows() -> impl Strategy<Value = Vec<(u32, i64, f64)>> {
    let tenths = (0_i32..1000).prop_map(|n| f64::from(n) / 10.0);
    let value = prop_oneof![any::<f64>(), tenths];
    prop::collection::vec((0_u32..4, 0_i64..5, value), 0..80)
}

fn encoded(rows: &[(u32, i64, f64)]) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut scratch = samples::Scratch::default();
    samples::encode(&sample_batch(rows), &mut scratch, &mut raw).expect("encode");
    raw
}

fn value_bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A body after others means what it means alone.
fn check_alike(raw: &[u8], rows: usize, known: &mut samples::KnownSeries, memory: &mut usize) {
    let (mut none, mut of_none) = (samples::KnownSeries::default(), 0);
    let fresh = samples::decode(raw, rows, &mut none, &mut of_none);
    match (fresh, samples::decode(raw, rows, known, memory)) {
        (Ok(fresh), Ok(columns)) => {
            assert_eq!(columns.series, fresh.series);
            assert_eq!(columns.ts_us, fresh.ts_us);
            assert_eq!(value_bits(&columns.values), value_bits(&fresh.values));
        }
        (Err(fresh), Err(error)) => assert_eq!(error.to_string(), fresh.to_string()),
        (fresh, other) => panic!("{fresh:?} alone, but {other:?} after other blocks"),
    }
}

proptest! {
    #[test]
    fn samples_are_the_bytes_that_prost_writes(
        rows in any_rows(),
    ) {
        let raw = encoded(&rows);
        let message = SamplesMessage::decode(raw.as_slice()).expect("prost reads it");
        prop_assert_eq!(message.encode_to_vec(), raw.clone());
        prop_assert_eq!(message.tick_step.len(), rows.len());

        let (mut known, mut memory) = (samples::KnownSeries::default(), 0);
        let columns = samples::decode(&raw, rows.len(), &mut known, &mut memory).expect("decode");
        prop_assert_eq!(columns.series.fields().is_empty(), rows.is_empty());
        for unpacked in [false, true] {
            // Only integer columns can be told from others without the definition.
            let other = written_otherwise(&raw, 3..=7, unpacked);
            let (mut known, mut memory) = (samples::KnownSeries::default(), 0);
            let again = samples::decode(&other, rows.len(), &mut known, &mut memory).expect("decode what another wrote");
            prop_assert_eq!(&again.series, &columns.series);
            prop_assert_eq!(&again.ts_us, &columns.ts_us);
            prop_assert_eq!(value_bits(&again.values), value_bits(&columns.values));
        }
    }

    /// What a decoder remembers of a stream's blocks changes nothing, whatever comes after what: the
    /// same series again, others, other writers' layouts, damaged bodies.
    #[test]
    fn blocks_mean_the_same_after_others(
        some in prop::collection::vec(any_rows(), 1..4),
        blocks in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8, any::<prop::sample::Index>()), 1..12),
    ) {
        let (mut known, mut memory) = (samples::KnownSeries::default(), 0);
        for (which, layout, at) in blocks {
            let rows = some[which.index(some.len())].iter().map(|(s, ts, v)| (*s, ts + i64::from(layout), *v));
            let rows: Vec<_> = rows.collect();
            let mut raw = encoded(&rows);
            match layout {
                4 => raw = written_otherwise(&raw, 1..=7, false),
                5 => raw = written_otherwise(&raw, 3..=7, true),
                6 => raw.truncate(at.index(raw.len() + 1)),
                7 if !raw.is_empty() => {
                    let at = at.index(raw.len());
                    raw[at] ^= 1;
                }
                _ => {}
            }
            check_alike(&raw, rows.len(), &mut known, &mut memory);
        }
    }

    #[test]
    fn requests_are_the_bytes_that_prost_writes(
        rows in prop::collection::vec((0_u32..2, any::<i64>(), any::<i64>(), any::<u64>(), 0_u32..2), 0..80),
    ) {
        let request = |(endpoint, a, b, bytes, error): &(u32, i64, i64, u64, u32)| Request {
            endpoint: *endpoint,
            intended_us: *a,
            sent_ns: *b,
            first_byte_ns: b.wrapping_add(*a),
            done_ns: *a,
            status: 200,
            bytes: *bytes,
            error: *error,
        };
        let batch = RequestBatch {
            run: "r".to_owned(),
            worker: 300,
            endpoints: vec!["a".to_owned(), String::new()],
            errors: vec!["reset".to_owned()],
            requests: rows.iter().map(request).collect(),
        };
        let mut raw = Vec::new();
        requests::encode(&batch, &mut requests::Scratch::default(), &mut raw).expect("encode");
        let message = RequestsMessage::decode(raw.as_slice()).expect("prost reads it");
        prop_assert_eq!(message.encode_to_vec(), raw.clone());
        for unpacked in [false, true] {
            let other = written_otherwise(&raw, 5..=12, unpacked);
            prop_assert_eq!(requests::decode(&other, rows.len()).expect("decode"), batch.clone());
        }
    }
}

#[test]
fn bytes_that_end_too_early_are_named() {
    let mut raw = Vec::new();
    let batch = sample_batch(&[(0, 1, 1.0), (1, 1, 2.0)]);
    samples::encode(&batch, &mut samples::Scratch::default(), &mut raw).expect("encode");
    for len in 1..raw.len() {
        // Cut between two fields it lacks columns, cut within one it is malformed.
        let (mut known, mut memory) = (samples::KnownSeries::default(), 0);
        let error = samples::decode(&raw[..len], 2, &mut known, &mut memory);
        let error = error.expect_err("cut short");
        assert!(!error.to_string().is_empty());
    }
    let endless = [0xff_u8; 12];
    let error = Fields::new(&endless, "samples")
        .next()
        .err()
        .expect("no varint is so long");
    assert_eq!(error.to_string(), "malformed bytes in samples");
}
