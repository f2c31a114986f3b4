//! Where a server is and how it is talked to, from what the configuration says. Pure, but for the
//! password's file and variable.

use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};

use super::PostgresConfig;
use crate::service::ServiceError;

/// What our sessions call themselves.
pub(super) const APPLICATION_NAME: &str = "driftline";
/// Our statements hold back nobody: they give up when they would wait longer than this for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
/// The longest that a connection may take.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Not at all.
    Off,
    /// Where the server can; its certificate is not checked.
    Preferred,
    /// Always; its certificate is not checked.
    Required,
    /// Always, with a trusted certificate for the host's name.
    Verified,
}

/// An address that was understood.
#[derive(Clone)]
pub(super) struct Address {
    /// Everything but the password of a file or a variable.
    pub(super) config: tokio_postgres::Config,
    pub(super) encryption: Encryption,
    /// Host, port and database, for people.
    pub(super) shown: String,
}

impl Address {
    /// Understands the configured address.
    ///
    /// # Errors
    /// What is wrong with it. The address itself is shown without its password.
    pub(super) fn parse(options: &PostgresConfig) -> Result<Self, ServiceError> {
        let wrong = |what: &str| {
            ServiceError::Misconfigured {
            what: format!(
                "collector.postgres {}: url {}: {what}",
                options.name,
                without_password(&options.url)
            ),
            remedy: "write postgresql://user@host:port/database, with ?host=/directory for a Unix socket and special characters as %XX".to_owned(),
        }
        };
        if !options.url.starts_with("postgres://") && !options.url.starts_with("postgresql://") {
            return Err(wrong("it does not begin with postgresql://"));
        }
        let (url, mode) = split_ssl_mode(&options.url);
        let encryption = match mode.as_deref() {
            None | Some("disable") => Encryption::Off,
            Some("prefer") => Encryption::Preferred,
            Some("require") => Encryption::Required,
            Some("verify-full") => Encryption::Verified,
            Some(_) => return Err(wrong("sslmode is disable, prefer, require or verify-full")),
        };
        // The library's own message could quote a part of the password.
        let parsed = url.parse::<tokio_postgres::Config>();
        let mut config = parsed.map_err(|_| wrong("it is not an address"))?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host"));
        }
        let statement_timeout = options.time_out.as_millis();
        let lock_timeout = LOCK_TIMEOUT.as_millis();
        let own = format!(
            "-c default_transaction_read_only=on -c statement_timeout={statement_timeout} -c lock_timeout={lock_timeout}"
        );
        let given = config.get_options().unwrap_or_default();
        let all = format!("{given} {own}");
        config
            .options(all.trim())
            .application_name(APPLICATION_NAME)
            .connect_timeout(options.time_out.min(MAX_CONNECT_TIMEOUT))
            .ssl_mode(match encryption {
                Encryption::Off => SslMode::Disable,
                Encryption::Preferred => SslMode::Prefer,
                Encryption::Required | Encryption::Verified => SslMode::Require,
            });
        let shown = shown(&config);
        Ok(Self {
            config,
            encryption,
            shown,
        })
    }
}

impl Address {
    /// The database that it names, if it names one.
    pub(super) fn database(&self) -> Option<&str> {
        self.config.get_dbname()
    }
}

/// The password that stands in a file or a variable, read anew for every connection, so that it can
/// be changed.
///
/// # Errors
/// A file or a variable that cannot be read.
pub(super) fn password(options: &PostgresConfig) -> Result<Option<String>, ServiceError> {
    let whose = || format!("the password of collector.postgres {:?}", options.name);
    options
        .secret()
        .map(|secret| secret.read(&whose()))
        .transpose()
}

/// The address as it may be shown: without password and options.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.is_empty() { "" } else { "…" }.to_owned();
    };
    // A password may hold anything, so the last @ ends it.
    let (user, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => (credentials.split(':').next(), place),
        None => (None, rest),
    };
    let place = place.split(['?', '#']).next().unwrap_or_default();
    match user {
        Some(user) => format!("{scheme}://{user}@{place}"),
        None => format!("{scheme}://{place}"),
    }
}

/// Takes `sslmode` out of the address: the library does not know all that it may be.
fn split_ssl_mode(url: &str) -> (String, Option<String>) {
    let Some((place, query)) = url.rsplit_once('?') else {
        return (url.to_owned(), None);
    };
    let mut mode = None;
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.strip_prefix("sslmode=") {
            Some(value) => mode = Some(value.to_owned()),
            None => kept.push(pair),
        }
    }
    if kept.is_empty() {
        return (place.to_owned(), mode);
    }
    (format!("{place}?{}", kept.join("&")), mode)
}

fn shown(config: &tokio_postgres::Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => String::new(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config
        .get_dbname()
        .or(config.get_user())
        .unwrap_or_default();
    format!("{host}:{port}/{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> PostgresConfig {
        PostgresConfig {
            url: url.to_owned(),
            ..PostgresConfig::default()
        }
    }

    #[test]
    fn addresses_are_understood() {
        for (url, encryption, shown) in [
            (
                "postgresql://me@db.example:6432/shop",
                Encryption::Off,
                "db.example:6432/shop",
            ),
            (
                "postgresql://me:a%40b@db/shop?sslmode=verify-full",
                Encryption::Verified,
                "db:5432/shop",
            ),
            (
                "postgres://me@/shop?host=/tmp&sslmode=prefer&port=5433",
                Encryption::Preferred,
                "/tmp:5433/shop",
            ),
        ] {
            let address = Address::parse(&options(url)).expect(url);
            assert_eq!(
                (address.encryption, address.shown.as_str()),
                (encryption, shown)
            );
            let given = address.config.get_options().expect("our options");
            assert!(
                given.contains("default_transaction_read_only=on"),
                "{given}"
            );
            assert_eq!(address.config.get_application_name(), Some("driftline"));
        }
    }

    #[test]
    fn wrong_addresses_are_told_without_the_password() {
        for url in [
            "",
            "me:hunter2@db",
            "host=db password=hunter2",
            "postgresql://me:hunter2@db:port/x",
            "postgresql://me:hunter2@db/x?sslmode=verify-ca",
            "postgresql://me:hun?ter2@db/x?sslmode=maybe",
            "postgresql://me:hunter2@/x",
        ] {
            let error = match Address::parse(&options(url)) {
                Ok(address) => panic!("{url} was taken for {}", address.shown),
                Err(error) => error.to_string(),
            };
            assert!(!error.contains("hun") && !error.contains("ter2"), "{error}");
            assert!(error.contains("postgresql://user@host"), "{error}");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let config = options("postgresql://me:hunter2@db:1/x?password=hunter2&options=a@b");
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
        assert_eq!(
            without_password("postgresql://me:hun@ter:2@db:1/x?y=z"),
            "postgresql://me@db:1/x"
        );
    }
}
