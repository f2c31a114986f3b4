//! Headers of probes' requests. Secrets come from files or the environment and are read at each pass,
//! so that a new token needs no restart.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::service::ServiceError;
use crate::service::secret::Secret;

/// Headers whose values are secrets, so that they must not stand in the configuration.
const SECRET: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-api-key",
];
/// The longest value.
const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Headers by their names.
pub(crate) type Headers = BTreeMap<String, HeaderSource>;

/// Where a header's value comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum HeaderSource {
    /// The configuration itself.
    Plain(String),
    /// A file, without the line break at its end.
    File {
        /// Its path.
        file: PathBuf,
    },
    /// A variable of the environment.
    Env {
        /// Its name.
        env: String,
    },
}

impl fmt::Debug for HeaderSource {
    /// Shows no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(…)"),
            Self::File { file } => f.debug_struct("File").field("file", file).finish(),
            Self::Env { env } => f.debug_struct("Env").field("env", env).finish(),
        }
    }
}

impl HeaderSource {
    /// Where the value is, if not in the configuration itself.
    pub(crate) fn secret(&self) -> Option<Secret> {
        match self {
            Self::Plain(_) => None,
            Self::File { file } => Some(Secret::File(file.clone())),
            Self::Env { env } => Some(Secret::Env(env.clone())),
        }
    }
}

/// The headers as they are to be sent now.
pub(crate) fn read(headers: &Headers) -> Result<HeaderMap, ServiceError> {
    let mut map = HeaderMap::new();
    for (name, source) in headers {
        let refuse = |what: &str, remedy: &str| ServiceError::Misconfigured {
            what: format!("the header {name} {what}"),
            remedy: remedy.to_owned(),
        };
        let whose = format!("the header {name}");
        let parsed = HeaderName::try_from(name.as_str())
            .map_err(|_| refuse("is not a header's name", "use letters, digits and hyphens"))?;
        let value = match source {
            HeaderSource::Plain(_) if SECRET.contains(&parsed.as_str()) => {
                return Err(refuse(
                    "is a secret",
                    "write { file = \"…\" } or { env = \"…\" } instead of its value",
                ));
            }
            HeaderSource::Plain(value) => value.clone(),
            HeaderSource::File { file } => Secret::File(file.clone()).read(&whose)?,
            HeaderSource::Env { env } => Secret::Env(env.clone()).read(&whose)?,
        };
        let mut value = HeaderValue::try_from(value)
            .ok()
            .filter(|value| value.len() <= MAX_VALUE_BYTES)
            .ok_or_else(|| refuse("has a value that cannot be sent", "use visible ASCII"))?;
        value.set_sensitive(true);
        map.insert(parsed, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_files_and_never_show() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("token");
        std::fs::write(&file, "Bearer hush\n").expect("writable");
        let headers = Headers::from([
            ("Authorization".to_owned(), HeaderSource::File { file }),
            ("Accept".to_owned(), HeaderSource::Plain("hush".to_owned())),
        ]);
        let map = read(&headers).expect("valid");
        assert_eq!(map.get("authorization").expect("read"), "Bearer hush");
        assert!(!format!("{headers:?} {map:?}").contains("hush"));
    }

    #[test]
    fn what_cannot_be_sent_is_named_without_its_value() {
        let plain = |text: &str| HeaderSource::Plain(text.to_owned());
        let missing = HeaderSource::File {
            file: PathBuf::from("/nowhere/token"),
        };
        let unset = HeaderSource::Env {
            env: "DRIFTLINE_TEST_UNSET".to_owned(),
        };
        for (name, source) in [
            ("Authorization", plain("hush")),
            ("Bad name", plain("x")),
            ("X-Bad", plain("hush\nX: y")),
            ("X-Missing", missing),
            ("X-Unset", unset),
        ] {
            let headers = Headers::from([(name.to_owned(), source)]);
            let error = read(&headers).expect_err(name).to_string();
            assert!(error.contains(name) && !error.contains("hush"), "{error}");
        }
    }
}
