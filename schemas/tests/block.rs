//! The wire format: round trips, hostile bytes, and the bytes of version 1, which must decode for
//! ever. `DRIFTLINE_WRITE_FIXTURES=1` writes fixtures that do not exist yet; it never changes one.

use std::path::PathBuf;
use std::sync::Arc;

use driftline_schemas::{
    Better, BlockHeader, Body, Category, Component, DecodeError, EncodeError, Envelope, Event,
    EventName, Incarnation, Kind, Labels, MAX_ROWS_PER_BLOCK, MetricDef, MetricKind, MetricRef,
    ProducerId, Request, RequestBatch, Sample, SampleBatch, Series, StreamId, encode,
};
use proptest::prelude::*;
use prost::bytes::Bytes;

fn header(kind: Kind) -> BlockHeader {
    let stream = StreamId {
        producer: ProducerId::new("web-1-collector").expect("valid"),
        incarnation: Incarnation::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        kind,
    };
    BlockHeader {
        stream,
        seq: 7,
        host: "web-1".to_owned(),
    }
}

fn decode(payload: Vec<u8>) -> Result<(Envelope, Body), DecodeError> {
    let envelope = Envelope::parse(&Bytes::from(payload))?;
    let body = envelope.decode()?;
    Ok((envelope, body))
}

/// What a decoder yields for a batch: used series in their order, samples by series and time.
fn canonical(batch: &SampleBatch) -> SampleBatch {
    let mut samples = batch.samples.clone();
    samples.sort_by_key(|sample| (sample.series, sample.ts_us));
    let mut used: Vec<u32> = samples.iter().map(|sample| sample.series).collect();
    used.dedup();
    for sample in &mut samples {
        sample.series = used
            .iter()
            .position(|at| *at == sample.series)
            .expect("used") as u32;
    }
    let series = used
        .iter()
        .map(|at| batch.series[*at as usize].clone())
        .collect();
    SampleBatch { series, samples }
}

fn bits(batch: &SampleBatch) -> Vec<(u32, i64, u64)> {
    batch
        .samples
        .iter()
        .map(|s| (s.series, s.ts_us, s.value.to_bits()))
        .collect()
}

fn custom() -> MetricRef {
    MetricRef::Custom(Arc::new(MetricDef {
        name: "app.queue.depth".to_owned(),
        component: Component::Prometheus,
        unit: "{job}".to_owned(),
        kind: MetricKind::Gauge,
        category: Category::Saturation,
        better: Better::Lower,
    }))
}

fn any_series() -> impl Strategy<Value = Series> {
    let metric = prop_oneof![(1_u32..1_000).prop_map(MetricRef::Known), Just(custom())];
    (metric, "[a-z]{0,3}").prop_map(|(metric, value)| Series {
        metric,
        labels: Labels::new(&[("k", &value)]),
    })
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        any::<i32>().prop_map(f64::from),
        (0_i64..10_000_000).prop_map(|n| n as f64 / 100.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(9_007_199_254_740_993.0),
    ]
}

proptest! {
    #[test]
    fn samples_survive_to_the_bit(
        series in prop::collection::vec(any_series(), 1..20),
        rows in prop::collection::vec((any::<prop::sample::Index>(), any::<i64>(), any_value()), 0..300),
        near in any::<bool>(),
    ) {
        let samples = rows.into_iter().map(|(at, ts, value)| Sample {
            series: at.index(series.len()) as u32,
            ts_us: if near { ts.rem_euclid(5) * 1_000_000 } else { ts },
            value,
        });
        let batch = SampleBatch { samples: samples.collect(), series };
        let payload = encode(&header(Kind::Samples), &Body::Samples(batch.clone())).expect("encode");
        let (envelope, body) = decode(payload).expect("decode");
        let Body::Samples(back) = body else { panic!("another kind came back") };
        let expected = canonical(&batch);
        prop_assert_eq!(envelope.rows as usize, batch.samples.len());
        prop_assert_eq!(&back.series, &expected.series);
        prop_assert_eq!(bits(&back), bits(&expected));
    }

    #[test]
    fn requests_survive(rows in prop::collection::vec(
        (0_u32..3, any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>(), any::<u32>(), any::<u64>(), 0_u32..3),
        0..200,
    )) {
        let requests = rows.into_iter().map(|(endpoint, intended_us, sent_ns, first_byte_ns, done_ns, status, bytes, error)| {
            Request { endpoint, intended_us, sent_ns, first_byte_ns, done_ns, status, bytes, error }
        });
        let batch = RequestBatch {
            run: "run-1".to_owned(),
            worker: 3,
            endpoints: ["a", "b", "c"].map(str::to_owned).to_vec(),
            errors: ["reset", "timeout"].map(str::to_owned).to_vec(),
            requests: requests.collect(),
        };
        let body = Body::Requests(batch);
        let payload = encode(&header(Kind::Requests), &body).expect("encode");
        prop_assert_eq!(decode(payload).expect("decode").1, body);
    }

    #[test]
    fn hostile_bytes_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = decode(bytes);
    }

    /// Damage inside a body whose checksum was made to fit reaches the column decoder.
    #[test]
    fn a_damaged_body_is_an_error_or_other_rows_but_never_a_panic(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut payload = fixture_blocks().remove(0).1;
        let index = at.index(payload.len());
        payload[index] ^= 1 << bit;
        let _ = decode(payload);
    }
}

fn fixture_blocks() -> Vec<(&'static str, Vec<u8>)> {
    let series = |metric: MetricRef, cpu: &str| Series {
        metric,
        labels: Labels::new(&[("cpu", cpu), ("mode", "user")]),
    };
    let rows = (0..40_i64).map(|at| {
        let metric = if at % 4 == 3 {
            custom()
        } else {
            MetricRef::Known(1 + (at % 4) as u32)
        };
        let value = if at % 4 == 2 {
            1.0 / (at + 1) as f64
        } else {
            (at * 37) as f64 / 100.0
        };
        (
            series(metric, "0"),
            1_700_000_000_000_000 + at / 4 * 1_000_000,
            value,
        )
    });
    let samples = Body::Samples(SampleBatch::from_rows(rows));
    let request = |at: i64| Request {
        endpoint: (at % 2) as u32,
        intended_us: 1_700_000_000_000_000 + at * 10_000,
        sent_ns: 20_000 + at,
        first_byte_ns: 900_000 + at * 11,
        done_ns: 950_000 + at * 12,
        status: 200,
        bytes: 512,
        error: u32::from(at == 5),
    };
    let requests = Body::Requests(RequestBatch {
        run: "run-1".to_owned(),
        worker: 1,
        endpoints: vec!["home".to_owned(), "search".to_owned()],
        errors: vec!["connection reset".to_owned()],
        requests: (0..20).map(request).collect(),
    });
    let events = Body::Events(vec![Event {
        ts_us: 1_700_000_000_000_000,
        name: EventName::Gap,
        component: Component::Host,
        subject: "web-1".to_owned(),
        message: "3 seconds without samples".to_owned(),
        attributes: vec![("reason".to_owned(), "suspended".to_owned())],
    }]);
    [
        ("samples", samples),
        ("requests", requests),
        ("events", events),
    ]
    .map(|(name, body)| (name, encode(&header(body.kind()), &body).expect("encode")))
    .into()
}

#[test]
fn the_bytes_of_version_1_decode_for_ever() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (name, payload) in fixture_blocks() {
        let path = dir.join(format!("v1-{name}.bin"));
        if !path.exists() && std::env::var_os("DRIFTLINE_WRITE_FIXTURES").is_some() {
            std::fs::write(&path, &payload).expect("write the fixture");
        }
        let frozen = std::fs::read(&path).expect("read the fixture");
        let (envelope, body) = decode(frozen).expect("decode the frozen bytes");
        assert_eq!(envelope.seq, 7);
        assert_eq!(envelope.host, "web-1");
        assert_eq!(body, decode(payload).expect("decode").1, "{name}");
    }
}

#[test]
fn what_is_too_large_or_too_new_is_refused_with_the_remedy() {
    let sample = Sample {
        series: 0,
        ts_us: 0,
        value: 0.5,
    };
    let series = vec![Series {
        metric: MetricRef::Known(1),
        labels: Labels::empty(),
    }];
    let body = Body::Samples(SampleBatch {
        series,
        samples: vec![sample; MAX_ROWS_PER_BLOCK + 1],
    });
    let error = encode(&header(Kind::Samples), &body).expect_err("too many rows");
    assert!(matches!(error, EncodeError::TooLarge { .. }), "{error}");
    let wrong = encode(&header(Kind::Events), &body.clone());
    assert!(wrong.is_err());

    let mut newer = fixture_blocks().remove(0).1;
    assert_eq!(newer[..2], [8, 1], "the version comes first");
    newer[1] = 2;
    let error = decode(newer).expect_err("newer");
    assert!(
        matches!(error, DecodeError::NewerFormat { found: 2 }),
        "{error}"
    );
}

#[test]
fn a_flipped_bit_in_the_body_is_noticed() {
    let mut payload = fixture_blocks().remove(0).1;
    let last = payload.len() - 1;
    payload[last] ^= 1;
    assert!(matches!(decode(payload), Err(DecodeError::Checksum { .. })));
}
