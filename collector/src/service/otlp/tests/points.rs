//! What becomes of points.

use driftline_schemas::metric::{Better, MetricKind};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Summary,
    SummaryDataPoint,
};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::service::foreign::Reason;
use crate::service::foreign::intake::Intake;
use crate::service::foreign::testing::{limits, taken};

/// A receiver without a network.
struct Taker {
    decoder: Decoder,
    intake: Intake,
}

impl Taker {
    fn new() -> Self {
        Self {
            decoder: Decoder::new(OtlpConfig::default().resource_attributes),
            intake: Intake::new(limits()),
        }
    }

    fn take_bytes(&mut self, bytes: &[u8]) -> Result<Outcome, Refusal> {
        self.intake.begin(NOW_US, bytes.len());
        match self.decoder.request(bytes, &mut self.intake) {
            Ok(()) => Ok(self.intake.commit()),
            Err(refusal) => {
                self.intake.roll_back(&refusal);
                Err(refusal)
            }
        }
    }

    fn take(&mut self, metrics: Vec<Metric>) -> Outcome {
        let bytes = request(metrics).encode_to_vec();
        self.take_bytes(&bytes).expect("well formed")
    }

    /// Metric, labels beside the resource's, time and value.
    fn rows(&mut self) -> Vec<(String, String, i64, f64)> {
        let mut rows = taken(&mut self.intake);
        for row in &mut rows {
            let own = row.1.replace("service.name=shop", "");
            row.1 = own.trim_matches(',').to_owned();
        }
        rows
    }
}

fn row(metric: &str, labels: &str, after_us: i64, value: f64) -> (String, String, i64, f64) {
    (metric.to_owned(), labels.to_owned(), after_us, value)
}

#[test]
fn gauges_and_sums_keep_their_times_units_and_chosen_resource_attributes() {
    let mut taker = Taker::new();
    let mut point = number(5, 0.0, &[("b", "2"), ("a", "x,y")]);
    point.value = Some(number_data_point::Value::AsInt(-3));
    let silent = NumberDataPoint {
        flags: 1,
        ..number(0, 9.0, &[("silent", "1")])
    };
    let outcome = taker.take(vec![
        gauge("memory.usage", vec![point, silent]),
        sum("requests", CUMULATIVE, true, vec![number(6, 1.5, &[])]),
        sum("connections", CUMULATIVE, false, vec![number(7, 4.0, &[])]),
    ]);
    assert_eq!((outcome.samples, outcome.rejected), (3, 0));
    let batches = taker.intake.take(NOW_US);
    let defs = batches[0].series.iter();
    let defs: Vec<_> = defs
        .map(|series| {
            let view = series.metric.view().expect("its own definition");
            let labels = series.labels.as_str().to_owned();
            (
                view.name.to_owned(),
                view.unit.to_owned(),
                view.kind,
                view.better,
                labels,
            )
        })
        .collect();
    let def = |name: &str, unit: &str, kind, better, labels: &str| {
        (
            name.to_owned(),
            unit.to_owned(),
            kind,
            better,
            labels.to_owned(),
        )
    };
    let (lower, neither) = (Better::Lower, Better::Neither);
    assert_eq!(
        defs,
        [
            def(
                "memory.usage",
                "By",
                MetricKind::Gauge,
                lower,
                "a=x\\,y,b=2,service.name=shop"
            ),
            def(
                "requests",
                "{request}",
                MetricKind::Counter,
                neither,
                "service.name=shop"
            ),
            def(
                "connections",
                "{request}",
                MetricKind::Gauge,
                neither,
                "service.name=shop"
            ),
        ]
    );
    let values: Vec<_> = batches[0]
        .samples
        .iter()
        .map(|s| (s.ts_us - NOW_US, s.value))
        .collect();
    assert_eq!(values, [(5, -3.0), (6, 1.5), (7, 4.0)]);
}

#[test]
fn deltas_are_summed_up_per_series() {
    let mut taker = Taker::new();
    for (after_us, value) in [(1, 2.0), (2, 3.0), (3, 0.5)] {
        taker.take(vec![
            sum(
                "requests",
                DELTA,
                true,
                vec![number(after_us, value, &[("path", "/")])],
            ),
            sum("level", DELTA, false, vec![number(after_us, -value, &[])]),
        ]);
    }
    let late = taker.take(vec![sum(
        "requests",
        DELTA,
        true,
        vec![number(3, 9.0, &[("path", "/")])],
    )]);
    assert_eq!(
        (late.rejected, late.reason),
        (1, Some(Reason::DeltaOutOfOrder))
    );
    assert_eq!(
        taker.rows(),
        [
            row("level", "", -1_000_000, 0.0),
            row("level", "", 1, -2.0),
            row("level", "", 2, -5.0),
            row("level", "", 3, -5.5),
            row("requests", "path=/", -1_000_000, 0.0),
            row("requests", "path=/", 1, 2.0),
            row("requests", "path=/", 2, 5.0),
            row("requests", "path=/", 3, 5.5),
        ]
    );
}

fn histogram(temporality: i32, after_us: i64, counts: &[u64], bounds: &[f64]) -> Metric {
    let point = HistogramDataPoint {
        attributes: vec![attribute("route", "/a")],
        start_time_unix_nano: at(after_us),
        time_unix_nano: at(after_us),
        count: counts.iter().sum(),
        sum: Some(7.5),
        min: Some(0.5),
        max: Some(4.0),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..HistogramDataPoint::default()
    };
    let histogram = Histogram {
        data_points: vec![point],
        aggregation_temporality: temporality,
    };
    metric("latency", "s", Data::Histogram(histogram))
}

#[test]
fn histograms_become_buckets_count_and_sum() {
    let mut taker = Taker::new();
    taker.take(vec![histogram(CUMULATIVE, 1, &[2, 1, 1], &[1.0, 2.5])]);
    let expected = [
        row("latency_bucket", "le=+Inf,route=/a", 1, 4.0),
        row("latency_bucket", "le=1,route=/a", 1, 2.0),
        row("latency_bucket", "le=2.5,route=/a", 1, 3.0),
        row("latency_count", "route=/a", 1, 4.0),
        row("latency_max", "route=/a", 1, 4.0),
        row("latency_min", "route=/a", 1, 0.5),
        row("latency_sum", "route=/a", 1, 7.5),
    ];
    assert_eq!(taker.rows(), expected);
    taker.take(vec![histogram(CUMULATIVE, 1, &[2, 1, 1], &[1.0, 2.5])]);
    assert_eq!(taker.rows(), expected, "from what is known");
    let mut deltas = Taker::new();
    for after_us in [1, 2] {
        deltas.take(vec![histogram(DELTA, after_us, &[2, 1, 1], &[1.0, 2.5])]);
    }
    let rows = deltas.rows();
    for (name, labels, value) in [
        ("latency_bucket", "le=2.5,route=/a", 6.0),
        ("latency_count", "route=/a", 8.0),
        ("latency_sum", "route=/a", 15.0),
        ("latency_max", "route=/a", 4.0),
    ] {
        assert!(
            rows.contains(&row(name, labels, 2, value)),
            "{name} in {rows:#?}"
        );
    }
    for (counts, bounds) in [(&[1, 2][..], &[1.0, 2.0][..]), (&[1, 2, 3], &[2.0, 1.0])] {
        let bad = taker.take(vec![histogram(CUMULATIVE, 1, counts, bounds)]);
        assert_eq!(bad.reason, Some(Reason::Inconsistent));
    }
}

fn exponential(temporality: i32, scale: i32, offset: i32, counts: &[u64]) -> Metric {
    let buckets = |offset, counts: &[u64]| Buckets {
        offset,
        bucket_counts: counts.to_vec(),
    };
    let point = ExponentialHistogramDataPoint {
        start_time_unix_nano: at(1),
        time_unix_nano: at(1),
        count: counts.iter().sum::<u64>() + 3,
        scale,
        zero_count: 1,
        positive: Some(buckets(offset, counts)),
        negative: Some(buckets(0, &[2])),
        ..ExponentialHistogramDataPoint::default()
    };
    let histogram = ExponentialHistogram {
        data_points: vec![point],
        aggregation_temporality: temporality,
    };
    metric("size", "By", Data::ExponentialHistogram(histogram))
}

#[test]
fn exponential_histograms_become_powers_of_two_or_quantiles() {
    let mut taker = Taker::new();
    // At scale 1 the buckets from index 0 are (1, 1.41], (1.41, 2], (2, 2.83], (2.83, 4].
    taker.take(vec![exponential(CUMULATIVE, 1, 0, &[1, 2, 0, 4])]);
    assert_eq!(
        taker.rows(),
        [
            row("size_bucket", "le=+Inf", 1, 10.0),
            row("size_bucket", "le=-1", 1, 2.0),
            row("size_bucket", "le=0", 1, 3.0),
            row("size_bucket", "le=2", 1, 6.0),
            row("size_bucket", "le=4", 1, 10.0),
            row("size_count", "", 1, 10.0),
        ]
    );
    // At scale -1 the base is 4: bucket 1 is (4, 16].
    taker.take(vec![exponential(CUMULATIVE, -1, 1, &[5])]);
    let rows = taker.rows();
    assert!(
        rows.contains(&row("size_bucket", "le=16", 1, 8.0)),
        "{rows:#?}"
    );
    let mut deltas = Taker::new();
    deltas.take(vec![exponential(DELTA, 3, 80, &[500, 497])]);
    let rows = deltas.rows();
    let middle = (80.5_f64 / 8.0).exp2();
    assert!(
        rows.contains(&row("size", "quantile=0.5", 1, middle)),
        "{rows:#?}"
    );
    let bad = taker.take(vec![exponential(CUMULATIVE, 21, 0, &[1])]);
    assert_eq!(bad.reason, Some(Reason::Inconsistent));
}

#[test]
fn summaries_become_quantiles() {
    let mut taker = Taker::new();
    let at_quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let point = SummaryDataPoint {
        time_unix_nano: at(1),
        count: 3,
        sum: 1.5,
        quantile_values: vec![at_quantile(0.5, 0.25), at_quantile(0.99, f64::NAN)],
        ..SummaryDataPoint::default()
    };
    let summary = Summary {
        data_points: vec![point],
    };
    taker.take(vec![metric("wait", "s", Data::Summary(summary))]);
    assert_eq!(
        taker.rows(),
        [
            row("wait", "quantile=0.5", 1, 0.25),
            row("wait_count", "", 1, 3.0),
            row("wait_sum", "", 1, 1.5),
        ]
    );
}

#[test]
fn what_cannot_be_kept_is_counted_by_its_reason() {
    let mut taker = Taker::new();
    let old = number(-8 * 24 * 3_600 * 1_000_000, 1.0, &[]);
    let no_value = NumberDataPoint {
        value: None,
        ..number(0, 0.0, &[])
    };
    for (metric, reason) in [
        (gauge("a", vec![old]), Reason::TimeOutOfRange),
        (gauge("", vec![number(0, 1.0, &[])]), Reason::BadName),
        (gauge("a", vec![no_value]), Reason::Unsupported),
        (
            sum("a", 0, true, vec![number(0, 1.0, &[])]),
            Reason::Unsupported,
        ),
        (
            gauge("a", vec![number(0, 1.0, &[("long", &"x".repeat(5_000))])]),
            Reason::LabelsTooLong,
        ),
    ] {
        let good = gauge("good", vec![number(0, 1.0, &[])]);
        let outcome = taker.take(vec![metric, good]);
        assert_eq!((outcome.samples, outcome.rejected), (1, 1), "{reason:?}");
        assert_eq!(outcome.reason, Some(reason));
    }
}

#[test]
fn an_explosion_of_labels_is_bounded() {
    let mut taker = Taker::new();
    let points = |from: usize| {
        let ids = from..from + 2_000;
        ids.map(|id| number(0, 1.0, &[("user", &id.to_string())]))
            .collect()
    };
    let first = taker.take(vec![gauge("logins", points(0))]);
    assert_eq!((first.samples, first.rejected), (1_000, 1_000));
    assert_eq!(first.reason, Some(Reason::TooManySeries));
    let second = taker.take(vec![gauge("logins", points(0))]);
    assert_eq!(second.samples, 1_000, "the known ones go on");
    assert_eq!(taker.intake.dictionary.len(), 1_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_crash_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut taker = Taker::new();
        // Whether it is taken or refused, it is one of both.
        drop(taker.take_bytes(&bytes));
    }

    #[test]
    fn no_damage_to_a_message_crashes_it(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let metrics = vec![
            gauge("a", vec![number(0, 1.0, &[("k", "v")])]),
            sum("b", DELTA, true, vec![number(1, 1.0, &[("k", "v")])]),
            histogram(DELTA, 1, &[2, 1, 1], &[1.0, 2.5]),
            exponential(CUMULATIVE, 1, 0, &[1, 2, 0, 4]),
            exponential(DELTA, 1, 0, &[1, 2, 0, 4]),
        ];
        let mut bytes = request(metrics).encode_to_vec();
        for (place, byte) in places {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        let mut taker = Taker::new();
        let damaged = taker.take_bytes(&bytes);
        // What is taken here is what the reference decoder can read as well.
        if damaged.is_err() {
            prop_assert_eq!(taker.intake.queued(), 0);
        }
        bytes.truncate(cut.index(bytes.len()));
        drop(taker.take_bytes(&bytes));
    }

    #[test]
    fn what_it_takes_is_what_a_full_decoder_reads(
        values in proptest::collection::vec((0_i64..1_000_000, -1e9_f64..1e9), 0..50),
    ) {
        let points = values.iter().map(|(at, value)| number(*at, *value, &[("k", "v")]));
        let mut taker = Taker::new();
        taker.take(vec![gauge("a", points.collect())]);
        let mut expected: Vec<_> = values.iter().map(|(at, value)| (*at, value.to_bits())).collect();
        expected.sort_unstable();
        let mut found: Vec<_> = taker.rows().iter().map(|row| (row.2, row.3.to_bits())).collect();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}
