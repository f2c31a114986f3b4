//! Performing actions on Redis: parameters by CONFIG SET. Warming is in [`crate::warm`].
//!
//! A parameter is not written to Redis' own configuration file: what outlives a restart is left to a
//! person.

use redis::aio::MultiplexedConnection;

use super::postgres::Observed;
use super::{Action, Inverse, Plan, RedisParameter, sql};
use crate::config::ServerConfig;
use crate::measure::redis as info;
use crate::server::{self, ServerError};

/// The most of the machine's memory that `maxmemory` may be, as a share: the rest is for the copies
/// of a fork, for buffers, and for other programs.
const MEMORY_SHARE: f64 = 0.75;

/// A connection to the server that an action is done to.
#[derive(Debug)]
pub struct Redis<'a> {
    /// The connection.
    pub connection: MultiplexedConnection,
    /// The server.
    pub server: &'a ServerConfig,
}

impl<'a> Redis<'a> {
    /// Opens a connection.
    pub async fn connect(server: &'a ServerConfig) -> Result<Self, ServerError> {
        Ok(Self {
            connection: server::redis(server).await?,
            server,
        })
    }

    /// A dry run of setting a parameter, or of what warming needs of Redis.
    pub async fn plan(&mut self, action: &Action) -> Result<Plan, ServerError> {
        let mut plan = Plan {
            command: sql::command(action),
            ..Plan::default()
        };
        if let Err(error) = action.check() {
            plan.problems.push(error.to_string());
            return Ok(plan);
        }
        let now = info::read(&mut self.connection, self.server, 0).await?;
        if now.role != "master" {
            plan.problems
                .push("it is a replica; name the master as server".to_owned());
        }
        match action {
            Action::RedisConfigSet { parameter, value } => {
                let previous = self.get(*parameter).await?;
                if previous == *value {
                    plan.problems
                        .push(format!("{} has that value already", parameter.as_str()));
                }
                if *parameter == RedisParameter::Maxmemory {
                    check_memory(self.server, value, &now, &mut plan);
                }
            }
            Action::Warm { .. } => check_room(&now, &mut plan),
            _ => {}
        }
        plan.inverse = self.inverse(action).await?.command();
        Ok(plan)
    }

    /// What undoes `action` exactly, as things are now.
    pub async fn inverse(&mut self, action: &Action) -> Result<Inverse, ServerError> {
        match action {
            Action::RedisConfigSet { parameter, .. } => Ok(Inverse::RestoreRedis {
                parameter: *parameter,
                previous: self.get(*parameter).await?,
            }),
            Action::Warm { pattern, .. } => Ok(Inverse::UnlinkWarmed {
                pattern: pattern.clone(),
            }),
            _ => Err(self.unexpected("the action is none of Redis".to_owned())),
        }
    }

    /// Sets a parameter.
    pub async fn set(
        &mut self,
        parameter: RedisParameter,
        value: &str,
    ) -> Result<String, ServerError> {
        redis::cmd("CONFIG")
            .arg("SET")
            .arg(parameter.as_str())
            .arg(value)
            .query_async::<()>(&mut self.connection)
            .await
            .map_err(|source| server::redis_failed(self.server, source))?;
        Ok(format!("{} is {value}", parameter.as_str()))
    }

    /// Whether a parameter is as we left it.
    pub async fn observe(
        &mut self,
        action: &Action,
        inverse: &Inverse,
    ) -> Result<Observed, ServerError> {
        let (Action::RedisConfigSet { parameter, value }, Inverse::RestoreRedis { previous, .. }) =
            (action, inverse)
        else {
            return Ok(Observed::Stateless);
        };
        let now = self.get(*parameter).await?;
        Ok(if now == *value {
            Observed::Ours
        } else if now == *previous {
            Observed::AsBefore
        } else {
            Observed::Changed(format!("{} is {now:?} now", parameter.as_str()))
        })
    }

    async fn get(&mut self, parameter: RedisParameter) -> Result<String, ServerError> {
        let pair: Vec<String> = redis::cmd("CONFIG")
            .arg("GET")
            .arg(parameter.as_str())
            .query_async(&mut self.connection)
            .await
            .map_err(|source| server::redis_failed(self.server, source))?;
        pair.into_iter()
            .nth(1)
            .ok_or_else(|| self.unexpected(format!("it has no parameter {}", parameter.as_str())))
    }

    fn unexpected(&self, problem: String) -> ServerError {
        ServerError::Unexpected {
            name: self.server.name.clone(),
            problem,
        }
    }
}

/// `maxmemory` stays below its share of the machine, and above what is used: less would evict at once.
fn check_memory(server: &ServerConfig, value: &str, now: &info::Snapshot, plan: &mut Plan) {
    let machine = server.memory_bytes.unwrap_or(now.system_bytes);
    let bytes = value.parse::<u64>().unwrap_or(0);
    if bytes as f64 > MEMORY_SHARE * machine as f64 {
        plan.problems.push(format!(
            "maxmemory {bytes} is more than three quarters of the machine's {machine} bytes"
        ));
    }
    if bytes < now.cache.used_bytes {
        plan.problems.push(format!(
            "maxmemory {bytes} is below the {} bytes in use",
            now.cache.used_bytes
        ));
    }
    plan.notes
        .push("it is lost at a restart, unless it is put into redis.conf".to_owned());
}

/// A cache that is full evicts as much as is warmed.
fn check_room(now: &info::Snapshot, plan: &mut Plan) {
    if now.max_bytes > 0 && now.cache.used_bytes as f64 > 0.9 * now.max_bytes as f64 {
        plan.problems.push(format!(
            "the cache uses {} of {} bytes; warming would evict",
            now.cache.used_bytes, now.max_bytes
        ));
    }
}
