//! Journeys that the fast path does not take: each is a task of its own until it has ended.

use std::collections::HashMap;

use tokio::task::{JoinError, JoinSet};

use super::Context;
use super::waiting::Due;
use crate::journey::{Client, User};
use crate::tls::TlsError;

/// The journeys under way.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    context: Context,
    client: Client,
    tasks: JoinSet<Back>,
    /// The virtual users that make no journey at present.
    users: HashMap<u32, User>,
    /// Ended, and not yet taken.
    back: Vec<Back>,
}

#[derive(Debug)]
struct Back {
    due: Due,
    user: User,
}

impl Elsewhere {
    pub(crate) fn new(context: &Context) -> Result<Self, TlsError> {
        Ok(Self {
            context: context.clone(),
            client: Client::new(context)?,
            tasks: JoinSet::new(),
            users: HashMap::new(),
            back: Vec::new(),
        })
    }

    /// Journeys under way.
    pub(crate) fn busy(&self) -> usize {
        self.tasks.len()
    }

    /// Begins a journey.
    pub(crate) fn begin(&mut self, due: Due) {
        let known = due.user.and_then(|user| self.users.remove(&user));
        let mut user = known.unwrap_or_else(|| User::new(&self.context, due.number));
        let client = self.client.clone();
        let scenario = self.context.scenario.clone();
        self.tasks.spawn_local(async move {
            let journey = &scenario.journeys[due.journey as usize];
            client.iterate(&mut user, journey, due.intended_ns).await;
            Back { due, user }
        });
    }

    /// Waits until a journey has ended.
    pub(crate) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(back) => self.back.push(whole(back)),
            None => std::future::pending().await,
        }
    }

    /// Takes the next journey that has ended.
    pub(crate) fn take(&mut self) -> Option<Due> {
        let back = match self.back.pop() {
            Some(back) => back,
            None => whole(self.tasks.try_join_next()?),
        };
        if let Some(number) = back.due.user {
            self.users.insert(number, back.user);
        }
        Some(back.due)
    }

    /// Ends the journeys under way; they record what they had begun.
    pub(crate) async fn abandon(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// A task that panicked must end the worker, not a user.
fn whole(back: Result<Back, JoinError>) -> Back {
    match back {
        Ok(back) => back,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
