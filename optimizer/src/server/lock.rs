//! One optimizer at a time for each server. A lock is bound to its session: however the optimizer
//! ends, its lock ends with it, and nothing that could be left behind lies among the user's data.

use std::time::Duration;

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::{ServerError, failed};
use crate::config::{OptimizerConfig, ServerConfig};

/// The class of our advisory locks: "drif" in ASCII.
const CLASS: i32 = 0x6472_6966;
/// What the session is called that holds a Redis server.
const NAME: &str = "driftline-optimizer-lock";
/// How often a session that does nothing else is heard of, so that no `timeout` of the server ends it.
const HEARD_EVERY: Duration = Duration::from_secs(5);

/// A server that is held.
pub struct Lock(Held);

enum Held {
    Postgres(Client),
    Redis(MultiplexedConnection, Heard),
}

/// Lets a session be heard of until this is dropped.
struct Heard(JoinHandle<()>);

impl Lock {
    /// Lets go of the server. A lock that is only dropped is free when the server has seen its session
    /// end.
    pub async fn release(self) {
        let released = match self.0 {
            Held::Postgres(client) => client
                .batch_execute("SELECT pg_advisory_unlock_all()")
                .await
                .map_err(|error| error.to_string()),
            Held::Redis(mut session, _heard) => call_oneself(&mut session, "")
                .await
                .map_err(|error| error.to_string()),
        };
        if let Err(error) = released {
            tracing::debug!(error, "a lock ends with its session");
        }
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Holds a PostgreSQL server. The session is with the database of the server's URL whatever database is
/// changed: one change at a time holds for all.
pub async fn postgres(
    config: &OptimizerConfig,
    server: &ServerConfig,
) -> Result<Lock, ServerError> {
    let client = super::postgres(config, server, None).await?;
    let row = client
        .query_one(
            "SELECT pg_try_advisory_lock($1, hashtext(current_database()))",
            &[&CLASS],
        )
        .await
        .map_err(|source| failed(server, source))?;
    match row.get(0) {
        true => Ok(Lock(Held::Postgres(client))),
        false => Err(held(server)),
    }
}

/// Holds a Redis server by a session of a certain name, which no other may have then. Of two that come
/// at once the one that looks later sees the other; both may see each other and go, but never may both
/// stay.
pub async fn redis(server: &ServerConfig) -> Result<Lock, ServerError> {
    let mut session = super::redis(server).await?;
    let others = others(&mut session)
        .await
        .map_err(|source| ServerError::Unlockable {
            name: server.name.clone(),
            source,
        })?;
    if others {
        return Err(held(server));
    }
    let heard = Heard(tokio::spawn(be_heard(session.clone())));
    Ok(Lock(Held::Redis(session, heard)))
}

/// Takes the name, and tells whether another session has it.
async fn others(session: &mut MultiplexedConnection) -> Result<bool, RedisError> {
    call_oneself(session, NAME).await?;
    let own: i64 = redis::cmd("CLIENT").arg("ID").query_async(session).await?;
    let all: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query_async(session)
        .await?;
    Ok(is_held(&all, own))
}

async fn call_oneself(session: &mut MultiplexedConnection, name: &str) -> Result<(), RedisError> {
    let mut command = redis::cmd("CLIENT");
    command.arg("SETNAME").arg(name).exec_async(session).await
}

/// Whether a session other than `own` has the name, by the lines of `CLIENT LIST`.
fn is_held(all: &str, own: i64) -> bool {
    let field = |line: &str, key: &str| {
        let found = line.split(' ').find_map(|part| part.strip_prefix(key));
        found.map(str::to_owned)
    };
    let own = own.to_string();
    all.lines().any(|line| {
        field(line, "name=").as_deref() == Some(NAME) && field(line, "id=").as_ref() != Some(&own)
    })
}

async fn be_heard(mut session: MultiplexedConnection) {
    loop {
        tokio::time::sleep(HEARD_EVERY).await;
        if let Err(error) = redis::cmd("PING").exec_async(&mut session).await {
            tracing::warn!(%error, "the lock of a Redis server is lost");
            return;
        }
    }
}

fn held(server: &ServerConfig) -> ServerError {
    ServerError::Locked {
        name: server.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_another_session_holds_the_server_and_ones_own_does_not() {
        let list =
            |id: i64, name: &str| format!("id={id} addr=127.0.0.1:1 fd=8 name={name} age=1\n");
        let own = list(7, NAME);
        assert!(!is_held(&own, 7));
        assert!(!is_held(&(own.clone() + &list(8, "")), 7));
        assert!(!is_held(
            &(own.clone() + &list(9, "driftline-optimizer-lock-2")),
            7
        ));
        assert!(is_held(&(list(3, NAME) + &own), 7));
        assert!(is_held(&(own + &list(77, NAME)), 7));
    }
}
