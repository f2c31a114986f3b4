//! A data directory, and what a reader finds in its log.

use std::io::Cursor;
use std::sync::Arc;

use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::{SpoolConfig, SpoolReader};
use driftline_eventlog::{LogReader as _, SourceId};
use driftline_loadgen::results::{ImportError, ImportRequest, Imported, Tool, import};
use driftline_schemas::{Body, Envelope, Event, Kind, Request, Series};
use tempfile::TempDir;

/// When the JMH results of the tests were measured: 2023-11-14T22:13:20Z.
pub(crate) const AT_US: i64 = 1_700_000_000_000_000;

pub(crate) struct Bed {
    directory: TempDir,
}

/// A row of `requests` with its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) run: String,
    pub(crate) endpoint: String,
    pub(crate) error: String,
    pub(crate) request: Request,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory }
    }

    pub(crate) fn request(&self, tool: Tool) -> ImportRequest {
        ImportRequest {
            tool,
            data: self.directory.path().to_owned(),
            run: None,
            host: "there".to_owned(),
            labels: vec![("commit".to_owned(), "abc".to_owned())],
            at_us: Some(AT_US),
            meaning: None,
            spool: SpoolConfig::default(),
        }
    }

    pub(crate) fn import(
        &self,
        tool: Tool,
        text: impl AsRef<[u8]>,
    ) -> Result<Imported, ImportError> {
        import(&self.request(tool), &mut Cursor::new(text), &mut |_| {})
    }

    /// The message of an import that must fail and leave nothing in the log.
    pub(crate) fn refusal(&self, tool: Tool, text: impl AsRef<[u8]>) -> String {
        let error = self.import(tool, text).expect_err("malformed");
        assert!(!self.has_log(), "{error} left something in the log");
        error.to_string()
    }

    pub(crate) fn has_log(&self) -> bool {
        self.directory.path().join("log").exists()
    }

    fn bodies(&self, kind: Kind) -> Vec<Body> {
        let log = self.directory.path().join("log");
        let mut reader = SpoolReader::read_only(Arc::new(RealDisk), &log);
        let mut bodies = Vec::new();
        for source in reader.sources(kind).expect("readable") {
            let SourceId::Spool(stream) = &source else {
                unreachable!("a spool has only streams")
            };
            assert!(stream.producer.as_str().starts_with("import-"));
            assert!(reader.closed(&source).expect("readable").is_some());
            let mut next = 0;
            loop {
                let records = reader.read(&source, next, 1 << 20).expect("readable");
                let Some(last) = records.last() else { break };
                next = last.offset + 1;
                bodies.extend(records.iter().map(|record| {
                    let envelope = Envelope::parse(&record.payload).expect("a block");
                    assert_eq!(envelope.host, "there");
                    envelope.decode().expect("a body")
                }));
            }
        }
        bodies
    }

    pub(crate) fn requests(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for body in self.bodies(Kind::Requests) {
            let Body::Requests(batch) = body else {
                unreachable!("streams hold their kind")
            };
            rows.extend(batch.requests.iter().map(|request| Row {
                run: batch.run.clone(),
                endpoint: batch.endpoints[request.endpoint as usize].clone(),
                error: match request.error {
                    0 => String::new(),
                    at => batch.errors[at as usize - 1].clone(),
                },
                request: *request,
            }));
        }
        rows
    }

    pub(crate) fn samples(&self) -> Vec<(Series, i64, f64)> {
        let mut rows = Vec::new();
        for body in self.bodies(Kind::Samples) {
            let Body::Samples(batch) = body else {
                unreachable!("streams hold their kind")
            };
            rows.extend(batch.samples.iter().map(|sample| {
                let series = batch.series[sample.series as usize].clone();
                (series, sample.ts_us, sample.value)
            }));
        }
        rows
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let bodies = self.bodies(Kind::Events).into_iter();
        bodies
            .flat_map(|body| match body {
                Body::Events(events) => events,
                _ => unreachable!("streams hold their kind"),
            })
            .collect()
    }
}

pub(crate) fn attribute<'a>(event: &'a Event, key: &str) -> &'a str {
    let found = event.attributes.iter().find(|(name, _)| name == key);
    found.map_or("", |(_, value)| value)
}
