//! Forwarding to Kafka, where it is configured and built in.
//!
//! The work is the event log's; here it is only started beside the collector and ended after it.

use std::path::Path;

use driftline_eventlog::LogError;
use driftline_schemas::ProducerId;

use crate::config::Config;

#[cfg(feature = "kafka")]
pub(crate) use with_kafka::start;

#[cfg(feature = "kafka")]
mod with_kafka {
    use super::{Config, LogError, Path, ProducerId};
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use driftline_eventlog::disk::RealDisk;
    use driftline_eventlog::kafka::KafkaShipper;
    use driftline_eventlog::spool::{Clock, SpoolReader};

    use crate::clock;

    /// How long the end waits for a broker within reach to take what is durable; the rest stays in
    /// the spool for the next start.
    const GRACE: Duration = Duration::from_secs(5);

    /// The forwarding thread, if there is one.
    pub(crate) struct Shipping(Option<KafkaShipper>);

    /// Starts to forward this producer's spool, if Kafka is configured.
    pub(crate) fn start(
        config: &Config,
        log_dir: &Path,
        producer: ProducerId,
    ) -> Result<Shipping, LogError> {
        let Some(kafka) = config.kafka.clone() else {
            return Ok(Shipping(None));
        };
        let clock: Clock = Arc::new(|| Duration::from_nanos(clock::mono_ns()));
        let reader = SpoolReader::open(
            Arc::new(RealDisk),
            log_dir,
            &config.spool,
            Arc::clone(&clock),
        );
        let shipper =
            KafkaShipper::start(kafka, reader, log_dir, BTreeSet::from([producer]), clock)?;
        Ok(Shipping(Some(shipper)))
    }

    impl Shipping {
        /// Forwards what is durable now, and ends.
        pub(crate) fn end(self) {
            let Some(shipper) = self.0 else { return };
            let grace = if shipper.status().connected {
                GRACE
            } else {
                Duration::ZERO
            };
            let status = shipper.stop(grace);
            if status.lag_records > 0 {
                let error = status.last_error.unwrap_or_default();
                tracing::warn!(records = status.lag_records, %error, "not all was forwarded; the next start goes on");
            }
        }
    }
}

/// Nothing, as this build cannot forward.
#[cfg(not(feature = "kafka"))]
pub(crate) struct Shipping;

/// Nothing to start.
#[cfg(not(feature = "kafka"))]
pub(crate) fn start(_: &Config, _: &Path, _: ProducerId) -> Result<Shipping, LogError> {
    Ok(Shipping)
}

#[cfg(not(feature = "kafka"))]
impl Shipping {
    /// Nothing to end.
    pub(crate) fn end(self) {}
}
