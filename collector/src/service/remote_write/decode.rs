//! Remote-write requests out of their bytes, without building their messages: a series that was seen
//! before is found by the very bytes of its labels.
//!
//! Field numbers are those of `prometheus/prompb/types.proto`, `remote.proto` and, for version 2,
//! `io/prometheus/write/v2/types.proto`.

use std::collections::HashMap;

use crate::service::foreign::dictionary::Resolved;
use crate::service::foreign::family::{Family, candidates, definition};
use crate::service::foreign::intake::Intake;
use crate::service::foreign::wire::{Content, Fields, Malformed};
use crate::service::foreign::{MAX_METRICS, MAX_NAME_BYTES, Reason, Refusal};

/// The label that holds a metric's name.
const NAME: &str = "__name__";

/// Which protocol a request follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// Reads requests, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// What version 1 says of metrics, in requests of their own.
    families: HashMap<Box<str>, (Family, Box<str>)>,
    key: Vec<u8>,
    refs: Vec<u64>,
}

impl Decoder {
    /// Reads a `prometheus.WriteRequest`.
    ///
    /// # Errors
    /// What is malformed in it, or that there is no room.
    pub(crate) fn v1(&mut self, body: &[u8], intake: &mut Intake) -> Result<(), Refusal> {
        // What is said of metrics applies to the samples beside it.
        let mut fields = Fields::new(body, "the request");
        while let Some((number, content)) = fields.next()? {
            if number == 3 {
                self.metadata(content.bytes("metadata")?, intake)?;
            }
        }
        let mut fields = Fields::new(body, "the request");
        while let Some((number, content)) = fields.next()? {
            if number == 1 {
                self.series_v1(content.bytes("timeseries")?, intake)?;
            }
        }
        Ok(())
    }

    fn metadata(&mut self, message: &[u8], intake: &mut Intake) -> Result<(), Malformed> {
        let (mut family, mut name, mut unit) = (Family::Unknown, "", "");
        let mut fields = Fields::new(message, "metadata");
        while let Some((number, content)) = fields.next()? {
            match number {
                1 => family = Family::from_number(content.varint("the type of a metric")?),
                2 => name = content.text("the name of a metric")?,
                5 => unit = content.text("the unit of a metric")?,
                _ => {}
            }
        }
        let known = self.families.get(name);
        let is_known = known.is_some_and(|known| known.0 == family && *known.1 == *unit);
        if is_known || name.len() > MAX_NAME_BYTES {
            return Ok(());
        }
        if known.is_none() && self.families.len() >= MAX_METRICS {
            intake.reject(Reason::TooManyMetrics, 1);
            return Ok(());
        }
        self.families.insert(name.into(), (family, unit.into()));
        // Series that were seen before now have another definition.
        intake.dictionary.forget_keys();
        Ok(())
    }

    fn series_v1(&mut self, message: &[u8], intake: &mut Intake) -> Result<(), Refusal> {
        self.key.clear();
        self.key.push(b'1');
        let mut fields = Fields::new(message, "timeseries");
        while let Some((number, content)) = fields.next()? {
            if number == 1 {
                let label = content.bytes("labels")?;
                self.key
                    .extend_from_slice(&(label.len() as u32).to_le_bytes());
                self.key.extend_from_slice(label);
            }
        }
        let known = match intake.dictionary.get(&self.key) {
            Some(Resolved::One(series)) => Some(*series),
            _ => None,
        };
        let series = match known {
            Some(series) => Ok(series),
            None => {
                let mut labels = labels_v1(message)?;
                let name = take_name(&mut labels);
                let (family, unit) = self.family(name);
                resolve(&self.key, name, family, unit, &mut labels, intake)
            }
        };
        samples(message, series, Version::One, intake)
    }

    /// What was said of the metric of this name.
    fn family(&self, name: &str) -> (Family, &str) {
        let mut found = candidates(name).filter_map(|name| self.families.get(name));
        let found = found.next().map(|(family, unit)| (*family, &**unit));
        found.unwrap_or_default()
    }

    /// Reads an `io.prometheus.write.v2.Request`.
    ///
    /// # Errors
    /// What is malformed in it, or that there is no room.
    pub(crate) fn v2(&mut self, body: &[u8], intake: &mut Intake) -> Result<(), Refusal> {
        let mut symbols = Vec::new();
        let mut fields = Fields::new(body, "the request");
        while let Some((number, content)) = fields.next()? {
            if number == 4 {
                symbols.push(content.text("symbols")?);
            }
        }
        let mut fields = Fields::new(body, "the request");
        while let Some((number, content)) = fields.next()? {
            if number == 5 {
                self.series_v2(content.bytes("timeseries")?, &symbols, intake)?;
            }
        }
        Ok(())
    }

    fn series_v2(
        &mut self,
        message: &[u8],
        symbols: &[&str],
        intake: &mut Intake,
    ) -> Result<(), Refusal> {
        self.refs.clear();
        let (mut family, mut unit) = (Family::Unknown, "");
        let mut fields = Fields::new(message, "timeseries");
        while let Some((number, content)) = fields.next()? {
            match number {
                1 => content.extend_varints("labels_refs", &mut self.refs)?,
                5 => (family, unit) = metadata_v2(content, symbols)?,
                _ => {}
            }
        }
        let (pairs, []) = self.refs.as_chunks::<2>() else {
            return Err(Malformed {
                what: "labels_refs",
            }
            .into());
        };
        self.key.clear();
        self.key.extend_from_slice(&[b'2', family as u8]);
        for at in self.refs.iter().copied() {
            extend_key(&mut self.key, symbol(symbols, at)?);
        }
        extend_key(&mut self.key, unit);
        let known = match intake.dictionary.get(&self.key) {
            Some(Resolved::One(series)) => Some(*series),
            _ => None,
        };
        let series = match known {
            Some(series) => Ok(series),
            None => {
                let pairs = pairs.iter();
                let labels: Result<Vec<_>, Malformed> = pairs
                    .map(|[key, value]| Ok((symbol(symbols, *key)?, symbol(symbols, *value)?)))
                    .collect();
                let mut labels = labels?;
                let name = take_name(&mut labels);
                resolve(&self.key, name, family, unit, &mut labels, intake)
            }
        };
        samples(message, series, Version::Two, intake)
    }
}

fn extend_key(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(&(text.len() as u32).to_le_bytes());
    key.extend_from_slice(text.as_bytes());
}

fn symbol<'a>(symbols: &[&'a str], at: u64) -> Result<&'a str, Malformed> {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    symbols
        .get(at)
        .copied()
        .ok_or(Malformed { what: "symbols" })
}

fn metadata_v2<'a>(
    content: Content<'_>,
    symbols: &[&'a str],
) -> Result<(Family, &'a str), Malformed> {
    let (mut family, mut unit) = (Family::Unknown, "");
    let mut fields = Fields::new(content.bytes("metadata")?, "metadata");
    while let Some((number, content)) = fields.next()? {
        match number {
            1 => family = Family::from_number(content.varint("the type of a metric")?),
            4 => unit = symbol(symbols, content.varint("the unit of a metric")?)?,
            _ => {}
        }
    }
    Ok((family, unit))
}

fn labels_v1(message: &[u8]) -> Result<Vec<(&str, &str)>, Malformed> {
    let mut labels = Vec::new();
    let mut fields = Fields::new(message, "timeseries");
    while let Some((number, content)) = fields.next()? {
        if number != 1 {
            continue;
        }
        let (mut name, mut value) = ("", "");
        let mut label = Fields::new(content.bytes("labels")?, "labels");
        while let Some((number, content)) = label.next()? {
            match number {
                1 => name = content.text("the name of a label")?,
                2 => value = content.text("the value of a label")?,
                _ => {}
            }
        }
        labels.push((name, value));
    }
    Ok(labels)
}

/// Takes the metric's name out of the labels; empty where there is none.
fn take_name<'a>(labels: &mut Vec<(&str, &'a str)>) -> &'a str {
    let at = labels.iter().position(|label| label.0 == NAME);
    at.map_or("", |at| labels.remove(at).1)
}

/// The series of labels that were not seen in these bytes before.
fn resolve(
    key: &[u8],
    name: &str,
    family: Family,
    unit: &str,
    labels: &mut Vec<(&str, &str)>,
    intake: &mut Intake,
) -> Result<u32, Reason> {
    let metric = intake.dictionary.metric(definition(name, family, unit))?;
    let series = intake.dictionary.series(metric, labels)?;
    intake.dictionary.remember(key, Resolved::One(series));
    Ok(series)
}

/// The samples of a series, or the count of those that cannot be kept.
fn samples(
    message: &[u8],
    series: Result<u32, Reason>,
    version: Version,
    intake: &mut Intake,
) -> Result<(), Refusal> {
    let histogram = match version {
        Version::One => 4,
        Version::Two => 3,
    };
    let mut fields = Fields::new(message, "timeseries");
    while let Some((number, content)) = fields.next()? {
        if number == histogram {
            intake.reject(Reason::Unsupported, 1);
        }
        if number != 2 {
            continue;
        }
        let (mut value, mut ts_ms) = (0.0, 0_i64);
        let mut sample = Fields::new(content.bytes("samples")?, "samples");
        while let Some((number, content)) = sample.next()? {
            match number {
                1 => value = content.double("the value of a sample")?,
                2 => ts_ms = content.varint("the time of a sample")? as i64,
                _ => {}
            }
        }
        let ts_us = ts_ms.saturating_mul(1_000);
        match series {
            Err(reason) => intake.reject(reason, 1),
            Ok(_) if !intake.admits(ts_us) => intake.reject(Reason::TimeOutOfRange, 1),
            Ok(series) => intake.push(series, ts_us, value)?,
        }
    }
    Ok(())
}
