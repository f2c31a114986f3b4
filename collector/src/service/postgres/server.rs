//! One server: what is read at which pass, and what is told about the server itself.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use driftline_schemas::metric::catalogue::id;
use driftline_schemas::{Component, Event, EventName};
use tokio_postgres::types::Type;

use super::address::Address;
use super::blockers::{Waiting, heads};
use super::facts::{Facts, Statements};
use super::query::{Reader, get};
use super::relations::{Limits, Place, RelationReader};
use super::session::{MARK, Session};
use super::settings::{Changed, Settings};
use super::statements::{Reading, StatementReader};
use super::{PostgresConfig, discovery, views};
use crate::health::Health;
use crate::service::{Pass, Service, ServiceError};
use crate::tick::micros;

/// Of a queue only so many sessions are looked at, and only so many heads are named.
const MAX_WAITING: usize = 100;
const MAX_HEADS: usize = 5;
/// A server that was found and lets us not in is tried again after so long: each try is a line in its log.
const TRIED_AGAIN_US: i64 = 600_000_000;

/// A server that is observed.
pub(super) struct PostgresServer {
    options: PostgresConfig,
    subject: String,
    /// Whether its place is yet to be found.
    discovered: bool,
    /// When a server that was found refused us.
    refused_us: Option<i64>,
    /// Taken out while a pass runs, so that one that is given up takes its session with it.
    link: Option<Link>,
    known: Option<Facts>,
    health: Health,
    statements: StatementReader,
    relations: RelationReader,
    settings: Settings,
    /// When each part that is read more rarely was read last.
    read_us: BTreeMap<&'static str, i64>,
    role_told: bool,
}

/// A session and what was prepared for it.
struct Link {
    session: Session,
    address: Address,
    options: PostgresConfig,
    facts: Facts,
    views: Vec<Reader>,
    sizes: Option<Reader>,
}

impl PostgresServer {
    /// A configured server.
    pub(super) fn new(options: PostgresConfig) -> Self {
        Self {
            subject: format!("postgres.{}", options.name),
            options,
            discovered: false,
            refused_us: None,
            link: None,
            known: None,
            health: Health::default(),
            statements: StatementReader::default(),
            relations: RelationReader::default(),
            settings: Settings::default(),
            read_us: BTreeMap::new(),
            role_told: false,
        }
    }

    /// The server of this machine, whenever there is one.
    pub(super) fn discovered() -> Self {
        let mut server = Self::new(PostgresConfig {
            name: "local".to_owned(),
            ..PostgresConfig::default()
        });
        server.discovered = true;
        server
    }

    /// Connects where there is no session; `None` where no server is to be found.
    async fn link(&mut self, out: &mut Pass) -> Result<Option<Link>, ServiceError> {
        if let Some(mut link) = self.link.take().filter(|link| !link.session.is_closed()) {
            link.facts = Facts::read(&link.session).await?;
            return Ok(Some(link));
        }
        self.statements.session_ended();
        if !self.discovered {
            return connect(&self.options, out).await.map(Some);
        }
        let waits = self.refused_us.is_some_and(|us| out.ts_us() - us < TRIED_AGAIN_US);
        let mut last = None;
        for options in discovery::look(&self.options) {
            if waits {
                return Err(ServiceError::Unavailable {
                    what: "a session with the server that was found".to_owned(),
                    remedy: "configure [[collector.postgres]]".to_owned(),
                });
            }
            match connect(&options, out).await {
                Ok(link) => return Ok(Some(link)),
                Err(error) => last = Some(error),
            }
        }
        self.refused_us = last.is_some().then(|| out.ts_us());
        last.map_or(Ok(None), Err)
    }

    /// Whether a part is due, and notes that it is read now.
    fn is_due(&mut self, part: &'static str, every: Duration, ts_us: i64) -> bool {
        let due = is_due(self.read_us.get(part).copied(), ts_us, micros(every));
        if due {
            self.read_us.insert(part, ts_us);
        }
        due
    }

    /// A part that fails is told once; the others go on.
    fn part(&mut self, part: &str, outcome: Result<(), ServiceError>, out: &mut Pass) {
        let subject = format!("{}/{part}", self.subject);
        let outcome = outcome.map_err(|error| error.to_string());
        let told = self.health.observe(Component::Postgres, &subject, outcome, out.ts_us());
        out.events.extend(told);
    }

    fn event(&self, name: EventName, message: String, attributes: &[(&str, &str)], out: &mut Pass) {
        let instance = ("service.instance.id", self.options.name.as_str());
        let attributes = std::iter::once(&instance).chain(attributes);
        out.events.push(Event {
            ts_us: out.ts_us(),
            name,
            component: Component::Postgres,
            subject: self.subject.clone(),
            message,
            attributes: attributes
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        });
    }

    /// Tells what has happened to the server and its statistics, and what is odd about our role.
    fn tell_facts(&mut self, facts: &Facts, out: &mut Pass) {
        let before = self.known.replace(facts.clone());
        if let Some(before) = &before {
            if before.started_us != facts.started_us {
                let message = format!("{} was started anew", self.subject);
                self.event(EventName::ServerRestarted, message, &[], out);
            } else if before.reset_us != facts.reset_us && before.reset_us.is_some() {
                let message = format!("statistics of {} were set back to zero", self.subject);
                self.event(EventName::StatisticsReset, message, &[], out);
            }
        }
        if facts.is_superuser && !self.role_told {
            let role = ("postgresql.rolname", facts.role.as_str());
            let message = format!(
                "the role {} is a superuser, which observing does not need: create one with pg_monitor alone, as documented",
                facts.role
            );
            self.event(EventName::RoleTooPowerful, message, &[role], out);
        }
        self.role_told = facts.is_superuser;
        let privilege = if facts.may_monitor {
            Ok(())
        } else {
            Err(ServiceError::Unavailable {
                what: "what other roles do".to_owned(),
                remedy: format!("GRANT pg_monitor TO {}", facts.role),
            })
        };
        self.part("privilege", privilege, out);
    }

    async fn read(&mut self, link: &mut Link, out: &mut Pass) -> Result<(), ServiceError> {
        let facts = link.facts.clone();
        self.tell_facts(&facts, out);
        let name = self.options.name.clone();
        for (section, view) in link.views.iter_mut().enumerate() {
            out.recorder.begin_section(section);
            view.read(&link.session, &name, out).await?;
        }
        out.recorder.begin_section(SECTION_BLOCKED);
        read_blocked(&link.session, facts.version, &name, out).await?;
        let databases = databases(&link.session).await?;
        if self.is_due("statements", self.options.statements_every, out.ts_us()) {
            out.recorder.begin_section(SECTION_STATEMENTS);
            let outcome = self.read_statements(link, &databases, out).await;
            self.part("statements", outcome, out);
        }
        if self.is_due("tables", self.options.tables_every, out.ts_us()) {
            out.recorder.begin_section(SECTION_SLOW);
            let outcome = self.read_settings(link, out).await;
            self.part("settings", outcome, out);
            if let Some(sizes) = &mut link.sizes {
                let outcome = sizes.read(&link.session, &name, out).await;
                self.part("sizes", outcome, out);
            }
            self.read_relations(link, &databases, out).await;
        }
        Ok(())
    }

    async fn read_statements(
        &mut self,
        link: &Link,
        databases: &[(u32, String)],
        out: &mut Pass,
    ) -> Result<(), ServiceError> {
        link.facts.statements.problem()?;
        let Statements::Counted { schema, version } = &link.facts.statements else {
            return Ok(());
        };
        let reading = Reading {
            instance: &self.options.name,
            subject: &self.subject,
            schema,
            version: *version,
            own_role: link.facts.role_oid,
            max: self.options.max_statements,
            top: self.options.top_statements,
            databases: &databases.iter().cloned().collect::<HashMap<_, _>>(),
        };
        if self.statements.read(&link.session, &reading, out).await? {
            let message = format!("pg_stat_statements of {} was reset", self.subject);
            self.event(EventName::StatisticsReset, message, &[], out);
        }
        Ok(())
    }

    async fn read_settings(&mut self, link: &Link, out: &mut Pass) -> Result<(), ServiceError> {
        let name = self.options.name.clone();
        for changed in self.settings.read(&link.session, &name, out).await? {
            let Changed { name, from, to } = &changed;
            let message = format!("{name} of {} was changed from {from} to {to}", self.subject);
            let attributes = [
                ("postgresql.setting.name", name.as_str()),
                ("from", from),
                ("to", to),
            ];
            self.event(EventName::SettingChanged, message, &attributes, out);
        }
        Ok(())
    }

    /// One session after the other, so that none stays in a database that somebody wants to drop.
    async fn read_relations(&mut self, link: &Link, databases: &[(u32, String)], out: &mut Pass) {
        let free_space_every = self.options.free_space_every;
        let with_space =
            free_space_every.is_some_and(|every| self.is_due("free space", every, out.ts_us()));
        let chosen = databases.len().min(self.options.max_databases);
        let mut left = Limits {
            tables: self.options.max_tables,
            indexes: self.options.max_indexes,
        };
        for (at, (_, database)) in databases.iter().take(chosen).enumerate() {
            let place = Place {
                instance: &self.options.name.clone(),
                subject: &self.subject.clone(),
                database,
                version: link.facts.version,
                limits: left.share(chosen - at),
            };
            let outcome = self.read_database(link, &place, with_space, out).await;
            if let Ok(counts) = &outcome {
                left.tables = left.tables.saturating_sub(counts.tables);
                left.indexes = left.indexes.saturating_sub(counts.indexes);
            }
            self.part(&format!("database {database}"), outcome.map(drop), out);
        }
        let all = if databases.len() > chosen {
            Err(ServiceError::TooMany {
                things: "databases",
                limit: chosen,
                remedy: "raise max_databases".to_owned(),
            })
        } else {
            Ok(())
        };
        self.part("databases", all, out);
    }

    async fn read_database(
        &mut self,
        link: &Link,
        place: &Place<'_>,
        with_space: bool,
        out: &mut Pass,
    ) -> Result<Limits, ServiceError> {
        let other;
        let session = if link.address.database() == Some(place.database) {
            &link.session
        } else {
            let database = Some(place.database);
            other = Session::connect(&link.address, &link.options, database, out).await?;
            &other
        };
        let counts = self.relations.read(session, place, out).await?;
        if with_space {
            let outcome = self.relations.free_space(session, place, out).await;
            self.part(&format!("free space of {}", place.database), outcome, out);
        }
        Ok(counts)
    }
}

#[async_trait]
impl Service for PostgresServer {
    fn component(&self) -> Component {
        Component::Postgres
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn interval(&self) -> Duration {
        self.options.interval
    }

    fn time_out(&self) -> Duration {
        self.options.time_out
    }

    async fn pass(&mut self, out: &mut Pass) -> Result<(), ServiceError> {
        let linked = self.link(out).await;
        match linked {
            Ok(Some(mut link)) => {
                let outcome = self.read(&mut link, out).await;
                self.link = Some(link);
                outcome
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What is recorded in much the same order each time, beside the views.
const SECTION_BLOCKED: usize = views::EVERY_PASS.len();
const SECTION_STATEMENTS: usize = SECTION_BLOCKED + 1;
const SECTION_SLOW: usize = SECTION_STATEMENTS + 1;

/// Whether a multiple of the interval lies between two passes.
fn is_due(last_us: Option<i64>, ts_us: i64, every_us: i64) -> bool {
    let every_us = every_us.max(1);
    last_us.is_none_or(|last_us| last_us.div_euclid(every_us) != ts_us.div_euclid(every_us))
}

async fn connect(options: &PostgresConfig, out: &Pass) -> Result<Link, ServiceError> {
    let address = Address::parse(options)?;
    let session = Session::connect(&address, options, None, out).await?;
    let facts = Facts::read(&session).await?;
    let readers = views::EVERY_PASS.iter();
    Ok(Link {
        views: readers.filter_map(|view| Reader::new(view, facts.version)).collect(),
        sizes: Reader::new(&views::SIZES, facts.version),
        session,
        address,
        options: options.clone(),
        facts,
    })
}

/// The databases that can be connected to, those in use first.
async fn databases(session: &Session) -> Result<Vec<(u32, String)>, ServiceError> {
    let what = "pg_database";
    let sql = format!(
        "SELECT {MARK} d.oid, d.datname::text FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid \
         WHERE d.datallowconn AND NOT d.datistemplate AND has_database_privilege(d.oid, 'CONNECT') \
         ORDER BY coalesce(s.tup_returned + s.tup_fetched, 0) DESC, d.oid LIMIT 100"
    );
    let mut databases = Vec::new();
    for row in session.rows(what, &sql, &[]).await? {
        if let (Some(oid), Some(name)) = (get(&row, 0, what)?, get(&row, 1, what)?) {
            databases.push((oid, name));
        }
    }
    Ok(databases)
}

/// Who waits for locks, for how long, and for whom.
async fn read_blocked(
    session: &Session,
    version: u32,
    instance: &str,
    out: &mut Pass,
) -> Result<(), ServiceError> {
    let what = "sessions that wait for locks";
    // When the wait itself began is known from version 14 on.
    let since = if version >= 14 {
        "coalesce((SELECT min(l.waitstart) FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted), a.query_start)"
    } else {
        "a.query_start"
    };
    let sql = format!(
        "SELECT {MARK} a.pid, pg_blocking_pids(a.pid), coalesce(extract(epoch FROM clock_timestamp() - {since}), 0)::float8 \
         FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock' LIMIT {MAX_WAITING}"
    );
    let mut waiting = Vec::new();
    let mut longest_s = 0.0_f64;
    for row in session.rows(what, &sql, &[]).await? {
        let one = Waiting {
            pid: get(&row, 0, what)?.unwrap_or_default(),
            blocked_by: get(&row, 1, what)?.unwrap_or_default(),
        };
        longest_s = longest_s.max(get(&row, 2, what)?.unwrap_or_default());
        waiting.push(one);
    }
    let instance = ("service.instance.id", instance);
    let count = const { id("postgresql.sessions.blocked") };
    out.recorder.record(count, &mut [instance], waiting.len() as f64);
    let longest = const { id("postgresql.sessions.blocked_duration.max") };
    out.recorder.record(longest, &mut [instance], longest_s);
    let mut heads = heads(&waiting);
    heads.truncate(MAX_HEADS);
    if heads.is_empty() {
        return Ok(());
    }
    let pids: Vec<i32> = heads.iter().map(|(pid, _)| *pid).collect();
    let sql = format!(
        "SELECT {MARK} pid, coalesce(datname, '')::text, coalesce(usename, '')::text, coalesce(application_name, ''), \
         CASE WHEN state LIKE 'idle in transaction%' THEN 'idle_in_transaction' ELSE coalesce(state, 'other') END \
         FROM pg_stat_activity WHERE pid = ANY($1)"
    );
    for row in session.rows(what, &sql, &[(&pids, Type::INT4_ARRAY)]).await? {
        let pid: i32 = get(&row, 0, what)?.unwrap_or_default();
        let Some((_, sessions)) = heads.iter().find(|head| head.0 == pid) else {
            continue;
        };
        let text = |at| get::<&str>(&row, at, what).map(Option::unwrap_or_default);
        let pid = pid.to_string();
        let labels = &mut [
            instance,
            ("postgresql.pid", pid.as_str()),
            ("postgresql.database.name", text(1)?),
            ("postgresql.rolname", text(2)?),
            ("postgresql.application_name", text(3)?),
            ("postgresql.state", text(4)?),
        ];
        let metric = const { id("postgresql.blocker.sessions") };
        out.recorder.record(metric, labels, *sessions as f64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_due_once_per_interval() {
        assert!(is_due(None, 5, 30));
        assert!(!is_due(Some(30), 59, 30));
        assert!(is_due(Some(59), 60, 30));
        assert!(is_due(Some(10), 100, 30), "after a pause");
        assert!(is_due(Some(90), 10, 30), "the clock was set back");
    }
}
