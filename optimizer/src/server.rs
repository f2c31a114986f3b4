//! Connections to the configured servers, with their time-outs and without ever showing a password.
//!
//! What is said over them is left to [`crate::action`] and [`crate::measure`].

pub mod lock;

use std::str::FromStr as _;
use std::time::Duration;

use redis::IntoConnectionInfo as _;
use redis::aio::MultiplexedConnection;
use tokio_postgres::{Client, NoTls};

use crate::config::{OptimizerConfig, ServerConfig, ServerKind};
use crate::duration;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(10);
/// What our sessions are called.
const APPLICATION: &str = "driftline-optimizer";

/// Why a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It is not configured.
    #[error("the server {name:?} is not configured; add it to [[optimizer.server]]")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// It is of another kind.
    #[error("the server {name:?} is not of the kind that the action needs")]
    Kind {
        /// Its name.
        name: String,
    },
    /// Its URL cannot be read.
    #[error("the url of the server {name:?} is not valid: {problem}")]
    Url {
        /// Its name.
        name: String,
        /// Why, without the URL.
        problem: String,
    },
    /// Its password cannot be read.
    #[error("the password of the server {name:?} cannot be read from {place}: {problem}")]
    Password {
        /// Its name.
        name: String,
        /// The file or the variable.
        place: String,
        /// Why.
        problem: String,
    },
    /// It does not answer in time.
    #[error("the server {name:?} does not answer within {CONNECT_TIMEOUT:?}")]
    TimedOut {
        /// Its name.
        name: String,
    },
    /// PostgreSQL refused something.
    #[error("postgres {name:?}: {problem}")]
    Postgres {
        /// Its name.
        name: String,
        /// What it said.
        problem: String,
        /// The error.
        source: tokio_postgres::Error,
    },
    /// Redis refused something.
    #[error("redis {name:?}")]
    Redis {
        /// Its name.
        name: String,
        /// The error.
        source: redis::RedisError,
    },
    /// What the server says is not understood.
    #[error("the server {name:?} said something unexpected: {problem}")]
    Unexpected {
        /// Its name.
        name: String,
        /// What.
        problem: String,
    },
    /// It cannot be told whether another optimizer is at work.
    #[error(
        "redis {name:?} cannot be held: {source}; allow its user +client|setname +client|id +client|list"
    )]
    Unlockable {
        /// The server.
        name: String,
        /// The error.
        source: redis::RedisError,
    },
    /// Another optimizer is at work.
    #[error("another optimizer holds the lock of {name:?}; let it finish")]
    Locked {
        /// The server.
        name: String,
    },
}

/// The configured server of this name and kind.
pub fn find<'a>(
    config: &'a OptimizerConfig,
    name: &str,
    kind: ServerKind,
) -> Result<&'a ServerConfig, ServerError> {
    let server = config.server(name).ok_or_else(|| ServerError::Unknown {
        name: name.to_owned(),
    })?;
    if server.kind != kind {
        return Err(ServerError::Kind {
            name: name.to_owned(),
        });
    }
    Ok(server)
}

/// A session with `database`, or with that of the server's URL, whose statements give up as
/// configured.
pub async fn postgres(
    config: &OptimizerConfig,
    server: &ServerConfig,
    database: Option<&str>,
) -> Result<Client, ServerError> {
    let name = || server.name.clone();
    let mut parsed =
        tokio_postgres::Config::from_str(&server.url).map_err(|error| ServerError::Url {
            name: name(),
            problem: told(&error),
        })?;
    if let Some(password) = password(server).await? {
        parsed.password(password);
    }
    if let Some(database) = database {
        parsed.dbname(database);
    }
    parsed
        .application_name(APPLICATION)
        .connect_timeout(CONNECT_TIMEOUT);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, parsed.connect(NoTls)).await;
    let (client, connection) = connected
        .map_err(|_| ServerError::TimedOut { name: name() })?
        .map_err(|source| failed(server, source))?;
    let server_name = name();
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(server = server_name, %error, "a session ended");
        }
    });
    set_timeouts(&client, config.lock_timeout, config.statement_timeout)
        .await
        .map_err(|source| failed(server, source))?;
    Ok(client)
}

/// Sets how long the session's statements wait for locks, and run.
pub async fn set_timeouts(
    client: &Client,
    lock: Duration,
    statement: Duration,
) -> Result<(), tokio_postgres::Error> {
    let text = format!(
        "SET lock_timeout = {}; SET statement_timeout = {}; SET idle_in_transaction_session_timeout = 60000",
        lock.as_millis(),
        statement.as_millis()
    );
    client.batch_execute(&text).await
}

/// A connection to Redis.
pub async fn redis(server: &ServerConfig) -> Result<MultiplexedConnection, ServerError> {
    let client = redis_client(server).await?;
    let options = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(REDIS_TIMEOUT));
    client
        .get_multiplexed_async_connection_with_config(&options)
        .await
        .map_err(|source| redis_failed(server, source))
}

/// Where Redis is and who asks.
pub(crate) async fn redis_client(server: &ServerConfig) -> Result<redis::Client, ServerError> {
    // The message of a parse error may hold the URL.
    let url = |_| ServerError::Url {
        name: server.name.clone(),
        problem: "expected redis://host:port/database".to_owned(),
    };
    let mut info = server.url.as_str().into_connection_info().map_err(url)?;
    if let Some(password) = password(server).await? {
        let settings = info.redis_settings().clone().set_password(password);
        info = info.set_redis_settings(settings);
    }
    redis::Client::open(info).map_err(|source| redis_failed(server, source))
}

/// What PostgreSQL said, with its code.
pub fn told(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |db| format!("{} ({})", db.message(), db.code().code()),
    )
}

/// The error of a server.
pub fn failed(server: &ServerConfig, source: tokio_postgres::Error) -> ServerError {
    ServerError::Postgres {
        name: server.name.clone(),
        problem: told(&source),
        source,
    }
}

/// The error of a Redis server.
pub fn redis_failed(server: &ServerConfig, source: redis::RedisError) -> ServerError {
    ServerError::Redis {
        name: server.name.clone(),
        source,
    }
}

async fn password(server: &ServerConfig) -> Result<Option<String>, ServerError> {
    let unreadable = |place: String, problem: String| ServerError::Password {
        name: server.name.clone(),
        place,
        problem,
    };
    if let Some(path) = &server.password_file {
        let text = tokio::fs::read_to_string(path)
            .await
            .map_err(|error| unreadable(path.display().to_string(), error.to_string()))?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    let Some(variable) = &server.password_env else {
        return Ok(None);
    };
    std::env::var(variable)
        .map(Some)
        .map_err(|error| unreadable(variable.clone(), error.to_string()))
}

/// A deadline as text for errors.
pub(crate) fn shown(timeout: Duration) -> String {
    duration::format(timeout)
}
