//! One TOML file made of each crate's own configuration. Precedence: flag, environment
//! (`DRIFTLINE_…`), file, default; everything has a default.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use driftline_analyzer::EngineConfig;
use driftline_analyzer::recommend::RulesConfig;
use driftline_collector::Config as CollectorConfig;
use driftline_eventlog::kafka::KafkaConfig;
use driftline_eventlog::spool::SpoolConfig;
use driftline_optimizer::OptimizerConfig;
use driftline_sink::SinkConfig;
use serde::Deserialize;

use crate::live::LiveConfig;
use crate::nightly::NightlyConfig;
use crate::notify::NotifyConfig;
use crate::schedule::ScheduleConfig;

/// The file that is read where none is named.
const DEFAULT_FILE: &str = "driftline.toml";

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where the log and the tables live.
    pub(crate) data: Option<PathBuf>,
    /// What is collected.
    pub(crate) collector: CollectorConfig,
    /// The local log.
    pub(crate) spool: SpoolConfig,
    /// The broker; left out, everything stays on this machine.
    pub(crate) kafka: Option<KafkaConfig>,
    /// How tables are written.
    pub(crate) sink: SinkConfig,
    /// How queries are run.
    pub(crate) query: EngineConfig,
    /// Which rules recommend what to do.
    pub(crate) recommend: RulesConfig,
    /// What may be applied to which servers.
    pub(crate) optimizer: OptimizerConfig,
    /// What is looked at while it happens.
    pub(crate) live: LiveConfig,
    /// How a day is analysed.
    pub(crate) nightly: NightlyConfig,
    /// Who is told what was found.
    pub(crate) notify: NotifyConfig,
    /// What is run by the clock.
    pub(crate) schedule: ScheduleConfig,
}

impl Config {
    /// The file to read: the one that is named, or `driftline.toml` where it exists.
    pub(crate) fn file(named: Option<PathBuf>) -> Option<PathBuf> {
        let default = Path::new(DEFAULT_FILE);
        named.or_else(|| default.exists().then(|| default.to_path_buf()))
    }

    /// Reads a file, or takes the defaults.
    pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let path = match file {
            Some(path) => path.to_path_buf(),
            None => return Ok(Self::default()),
        };
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        let config: Self = toml::from_str(&text)
            .with_context(|| format!("the configuration {} is not valid", path.display()))?;
        config
            .check()
            .with_context(|| format!("the configuration {} is not valid", path.display()))?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        self.collector.validate()?;
        self.nightly.calendar()?;
        self.schedule.jobs(self.nightly.zone())?;
        self.notify.check()?;
        self.live.check()?;
        self.optimizer.check()?;
        if !(self.sink.commit_seconds > 0.0 && self.sink.commit_seconds <= 3600.0) {
            bail!(
                "sink.commit_seconds is {}, expected more than 0 and at most 3600",
                self.sink.commit_seconds
            );
        }
        if self.sink.batch_rows == 0 || self.sink.read_bytes == 0 || self.sink.compact_files < 2 {
            bail!(
                "sink.batch_rows and sink.read_bytes must be above 0, sink.compact_files at least 2"
            );
        }
        Ok(())
    }

    /// The collector's configuration with the sections that it shares with other roles.
    pub(crate) fn for_collector(&self) -> CollectorConfig {
        let mut collector = self.collector.clone();
        collector.spool = self.spool.clone();
        collector.kafka = self.kafka.clone();
        collector
    }
}
