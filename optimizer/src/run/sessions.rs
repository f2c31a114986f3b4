//! Sessions with PostgreSQL that are used again while an action is under way: a look every few
//! seconds must not cost the server a login each.
//!
//! A session comes back only from work that ended in order. What was given up half-way may still be
//! running in it, and goes with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::Client;

use crate::action::postgres::Postgres;
use crate::config::{OptimizerConfig, ServerKind};
use crate::recommendation::Recommendation;
use crate::server::{self, ServerError};

/// Most sessions that wait for their next use.
const IDLE_MAX: usize = 4;

/// The server by name, and the database where it is not the one of the server's URL.
type Place = (String, Option<String>);

/// Sessions that wait for their next use.
#[derive(Default)]
pub(super) struct Sessions {
    idle: Mutex<Vec<(Place, Client)>>,
}

impl Sessions {
    /// A session with the database that a recommendation is about.
    pub(super) async fn open<'a>(
        &self,
        config: &'a OptimizerConfig,
        recommendation: &Recommendation,
    ) -> Result<Postgres<'a>, ServerError> {
        let server = server::find(config, &recommendation.target, ServerKind::Postgres)?;
        if let Some(client) = self.take(&place(recommendation)) {
            return Ok(Postgres {
                client,
                server,
                config,
            });
        }
        Postgres::connect(config, server, recommendation.database()).await
    }

    /// Keeps a session whose work ended in order.
    pub(super) fn give_back(&self, recommendation: &Recommendation, postgres: Postgres<'_>) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push((place(recommendation), postgres.client));
        }
    }

    /// Ends the sessions that wait.
    pub(super) fn end(&self) {
        self.idle().clear();
    }

    fn take(&self, place: &Place) -> Option<Client> {
        let mut idle = self.idle();
        idle.retain(|(_, client)| !client.is_closed());
        let at = idle.iter().position(|(of, _)| of == place)?;
        Some(idle.swap_remove(at).1)
    }

    /// A list of sessions is whole whatever happened to who held it.
    fn idle(&self) -> MutexGuard<'_, Vec<(Place, Client)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(recommendation: &Recommendation) -> Place {
    let database = recommendation.database();
    (recommendation.target.clone(), database.map(str::to_owned))
}
