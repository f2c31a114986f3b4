//! The fresh rows of one kind: what the local spool holds after a table's watermarks.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::SpoolReader;
use driftline_eventlog::{LogError, LogReader, Record, SourceId};
use driftline_schemas::{DecodeError, Decoder, Envelope, Kind, StreamId};
use driftline_sink::batch::{BatchBuilder, MAX_DAYS_PER_BATCH};
use driftline_sink::table::{Snapshot, TableName};
use driftline_sink::watermark::Watermarks;

use super::rows::{SeenSeries, dated};
use super::{LakeError, LakeOptions};

/// Bytes of records that are held at once while they are decoded.
const READ_BYTES: usize = 4 << 20;
/// Rows per batch: enough to be quick, few enough to share among processors.
const ROWS_PER_BATCH: usize = 65_536;
/// Notices that are kept; more are only counted.
const MAX_NOTICES: usize = 20;

/// What was found.
#[derive(Default)]
pub(super) struct Fresh {
    pub(super) batches: Vec<RecordBatch>,
    /// Rows of the table `series`.
    pub(super) series: Vec<RecordBatch>,
    pub(super) notices: Vec<String>,
}

/// Reads on a thread of its own, since files block. Unless this is the `last` attempt, records
/// that are missing ask for a newer version of the table.
pub(super) async fn read(
    log: PathBuf,
    kind: Kind,
    committed: &Option<Snapshot>,
    options: &LakeOptions,
    last: bool,
) -> Result<Fresh, LakeError> {
    let marks = committed
        .as_ref()
        .map(|snapshot| snapshot.watermarks.clone())
        .unwrap_or_default();
    let limit = options.tail_max_rows;
    let work = move || {
        let mut reader = SpoolReader::read_only(Arc::new(RealDisk), &log);
        let tail = TailReader {
            log,
            kind,
            limit,
            last,
            rows: 0,
            skipped: 0,
            fresh: Fresh::default(),
        };
        tail.read(&mut reader, &marks)
    };
    let task = tokio::task::spawn_blocking(work);
    task.await.map_err(|error| LakeError::Thread {
        reason: error.to_string(),
    })?
}

struct TailReader {
    log: PathBuf,
    kind: Kind,
    limit: usize,
    last: bool,
    rows: usize,
    skipped: usize,
    fresh: Fresh,
}

impl TailReader {
    fn read(mut self, reader: &mut dyn LogReader, marks: &Watermarks) -> Result<Fresh, LakeError> {
        let mut builder = BatchBuilder::new(TableName::of(self.kind));
        let mut decoder = Decoder::default();
        let mut seen = SeenSeries::default();
        for source in reader.sources(self.kind)? {
            let SourceId::Spool(stream) = &source else {
                continue;
            };
            let mut next = marks.next_seq(stream);
            loop {
                let records = match reader.read(&source, next, READ_BYTES) {
                    Ok(records) => records,
                    Err(error) => {
                        next = self.step_over(reader, &source, next, error)?;
                        continue;
                    }
                };
                let Some(newest) = records.last() else { break };
                next = newest.offset + 1;
                for record in &records {
                    self.take(stream, record, &mut builder, &mut seen, &mut decoder)?;
                }
            }
        }
        self.flush(&mut builder)?;
        if self.skipped > MAX_NOTICES {
            let more = self.skipped - MAX_NOTICES;
            self.fresh
                .notices
                .push(format!("{more} more places in the log cannot be read"));
        }
        self.fresh.series = seen.finish()?;
        Ok(self.fresh)
    }

    fn take(
        &mut self,
        stream: &StreamId,
        record: &Record,
        builder: &mut BatchBuilder,
        seen: &mut SeenSeries,
        decoder: &mut Decoder,
    ) -> Result<(), LakeError> {
        let decoded = Envelope::parse(&record.payload)
            .and_then(|envelope| decoder.rows(&envelope).map(|rows| (envelope, rows)));
        let (envelope, rows) = match decoded {
            Ok(decoded) => decoded,
            Err(DecodeError::NewerFormat { found }) => {
                return Err(LakeError::NewerFormat {
                    stream: stream.to_string(),
                    found,
                });
            }
            Err(error) => {
                self.skip(format!(
                    "block {} of {stream} cannot be read: {error}",
                    record.offset
                ));
                return Ok(());
            }
        };
        if envelope.stream != *stream || envelope.seq != record.offset {
            let (found, seq) = (&envelope.stream, envelope.seq);
            self.skip(format!(
                "block {} of {stream} says it is {seq} of {found}",
                record.offset
            ));
            return Ok(());
        }
        self.rows += rows.len();
        if self.rows > self.limit {
            return Err(LakeError::TailTooLong {
                kind: self.kind,
                limit: self.limit,
            });
        }
        builder.push(&envelope, &rows, &mut |run, ts_us| {
            seen.observe_run(&envelope.host, run, ts_us);
        });
        if builder.rows() >= ROWS_PER_BATCH || builder.days() >= MAX_DAYS_PER_BATCH {
            self.flush(builder)?;
        }
        Ok(())
    }

    /// Where to read on after an error that concerns only part of a stream.
    fn step_over(
        &mut self,
        reader: &mut dyn LogReader,
        source: &SourceId,
        from: u64,
        error: LogError,
    ) -> Result<u64, LakeError> {
        let next = match &error {
            LogError::Trimmed { .. } if !self.last => {
                return Err(LakeError::Moving {
                    log: self.log.clone(),
                });
            }
            LogError::Trimmed {
                first_available, ..
            } => *first_available,
            LogError::Corrupt { .. } => reader.skip_damage(source, from)?,
            _ => return Err(error.into()),
        };
        if next <= from {
            // Nothing is gained by asking again.
            return Err(error.into());
        }
        self.skip(error.to_string());
        Ok(next)
    }

    fn skip(&mut self, reason: String) {
        self.skipped += 1;
        if self.skipped <= MAX_NOTICES {
            self.fresh.notices.push(reason);
        }
    }

    fn flush(&mut self, builder: &mut BatchBuilder) -> Result<(), LakeError> {
        for (_, batch) in builder.finish()? {
            self.fresh.batches.push(dated(&batch)?);
        }
        Ok(())
    }
}
