//! One connection to a server: made, asked, and told in the terms of [`ServiceError`].
//!
//! The `redis` crate speaks the protocol; the sockets are opened here, so that the work of the
//! connection counts as the service's. What is asked is left to [`super::server`].

use std::error::Error;
use std::time::Duration;

use futures::future::{Either, select};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    RedisError, ServerErrorKind, Value,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

use super::config::RedisConfig;
use crate::service::{Pass, ServiceError};

/// The longest time that a connection may take to be made.
const CONNECT_TIME_OUT: Duration = Duration::from_secs(3);

/// A connection that is logged in.
pub(super) struct Connection {
    redis: MultiplexedConnection,
    /// Ends the connection's task when it is dropped, also where the server hangs.
    _open: oneshot::Sender<()>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// The user that logs in, and the database that is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// `default` where none is named.
    pub(super) user: String,
    /// The database that the connection begins in.
    pub(super) database: i64,
}

/// Understands the address, without the password that stands elsewhere.
pub(super) fn parse(config: &RedisConfig) -> Result<ConnectionInfo, ServiceError> {
    config
        .url
        .expose()
        .into_connection_info()
        .map_err(|error| ServiceError::Misconfigured {
            what: format!("collector.redis {:?}: url {} ({error})", config.name, config.url),
            remedy: "write redis://[user@]host:port/db or unix:///path; for TLS put a proxy such as stunnel beside the collector"
                .to_owned(),
        })
}

/// Reads the address; the password, if any, is put into it.
pub(super) fn address(config: &RedisConfig) -> Result<(ConnectionInfo, Login), ServiceError> {
    let info = parse(config)?;
    let mut settings = info.redis_settings().clone().set_skip_set_lib_name();
    if let Some(password) = config.password()? {
        settings = settings.set_password(password);
    }
    let login = Login {
        user: settings.username().unwrap_or("default").to_owned(),
        database: settings.db(),
    };
    Ok((info.set_redis_settings(settings), login))
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(
        config: &RedisConfig,
        out: &Pass,
    ) -> Result<(Self, Login), ServiceError> {
        let (info, login) = address(config)?;
        let connecting = async {
            match info.addr() {
                ConnectionAddr::Tcp(host, port) => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Self::over(stream, &info, out).await
                }
                ConnectionAddr::Unix(path) => {
                    Self::over(UnixStream::connect(path).await?, &info, out).await
                }
                _ => Err(RedisError::from((
                    ErrorKind::InvalidClientConfig,
                    "TLS is not spoken here",
                ))),
            }
        };
        match tokio::time::timeout(CONNECT_TIME_OUT, connecting).await {
            Ok(Ok(connection)) => Ok((connection, login)),
            Ok(Err(error)) => Err(explain(config, error)),
            Err(_) => Err(ServiceError::Unreachable {
                what: config.url.to_string(),
                source: format!("no answer within {} s", CONNECT_TIME_OUT.as_secs()).into(),
                remedy: "look whether the server hangs or a firewall is between",
            }),
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        info: &ConnectionInfo,
        out: &Pass,
    ) -> Result<Self, RedisError> {
        // A pass has a time-out of its own, so that no answer needs one.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (redis, task) =
            MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await?;
        let (open, closed) = oneshot::channel::<()>();
        out.spawn(async move {
            let (task, closed) = (std::pin::pin!(task), std::pin::pin!(closed));
            match select(task, closed).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        });
        Ok(Self { redis, _open: open })
    }

    /// Sends all commands at once. An answer that is an error stands in its place.
    pub(super) async fn ask(
        &mut self,
        pipeline: &mut redis::Pipeline,
    ) -> Result<Vec<Value>, RedisError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        pipeline.ignore_errors().query_async(&mut self.redis).await
    }
}

/// What an error means for the operator.
pub(super) fn explain(config: &RedisConfig, error: RedisError) -> ServiceError {
    let what = config.url.to_string();
    let code = error.code().unwrap_or_default().to_owned();
    let refused = |what, source, remedy: &str| ServiceError::Refused {
        what,
        source,
        remedy: remedy.to_owned(),
    };
    match error.kind() {
        ErrorKind::AuthenticationFailed => refused(
            what,
            boxed(error),
            "check the user and password_file or password_env of this server",
        ),
        ErrorKind::Server(ServerErrorKind::NoPerm) => refused(
            what,
            boxed(error),
            "give the user the right to run INFO: ACL SETUSER … +info",
        ),
        ErrorKind::Io => ServiceError::Unreachable {
            what,
            source: boxed(error),
            remedy: "start the server, or correct url",
        },
        ErrorKind::InvalidClientConfig => ServiceError::Misconfigured {
            what: format!("{what} ({error})"),
            remedy: "correct url".to_owned(),
        },
        _ if matches!(code.as_str(), "NOAUTH" | "WRONGPASS") => refused(
            what,
            boxed(error),
            "name the user in url, and its password in password_file or password_env",
        ),
        _ if code == "BUSY" => refused(
            what,
            boxed(error),
            "a script holds up the server: let it end, or SCRIPT KILL",
        ),
        ErrorKind::Server(_) | ErrorKind::Extension => {
            refused(what, boxed(error), "look at the server's log")
        }
        _ => ServiceError::Malformed {
            what: format!("the answer of {what}"),
            detail: error.to_string(),
        },
    }
}

fn boxed(error: RedisError) -> Box<dyn Error + Send + Sync> {
    Box::new(error)
}

#[cfg(test)]
mod tests {
    use super::super::config::RedisUrl;
    use super::*;

    fn config(url: &str) -> RedisConfig {
        RedisConfig {
            url: RedisUrl::new(url),
            ..RedisConfig::default()
        }
    }

    #[test]
    fn addresses_are_read() {
        let (info, login) = address(&config("redis://watch@[::1]:6380/3")).expect("valid");
        assert_eq!(info.addr().to_string(), "::1:6380");
        assert_eq!((login.user.as_str(), login.database), ("watch", 3));
        let (info, login) = address(&config("unix:///run/redis.sock")).expect("valid");
        assert!(matches!(info.addr(), ConnectionAddr::Unix(_)));
        assert_eq!((login.user.as_str(), login.database), ("default", 0));
    }

    #[test]
    fn bad_addresses_are_told_without_their_password() {
        for url in [
            "redis://u:secret@host/x",
            "rediss://u:secret@host",
            "http://u:secret@host",
            "secret",
            "",
        ] {
            let error = address(&config(url)).expect_err(url).to_string();
            assert!(!error.contains("secret"), "{error}");
            assert!(error.contains("write redis://"), "{error}");
        }
    }
}
