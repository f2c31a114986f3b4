//! A session with a server: connecting, what its refusals mean, and the statements that are sent.

use std::error::Error;
use std::io;

use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row, Socket};

use super::address::{self, Address, Encryption};
use super::{PostgresConfig, tls};
use crate::service::{Pass, ServiceError};

/// Every statement of ours holds this, so that its cost can be told from that of others.
pub(super) const MARK: &str = "/* driftline */";

const GRANT: &str = "create a role for it: CREATE ROLE driftline LOGIN PASSWORD '…' IN ROLE pg_monitor; and name it in [[collector.postgres]] url with password_file";

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    shown: String,
}

impl Session {
    /// Connects to the address's database, or to another one of the same server.
    ///
    /// # Errors
    /// Who does not answer, or refuses, and what to do.
    pub(super) async fn connect(
        address: &Address,
        options: &PostgresConfig,
        database: Option<&str>,
        out: &Pass,
    ) -> Result<Self, ServiceError> {
        let mut config = address.config.clone();
        if let Some(password) = address::password(options)? {
            config.password(password);
        }
        if let Some(database) = database {
            config.dbname(database);
        }
        let connected = match address.encryption {
            Encryption::Off => connect_with(&config, NoTls, out).await,
            Encryption::Preferred | Encryption::Required => {
                connect_with(&config, tls::unverified(), out).await
            }
            Encryption::Verified => connect_with(&config, tls::verified(options)?, out).await,
        };
        let shown = address.shown.clone();
        match connected {
            Ok(client) => Ok(Self { client, shown }),
            Err(error) => Err(refusal(&shown, &error)),
        }
    }

    /// Whether nothing more can be asked.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The rows of a statement, in the binary format, in one round trip.
    ///
    /// # Errors
    /// What the server says, or that it is gone.
    pub(super) async fn rows(
        &self,
        what: &str,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, ServiceError> {
        let answer = self.client.query_typed(sql, parameters).await;
        answer.map_err(|error| self.failure(what, &error))
    }

    /// The client, for statements that are prepared once.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// What a failed statement means.
    pub(super) fn failure(&self, what: &str, error: &tokio_postgres::Error) -> ServiceError {
        let Some(told) = error.as_db_error() else {
            let broke = error.source().is_some_and(|cause| cause.is::<io::Error>());
            return if broke || error.is_closed() || self.client.is_closed() {
                unreachable(&self.shown, error)
            } else {
                ServiceError::Malformed {
                    what: format!("{what} of {}", self.shown),
                    detail: chain(error),
                }
            };
        };
        let code = told.code();
        if is_going(code) {
            return unreachable(&self.shown, error);
        }
        let remedy = if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            "GRANT pg_monitor to the role"
        } else if *code == SqlState::QUERY_CANCELED {
            "look whether the server is overloaded, or raise time_out"
        } else if *code == SqlState::LOCK_NOT_AVAILABLE {
            "a lock is held on a relation for long; it is tried again"
        } else if *code == SqlState::UNDEFINED_COLUMN || *code == SqlState::UNDEFINED_FUNCTION {
            "ALTER EXTENSION … UPDATE after an upgrade of the server, or report it"
        } else {
            "look at the server's log"
        };
        ServiceError::Refused {
            what: format!("{what} of {}", self.shown),
            source: told.message().into(),
            remedy: remedy.to_owned(),
        }
    }
}

async fn connect_with<T>(
    config: &tokio_postgres::Config,
    tls: T,
    out: &Pass,
) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await?;
    out.spawn(async move {
        // Its end shows as an error of the client.
        if let Err(error) = connection.await {
            tracing::debug!("a session of PostgreSQL ended: {error}");
        }
    });
    Ok(client)
}

fn refusal(shown: &str, error: &tokio_postgres::Error) -> ServiceError {
    let refused = |source: String, remedy: &str| ServiceError::Refused {
        what: format!("a session with {shown}"),
        source: source.into(),
        remedy: remedy.to_owned(),
    };
    let Some(told) = error.as_db_error() else {
        let message = chain(error);
        // The library asks for a password before it sends one.
        if message.contains("password missing") || message.contains("invalid configuration") {
            return refused(message, GRANT);
        }
        if message.contains("TLS") {
            return refused(message, "set sslmode as the server has it");
        }
        return unreachable(shown, error);
    };
    let code = told.code();
    if is_going(code) {
        return unreachable(shown, error);
    }
    let message = told.message().to_owned();
    if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
    {
        refused(message, GRANT)
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        refused(message, "name a database that exists, such as postgres")
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        refused(
            message,
            "pool the application's connections, or raise max_connections",
        )
    } else {
        refused(message, "look at the server's log")
    }
}

fn unreachable(shown: &str, error: &tokio_postgres::Error) -> ServiceError {
    ServiceError::Unreachable {
        what: shown.to_owned(),
        source: chain(error).into(),
        remedy: "start the server, or correct url in [[collector.postgres]]",
    }
}

/// Whether the server is about to stop, or not up yet.
fn is_going(code: &SqlState) -> bool {
    let going = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ];
    going.contains(code)
}

/// An error with its causes.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}
