//! The optimizer's memory: the event log, where its steps stand as events like everything else, and
//! where queries read them.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use driftline_analyzer::{At, Engine, recommend};
use driftline_optimizer::{Journal, JournalError};
use driftline_schemas::Event;

use crate::cli::Settings;
use crate::{facts, query};

/// How long the tables may be behind Kafka before the steps that they hold cannot be relied on.
const BEHIND_WITHIN: Duration = Duration::from_secs(60);
/// How often that is looked at.
const BEHIND_PAUSE: Duration = Duration::from_millis(500);

/// The event log as a journal.
pub(crate) struct LogJournal {
    settings: Settings,
    /// Whether steps are shown while they are taken.
    shown: bool,
}

impl LogJournal {
    pub(super) fn new(settings: &Settings, shown: bool) -> Self {
        let settings = settings.clone();
        Self { settings, shown }
    }

    fn failed(&self, problem: impl std::fmt::Display) -> JournalError {
        JournalError {
            journal: format!("of events in {}", self.settings.data.display()),
            problem: format!("{problem:#}"),
        }
    }

    /// The tables, with every step that was ever told.
    pub(super) async fn open(&self) -> anyhow::Result<Engine> {
        let settings = self.settings.clone();
        // Asking the broker blocks.
        tokio::task::spawn_blocking(move || caught_up(&settings)).await??;
        query::open(&self.settings, At::Latest, &[]).await
    }

    async fn read(&self) -> anyhow::Result<Vec<Event>> {
        Ok(recommend::steps(&self.open().await?).await?)
    }
}

#[async_trait]
impl Journal for LogJournal {
    async fn append(&self, event: Event) -> Result<(), JournalError> {
        let told = self.shown.then(|| event.message.clone());
        facts::append_from_task(&self.settings, vec![event])
            .await
            .map_err(|error| self.failed(error))?;
        if let Some(told) = told {
            eprintln!("  {told}");
        }
        Ok(())
    }

    async fn events(&self) -> Result<Vec<Event>, JournalError> {
        self.read().await.map_err(|error| self.failed(error))
    }
}

/// Over Kafka the tables hold a step only when a sink has written it: what was told last must be
/// read first, or a step would be taken twice.
fn caught_up(settings: &Settings) -> anyhow::Result<()> {
    let Some(kafka) = &settings.config.kafka else {
        return Ok(());
    };
    let deadline = Instant::now() + BEHIND_WITHIN;
    loop {
        let behind = query::lag(settings, kafka)?;
        if behind == 0 {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the tables are {behind} records behind Kafka, so that earlier steps are not known; is a sink running?"
        );
        std::thread::sleep(BEHIND_PAUSE);
    }
}
