//! OTLP metrics out of a request's bytes, without building its messages: only the fields that are
//! kept are read, and a series that was seen before is found by the very bytes of its attributes.
//!
//! Protobuf allows the fields of a message in any order, so each message is gone through once for
//! what applies to the whole of it, and once for its parts. Field numbers are those of
//! `opentelemetry/proto/metrics/v1/metrics.proto`. Distributions are left to [`super::distribution`].

use std::borrow::Cow;
use std::collections::HashMap;

use driftline_schemas::metric::{Component, MetricKind};

use super::any::pair;
use super::distribution::Scratch;
use crate::service::foreign::definition::{Part, define};
use crate::service::foreign::dictionary::Resolved;
use crate::service::foreign::intake::Intake;
use crate::service::foreign::wire::{Content, Fields, Malformed};
use crate::service::foreign::{Reason, Refusal};

/// Most resources that are known at once; then they are all resolved anew.
const MAX_RESOURCES: usize = 10_000;
/// Takes one point: the inner error leaves the point out, the outer one the whole request.
type TakePoint =
    fn(&mut Decoder, &[u8], &Head<'_>, &mut Intake) -> Result<Result<(), Reason>, Refusal>;

/// The flag of a point that says that there is no value.
pub(super) const NO_VALUE: u64 = 1;

/// Reads requests, one after the other.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The attributes of resources that become labels.
    wanted: Vec<String>,
    resources: HashMap<Box<[u8]>, u32>,
    resource_labels: Vec<Vec<(String, String)>>,
    pub(super) key: Vec<u8>,
    pub(super) scratch: Scratch,
}

/// A metric under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) name: &'a str,
    pub(super) unit: &'a str,
    pub(super) resource: u32,
    pub(super) is_delta: bool,
}

/// Which aggregation temporality a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Temporality {
    Unspecified,
    Delta,
    Cumulative,
}

/// What every point has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct When {
    pub(super) start_ns: u64,
    pub(super) time_ns: u64,
    pub(super) flags: u64,
}

impl When {
    /// The point's time; now, where it has none.
    pub(super) fn ts_us(&self, intake: &Intake) -> i64 {
        match self.time_ns {
            0 => intake.now_us(),
            time_ns => as_micros(time_ns),
        }
    }

    pub(super) fn start_us(&self) -> i64 {
        as_micros(self.start_ns)
    }
}

fn as_micros(ns: u64) -> i64 {
    // It fits: 2^64 / 1000 < 2^63.
    (ns / 1_000) as i64
}

impl Decoder {
    pub(crate) fn new(wanted: Vec<String>) -> Self {
        Self {
            wanted,
            resources: HashMap::new(),
            resource_labels: Vec::new(),
            key: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Reads an `ExportMetricsServiceRequest`.
    ///
    /// # Errors
    /// What is malformed in it, or that there is no room.
    pub(crate) fn request(&mut self, body: &[u8], intake: &mut Intake) -> Result<(), Refusal> {
        let mut fields = Fields::new(body, "the request");
        while let Some((number, content)) = fields.next()? {
            if number == 1 {
                self.resource_metrics(content.bytes("resource_metrics")?, intake)?;
            }
        }
        Ok(())
    }

    fn resource_metrics(&mut self, message: &[u8], intake: &mut Intake) -> Result<(), Refusal> {
        let mut resource: &[u8] = &[];
        let mut fields = Fields::new(message, "resource_metrics");
        while let Some((number, content)) = fields.next()? {
            if number == 1 {
                resource = content.bytes("resource")?;
            }
        }
        let resource = self.resource(resource, intake)?;
        let mut fields = Fields::new(message, "resource_metrics");
        while let Some((number, content)) = fields.next()? {
            if number != 2 {
                continue;
            }
            let mut scope = Fields::new(content.bytes("scope_metrics")?, "scope_metrics");
            while let Some((number, content)) = scope.next()? {
                if number == 2 {
                    self.metric(content.bytes("metrics")?, resource, intake)?;
                }
            }
        }
        Ok(())
    }

    /// The number of a resource.
    fn resource(&mut self, message: &[u8], intake: &mut Intake) -> Result<u32, Refusal> {
        if let Some(known) = self.resources.get(message) {
            return Ok(*known);
        }
        if self.resource_labels.len() >= MAX_RESOURCES {
            self.resources.clear();
            self.resource_labels.clear();
            // Names of series hold the numbers of resources.
            intake.dictionary.forget_keys();
        }
        let mut labels = Vec::new();
        let mut fields = Fields::new(message, "resource");
        while let Some((number, content)) = fields.next()? {
            if number == 1 {
                let (key, value) = pair(content.bytes("resource attributes")?)?;
                if self.wanted.iter().any(|wanted| wanted == key) {
                    labels.push((key.to_owned(), value.into_owned()));
                }
            }
        }
        let at = self.resource_labels.len() as u32;
        self.resource_labels.push(labels);
        self.resources.insert(message.into(), at);
        Ok(at)
    }

    fn metric(
        &mut self,
        message: &[u8],
        resource: u32,
        intake: &mut Intake,
    ) -> Result<(), Refusal> {
        let (mut name, mut unit, mut found) = ("", "", None);
        let mut fields = Fields::new(message, "metric");
        while let Some((number, content)) = fields.next()? {
            match number {
                1 => name = content.text("the name of a metric")?,
                3 => unit = content.text("the unit of a metric")?,
                5 | 7 | 9 | 10 | 11 => found = Some((number, content.bytes("metric")?)),
                _ => {}
            }
        }
        // A metric without points is none.
        let Some((form, points)) = found else {
            return Ok(());
        };
        let (mut temporality, mut is_monotonic) = (Temporality::Unspecified, false);
        let mut fields = Fields::new(points, "metric");
        while let Some((number, content)) = fields.next()? {
            match number {
                2 => {
                    temporality = match content.varint("aggregation_temporality")? {
                        1 => Temporality::Delta,
                        2 => Temporality::Cumulative,
                        _ => Temporality::Unspecified,
                    }
                }
                3 => is_monotonic = content.varint("is_monotonic")? != 0,
                _ => {}
            }
        }
        let head = Head {
            name,
            unit: if unit.is_empty() { "1" } else { unit },
            resource,
            is_delta: temporality == Temporality::Delta,
        };
        let has_temporality = temporality != Temporality::Unspecified;
        match form {
            5 => self.numbers(points, &head, MetricKind::Gauge, intake),
            7 if has_temporality && is_monotonic => {
                self.numbers(points, &head, MetricKind::Counter, intake)
            }
            7 if has_temporality => self.numbers(points, &head, MetricKind::Gauge, intake),
            9 if has_temporality => self.each(points, &head, intake, Self::histogram),
            10 if has_temporality => self.each(points, &head, intake, Self::exponential),
            11 => self.each(points, &head, intake, Self::summary),
            _ => Ok(reject_all(points, Reason::Unsupported, intake)?),
        }
    }

    /// The points of a gauge or a sum.
    fn numbers(
        &mut self,
        points: &[u8],
        head: &Head<'_>,
        kind: MetricKind,
        intake: &mut Intake,
    ) -> Result<(), Refusal> {
        let metric = match self.define(head, "", kind, Part::Value, intake) {
            Ok(metric) => metric,
            Err(reason) => return Ok(reject_all(points, reason, intake)?),
        };
        let mut fields = Fields::new(points, "data_points");
        while let Some((number, content)) = fields.next()? {
            if number == 1 {
                self.number(content.bytes("data_points")?, head, metric, intake)?;
            }
        }
        Ok(())
    }

    fn number(
        &mut self,
        message: &[u8],
        head: &Head<'_>,
        metric: u32,
        intake: &mut Intake,
    ) -> Result<(), Refusal> {
        self.begin_key(metric, head.resource);
        let mut when = When::default();
        let mut value = None;
        let mut fields = Fields::new(message, "data point");
        while let Some((number, content)) = fields.next()? {
            match number {
                2 => when.start_ns = content.fixed64("start_time_unix_nano")?,
                3 => when.time_ns = content.fixed64("time_unix_nano")?,
                4 => value = Some(content.double("as_double")?),
                6 => value = Some(content.fixed64("as_int")? as i64 as f64),
                7 => self.extend_key(content)?,
                8 => when.flags = content.varint("flags")?,
                _ => {}
            }
        }
        if when.flags & NO_VALUE != 0 {
            return Ok(());
        }
        let Some(value) = value else {
            intake.reject(Reason::Unsupported, 1);
            return Ok(());
        };
        let ts_us = when.ts_us(intake);
        if !intake.admits(ts_us) {
            intake.reject(Reason::TimeOutOfRange, 1);
            return Ok(());
        }
        let known = match intake.dictionary.get(&self.key) {
            Some(Resolved::One(series)) => Some(*series),
            _ => None,
        };
        let series = match known {
            Some(series) => series,
            None => match self.resolve(message, 7, metric, head, intake)? {
                Ok(series) => series,
                Err(reason) => {
                    intake.reject(reason, 1);
                    return Ok(());
                }
            },
        };
        if !head.is_delta {
            return intake.push(series, ts_us, value);
        }
        if !intake.is_newer(series, ts_us) {
            intake.reject(Reason::DeltaOutOfOrder, 1);
            return Ok(());
        }
        intake.add(series, when.start_us(), ts_us, value)
    }

    /// The series of a point that was not seen in these bytes before.
    fn resolve(
        &mut self,
        message: &[u8],
        attributes: u64,
        metric: u32,
        head: &Head<'_>,
        intake: &mut Intake,
    ) -> Result<Result<u32, Reason>, Refusal> {
        let pairs = self.pairs(message, attributes)?;
        let mut labels = self.labels(head, &pairs);
        let series = intake.dictionary.series(metric, &mut labels);
        if let Ok(series) = series {
            intake.dictionary.remember(&self.key, Resolved::One(series));
        }
        Ok(series)
    }

    /// Begins the key of a point.
    #[inline]
    pub(super) fn begin_key(&mut self, metric: u32, resource: u32) {
        self.key.clear();
        self.key.push(b'S');
        self.key.extend_from_slice(&metric.to_le_bytes());
        self.key.extend_from_slice(&resource.to_le_bytes());
    }

    /// Adds an attribute to it.
    #[inline]
    pub(super) fn extend_key(&mut self, attribute: Content<'_>) -> Result<(), Malformed> {
        let bytes = attribute.bytes("attributes")?;
        self.key
            .extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.key.extend_from_slice(bytes);
        Ok(())
    }

    /// The attributes of a point.
    pub(super) fn pairs<'a>(
        &self,
        message: &'a [u8],
        attributes: u64,
    ) -> Result<Vec<(&'a str, Cow<'a, str>)>, Malformed> {
        let mut pairs = Vec::new();
        let mut fields = Fields::new(message, "data point");
        while let Some((number, content)) = fields.next()? {
            if number == attributes {
                pairs.push(pair(content.bytes("attributes")?)?);
            }
        }
        Ok(pairs)
    }

    /// The labels of a point: those of its resource, which its own attributes overrule.
    pub(super) fn labels<'a>(
        &'a self,
        head: &Head<'_>,
        pairs: &'a [(&'a str, Cow<'a, str>)],
    ) -> Vec<(&'a str, &'a str)> {
        let resource = self.resource_labels[head.resource as usize].iter();
        let resource = resource.map(|(key, value)| (key.as_str(), value.as_str()));
        let own = pairs.iter().map(|(key, value)| (*key, value.as_ref()));
        resource.chain(own).collect()
    }

    /// The number of a part of a metric.
    pub(super) fn define(
        &mut self,
        head: &Head<'_>,
        suffix: &str,
        kind: MetricKind,
        part: Part,
        intake: &mut Intake,
    ) -> Result<u32, Reason> {
        self.key.clear();
        self.key.extend_from_slice(&[b'M', kind as u8, part as u8]);
        for text in [head.name, suffix, head.unit] {
            self.key.extend_from_slice(text.as_bytes());
            self.key.push(0);
        }
        if let Some(Resolved::One(metric)) = intake.dictionary.get(&self.key) {
            return Ok(*metric);
        }
        if head.name.is_empty() {
            return Err(Reason::BadName);
        }
        let name = [head.name, suffix].concat();
        let def = define(Component::Otlp, name, head.unit, kind, part);
        let metric = intake.dictionary.metric(def)?;
        intake.dictionary.remember(&self.key, Resolved::One(metric));
        Ok(metric)
    }

    /// Each point of a distribution.
    fn each(
        &mut self,
        points: &[u8],
        head: &Head<'_>,
        intake: &mut Intake,
        take: TakePoint,
    ) -> Result<(), Refusal> {
        let mut fields = Fields::new(points, "data_points");
        while let Some((number, content)) = fields.next()? {
            if number == 1
                && let Err(reason) = take(self, content.bytes("data_points")?, head, intake)?
            {
                intake.reject(reason, 1);
            }
        }
        Ok(())
    }
}

/// Counts all points of a metric as rejected.
fn reject_all(points: &[u8], reason: Reason, intake: &mut Intake) -> Result<(), Malformed> {
    let mut fields = Fields::new(points, "data_points");
    while let Some((number, _)) = fields.next()? {
        intake.reject(reason, u64::from(number == 1));
    }
    Ok(())
}
