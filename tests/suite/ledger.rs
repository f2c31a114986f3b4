//! The producer's own books against the rows in the table.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use driftline_sink::table::{At, TableName, snapshot};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A block: rows and their checksum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) rows: u64,
    pub(crate) sum: u64,
}

/// What a producer meant to write, and how far it was told that it is durable.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) intended: BTreeMap<(String, u64), Entry>,
    pub(crate) synced: BTreeMap<String, u64>,
}

impl Books {
    pub(crate) fn read(path: &Path) -> Self {
        let mut books = Self::default();
        let text = std::fs::read_to_string(path).expect("read the ledger");
        // The last line may be cut by the kill; it was then never acted on.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["intend", stream, seq, rows, sum] => {
                    let entry = Entry {
                        rows: number(rows),
                        sum: number(sum),
                    };
                    books
                        .intended
                        .insert((stream.to_owned(), number(seq)), entry);
                }
                ["synced", stream, next] => {
                    books.synced.insert(stream.to_owned(), number(next));
                }
                _ => panic!("not a line of a ledger: {line}"),
            }
        }
        books
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// The blocks in the table, from the files that its newest version names.
pub(crate) fn committed(data: &Path) -> BTreeMap<(String, u64), Entry> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let snapshot = runtime.block_on(snapshot(data, TableName::Samples, At::Latest));
    let snapshot = snapshot.expect("snapshot").expect("a table");
    let mut blocks: BTreeMap<(String, u64), Entry> = BTreeMap::new();
    for file in snapshot.files {
        let file = File::open(&file.path).expect("open a data file");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet");
        for batch in reader.build().expect("reader") {
            let batch = batch.expect("batch");
            let column = |name: &str| batch.column_by_name(name).expect("column");
            let stream = cast(column("stream"), &DataType::Utf8).expect("text");
            let seq = column("seq").as_primitive::<Int64Type>();
            let ts = column("ts").as_primitive::<TimestampMicrosecondType>();
            let value = column("value").as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let key = (
                    stream.as_string::<i32>().value(row).to_owned(),
                    seq.value(row) as u64,
                );
                let entry = blocks.entry(key).or_default();
                entry.rows += 1;
                entry.sum = entry
                    .sum
                    .wrapping_add(row_checksum(ts.value(row), value.value(row)));
            }
        }
    }
    blocks
}

/// As `examples/ledger_producer.rs` computes it.
fn row_checksum(ts_us: i64, value: f64) -> u64 {
    let mut x = (ts_us as u64) ^ value.to_bits().rotate_left(17);
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^ (x >> 29)
}

/// Every block that a producer knows to be durable is in the table once, with its rows; and nothing
/// is in the table that no producer meant to write.
pub(crate) fn assert_exactly_once(
    books: &Books,
    committed: &BTreeMap<(String, u64), Entry>,
    what: &str,
) {
    for ((stream, seq), entry) in committed {
        let intended = books.intended.get(&(stream.clone(), *seq));
        assert_eq!(
            intended,
            Some(entry),
            "{what}: block {seq} of {stream} is not what was written"
        );
    }
    for (stream, next) in &books.synced {
        for seq in 0..*next {
            let there = committed.contains_key(&(stream.clone(), seq));
            assert!(
                there,
                "{what}: block {seq} of {stream} was durable and is lost (of {next})"
            );
        }
    }
    assert!(
        !committed.is_empty(),
        "{what}: nothing was committed, so nothing was tested"
    );
}
