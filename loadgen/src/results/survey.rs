//! What the first pass learns: enough to begin the run's record, and to refuse what is too much.

use std::collections::{BTreeMap, HashSet};

use driftline_schemas::Kind;

use super::error::start;
use super::lines::{FNV_OFFSET, fnv1a};
use super::row::{RequestRow, Row, SampleRow};
use super::{
    ImportError, MAX_ENDPOINT_BYTES, MAX_ENDPOINTS, MAX_ERRORS, MAX_NAME_BYTES, MAX_SERIES, Tool,
};
use crate::operation::Failure;

/// Most names of what is ignored; the others are counted together.
const MAX_IGNORED_NAMES: usize = 1_000;
const OTHERS: &str = "others";

/// An account of an input.
#[derive(Debug, Default)]
pub(super) struct Survey {
    requests: u64,
    samples: u64,
    answered: u64,
    failed: u64,
    dropped: u64,
    /// First and last time, in µs.
    span_us: Option<(i64, i64)>,
    endpoints: Vec<String>,
    endpoint_bytes: usize,
    known_endpoints: HashSet<String>,
    errors: HashSet<String>,
    /// Hashes of series: only their number matters here.
    series: HashSet<u64>,
    ignored: BTreeMap<String, u64>,
}

impl Survey {
    /// Takes one row into account.
    pub(super) fn take(&mut self, row: &Row<'_>) -> Result<(), ImportError> {
        match row {
            Row::Request(request) => self.take_request(request),
            Row::Sample(sample) => self.take_sample(sample),
            Row::Ignored(name) => {
                self.ignore(name);
                Ok(())
            }
        }
    }

    /// Whether there is anything to import.
    pub(super) fn check(&self, tool: Tool) -> Result<(), ImportError> {
        if self.rows() > 0 {
            return Ok(());
        }
        let (wanted, remedy) = match tool {
            Tool::K6 => (
                "point of http_req_duration",
                "import what `k6 run --out json=FILE` wrote of a script that sends HTTP requests",
            ),
            Tool::Jmh => (
                "iteration with a score",
                "import what `-rf json -rff FILE` wrote, once a benchmark has ended",
            ),
            Tool::Csv => ("row with a value", "did its writer end in order?"),
        };
        Err(ImportError::NoRows { wanted, remedy })
    }

    /// The table that the rows belong to. No tool gives both.
    pub(super) fn kind(&self) -> Kind {
        match self.requests {
            0 => Kind::Samples,
            _ => Kind::Requests,
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.requests + self.samples
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    pub(super) fn series(&self) -> usize {
        self.series.len()
    }

    pub(super) fn first_us(&self) -> i64 {
        self.span_us.map_or(0, |(from_us, _)| from_us)
    }

    pub(super) fn last_us(&self) -> i64 {
        self.span_us.map_or(0, |(_, until_us)| until_us)
    }

    pub(super) fn ignored(&self) -> impl Iterator<Item = (String, u64)> {
        self.ignored
            .iter()
            .map(|(name, count)| (name.clone(), *count))
    }

    fn take_request(&mut self, request: &RequestRow<'_>) -> Result<(), ImportError> {
        if !self.known_endpoints.contains(request.endpoint) {
            check_name("endpoint", request.endpoint)?;
            self.endpoint_bytes += request.endpoint.len();
            if self.endpoints.len() >= MAX_ENDPOINTS || self.endpoint_bytes > MAX_ENDPOINT_BYTES {
                let last = start(request.endpoint);
                return Err(ImportError::TooManyEndpoints { last });
            }
            self.endpoints.push(request.endpoint.to_owned());
            self.known_endpoints.insert(request.endpoint.to_owned());
        }
        if !request.error.is_empty() && !self.errors.contains(request.error) {
            check_name("error", request.error)?;
            if self.errors.len() >= MAX_ERRORS {
                let last = start(request.error);
                return Err(ImportError::TooManyErrors { last });
            }
            self.errors.insert(request.error.to_owned());
        }
        self.requests += 1;
        self.failed += u64::from(!request.error.is_empty());
        self.answered += u64::from(was_answered(request.error));
        self.dropped += u64::from(request.error == Failure::Dropped.as_str());
        self.span(request.begun_ns.div_euclid(1_000));
        let done_ns = request.begun_ns.saturating_add(request.done_ns);
        self.span(done_ns.saturating_add(999).div_euclid(1_000));
        Ok(())
    }

    fn take_sample(&mut self, sample: &SampleRow<'_>) -> Result<(), ImportError> {
        let hash = fnv1a(FNV_OFFSET, sample.metric.as_bytes());
        // No UTF-8 has this byte: metric and labels cannot run into each other.
        let hash = fnv1a(fnv1a(hash, &[0xff]), sample.labels.as_bytes());
        if !self.series.contains(&hash) {
            check_name("series", sample.metric)?;
            check_name("label set", sample.labels)?;
            if self.series.len() >= MAX_SERIES {
                let last = start(sample.metric);
                return Err(ImportError::TooManySeries { last });
            }
            self.series.insert(hash);
        }
        self.samples += 1;
        self.span(sample.ts_us);
        Ok(())
    }

    fn span(&mut self, us: i64) {
        let (from_us, until_us) = self.span_us.unwrap_or((us, us));
        self.span_us = Some((from_us.min(us), until_us.max(us)));
    }

    fn ignore(&mut self, name: &str) {
        let is_room = self.ignored.len() < MAX_IGNORED_NAMES && name.len() <= MAX_NAME_BYTES;
        match self.ignored.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                let name = if is_room { name } else { OTHERS };
                *self.ignored.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
}

/// Whether the target answered, as the view `run_requests` has it.
fn was_answered(error: &str) -> bool {
    error.is_empty()
        || Failure::ALL
            .into_iter()
            .any(|failure| failure.was_answered() && failure.as_str() == error)
}

fn check_name(what: &'static str, name: &str) -> Result<(), ImportError> {
    if name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    let start = start(name);
    Err(ImportError::NameTooLong { what, start })
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftline_schemas::{Better, Category};

    #[test]
    fn a_million_series_are_refused_by_name() {
        let mut survey = Survey::default();
        let mut outcome = Ok(());
        let mut taken = 0;
        while outcome.is_ok() && taken < 1_000_000 {
            let metric = format!("series-{taken}");
            outcome = survey.take(&Row::Sample(SampleRow {
                metric: &metric,
                labels: "",
                unit: "1",
                category: Category::Utilisation,
                better: Better::Neither,
                ts_us: 0,
                value: 1.0,
            }));
            taken += 1;
        }
        let error = outcome.expect_err("bounded").to_string();
        assert_eq!(
            error,
            "there are more than 100000 series, the last one \"series-100000\"; import fewer at once"
        );
    }

    #[test]
    fn names_of_what_is_ignored_are_bounded() {
        let mut survey = Survey::default();
        for at in 0..5_000 {
            survey.ignore(&format!("custom-{at}"));
        }
        let ignored: Vec<_> = survey.ignored().collect();
        assert_eq!(ignored.len(), MAX_IGNORED_NAMES + 1);
        assert_eq!(ignored.iter().map(|(_, count)| count).sum::<u64>(), 5_000);
    }
}
