//! What the log says for the optimizer at one moment, read once: open recommendations, where actions
//! stand, and which of them something got worse after.

use anyhow::Context as _;
use driftline_analyzer::recommend::{self, Suspect};
use driftline_analyzer::{Engine, EngineError};
use driftline_optimizer::protocol::{Actions, Next, State};
use driftline_optimizer::{OptimizeError, Optimizer, Recommendation};

use super::journal::LogJournal;
use crate::exit::UsageError;

/// A recommendation as it is held, and whether it can be read as one to apply.
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) read: anyhow::Result<Recommendation>,
}

/// What became of a recommendation or an action, by its id.
pub(super) type Applied = (String, Result<State, OptimizeError>);

/// What was read.
pub(super) struct Seen {
    /// The open recommendations, the most worthwhile first.
    pub(super) open: Vec<Wanted>,
    /// Where actions stand.
    pub(super) actions: Actions,
    /// Which of them are suspected.
    pub(super) suspects: Vec<Suspect>,
}

impl Seen {
    pub(super) async fn read(optimizer: &Optimizer<LogJournal>) -> anyhow::Result<Self> {
        let engine = optimizer.journal().open().await?;
        Ok(Self {
            open: open(&engine).await?,
            actions: Actions::of(&recommend::steps(&engine).await?),
            suspects: recommend::suspects(&engine).await?,
        })
    }

    /// The recommendations that are named, in the order in which they are named.
    pub(super) fn named(&mut self, ids: &[String]) -> anyhow::Result<Vec<Recommendation>> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let at = self.open.iter().position(|one| one.id == *id);
            let at = at.ok_or_else(|| {
                UsageError(format!(
                    "there is no open recommendation {id}; driftline recommend raises what is due, \
                     driftline optimize plan lists what can be applied"
                ))
            })?;
            let one = self.open.swap_remove(at);
            found.push(
                one.read
                    .with_context(|| format!("{id} cannot be applied"))?,
            );
        }
        Ok(found)
    }

    /// The actions that are suspected and can still be measured again, each with what got worse.
    pub(super) fn suspected<'a>(
        &'a self,
        optimizer: &Optimizer<LogJournal>,
    ) -> Vec<(&'a State, &'a Suspect)> {
        let state = |suspect: &Suspect| {
            let mut states = self.actions.states.iter();
            states.find(|state| state.action == suspect.action)
        };
        let suspected = |suspect: &'a Suspect| Some((state(suspect)?, suspect));
        // After its last check an action is measured no more.
        let waits = |(state, _): &(&State, _)| matches!(optimizer.next(state), Next::Wait { .. });
        let suspects = self.suspects.iter().filter_map(suspected);
        suspects.filter(waits).collect()
    }
}

/// The open recommendations, the most worthwhile first.
pub(super) async fn open(engine: &Engine) -> Result<Vec<Wanted>, EngineError> {
    let open = recommend::open(engine).await?;
    let wanted = |one: recommend::Open| Wanted {
        read: Recommendation::from_json(&one.detail).map_err(anyhow::Error::from),
        id: one.id,
    };
    Ok(open.into_iter().map(wanted).collect())
}
