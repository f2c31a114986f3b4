//! Looks for a Redis server at the usual addresses of this machine, where none is configured.
//!
//! As long as none answers there is nothing to tell; from then on it is observed as if it had been
//! configured.

use std::time::Duration;

use async_trait::async_trait;
use driftline_schemas::Component;
use tokio::net::{TcpStream, UnixStream};

use super::config::{RedisConfig, RedisUrl};
use super::server::Server;
use crate::service::{Pass, Service, ServiceError};

/// Where servers usually are.
const PORT: &str = "127.0.0.1:6379";
const SOCKETS: [&str; 4] = [
    "/run/redis/redis-server.sock",
    "/run/redis/redis.sock",
    "/run/redis.sock",
    "/tmp/redis.sock",
];
/// How often is looked while none is found.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The longest wait for an answer.
const LOOK_TIME_OUT: Duration = Duration::from_millis(500);
/// What the server is called.
const NAME: &str = "local";

/// A server that may turn up.
#[derive(Debug)]
pub(super) struct Discovery {
    /// The port that is tried first.
    port: &'static str,
    found: Option<Server>,
    subject: String,
}

impl Discovery {
    pub(super) fn new() -> Self {
        Self {
            port: PORT,
            found: None,
            subject: format!("redis.{NAME}"),
        }
    }

    async fn look(&self) -> Option<String> {
        let connecting = TcpStream::connect(self.port);
        if let Ok(Ok(_)) = tokio::time::timeout(LOOK_TIME_OUT, connecting).await {
            return Some(format!("redis://{}", self.port));
        }
        for socket in SOCKETS {
            let connecting = UnixStream::connect(socket);
            if let Ok(Ok(_)) = tokio::time::timeout(LOOK_TIME_OUT, connecting).await {
                return Some(format!("unix://{socket}"));
            }
        }
        None
    }
}

#[async_trait]
impl Service for Discovery {
    fn component(&self) -> Component {
        Component::Redis
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn interval(&self) -> Duration {
        self.found.as_ref().map_or(LOOK_EVERY, Service::interval)
    }

    fn time_out(&self) -> Duration {
        RedisConfig::default().time_out
    }

    async fn pass(&mut self, out: &mut Pass) -> Result<(), ServiceError> {
        if self.found.is_none() {
            let Some(url) = self.look().await else {
                return Ok(());
            };
            self.found = Some(Server::new(RedisConfig {
                name: NAME.to_owned(),
                url: RedisUrl::new(url),
                ..RedisConfig::default()
            }));
        }
        match &mut self.found {
            Some(server) => server.pass(out).await,
            None => Ok(()),
        }
    }
}
