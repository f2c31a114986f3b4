//! The rows of `window_series`, `window_steps` and `history_steps`: only the columns and the metrics
//! that a question needs are made, each time that it is asked.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::common::cast::as_boolean_array;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;

use super::steps::{Gathered, Growth, Key, Samples, Step};

/// Rows that are handed on at once.
const BATCH_ROWS: usize = 1 << 16;
const METRIC: &str = "metric";
const COMPONENT: &str = "component";

/// What a metric is counted in, and whether it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) unit: String,
    pub(super) kind: String,
}

/// What one row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    /// A series.
    Series,
    /// A step of a series, of this length.
    Step { us: i64 },
}

/// The series of a metric.
#[derive(Debug)]
struct Group {
    series: Range<usize>,
    meaning: Option<Meaning>,
}

/// A table over gathered series.
#[derive(Debug)]
pub(super) struct WindowTable {
    each: Each,
    gathered: Arc<Gathered>,
    groups: Vec<Group>,
    /// Component and metric of each group.
    keys: RecordBatch,
}

/// What a row says, beside its series.
struct Row {
    ts_us: i64,
    of: Samples,
    seconds: f64,
    growth: Growth,
}

impl Each {
    /// The table's columns.
    pub(super) fn schema(self) -> SchemaRef {
        let mut fields = Vec::new();
        if matches!(self, Each::Step { .. }) {
            let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            fields.push(Field::new("ts", time, false));
        }
        for name in [COMPONENT, "host", METRIC, "labels"] {
            fields.push(Field::new(name, text_type(), false));
        }
        for name in ["unit", "kind"] {
            fields.push(Field::new(name, text_type(), true));
        }
        fields.push(Field::new("n", DataType::Int64, false));
        for name in ["seconds", "first", "last", "min", "max", "mean"] {
            fields.push(Field::new(name, DataType::Float64, false));
        }
        for name in ["increase", "rate_per_s"] {
            fields.push(Field::new(name, DataType::Float64, true));
        }
        Arc::new(Schema::new(fields))
    }

    /// How many rows these steps of a series are.
    fn count(self, steps: &[Step]) -> usize {
        match self {
            Self::Series => 1,
            Self::Step { .. } => steps.len(),
        }
    }

    /// Those rows.
    fn rows(self, steps: &[Step], rows: &mut Vec<Row>) {
        let Self::Step { us } = self else {
            rows.extend(whole(steps));
            return;
        };
        let mut before = None;
        for step in steps {
            let growth = step.of.growth(before);
            before = Some(&step.of);
            rows.push(Row {
                ts_us: step.step.saturating_mul(us),
                of: step.of,
                seconds: growth.seconds,
                growth,
            });
        }
    }
}

impl WindowTable {
    /// Of series that are sorted.
    pub(super) fn new(
        each: Each,
        gathered: Arc<Gathered>,
        meaning: impl Fn(&str, &str) -> Option<Meaning>,
    ) -> Result<Self, ArrowError> {
        let texts = &gathered.texts;
        let same = |a: &(Key, Vec<Step>), b: &(Key, Vec<Step>)| {
            (a.0.component, a.0.metric) == (b.0.component, b.0.metric)
        };
        let (mut groups, mut names, mut from) = (Vec::new(), Vec::new(), 0);
        for some in gathered.series.chunk_by(same) {
            let key = some[0].0;
            let (component, metric) = (texts.text(key.component), texts.text(key.metric));
            let series = from..from + some.len();
            from = series.end;
            let meaning = meaning(component, metric);
            groups.push(Group { series, meaning });
            names.push((component, metric));
        }
        let column = |texts: Vec<&str>| -> ArrayRef {
            Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>())
        };
        let keys = RecordBatch::try_new(
            Self::keys_schema(),
            vec![
                column(names.iter().map(|name| name.0).collect()),
                column(names.iter().map(|name| name.1).collect()),
            ],
        )?;
        Ok(Self {
            each,
            gathered: Arc::clone(&gathered),
            groups,
            keys,
        })
    }

    /// What tells groups apart.
    pub(super) fn keys_schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new(COMPONENT, text_type(), false),
            Field::new(METRIC, text_type(), false),
        ]))
    }

    /// Whether a filter does nothing but that. Whole groups are left out, so that nothing remains to
    /// be filtered by it.
    pub(super) fn selects(filter: &Expr) -> bool {
        let columns = filter.column_refs();
        let mut names = columns.iter().map(|column| column.name.as_str());
        names.all(|name| [COMPONENT, METRIC].contains(&name)) && !filter.is_volatile()
    }

    /// The rows of the groups that fit, in these columns.
    pub(super) fn batches(
        &self,
        filter: Option<&Arc<dyn PhysicalExpr>>,
        schema: &SchemaRef,
    ) -> Result<Vec<RecordBatch>> {
        let fits = self.matching(filter)?;
        let mut batches = Vec::new();
        for (group, fits) in self.groups.iter().zip(fits.iter()) {
            if fits == Some(true) {
                let whole = self.batch(group, schema)?;
                let cuts = (0..whole.num_rows()).step_by(BATCH_ROWS);
                batches.extend(
                    cuts.map(|from| whole.slice(from, BATCH_ROWS.min(whole.num_rows() - from))),
                );
            }
        }
        Ok(batches)
    }

    fn matching(&self, filter: Option<&Arc<dyn PhysicalExpr>>) -> Result<BooleanArray> {
        let count = self.groups.len();
        let Some(filter) = filter else {
            return Ok(BooleanArray::from(vec![true; count]));
        };
        let fits = filter.evaluate(&self.keys)?.into_array(count)?;
        Ok(as_boolean_array(&fits)?.clone())
    }

    /// The rows of a group, in these columns.
    fn batch(&self, group: &Group, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let series = &self.gathered.series[group.series.clone()];
        let counted = group
            .meaning
            .as_ref()
            .is_some_and(|meaning| meaning.kind == "counter");
        let mut rows = Vec::new();
        for (_, steps) in series {
            self.each.rows(steps, &mut rows);
        }
        let count = rows.len();
        let floats = |value: fn(&Row) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(rows.iter().map(value)))
        };
        let grown = |value: fn(&Row) -> Option<f64>| -> ArrayRef {
            match counted {
                true => Arc::new(rows.iter().map(value).collect::<Float64Array>()),
                false => Arc::new(Float64Array::new_null(count)),
            }
        };
        let meant = |of: fn(&Meaning) -> &str| -> Result<ArrayRef, ArrowError> {
            let value = StringArray::from_iter([group.meaning.as_ref().map(of)]);
            let key = group.meaning.is_some().then_some(0);
            constant(key, count, value)
        };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            columns.push(match field.name().as_str() {
                COMPONENT => self.texts(series, |key| key.component)?,
                "host" => self.texts(series, |key| key.host)?,
                METRIC => self.texts(series, |key| key.metric)?,
                "labels" => self.texts(series, |key| key.labels)?,
                "unit" => meant(|meaning| &meaning.unit)?,
                "kind" => meant(|meaning| &meaning.kind)?,
                "ts" => {
                    let times = rows.iter().map(|row| row.ts_us);
                    Arc::new(
                        TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"),
                    )
                }
                "n" => Arc::new(Int64Array::from_iter_values(
                    rows.iter().map(|row| row.of.n),
                )),
                "seconds" => floats(|row| row.seconds),
                "first" => floats(|row| row.of.first),
                "last" => floats(|row| row.of.last),
                "min" => floats(|row| row.of.min),
                "max" => floats(|row| row.of.max),
                "mean" => floats(|row| row.of.mean()),
                "increase" => grown(|row| Some(row.growth.increase)),
                "rate_per_s" => grown(|row| row.growth.rate_per_s()),
                other => {
                    return Err(ArrowError::SchemaError(format!(
                        "there is no column {other}"
                    )));
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
    }

    /// A text of each series, as often as it has rows.
    fn texts(
        &self,
        series: &[(Key, Vec<Step>)],
        of: fn(&Key) -> u32,
    ) -> Result<ArrayRef, ArrowError> {
        let mut places: HashMap<u32, i32> = HashMap::new();
        let mut values: Vec<&str> = Vec::new();
        let mut keys: Vec<i32> = Vec::new();
        let mut last = None;
        for (key, steps) in series {
            let number = of(key);
            let place = match last {
                Some((same, place)) if same == number => place,
                _ => *places.entry(number).or_insert_with(|| {
                    values.push(self.gathered.texts.text(number));
                    // No more texts than series, of which a window holds far fewer.
                    i32::try_from(values.len() - 1).unwrap_or(i32::MAX)
                }),
            };
            last = Some((number, place));
            keys.extend(std::iter::repeat_n(place, self.each.count(steps)));
        }
        let keys = Int32Array::from(keys);
        let values = Arc::new(StringArray::from(values));
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(
            keys, values,
        )?))
    }
}

fn text_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// All steps in one.
fn whole(steps: &[Step]) -> Option<Row> {
    let (first, others) = steps.split_first()?;
    let mut of = first.of;
    let mut increase = first.of.growth(None).increase;
    let mut before = &first.of;
    for step in others {
        increase += step.of.growth(Some(before)).increase;
        before = &step.of;
        of.add(&step.of);
    }
    let seconds = of.seconds();
    Some(Row {
        ts_us: of.first_us,
        of,
        seconds,
        growth: Growth { increase, seconds },
    })
}

/// One text in every row, or null.
fn constant(key: Option<i32>, rows: usize, value: StringArray) -> Result<ArrayRef, ArrowError> {
    let keys: Int32Array = std::iter::repeat_n(key, rows).collect();
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(
        keys,
        Arc::new(value),
    )?))
}
