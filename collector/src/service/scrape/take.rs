//! From the text of an exposition to samples of series.

use driftline_schemas::series::SampleBatch;

use super::text::{Exposition, Form, Malformed, Mistake, Sample, labels};
use crate::config::NameFilter;
use crate::service::foreign::dictionary::Resolved;
use crate::service::foreign::family::definition;
use crate::service::foreign::intake::{Intake, Outcome};
use crate::service::foreign::{Limits, Reason, Refusal};

/// What stands before a label of the exposition that has the name of one of the target's.
const EXPORTED: &str = "exported_";

/// Takes the expositions of one target.
#[derive(Debug)]
pub(crate) struct Taker {
    pub(crate) intake: Intake,
    filter: NameFilter,
    /// The target's own labels.
    own: Vec<(String, String)>,
    honor_times: bool,
    key: Vec<u8>,
}

impl Taker {
    pub(crate) fn new(
        limits: Limits,
        filter: NameFilter,
        own: Vec<(String, String)>,
        honor_times: bool,
    ) -> Self {
        Self {
            intake: Intake::new(limits),
            filter,
            own,
            honor_times,
            key: Vec::new(),
        }
    }

    /// Takes all samples of a text up to the first mistake. Those without a time of their own were
    /// measured at `ts_us`.
    pub(crate) fn take(
        &mut self,
        text: &[u8],
        form: Form,
        ts_us: i64,
        now_us: i64,
    ) -> (Outcome, Option<Malformed>) {
        self.intake.begin(now_us, text.len());
        let mut exposition = Exposition::new(text, form);
        let mut last: &[u8] = b"";
        let mut admits = false;
        let mistake = loop {
            let sample = match exposition.next() {
                Ok(Some(sample)) => sample,
                Ok(None) => break None,
                Err(mistake) => break Some(mistake),
            };
            if sample.name() != last {
                last = sample.name();
                admits = std::str::from_utf8(last).is_ok_and(|name| self.filter.admits(name));
            }
            if admits && let Err(mistake) = self.sample(&sample, ts_us) {
                break Some(exposition.at(mistake));
            }
        };
        if mistake.is_some() {
            self.intake.count_malformed();
        }
        (self.intake.commit(), mistake)
    }

    #[inline]
    fn sample(&mut self, sample: &Sample<'_>, ts_us: i64) -> Result<(), Mistake> {
        self.key.clear();
        self.key.push(sample.family as u8);
        self.key.extend_from_slice(sample.unit);
        self.key.push(0);
        self.key.extend_from_slice(sample.series);
        let known = match self.intake.dictionary.get(&self.key) {
            Some(Resolved::One(series)) => Some(*series),
            _ => None,
        };
        let series = match known {
            Some(series) => Ok(series),
            None => self.resolve(sample)?,
        };
        let ts_us = sample.ts_us.filter(|_| self.honor_times).unwrap_or(ts_us);
        let reason = match series {
            Err(reason) => reason,
            Ok(_) if !self.intake.admits(ts_us) => Reason::TimeOutOfRange,
            Ok(series) => match self.intake.push(series, ts_us, sample.value) {
                Ok(()) => return Ok(()),
                Err(Refusal::Full { .. } | Refusal::TooMany { .. } | Refusal::Malformed(_)) => {
                    Reason::TooManySamples
                }
            },
        };
        self.intake.reject(reason, 1);
        Ok(())
    }

    /// The series of a text that was not seen before.
    fn resolve(&mut self, sample: &Sample<'_>) -> Result<Result<u32, Reason>, Mistake> {
        let (name, exposed) = labels(sample)?;
        let unit = std::str::from_utf8(sample.unit).unwrap_or("");
        let metric = match self
            .intake
            .dictionary
            .metric(definition(name, sample.family, unit))
        {
            Ok(metric) => metric,
            Err(reason) => return Ok(Err(reason)),
        };
        let exposed: Vec<_> = exposed
            .iter()
            .map(
                |(key, value)| match self.own.iter().any(|own| own.0 == *key) {
                    true => (format!("{EXPORTED}{key}").into(), value),
                    false => (std::borrow::Cow::Borrowed(*key), value),
                },
            )
            .collect();
        let own = self
            .own
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let exposed = exposed
            .iter()
            .map(|(key, value)| (key.as_ref(), value.as_ref()));
        let mut all: Vec<(&str, &str)> = exposed.chain(own).collect();
        let series = self.intake.dictionary.series(metric, &mut all);
        if let Ok(series) = series {
            self.intake
                .dictionary
                .remember(&self.key, Resolved::One(series));
        }
        Ok(series)
    }

    /// What was taken, in batches.
    pub(crate) fn batches(&mut self, now_us: i64) -> Vec<SampleBatch> {
        self.intake.take(now_us)
    }
}
