//! The compact form in which statistics travel from worker processes: counts, and histograms in
//! HdrHistogram's V2 encoding. Decoding checks every length before it allocates.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};

use super::super::measurement::{LONGEST_NS, Measurement, OUTCOMES, Times};
use super::Statistics;

/// Changes whenever the form does; workers of another version are refused.
const VERSION: u32 = 1;
/// Cookie, length, offset, digits, low, high and ratio of a V2 histogram.
const V2_HEADER_BYTES: usize = 40;
/// Most bytes of one histogram's counts; ours take at most about 33,000 counts of 9 bytes.
const MAX_COUNTS_BYTES: usize = 1 << 20;

/// Statistics that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatisticsError {
    /// Endpoints or stages are not the same.
    #[error("statistics are of another scenario: start every worker with the same scenario")]
    OtherScenario,
    /// Bytes that no worker of this version writes.
    #[error("statistics cannot be read ({0}): start workers and coordinator with the same version")]
    Malformed(&'static str),
}

impl Statistics {
    /// The compact form; some kilobytes for each endpoint in each stage.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let used = self.cells.iter().flatten().count() as u32;
        put_u32(&mut out, VERSION);
        put_u32(&mut out, self.endpoints as u32);
        put_u32(&mut out, self.stage_ends_ns.len() as u32);
        put_u32(&mut out, used);
        put_u64(&mut out, self.warm_up_operations);
        let mut serializer = V2Serializer::new();
        for (at, cell) in self.cells.iter().enumerate() {
            let Some(cell) = cell else { continue };
            put_u32(&mut out, at as u32);
            cell.outcomes
                .iter()
                .chain([
                    &cell.bytes,
                    &cell.answered_by_stage_end,
                    &cell.answered_by_run_end,
                ])
                .for_each(|value| put_u64(&mut out, *value));
            for times in [&cell.response, &cell.service] {
                out.extend_from_slice(&times.sum_ns.to_be_bytes());
                put_u64(&mut out, times.max_ns);
                serializer
                    .serialize(&times.histogram, &mut out)
                    .expect("a vector takes every histogram");
            }
        }
        out
    }

    /// Reads the compact form of statistics of the same scenario as these.
    pub fn read_alike(&self, bytes: &[u8]) -> Result<Self, StatisticsError> {
        let mut input = Input(bytes);
        if input.u32()? != VERSION {
            return Err(StatisticsError::Malformed("another version"));
        }
        let shape = (input.u32()? as usize, input.u32()? as usize);
        if shape != (self.endpoints, self.stage_ends_ns.len()) {
            return Err(StatisticsError::OtherScenario);
        }
        let used = input.u32()?;
        let mut statistics = Self {
            warm_up_operations: input.u64()?,
            cells: vec![None; self.cells.len()],
            stage_ends_ns: self.stage_ends_ns.clone(),
            ..*self
        };
        let mut deserializer = Deserializer::new();
        for _ in 0..used {
            let at = input.u32()? as usize;
            let cell = input.cell(&mut deserializer)?;
            let place = statistics.cells.get_mut(at);
            let place = place.ok_or(StatisticsError::Malformed("a cell that does not exist"))?;
            *place = Some(Box::new(cell));
        }
        if !input.0.is_empty() {
            return Err(StatisticsError::Malformed("bytes after the end"));
        }
        Ok(statistics)
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// What is left to read.
struct Input<'b>(&'b [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StatisticsError> {
        let (taken, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(StatisticsError::Malformed("too short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, StatisticsError> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, StatisticsError> {
        self.take().map(u64::from_be_bytes)
    }

    fn cell(&mut self, deserializer: &mut Deserializer) -> Result<Measurement, StatisticsError> {
        let mut outcomes = [0; OUTCOMES];
        for count in &mut outcomes {
            *count = self.u64()?;
        }
        Ok(Measurement {
            outcomes,
            bytes: self.u64()?,
            answered_by_stage_end: self.u64()?,
            answered_by_run_end: self.u64()?,
            response: self.times(deserializer)?,
            service: self.times(deserializer)?,
        })
    }

    fn times(&mut self, deserializer: &mut Deserializer) -> Result<Times, StatisticsError> {
        let sum_ns = self.take().map(u128::from_be_bytes)?;
        let max_ns = self.u64()?;
        let histogram = self.histogram(deserializer)?;
        Ok(Times {
            histogram,
            sum_ns,
            max_ns,
        })
    }

    /// The header's numbers are checked here because the deserializer allocates by them.
    fn histogram(
        &mut self,
        deserializer: &mut Deserializer,
    ) -> Result<Histogram<u64>, StatisticsError> {
        let malformed = StatisticsError::Malformed;
        let header = self
            .0
            .get(..V2_HEADER_BYTES)
            .ok_or(malformed("too short"))?;
        let mut fields = Input(header);
        let _cookie = fields.u32()?;
        let counts_bytes = fields.u32()? as usize;
        let (_offset, digits) = (fields.u32()?, fields.u32()?);
        let (_low, high) = (fields.u64()?, fields.u64()?);
        let own = Times::default().histogram;
        if digits != u32::from(own.sigfig()) || high > LONGEST_NS.next_power_of_two() {
            return Err(malformed("a histogram of another range"));
        }
        let len = V2_HEADER_BYTES.saturating_add(counts_bytes);
        if counts_bytes > MAX_COUNTS_BYTES || len > self.0.len() {
            return Err(malformed("a histogram of an impossible length"));
        }
        let (mut encoded, rest) = self.0.split_at(len);
        let mut histogram: Histogram<u64> = deserializer
            .deserialize(&mut encoded)
            .map_err(|_| malformed("not a histogram"))?;
        histogram.auto(true);
        self.0 = rest;
        Ok(histogram)
    }
}
