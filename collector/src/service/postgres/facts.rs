//! What is known of a server and of our role there: version, restarts, privileges, the extension that
//! counts statements. The decisions are pure.

use super::query::get;
use super::session::{MARK, Session};
use crate::service::ServiceError;

/// The versions that are read.
const OLDEST: u32 = 13;
/// The oldest extension that is read; version 13 brings it.
const OLDEST_STATEMENTS: u32 = 8;

/// What a session learns about its server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// The major version.
    pub(super) version: u32,
    /// When the server was started, in microseconds since 1970 UTC.
    pub(super) started_us: i64,
    pub(super) role: String,
    pub(super) role_oid: u32,
    pub(super) is_superuser: bool,
    /// Whether the statistics of all sessions and statements may be read.
    pub(super) may_monitor: bool,
    /// When the statistics of any database were reset last, in microseconds since 1970 UTC.
    pub(super) reset_us: Option<i64>,
    pub(super) statements: Statements,
}

/// Whether statements are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statements {
    /// They are: the schema, quoted, and the extension's version behind `1.`.
    Counted { schema: String, version: u32 },
    /// The library is loaded, but no extension was created in the database that we connect to.
    NotCreated,
    /// The library is not loaded.
    NotLoaded,
    /// The extension is older than the server.
    TooOld,
}

impl Facts {
    /// Asks for them.
    ///
    /// # Errors
    /// What the server says, or that it is too old.
    pub(super) async fn read(session: &Session) -> Result<Self, ServiceError> {
        let what = "the server's version and our role";
        // Everything here is readable by every role, on every version.
        let sql = format!(
            "SELECT {MARK} current_setting('server_version_num'), \
             (extract(epoch FROM pg_postmaster_start_time()) * 1e6)::int8, \
             r.rolname::text, r.oid, r.rolsuper, pg_has_role('pg_read_all_stats', 'USAGE'), \
             (SELECT (extract(epoch FROM max(stats_reset)) * 1e6)::int8 FROM pg_stat_database), \
             current_setting('pg_stat_statements.max', true), \
             (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'), \
             (SELECT extversion FROM pg_extension WHERE extname = 'pg_stat_statements') \
             FROM pg_roles r WHERE r.rolname = current_user"
        );
        let rows = session.rows(what, &sql, &[]).await?;
        let row = rows.first().ok_or_else(|| ServiceError::Malformed {
            what: what.to_owned(),
            detail: "our own role is not listed".to_owned(),
        })?;
        let number: String = get(row, 0, what)?.unwrap_or_default();
        let version = supported(&number)?;
        let loaded: Option<String> = get(row, 7, what)?;
        let extension: Option<String> = get(row, 9, what)?;
        Ok(Self {
            version,
            started_us: get(row, 1, what)?.unwrap_or_default(),
            role: get(row, 2, what)?.unwrap_or_default(),
            role_oid: get(row, 3, what)?.unwrap_or_default(),
            is_superuser: get(row, 4, what)?.unwrap_or_default(),
            may_monitor: get(row, 5, what)?.unwrap_or_default(),
            reset_us: get(row, 6, what)?,
            statements: statements(loaded.is_some(), get(row, 8, what)?, extension.as_deref()),
        })
    }
}

impl Statements {
    /// What keeps them from being read.
    pub(super) fn problem(&self) -> Result<(), ServiceError> {
        let remedy = match self {
            Self::Counted { .. } => return Ok(()),
            Self::NotLoaded => {
                "set shared_preload_libraries = 'pg_stat_statements', restart the server, and CREATE EXTENSION pg_stat_statements in the database that url names"
            }
            Self::NotCreated => "CREATE EXTENSION pg_stat_statements in the database that url names",
            Self::TooOld => "ALTER EXTENSION pg_stat_statements UPDATE",
        };
        Err(ServiceError::Unavailable {
            what: "pg_stat_statements".to_owned(),
            remedy: remedy.to_owned(),
        })
    }
}

/// The major version of `server_version_num`.
fn supported(number: &str) -> Result<u32, ServiceError> {
    let number: u32 = number.parse().map_err(|_| ServiceError::Malformed {
        what: "server_version_num".to_owned(),
        detail: format!("{number:?} is no number"),
    })?;
    let major = number / 10_000;
    if major < OLDEST {
        return Err(ServiceError::Unavailable {
            what: format!("PostgreSQL {OLDEST} or newer (the server is {major})"),
            remedy: "upgrade the server; older versions are not observed".to_owned(),
        });
    }
    Ok(major)
}

fn statements(loaded: bool, schema: Option<String>, version: Option<&str>) -> Statements {
    let (Some(schema), Some(version)) = (schema, version) else {
        return if loaded {
            Statements::NotCreated
        } else {
            Statements::NotLoaded
        };
    };
    let minor = version.strip_prefix("1.").and_then(|minor| minor.parse().ok());
    match minor {
        _ if !loaded => Statements::NotLoaded,
        Some(version) if version >= OLDEST_STATEMENTS => Statements::Counted { schema, version },
        _ => Statements::TooOld,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused_with_a_remedy() {
        assert_eq!(supported("150020").expect("supported"), 15);
        assert_eq!(supported("190001").expect("newer ones are tried"), 19);
        let error = supported("120022").expect_err("too old").to_string();
        assert!(error.contains("13 or newer") && error.contains("upgrade"), "{error}");
        assert!(supported("fifteen").is_err());
    }

    #[test]
    fn what_keeps_statements_from_being_read_is_told() {
        let schema = || Some("public".to_owned());
        let counted = statements(true, schema(), Some("1.10"));
        let expected = Statements::Counted {
            schema: "public".to_owned(),
            version: 10,
        };
        assert_eq!(counted, expected);
        for (loaded, schema, version, remedy) in [
            (false, None, None, "shared_preload_libraries"),
            (false, schema(), Some("1.10"), "shared_preload_libraries"),
            (true, None, None, "CREATE EXTENSION"),
            (true, schema(), Some("1.7"), "ALTER EXTENSION"),
        ] {
            let error = statements(loaded, schema, version).problem().expect_err("a problem");
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }
}
