//! Rows in the order in which they compress and prune best: by series, then by time.

use std::collections::HashMap;

use arrow::array::{Array as _, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Int32Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use driftline_schemas::arrow::dictionary;

use crate::table::TableName;

/// The text columns that rows of a table are sorted by, before `ts`.
fn sort_columns(table: TableName) -> &'static [&'static str] {
    match table {
        TableName::Samples
        | TableName::Series
        | TableName::Samples1m
        | TableName::Samples1h
        | TableName::Samples1d => &["metric", "host", "labels"],
        TableName::Requests => &["run", "endpoint"],
        TableName::Events => &[],
    }
}

/// All rows of some batches as one sorted batch. Rows that are equal in every sort column keep
/// their order, so that the result depends on the input alone.
pub(crate) fn sorted(
    table: TableName,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<RecordBatch, ArrowError> {
    let all = concat_batches(schema, batches)?;
    let ts = all
        .column(all.schema().index_of("ts")?)
        .as_primitive::<TimestampMicrosecondType>();
    let mut columns = Vec::new();
    for name in sort_columns(table) {
        columns.push(ranks(all.column(all.schema().index_of(name)?))?);
    }
    let series = combine(&columns, all.num_rows());
    let mut order: Vec<(u32, i64, u32)> = Vec::with_capacity(all.num_rows());
    for (row, series) in series.into_iter().enumerate() {
        // A batch is bounded to far fewer rows than a u32 counts.
        order.push((series, ts.value(row), row as u32));
    }
    order.sort_unstable();
    let indices: UInt32Array = order.into_iter().map(|(_, _, row)| row).collect();
    take_record_batch(&all, &indices)
}

/// The rank of each row's text among the column's distinct texts.
fn ranks(column: &ArrayRef) -> Result<Vec<u32>, ArrowError> {
    let column = cast(column, &dictionary())?;
    let column = column.as_dictionary::<Int32Type>();
    let values = cast(column.values(), &DataType::Utf8)?;
    let values = values.as_string::<i32>();
    let mut by_text: Vec<usize> = (0..values.len()).collect();
    by_text.sort_unstable_by_key(|at| values.value(*at));
    let mut rank_of = vec![0_u32; values.len()];
    let mut rank = 0;
    for pair in 0..by_text.len() {
        let at = by_text[pair];
        // A dictionary may hold a text twice after batches were joined.
        if pair > 0 && values.value(at) != values.value(by_text[pair - 1]) {
            rank += 1;
        }
        rank_of[at] = rank;
    }
    Ok(column
        .keys()
        .values()
        .iter()
        .map(|key| rank_of[*key as usize])
        .collect())
}

/// One rank per row over several columns, the first column being the most significant.
fn combine(columns: &[Vec<u32>], rows: usize) -> Vec<u32> {
    let mut combined = vec![0_u32; rows];
    for column in columns {
        let mut distinct: HashMap<(u32, u32), u32> = HashMap::new();
        for (left, right) in combined.iter().zip(column) {
            distinct.insert((*left, *right), 0);
        }
        let mut keys: Vec<(u32, u32)> = distinct.keys().copied().collect();
        keys.sort_unstable();
        for (rank, key) in keys.into_iter().enumerate() {
            distinct.insert(key, rank as u32);
        }
        for (left, right) in combined.iter_mut().zip(column) {
            *left = distinct[&(*left, *right)];
        }
    }
    combined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;
    use bytes::Bytes;
    use driftline_schemas::{
        BlockHeader, Body, Decoder, Envelope, Labels, MetricDef, MetricRef, SampleBatch, Series,
        encode,
    };
    use std::sync::Arc;

    fn batch(host: &str, rows: &[(&str, i64, f64)]) -> RecordBatch {
        let def = Arc::new(MetricDef {
            name: "m".to_owned(),
            component: driftline_schemas::Component::Host,
            unit: "1".to_owned(),
            kind: driftline_schemas::MetricKind::Gauge,
            category: driftline_schemas::Category::Latency,
            better: driftline_schemas::Better::Lower,
        });
        let series = |label: &str| Series {
            metric: MetricRef::Custom(Arc::clone(&def)),
            labels: Labels::new(&[("k", label)]),
        };
        let rows = rows
            .iter()
            .map(|(label, ts, value)| (series(label), *ts, *value));
        let body = Body::Samples(SampleBatch::from_rows(rows));
        let stream = "a/000000000000000000000000000000ff/samples"
            .parse()
            .expect("stream");
        let header = BlockHeader {
            stream,
            seq: 0,
            host: host.to_owned(),
        };
        let payload = Bytes::from(encode(&header, &body).expect("encode"));
        let envelope = Envelope::parse(&payload).expect("parse");
        let mut builder = BatchBuilder::new(TableName::Samples);
        let mut decoder = Decoder::default();
        let rows = decoder.rows(&envelope).expect("decode");
        builder.push(&envelope, &rows, &mut |_, _| {});
        builder.finish().expect("finish").remove(0).1
    }

    #[test]
    fn rows_come_by_series_then_by_time_and_none_is_lost() {
        let batches = [
            batch("b", &[("y", 3, 1.0), ("x", 1, 2.0)]),
            batch("a", &[("y", 2, 3.0), ("y", 1, 4.0)]),
        ];
        let all = sorted(TableName::Samples, &batches[0].schema(), &batches).expect("sorted");
        let values = all
            .column_by_name("value")
            .expect("value")
            .as_primitive::<arrow::datatypes::Float64Type>();
        assert_eq!(values.values(), &[4.0, 3.0, 2.0, 1.0]);
    }
}
