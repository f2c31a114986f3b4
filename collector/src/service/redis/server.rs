//! One server: what is asked in a pass, in which order, and what is remembered between passes.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use driftline_schemas::metric::catalogue::id;
use driftline_schemas::{Component, Event, EventName};
use redis::Value;

use super::config::RedisConfig;
use super::connection::{Connection, Login, explain};
use super::info::Info;
use super::keys::{Walk, select_database};
use super::record::Samples;
use super::rights::{Right, Rights, refusal};
use super::sample::Sampler;
use super::settings::{ASKED, Settings};
use super::slowlog::{self, SlowLog};
use super::{commands, record};
use crate::service::{Pass, Service, ServiceError};
use crate::tick::micros;

/// The oldest version that is observed.
const OLDEST_MAJOR: u32 = 5;
/// What the event of a restart is called.
const RESTARTED: &str = "ServerRestarted";

/// A server that is observed.
#[derive(Debug)]
pub(super) struct Server {
    config: RedisConfig,
    subject: String,
    connection: Option<(Connection, Login)>,
    rights: Rights,
    /// The run that was seen last.
    run_id: Option<String>,
    slow_log: SlowLog,
    settings: Settings,
    sampler: Sampler,
    /// Accesses to keys so far and when that was, at the last sampling.
    accesses: Option<(i64, f64)>,
    slow_log_due_us: i64,
    settings_due_us: i64,
    sample_due_us: i64,
}

/// The answers of the first round trip of a pass.
struct Answers {
    info: String,
    slow_log: Option<Value>,
    settings: Vec<Value>,
}

impl Server {
    pub(super) fn new(config: RedisConfig) -> Self {
        Self {
            subject: format!("redis.{}", config.name),
            config,
            connection: None,
            rights: Rights::default(),
            run_id: None,
            slow_log: SlowLog::default(),
            settings: Settings::default(),
            sampler: Sampler::default(),
            accesses: None,
            slow_log_due_us: 0,
            settings_due_us: 0,
            sample_due_us: 0,
        }
    }

    /// Asks for everything that one round trip can bring. A connection that has broken since the last
    /// pass is made anew once.
    async fn ask(&mut self, out: &Pass) -> Result<(Connection, Login, Answers), ServiceError> {
        let ts_us = out.ts_us();
        let slow_log = self.config.slow_log.enabled
            && ts_us >= self.slow_log_due_us
            && self.rights.may(Right::SlowLog, ts_us);
        let settings = ts_us >= self.settings_due_us && self.rights.may(Right::Settings, ts_us);
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("all");
        if slow_log {
            let entries = self.config.slow_log.entries;
            pipeline.cmd("SLOWLOG").arg("GET").arg(entries);
        }
        if settings {
            for setting in ASKED {
                pipeline.cmd("CONFIG").arg("GET").arg(setting);
            }
        }
        // While the pass waits the connection is not the service's: given up, it is closed.
        let mut answers = None;
        let mut open = None;
        if let Some((mut connection, login)) = self.connection.take()
            && let Ok(found) = connection.ask(&mut pipeline).await
        {
            answers = Some(found);
            open = Some((connection, login));
        }
        let (mut connection, login) = match open {
            Some(open) => open,
            None => Connection::open(&self.config, out).await?,
        };
        let answers = match answers {
            Some(answers) => answers,
            None => connection
                .ask(&mut pipeline)
                .await
                .map_err(|error| explain(&self.config, error))?,
        };
        let mut answers = answers.into_iter();
        let info = self.info(answers.next())?;
        let slow_log = if slow_log { answers.next() } else { None };
        let settings = answers.collect();
        let answers = Answers {
            info,
            slow_log,
            settings,
        };
        Ok((connection, login, answers))
    }

    fn info(&self, answer: Option<Value>) -> Result<String, ServiceError> {
        match answer {
            Some(Value::BulkString(text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Some(Value::VerbatimString { text, .. } | Value::SimpleString(text)) => Ok(text),
            Some(Value::ServerError(error)) => Err(explain(&self.config, error.into())),
            _ => Err(self.malformed("it is no text")),
        }
    }

    fn malformed(&self, detail: &str) -> ServiceError {
        ServiceError::Malformed {
            what: format!("the answer of {} to INFO", self.config.url),
            detail: format!("{detail}; is it a Redis server?"),
        }
    }

    /// Compares the run with the one before.
    fn notice_restart(&mut self, info: &Info<'_>, ts_us: i64) -> Option<Event> {
        let run_id = info.text("run_id")?;
        if self.run_id.as_deref() == Some(run_id) {
            return None;
        }
        let before = self.run_id.replace(run_id.to_owned())?;
        self.slow_log.restarted();
        self.sampler.restarted();
        self.accesses = None;
        self.settings_due_us = 0;
        let text = |field| info.text(field).unwrap_or("unknown").to_owned();
        let uptime = text("uptime_in_seconds");
        Some(Event {
            ts_us,
            name: EventName::Other(RESTARTED.to_owned()),
            component: Component::Redis,
            subject: self.subject.clone(),
            message: format!(
                "{} was restarted {uptime} s ago: its counters begin at 0",
                self.subject
            ),
            attributes: vec![
                ("run_id".to_owned(), run_id.to_owned()),
                ("run_id_before".to_owned(), before),
                ("uptime_s".to_owned(), uptime),
                ("version".to_owned(), text("redis_version")),
            ],
        })
    }

    fn take_slow_log(
        &mut self,
        answer: &Value,
        login: &Login,
        out: &mut Pass,
    ) -> Option<ServiceError> {
        let ts_us = out.ts_us();
        self.slow_log_due_us = ts_us.saturating_add(micros(self.config.slow_log.interval));
        let refused = refusal(answer);
        let (subject, user) = (self.subject.as_str(), login.user.as_str());
        let told = self
            .rights
            .note(Right::SlowLog, refused.as_ref(), subject, user, ts_us);
        out.events.extend(told);
        if refused.is_some() {
            return None;
        }
        let (entries, odd) = slowlog::parse(answer);
        let since_s = (ts_us - micros(self.config.interval)) / 1_000_000;
        let entries = self.slow_log.take(entries, since_s);
        let mut samples = samples(&self.config, out);
        let seen = self.slow_log.seen as f64;
        samples.record(const { id("redis.slowlog.entries") }, &[], seen);
        for (command, seconds) in slowlog::slowest(&entries) {
            let labels = [("cmd", command)];
            samples.record(const { id("redis.slowlog.slowest") }, &labels, seconds);
        }
        let limit = self.config.slow_log.events;
        let events = slowlog::events(entries, limit, subject, &self.sampler.vocabulary);
        out.events.extend(events);
        (odd > 0).then(|| ServiceError::Malformed {
            what: format!("{odd} entries of the slow log of {}", self.config.url),
            detail: "they are passed over; please report this version".to_owned(),
        })
    }

    fn take_settings(&mut self, answers: &[Value], info: &Info<'_>, login: &Login, out: &mut Pass) {
        let ts_us = out.ts_us();
        if ts_us < self.settings_due_us {
            return;
        }
        self.settings_due_us = ts_us.saturating_add(micros(self.config.settings_every));
        if let Some(first) = answers.first() {
            let refused = answers.iter().find_map(refusal);
            let (subject, user) = (self.subject.as_str(), login.user.as_str());
            let outcome = refused.filter(|_| refusal(first).is_some());
            let told = self
                .rights
                .note(Right::Settings, outcome.as_ref(), subject, user, ts_us);
            out.events.extend(told);
        }
        let read = Settings::read(answers);
        self.settings = if read.is_empty() {
            Settings::of(info)
        } else {
            read
        };
        self.settings.record(&mut samples(&self.config, out));
    }

    /// Samples keys where that is due and the server can answer.
    async fn sample(
        &mut self,
        connection: &mut Connection,
        login: &Login,
        info: &Info<'_>,
        out: &mut Pass,
    ) -> Result<(), ServiceError> {
        let ts_us = out.ts_us();
        let config = &self.config.sample;
        if !config.enabled || ts_us < self.sample_due_us || !self.rights.may(Right::Scan, ts_us) {
            return Ok(());
        }
        self.sample_due_us = ts_us.saturating_add(micros(config.interval));
        let accesses_per_s = self.accesses_per_s(info, ts_us);
        let initial = u32::try_from(login.database).unwrap_or(0);
        let databases: Vec<(u32, f64)> = databases(info);
        let plan = Sampler::plan(&databases, self.config.sample.count);
        let counters = info
            .text("maxmemory_policy")
            .is_some_and(|policy| policy.ends_with("lfu"));
        let mut walk = Walk {
            connection,
            config: &self.config.sample,
            allowed: allowed(&self.rights, ts_us),
            sampler: &mut self.sampler,
            counters,
            notes: Vec::new(),
        };
        let mut sampled = Vec::new();
        let mut current = initial;
        let mut outcome = Ok(());
        for (db, count) in plan {
            let size = databases
                .iter()
                .find(|known| known.0 == db)
                .map_or(0.0, |db| db.1);
            if db != current && !walk.allowed.contains(&Right::Select) {
                continue;
            }
            match walk.database(db, size, count, db != current).await {
                Ok(Some(keys)) => {
                    current = db;
                    sampled.push(keys);
                }
                Ok(None) => {}
                Err(error) => {
                    outcome = Err(explain(&self.config, error));
                    break;
                }
            }
        }
        let notes = std::mem::take(&mut walk.notes);
        if current != initial && outcome.is_ok() {
            let back = connection.ask(&mut select_database(login.database)).await;
            outcome = back.map(drop).map_err(|error| explain(&self.config, error));
        }
        for (right, refused) in notes {
            let (subject, user) = (self.subject.as_str(), login.user.as_str());
            let told = self
                .rights
                .note(right, refused.as_ref(), subject, user, ts_us);
            out.events.extend(told);
        }
        outcome?;
        let lfu = self.settings.lfu();
        self.sampler
            .take(&self.config.sample, &sampled, lfu, accesses_per_s, ts_us);
        self.sampler
            .record(&self.config.sample, &mut samples(&self.config, out));
        Ok(())
    }

    /// How often keys were accessed per second since the last sampling. Lookups count keys, calls
    /// count writes too: the larger of the two is closer.
    fn accesses_per_s(&mut self, info: &Info<'_>, ts_us: i64) -> f64 {
        let hits = info.number("keyspace_hits").unwrap_or(0.0);
        let misses = info.number("keyspace_misses").unwrap_or(0.0);
        let own = self.sampler.own;
        let calls = commands::calls_for_keys(info) - misses - own.calls as f64;
        let so_far = f64::max(hits - own.hits as f64, calls);
        let (before, since) = match self.accesses.replace((ts_us, so_far)) {
            Some((before_us, before)) => (before, (ts_us - before_us) as f64 / 1e6),
            // Nothing is known yet but the mean since the server was started.
            None => (0.0, info.number("uptime_in_seconds").unwrap_or(0.0)),
        };
        ((so_far - before) / since.max(1.0)).max(0.0)
    }
}

#[async_trait]
impl Service for Server {
    fn component(&self) -> Component {
        Component::Redis
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn interval(&self) -> Duration {
        self.config.interval
    }

    fn time_out(&self) -> Duration {
        self.config.time_out
    }

    async fn pass(&mut self, out: &mut Pass) -> Result<(), ServiceError> {
        self.config.check()?;
        let (mut connection, login, answers) = self.ask(out).await?;
        let info = Info::parse(&answers.info);
        let Some(major) = info.major_version() else {
            return Err(self.malformed("it has no redis_version"));
        };
        if major < OLDEST_MAJOR {
            return Err(ServiceError::Unavailable {
                what: format!("Redis {OLDEST_MAJOR} or newer at {}", self.config.url),
                remedy: format!("version {major} is too old to be observed, upgrade the server"),
            });
        }
        out.events.extend(self.notice_restart(&info, out.ts_us()));
        let mut samples = samples(&self.config, out);
        record::server(&info, &mut samples);
        commands::commands(&info, self.config.commands, &mut samples);
        self.take_settings(&answers.settings, &info, &login, out);
        let odd = match &answers.slow_log {
            Some(answer) => self.take_slow_log(answer, &login, out),
            None => None,
        };
        if !info.is_loading() {
            self.sample(&mut connection, &login, &info, out).await?;
        }
        let lookups = self.sampler.lookups() as f64;
        let mut samples = self::samples(&self.config, out);
        samples.record(const { id("redis.sample.lookups") }, &[], lookups);
        self.connection = Some((connection, login));
        odd.map_or(Ok(()), Err)
    }
}

fn samples<'a>(config: &'a RedisConfig, out: &'a mut Pass) -> Samples<'a> {
    Samples {
        recorder: &mut out.recorder,
        instance: &config.name,
    }
}

/// The databases and how many keys each has.
fn databases(info: &Info<'_>) -> Vec<(u32, f64)> {
    let size = |figures| super::info::figure_number(figures, "keys").unwrap_or(0.0);
    info.databases
        .iter()
        .map(|(db, figures)| (*db, size(figures)))
        .collect()
}

/// What may be asked about keys now.
fn allowed(rights: &Rights, ts_us: i64) -> HashSet<Right> {
    let all = [
        Right::Scan,
        Right::Select,
        Right::Memory,
        Right::Ttl,
        Right::Frequency,
        Right::Kind,
        Right::Length,
    ];
    all.into_iter()
        .filter(|right| rights.may(*right, ts_us))
        .collect()
}
