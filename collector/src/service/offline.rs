//! What scrapes and receivers do with bytes, without their network: for benchmarks, and to read what
//! was captured.

use std::time::Duration;

use driftline_schemas::SampleBatch;

use super::foreign::Limits;
use super::foreign::intake::Intake;
use super::scrape::take::Taker;
use super::scrape::text::Form;
use super::{otlp, remote_write};
use crate::config::{NameFilter, OtlpConfig};

/// Bounds far beyond any capture.
const LIMITS: Limits = Limits {
    max_series: 1_000_000,
    max_queued: 10_000_000,
    max_age: Duration::from_secs(100 * 365 * 24 * 3_600),
    max_ahead: Duration::from_secs(100 * 365 * 24 * 3_600),
    forget_after: Duration::from_secs(3_600),
};

/// Takes requests of OTLP and remote write.
#[derive(Debug)]
pub struct Requests {
    otlp: otlp::decode::Decoder,
    remote_write: remote_write::decode::Decoder,
    intake: Intake,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            otlp: otlp::decode::Decoder::new(OtlpConfig::default().resource_attributes),
            remote_write: remote_write::decode::Decoder::default(),
            intake: Intake::new(LIMITS),
        }
    }
}

impl Requests {
    /// Takes an `ExportMetricsServiceRequest`, and yields how many samples it made.
    ///
    /// # Errors
    /// What is malformed in it.
    pub fn otlp(&mut self, message: &[u8], now_us: i64) -> Result<u64, String> {
        self.intake.begin(now_us, message.len());
        let read = self.otlp.request(message, &mut self.intake);
        read.map_err(|refusal| refusal.to_string())?;
        Ok(self.intake.commit().samples)
    }

    /// Takes a `prometheus.WriteRequest`, and yields how many samples it made.
    ///
    /// # Errors
    /// What is malformed in it.
    pub fn remote_write(&mut self, message: &[u8], now_us: i64) -> Result<u64, String> {
        self.intake.begin(now_us, message.len());
        let read = self.remote_write.v1(message, &mut self.intake);
        read.map_err(|refusal| refusal.to_string())?;
        Ok(self.intake.commit().samples)
    }

    /// What was taken, in batches.
    pub fn batches(&mut self, now_us: i64) -> Vec<SampleBatch> {
        self.intake.take(now_us)
    }
}

/// Takes expositions in the Prometheus text format.
#[derive(Debug)]
pub struct Expositions(Taker);

impl Default for Expositions {
    fn default() -> Self {
        Self(Taker::new(LIMITS, NameFilter::default(), Vec::new(), true))
    }
}

impl Expositions {
    /// Takes a text, and yields how many samples it made.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub fn take(&mut self, text: &[u8], now_us: i64) -> Result<u64, String> {
        let (outcome, mistake) = self.0.take(text, Form::Prometheus, now_us, now_us);
        mistake.map_or(Ok(outcome.samples), |mistake| Err(mistake.to_string()))
    }

    /// What was taken, in batches.
    pub fn batches(&mut self, now_us: i64) -> Vec<SampleBatch> {
        self.0.batches(now_us)
    }
}
