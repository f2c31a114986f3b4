//! `miss_ratio_curve(keys, thresholds, requests)`: what share of the requests caches of several sizes
//! would miss, from access traces, as a list of structs.
//!
//! A trace is the text of an `AccessTrace` event: hashes of URLs in hexadecimal, in the order of the
//! requests. Traces of several intervals may have been taken at several rates: the lowest threshold
//! holds for all of them. What is estimated, and from whom that is, stands in
//! [`driftline_stats::reuse`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use driftline_stats::reuse::{Options, Reference, Reuse, ReuseSampler, Sampling};

use super::{item_of, returned};

/// The sizes, as shares of all distinct keys.
const SHARES: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0,
];
/// The confidence of the intervals.
const CONFIDENCE: f64 = 0.95;
const USAGE: &str = "miss_ratio_curve takes two lists of texts and a number: \
    miss_ratio_curve(array_agg(label(attributes, 'keys') ORDER BY ts), \
    array_agg(label(attributes, 'threshold') ORDER BY ts), \
    sum(CAST(label(attributes, 'requests') AS BIGINT)))";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct MissRatioCurve {
    signature: Signature,
}

/// A size in keys, its share of all keys, and the share of requests that it misses with its interval.
type Point = [f64; 5];

impl MissRatioCurve {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

fn fields() -> Fields {
    let names = ["keys", "share", "miss_ratio", "ci_lo", "ci_hi"];
    let float = |name: &&str| Field::new(*name, DataType::Float64, true);
    names.iter().map(float).collect()
}

fn texts() -> DataType {
    DataType::new_list(DataType::Utf8, true)
}

impl ScalarUDFImpl for MissRatioCurve {
    fn name(&self) -> &str {
        "miss_ratio_curve"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let of_texts = |list: &DataType| match list {
            DataType::List(item) | DataType::LargeList(item) => {
                item.data_type().is_string() || item.data_type().is_null()
            }
            other => other.is_null(),
        };
        match types {
            [keys, thresholds, requests]
                if of_texts(keys)
                    && of_texts(thresholds)
                    && (requests.is_integer() || requests.is_null()) =>
            {
                Ok(vec![texts(), texts(), DataType::Int64])
            }
            _ => plan_err!("{USAGE}"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item_of(fields())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [keys, thresholds, requests] = arrays.as_slice() else {
            return exec_err!("{USAGE}");
        };
        let requests = requests.as_primitive::<Int64Type>();
        let mut points: Vec<Point> = Vec::new();
        let (mut lengths, mut known) = (Vec::new(), Vec::new());
        for row in 0..requests.len() {
            let of_row = match requests.is_null(row) {
                true => None,
                false => curve(
                    &row_texts(keys, row),
                    &row_texts(thresholds, row),
                    requests.value(row),
                )?,
            };
            known.push(of_row.is_some());
            let of_row = of_row.unwrap_or_default();
            lengths.push(of_row.len());
            points.extend(of_row);
        }
        let columns = (0..fields().len()).map(|column| -> ArrayRef {
            let values = points.iter().map(|point| point[column]);
            Arc::new(Float64Array::from_iter_values(values))
        });
        let structs = StructArray::try_new(fields(), columns.collect(), None)?;
        let array: ArrayRef = Arc::new(ListArray::try_new(
            item_of(fields()),
            OffsetBuffer::from_lengths(lengths),
            Arc::new(structs),
            Some(NullBuffer::from(known)),
        )?);
        returned(&args.args, array)
    }
}

/// The texts of one row's list, in their order.
fn row_texts(lists: &ArrayRef, row: usize) -> Vec<String> {
    let lists = lists.as_list::<i32>();
    if lists.is_null(row) {
        return Vec::new();
    }
    let values = lists.value(row);
    let values = values.as_string::<i32>();
    values.iter().flatten().map(str::to_owned).collect()
}

/// The curve of these traces; `None` where there is none, or too few keys are in it.
fn curve(traces: &[String], thresholds: &[String], requests: i64) -> Result<Option<Vec<Point>>> {
    let thresholds: Vec<u64> = thresholds
        .iter()
        .map(|text| hexadecimal(text))
        .collect::<Result<_>>()?;
    let Some(threshold) = thresholds.iter().min() else {
        return Ok(None);
    };
    let rate = (*threshold as f64 + 1.0) / 2.0_f64.powi(64);
    let mut sampler = ReuseSampler::new(Options {
        sampling: Sampling::Taken(rate),
        ..Options::default()
    });
    let mut references = 0;
    for key in traces.iter().flat_map(|trace| trace.split_whitespace()) {
        let key = hexadecimal(key)?;
        if key <= *threshold {
            sampler.add(Reference::of(key));
            references += 1;
        }
    }
    sampler.left_out(
        u64::try_from(requests)
            .unwrap_or(0)
            .saturating_sub(references),
    );
    let Reuse::Curve(curve) = sampler.finish() else {
        return Ok(None);
    };
    let mut sizes: Vec<f64> = SHARES
        .iter()
        .map(|share| (share * curve.distinct_keys).ceil())
        .collect();
    sizes.dedup();
    let point = |size: f64| {
        // What holds every key is asked for well beyond, since sizes are counted in buckets.
        let asked = if size >= curve.distinct_keys {
            2.0 * size
        } else {
            size
        };
        let ratio = curve.miss_ratio_interval(asked, CONFIDENCE);
        let share = size / curve.distinct_keys;
        [size, share, ratio.value, ratio.lo, ratio.hi]
    };
    Ok(Some(sizes.into_iter().map(point).collect()))
}

fn hexadecimal(text: &str) -> Result<u64> {
    u64::from_str_radix(text, 16).map_err(|_| {
        exec_datafusion_err!("miss_ratio_curve: {text:?} is no hash in hexadecimal; {USAGE}")
    })
}

#[cfg(test)]
mod tests {
    use driftline_schemas::{Component, Event, EventName};

    use super::*;
    use crate::engine::{Engine, EngineConfig};
    use crate::lake::Lake;
    use crate::testing::{HOST, S, T0, ask};

    const SQL: &str = "WITH curve AS ( \
            SELECT unnest(miss_ratio_curve( \
                array_agg(label(attributes, 'keys') ORDER BY ts), \
                array_agg(label(attributes, 'threshold') ORDER BY ts), \
                sum(CAST(label(attributes, 'requests') AS BIGINT)))) AS at \
            FROM events WHERE name = 'AccessTrace' \
        ) SELECT at['keys'], round(at['miss_ratio'], 3) FROM curve";

    /// An interval of a trace, as the collector tells it.
    fn trace(number: i64, keys: &[u64], threshold: u64, requests: usize) -> Event {
        let keys: Vec<String> = keys.iter().map(|key| format!("{key:016x}")).collect();
        let attributes = [
            ("keys", keys.join(" ")),
            ("threshold", format!("{threshold:016x}")),
            ("requests", requests.to_string()),
        ];
        Event {
            ts_us: T0 + number * S,
            name: EventName::Other("AccessTrace".to_owned()),
            component: Component::Http,
            subject: "access_log.shop".to_owned(),
            message: String::new(),
            attributes: attributes
                .map(|(key, value)| (key.to_owned(), value))
                .to_vec(),
        }
    }

    async fn asked(events: &[Event]) -> Vec<String> {
        let lake = Lake::of_hosts([], [(HOST, events)]).expect("events");
        let engine = Engine::over(lake, &EngineConfig::default())
            .await
            .expect("an engine");
        ask(&engine, SQL).await
    }

    #[tokio::test]
    async fn a_loop_misses_until_all_of_it_fits() {
        // Ten rounds over a thousand URLs, of which every one is in the trace.
        let round: Vec<u64> = (0..1_000).map(|n| n << 40).collect();
        let events: Vec<Event> = (0..10)
            .map(|number| trace(number, &round, u64::MAX, round.len()))
            .collect();
        let found = asked(&events).await;
        assert_eq!(found.len(), SHARES.len(), "{found:?}");
        assert_eq!((&found[0][..], &found[10][..]), ("1.0|1.0", "700.0|1.0"));
        assert_eq!(found[11], "1000.0|0.1");
    }

    #[tokio::test]
    async fn the_lowest_rate_holds_for_all_and_what_is_left_out_counts() {
        // A loop over 4,000 URLs. The first interval took all of them, the second a quarter.
        let round: Vec<u64> = (0..4_000).map(|n| n << 52).collect();
        let quarter: Vec<u64> = round
            .iter()
            .copied()
            .filter(|key| *key <= u64::MAX / 4)
            .collect();
        let events = [
            trace(0, &round, u64::MAX, 4_000),
            trace(1, &quarter, u64::MAX / 4, 4_000),
        ];
        let found = asked(&events).await;
        let last = found.last().expect("points");
        let keys: f64 = last
            .split('|')
            .next()
            .and_then(|k| k.parse().ok())
            .expect("a size");
        assert!((3_900.0..4_300.0).contains(&keys), "{found:?}");
        assert!(
            last.ends_with("|0.5") || last.ends_with("|0.512"),
            "{found:?}"
        );
        assert!(found[9].ends_with("|1.0"), "{found:?}");
    }

    #[tokio::test]
    async fn without_a_trace_there_is_no_curve() {
        assert_eq!(asked(&[]).await, [] as [&str; 0]);
        let few = [trace(0, &[1, 2, 3], u64::MAX / 100, 300)];
        assert_eq!(asked(&few).await, [] as [&str; 0]);
        assert!(hexadecimal("xyz").is_err());
    }
}
