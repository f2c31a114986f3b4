//! Loading a key's value from where it comes from: a read-only query, or a GET.
//!
//! What was captured from the key is only ever a parameter of the query, or a percent-encoded part of
//! the address.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_postgres::{Client, Statement};

use crate::config::{Encoding, LoaderConfig, OptimizerConfig, ServerKind};
use crate::server::{self, ServerError};

/// Most captures of a pattern.
const CAPTURES_MAX: usize = 9;
/// How long a load may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a key could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No loader is configured for the pattern.
    #[error(
        "no [[optimizer.loader]] has the pattern {pattern:?}; without one, warming is advice only"
    )]
    NoLoader {
        /// The pattern.
        pattern: String,
    },
    /// The loader cannot be used.
    #[error("the loader of {pattern:?} cannot be used: {problem}")]
    Loader {
        /// The pattern.
        pattern: String,
        /// Why.
        problem: String,
    },
    /// The server that it asks failed.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The address did not answer with a value.
    #[error("GET for {pattern:?} failed: {problem}")]
    Get {
        /// The pattern.
        pattern: String,
        /// Why.
        problem: String,
    },
}

/// What was asked for a value.
enum Source<'a> {
    Sql(Client, Statement),
    Get(&'a str),
}

/// A loader that is ready.
pub struct Loader<'a> {
    config: &'a LoaderConfig,
    captures: usize,
    value_bytes_max: usize,
    source: Source<'a>,
}

/// The loader that is configured for a pattern.
pub fn find<'a>(config: &'a OptimizerConfig, pattern: &str) -> Result<&'a LoaderConfig, LoadError> {
    let found = config
        .loaders
        .iter()
        .find(|loader| loader.pattern == pattern);
    found.ok_or_else(|| LoadError::NoLoader {
        pattern: pattern.to_owned(),
    })
}

/// What each `*` of `pattern` stands for in `key`; `None` if it does not match. A `*` stands for as
/// little as possible, and for at least one byte; the last for all that is left.
pub fn captures<'k>(pattern: &str, key: &'k str) -> Option<Vec<&'k str>> {
    let mut parts = pattern.split('*');
    let mut rest = key.strip_prefix(parts.next()?)?;
    let mut all = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let end = if parts.peek().is_none() {
            rest.strip_suffix(part)?.len()
        } else {
            rest.char_indices()
                .map(|(at, _)| at)
                .find(|at| *at > 0 && rest[*at..].starts_with(part))?
        };
        if end == 0 {
            return None;
        }
        all.push(&rest[..end]);
        rest = &rest[end + part.len()..];
    }
    Some(all)
}

/// The query of a loader: each capture is a text parameter, and the answer one text.
fn query(loader: &LoaderConfig, sql: &str, captures: usize) -> String {
    let mut inner = sql.trim().trim_end_matches(';').to_owned();
    for number in 1..=captures {
        inner = inner.replace(&format!("{{{number}}}"), &format!("(${number}::text)"));
    }
    match loader.encoding {
        Encoding::Text => format!("SELECT l.value::text FROM ({inner}) AS l(value) LIMIT 1"),
        Encoding::Json => format!("SELECT row_to_json(l)::text FROM ({inner}) AS l LIMIT 1"),
    }
}

/// The address of a loader, with each capture percent-encoded.
fn address(template: &str, captures: &[&str]) -> String {
    let mut address = template.to_owned();
    for (at, capture) in captures.iter().enumerate() {
        address = address.replace(&format!("{{{}}}", at + 1), &percent_encoded(capture));
    }
    address
}

/// Everything but the unreserved characters of RFC 3986 is encoded, so that a key cannot leave its
/// place in the address.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

impl<'a> Loader<'a> {
    /// Opens what the loader of `pattern` needs.
    pub async fn open(config: &'a OptimizerConfig, pattern: &str) -> Result<Self, LoadError> {
        let loader = find(config, pattern)?;
        let captures = loader.pattern.matches('*').count();
        let problem = |problem: &str| LoadError::Loader {
            pattern: pattern.to_owned(),
            problem: problem.to_owned(),
        };
        if captures > CAPTURES_MAX || loader.pattern.contains("**") {
            return Err(problem(
                "its pattern has more than 9 captures, or two without text between",
            ));
        }
        let source = match (&loader.sql, &loader.get, &loader.server) {
            (Some(sql), None, Some(name)) => {
                let server = server::find(config, name, ServerKind::Postgres)?;
                let client = server::postgres(config, server, None).await?;
                let failed = |source| server::failed(server, source);
                let text = format!(
                    "SET default_transaction_read_only = on; SET statement_timeout = {}",
                    LOAD_TIMEOUT.as_millis()
                );
                client.batch_execute(&text).await.map_err(failed)?;
                let prepared = client
                    .prepare(&query(loader, sql, captures))
                    .await
                    .map_err(failed)?;
                Source::Sql(client, prepared)
            }
            (None, Some(get), _) => Source::Get(get),
            _ => return Err(problem("it needs sql with server, or get")),
        };
        Ok(Self {
            config: loader,
            captures,
            value_bytes_max: config.warm.value_bytes_max,
            source,
        })
    }

    /// How long a value lives.
    pub const fn ttl(&self) -> Duration {
        self.config.ttl
    }

    /// The value of a key; `None` if the key does not fit the pattern, there is no value, or it is too
    /// long.
    pub async fn load(&self, key: &str) -> Result<Option<Vec<u8>>, LoadError> {
        let Some(found) = captures(&self.config.pattern, key) else {
            return Ok(None);
        };
        debug_assert_eq!(found.len(), self.captures);
        let value = match &self.source {
            Source::Sql(client, statement) => self.select(client, statement, &found).await?,
            Source::Get(template) => self.get(&address(template, &found)).await?,
        };
        Ok(value.filter(|v| v.len() <= self.value_bytes_max))
    }

    async fn select(
        &self,
        client: &Client,
        statement: &Statement,
        captures: &[&str],
    ) -> Result<Option<Vec<u8>>, LoadError> {
        // A query need not use every capture.
        let wanted = statement.params().len();
        let texts = captures.iter().take(wanted);
        let parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            texts.map(|text| text as _).collect();
        let row = client
            .query_opt(statement, &parameters)
            .await
            .map_err(|source| LoadError::Loader {
                pattern: self.config.pattern.clone(),
                problem: server::told(&source),
            })?;
        Ok(row
            .and_then(|row| row.get::<_, Option<String>>(0))
            .map(String::into_bytes))
    }

    async fn get(&self, address: &str) -> Result<Option<Vec<u8>>, LoadError> {
        let failed = |problem: String| LoadError::Get {
            pattern: self.config.pattern.clone(),
            problem,
        };
        tokio::time::timeout(LOAD_TIMEOUT, get(address, self.value_bytes_max))
            .await
            .map_err(|_| failed(format!("no answer within {LOAD_TIMEOUT:?}")))?
            .map_err(failed)
    }
}

/// The body of a 200; `None` of a 404.
async fn get(address: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let uri: hyper::Uri = address.parse().map_err(|e| told(&e))?;
    if uri.scheme_str() != Some("http") {
        return Err("only http:// is supported".to_owned());
    }
    let host = uri.host().ok_or("the address has no host")?;
    let port = uri.port_u16().unwrap_or(80);
    let bare = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((bare, port))
        .await
        .map_err(|e| told(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| told(&e))?;
    let task = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header("host", format!("{host}:{port}"))
        .body(Empty::<Bytes>::new())
        .map_err(|e| told(&e))?;
    let response = sender.send_request(request).await.map_err(|e| told(&e))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), bytes_max)
        .collect()
        .await;
    task.abort();
    match status.as_u16() {
        200 => Ok(Some(body.map_err(|e| told(&e))?.to_bytes().to_vec())),
        404 => Ok(None),
        other => Err(format!("status {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_capture_what_their_stars_stand_for() {
        let cases: [(&str, &str, Option<&[&str]>); 8] = [
            ("product:*", "product:12", Some(&["12"])),
            ("product:*", "product:", None),
            ("product:*", "user:12", None),
            ("u:*:cart", "u:7:cart", Some(&["7"])),
            ("u:*:cart", "u:7:cards", None),
            ("u:*:o:*", "u:7:o:8:9", Some(&["7", "8:9"])),
            ("*", "ü", Some(&["ü"])),
            ("a*a", "a", None),
        ];
        for (pattern, key, expected) in cases {
            let found = captures(pattern, key);
            assert_eq!(found.as_deref(), expected, "{pattern} {key}");
        }
    }

    #[test]
    fn a_key_is_a_parameter_of_the_query_and_encoded_in_the_address() {
        let loader = LoaderConfig {
            pattern: "p:*".to_owned(),
            server: None,
            sql: None,
            get: None,
            encoding: Encoding::Json,
            ttl: Duration::from_secs(60),
        };
        assert_eq!(
            query(&loader, "SELECT name FROM p WHERE id = {1}::int;", 1),
            "SELECT row_to_json(l)::text FROM (SELECT name FROM p WHERE id = ($1::text)::int) AS l LIMIT 1"
        );
        assert_eq!(
            address("http://h/p/{1}?x={2}", &["../a b", "1&y=2"]),
            "http://h/p/%2E%2E%2Fa%20b?x=1%26y%3D2"
        );
    }
}
