//! `robust_median`, `mad` and `quantile_sketch`: what a group of numbers is like.
//!
//! The first two are exact and keep every number until the group is done. A sketch keeps counts of
//! buckets only, and sketches of parts are merged into that of the whole.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use driftline_stats::{Sketch, mad, median};

use super::float_list;

/// What a sketch takes in memory, about: more than all but those of the widest spread.
const SKETCH_BYTES: usize = 4_096;

/// What to say about the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Median,
    Mad,
    Sketch,
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Aggregate {
    about: About,
    signature: Signature,
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Aggregate> {
    let function = |about| Aggregate {
        about,
        signature: Signature::user_defined(Volatility::Immutable),
    };
    [About::Median, About::Mad, About::Sketch]
        .into_iter()
        .map(function)
}

fn is_binary(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        match self.about {
            About::Median => "robust_median",
            About::Mad => "mad",
            About::Sketch => "quantile_sketch",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.about, types) {
            (_, [value]) if value.is_numeric() || value.is_null() => Ok(vec![DataType::Float64]),
            (About::Sketch, [sketch]) if is_binary(sketch) => Ok(vec![DataType::Binary]),
            (About::Sketch, _) => plan_err!("quantile_sketch takes a number, or a sketch to merge"),
            _ => plan_err!("{} takes a number", self.name()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(match self.about {
            About::Median | About::Mad => DataType::Float64,
            About::Sketch => DataType::Binary,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let kind = match self.about {
            About::Median | About::Mad => float_list(),
            About::Sketch => DataType::Binary,
        };
        let name = format_state_name(args.name, self.name());
        Ok(vec![Arc::new(Field::new(name, kind, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return exec_err!("{} counts every number: leave DISTINCT out", self.name());
        }
        Ok(match self.about {
            About::Median => Box::new(Numbers::new(median)),
            About::Mad => Box::new(Numbers::new(mad)),
            About::Sketch => Box::new(Sketching::default()),
        })
    }
}

/// All numbers of a group that are finite.
#[derive(Debug)]
struct Numbers {
    of: fn(&[f64]) -> Option<f64>,
    values: Vec<f64>,
}

impl Numbers {
    fn new(of: fn(&[f64]) -> Option<f64>) -> Self {
        Self {
            of,
            values: Vec::new(),
        }
    }

    fn push(&mut self, values: &ArrayRef) {
        let values = values.as_primitive::<Float64Type>().iter().flatten();
        self.values.extend(values.filter(|value| value.is_finite()));
    }
}

impl Accumulator for Numbers {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.iter().for_each(|values| self.push(values));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64((self.of)(&self.values)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = std::mem::take(&mut self.values)
            .into_iter()
            .map(ScalarValue::from)
            .collect();
        let list = ScalarValue::new_list_nullable(&values, &DataType::Float64);
        Ok(vec![ScalarValue::List(list)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for list in states[0].as_list::<i32>().iter().flatten() {
            self.push(&list);
        }
        Ok(())
    }
}

/// The sketch of a group.
#[derive(Debug, Default)]
struct Sketching {
    sketch: Sketch,
}

impl Sketching {
    fn merge(&mut self, sketches: &ArrayRef) -> Result<()> {
        for bytes in sketches.as_binary::<i32>().iter().flatten() {
            match Sketch::decode(bytes) {
                Ok(sketch) => self.sketch.merge(&sketch),
                Err(error) => return exec_err!("this is no sketch: {error}"),
            }
        }
        Ok(())
    }

    /// Null of nothing.
    fn bytes(&self) -> ScalarValue {
        ScalarValue::Binary((self.sketch.count() > 0).then(|| self.sketch.encode()))
    }
}

impl Accumulator for Sketching {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = &values[0];
        if *values.data_type() == DataType::Binary {
            return self.merge(values);
        }
        for value in values.as_primitive::<Float64Type>().iter().flatten() {
            // What is not finite is in no distribution.
            self.sketch.add(value);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.bytes())
    }

    fn size(&self) -> usize {
        size_of_val(self) + SKETCH_BYTES
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.bytes()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.merge(&states[0])
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::QueryOptions;
    use crate::testing::{S, T0, ask, engine, lake, samples};

    #[tokio::test]
    async fn every_example_of_the_description_runs() {
        let text = include_str!("../../../queries/README.md");
        let rows = (0..30).map(|s| {
            (
                "system.memory.linux.available",
                [].as_slice(),
                T0 + s * S,
                (s % 7) as f64,
            )
        });
        let (_dir, lake) = lake(&[samples(rows)], &[]);
        let engine = engine(lake).await;
        let blocks = text.split("```sql\n").skip(1);
        let examples: Vec<&str> = blocks
            .filter_map(|block| block.split("```").next())
            .filter(|sql| sql.starts_with("SELECT") || sql.starts_with("WITH"))
            .collect();
        assert_eq!(examples.len(), 11);
        for sql in &examples {
            ask(&engine, sql).await;
        }
        let about = ask(&engine, examples[0]).await;
        assert_eq!(about.len(), 1, "{about:?}");
        assert!(
            about[0].starts_with("system.memory.linux.available||3.0|"),
            "{about:?}"
        );
    }

    #[tokio::test]
    async fn groups_are_described_whatever_parts_they_come_in() {
        let (_dir, lake) = lake(&[], &[]);
        let engine = engine(lake).await;
        let sql = "SELECT robust_median(n), mad(n), robust_median(n) FILTER (WHERE n > 1000) \
                   FROM unnest([1.0, 2.0, 3.0, 4.0, 100.0, NULL, CAST('NaN' AS DOUBLE)]) AS t (n)";
        // R: mad(c(1, 2, 3, 4, 100)) = 1.4826
        assert_eq!(ask(&engine, sql).await, ["3.0|1.482602218505602|null"]);
        // Groups that are gathered from several partitions.
        let sql = "SELECT g, round(robust_median(n)), round(sketch_quantile(quantile_sketch(n), 0.5) / 50.0) \
                   FROM (SELECT n % 2 AS g, n FROM unnest(range(1, 5001)) AS t (n)) GROUP BY g ORDER BY g";
        assert_eq!(ask(&engine, sql).await, ["0|2501.0|50.0", "1|2500.0|50.0"]);
        let merged = "WITH parts AS ( \
                          SELECT n % 7 AS part, quantile_sketch(n) AS sketch \
                          FROM unnest(range(1, 5001)) AS t (n) GROUP BY n % 7 \
                      ), whole AS (SELECT quantile_sketch(n) AS sketch FROM unnest(range(1, 5001)) AS t (n)) \
                      SELECT (SELECT quantile_sketch(sketch) FROM parts) = (SELECT sketch FROM whole)";
        assert_eq!(ask(&engine, merged).await, ["true"]);
        let none =
            "SELECT quantile_sketch(n) IS NULL, mad(n) FROM unnest([1.0]) AS t (n) WHERE n > 1.0";
        assert_eq!(ask(&engine, none).await, ["true|null"]);
        let wrong = "SELECT quantile_sketch('a')";
        let asked = engine.collect(wrong, &QueryOptions::default()).await;
        assert!(asked.is_err(), "{wrong}");
    }
}
