//! How to reach the brokers, and what the topics are created with.
//!
//! The password never stands in the configuration, only the place that holds it: it is read when a
//! client is made and given to the client alone, so that no log line and no `Debug` can show it.
//! Talking to the broker is left to the modules beside this one.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use serde::{Deserialize, Serialize};

use crate::LogError;

/// Longest wait between two attempts to reach a broker, in milliseconds.
const RECONNECT_BACKOFF_MAX_MS: u32 = 5_000;
/// How often the list of brokers and partitions is fetched anew, in milliseconds.
const METADATA_REFRESH_MS: u32 = 30_000;

/// Everything about Kafka that an operator can choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Where to find the cluster: `host:port`, several with commas between them.
    pub brokers: String,
    /// The consumer group of the sinks; every sink of the group gets a share of the partitions.
    #[serde(default = "default_group")]
    pub group: String,
    /// Partitions that a topic is created with; more of them allow more sinks.
    #[serde(default = "default_partitions")]
    pub partitions: u32,
    /// Copies of every partition that a topic is created with; 3 on a cluster that should survive
    /// the loss of a broker.
    #[serde(default = "default_replication")]
    pub replication: u16,
    /// Hours for which a topic is created to keep its records.
    #[serde(default = "default_retention_hours")]
    pub retention_hours: u32,
    /// Whether topics that are missing are created when they are first needed.
    #[serde(default = "default_create_topics")]
    pub create_topics: bool,
    /// Encryption and credentials.
    #[serde(default)]
    pub security: Security,
}

/// Encryption and credentials of the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// Whether the connection is encrypted, and whether it asks for credentials.
    pub protocol: Protocol,
    /// How credentials are proved.
    pub mechanism: Mechanism,
    /// The user's name, for the protocols that ask for credentials.
    pub username: Option<String>,
    /// A file that holds the password alone; a line feed at its end is not part of it.
    pub password_file: Option<PathBuf>,
    /// The name of an environment variable that holds the password.
    pub password_env: Option<String>,
    /// Certificates of the authorities to trust, as PEM; without it the system's.
    pub ca_file: Option<PathBuf>,
}

/// Whether the connection is encrypted, and whether it asks for credentials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Neither.
    #[default]
    Plaintext,
    /// Encrypted.
    Ssl,
    /// Credentials over an open connection: only for networks that are trusted.
    SaslPlaintext,
    /// Encrypted, with credentials.
    SaslSsl,
}

/// How credentials are proved to the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// The password itself.
    #[default]
    #[serde(rename = "PLAIN")]
    Plain,
    /// A challenge with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A challenge with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// A password on its way from its place to the client. Its text form shows nothing.
struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

fn default_group() -> String {
    "driftline-sink".to_owned()
}

const fn default_partitions() -> u32 {
    8
}

const fn default_replication() -> u16 {
    1
}

const fn default_retention_hours() -> u32 {
    7 * 24
}

const fn default_create_topics() -> bool {
    true
}

impl KafkaConfig {
    /// A configuration with every default, for the given `host:port,…`.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            group: default_group(),
            partitions: default_partitions(),
            replication: default_replication(),
            retention_hours: default_retention_hours(),
            create_topics: default_create_topics(),
            security: Security::default(),
        }
    }

    /// Says what cannot work, without reading the password or reaching for a broker.
    pub fn check(&self) -> Result<(), LogError> {
        if self
            .brokers
            .split(',')
            .any(|broker| broker.trim().is_empty())
        {
            return Err(wrong(
                "kafka.brokers",
                &self.brokers,
                "write host:port, several with commas",
            ));
        }
        if self.group.is_empty() {
            return Err(wrong(
                "kafka.group",
                "\"\"",
                "name the group that the sinks share",
            ));
        }
        if self.partitions == 0 || i32::try_from(self.partitions).is_err() {
            return Err(wrong(
                "kafka.partitions",
                self.partitions,
                "use at least 1; 8 is the default",
            ));
        }
        if self.replication == 0 || i16::try_from(self.replication).is_err() {
            return Err(wrong(
                "kafka.replication",
                self.replication,
                "use 1, or 3 on a cluster",
            ));
        }
        if self.retention_hours == 0 {
            return Err(wrong(
                "kafka.retention_hours",
                0,
                "use more than the longest outage of a sink",
            ));
        }
        self.security.check()
    }

    /// The settings that every client shares. Reads the password.
    pub(crate) fn client(&self, role: &str) -> Result<ClientConfig, LogError> {
        self.check()?;
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", format!("driftline-{role}"))
            .set("socket.keepalive.enable", "true")
            .set(
                "reconnect.backoff.max.ms",
                RECONNECT_BACKOFF_MAX_MS.to_string(),
            )
            .set(
                "topic.metadata.refresh.interval.ms",
                METADATA_REFRESH_MS.to_string(),
            )
            .set("security.protocol", self.security.protocol.as_str())
            // Down to why a broker has closed a connection, which nothing else tells.
            .set_log_level(RDKafkaLogLevel::Info);
        if let Some(file) = &self.security.ca_file {
            fs::File::open(file).map_err(|source| {
                let remedy = format!(
                    "{source}; name a file with the trusted authorities' certificates as PEM"
                );
                wrong("kafka.security.ca_file", file.display(), &remedy)
            })?;
            client.set("ssl.ca.location", file.display().to_string());
        }
        if self.security.protocol.asks_for_credentials() {
            let username = self.security.username.as_deref().unwrap_or_default();
            client
                .set("sasl.mechanism", self.security.mechanism.as_str())
                .set("sasl.username", username)
                .set("sasl.password", self.security.password()?.0);
        }
        Ok(client)
    }
}

impl Security {
    fn check(&self) -> Result<(), LogError> {
        let sasl = self.protocol.asks_for_credentials();
        let scram = sasl && self.mechanism != Mechanism::Plain;
        if (self.protocol.encrypts() || scram) && !cfg!(feature = "tls") {
            let (option, found) = if self.protocol.encrypts() {
                ("kafka.security.protocol", self.protocol.as_str())
            } else {
                ("kafka.security.mechanism", self.mechanism.as_str())
            };
            return Err(wrong(
                option,
                found,
                "this program was built without TLS; build it with `--features kafka-tls`, which needs \
                 libssl-dev and pkg-config",
            ));
        }
        if let Some(file) = &self.ca_file
            && !self.protocol.encrypts()
        {
            let remedy = "it has no effect on an open connection: use protocol ssl or sasl_ssl";
            return Err(wrong("kafka.security.ca_file", file.display(), remedy));
        }
        if !sasl {
            if self.username.is_some()
                || self.password_file.is_some()
                || self.password_env.is_some()
            {
                let remedy = "credentials need protocol sasl_plaintext or sasl_ssl";
                return Err(wrong(
                    "kafka.security.protocol",
                    self.protocol.as_str(),
                    remedy,
                ));
            }
            return Ok(());
        }
        if self.username.as_deref().is_none_or(str::is_empty) {
            return Err(wrong("kafka.security.username", "(none)", "name the user"));
        }
        match (&self.password_file, &self.password_env) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            (None, None) => Err(wrong(
                "kafka.security.password_file",
                "(none)",
                "name a file, or a variable with kafka.security.password_env",
            )),
            (Some(file), Some(_)) => Err(wrong(
                "kafka.security.password_file",
                file.display(),
                "kafka.security.password_env is set too: keep one of them",
            )),
        }
    }

    fn password(&self) -> Result<Password, LogError> {
        if let Some(file) = &self.password_file {
            let text = fs::read_to_string(file).map_err(|source| {
                let remedy = format!(
                    "{source}; write the password, alone, into a file readable by this user"
                );
                wrong("kafka.security.password_file", file.display(), &remedy)
            })?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            return Ok(Password(text.strip_suffix('\r').unwrap_or(text).to_owned()));
        }
        let name = self.password_env.as_deref().unwrap_or_default();
        std::env::var(name).map(Password).map_err(|_| {
            wrong(
                "kafka.security.password_env",
                name,
                "set this environment variable to the password",
            )
        })
    }
}

impl Protocol {
    /// The word in the configuration, which is also the client's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    const fn asks_for_credentials(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    const fn encrypts(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

impl Mechanism {
    /// The word in the configuration, which is also the protocol's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

fn wrong(option: &'static str, found: impl fmt::Display, remedy: &str) -> LogError {
    LogError::Config {
        option,
        found: found.to_string(),
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn with_password(text: &str) -> (KafkaConfig, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let mut config = KafkaConfig::new("localhost:9092");
        config.security.protocol = Protocol::SaslPlaintext;
        config.security.username = Some("ada".to_owned());
        config.security.password_file = Some(file.path().to_owned());
        (config, file)
    }

    #[test]
    fn only_the_brokers_must_be_given_and_unknown_keys_are_refused() {
        let config: KafkaConfig =
            serde_json::from_str(r#"{"brokers":"a:1,b:2"}"#).expect("defaults for the rest");
        assert_eq!(config, KafkaConfig::new("a:1,b:2"));
        assert!(serde_json::from_str::<KafkaConfig>("{}").is_err());
        let unknown = r#"{"brokers":"a:1","security":{"password":"x"}}"#;
        let error = serde_json::from_str::<KafkaConfig>(unknown).expect_err("no such key");
        assert!(error.to_string().contains("password"), "{error}");
    }

    #[test]
    fn every_configuration_that_cannot_work_names_its_option() {
        type Spoil = fn(&mut KafkaConfig);
        let cases: [(&str, Spoil); 8] = [
            ("kafka.brokers", |c| c.brokers = "a:1,,b:2".to_owned()),
            ("kafka.group", |c| c.group.clear()),
            ("kafka.partitions", |c| c.partitions = 0),
            ("kafka.replication", |c| c.replication = 0),
            ("kafka.retention_hours", |c| c.retention_hours = 0),
            ("kafka.security.username", |c| {
                c.security.protocol = Protocol::SaslPlaintext
            }),
            ("kafka.security.protocol", |c| {
                c.security.username = Some("ada".to_owned())
            }),
            ("kafka.security.ca_file", |c| {
                c.security.ca_file = Some(PathBuf::from("ca.pem"))
            }),
        ];
        for (option, spoil) in cases {
            let mut config = KafkaConfig::new("localhost:9092");
            spoil(&mut config);
            let error = config.check().expect_err(option).to_string();
            assert!(error.starts_with(option), "{option}: {error}");
        }
        assert!(KafkaConfig::new("localhost:9092").check().is_ok());
    }

    #[test]
    fn the_password_reaches_the_client_and_no_text_form() {
        let (config, _file) = with_password("s3cret pass\n");
        let client = config.client("test").expect("complete");
        assert_eq!(client.get("sasl.password"), Some("s3cret pass"));
        for text in [format!("{config:?}"), format!("{client:?}")] {
            assert!(!text.contains("s3cret"), "{text}");
        }
        assert!(!format!("{:?}", config.security.password().expect("read")).contains("s3cret"));
    }

    #[test]
    fn a_password_that_cannot_be_read_says_where_it_was_looked_for() {
        let (mut config, file) = with_password("x");
        file.close().expect("removed");
        let error = config.client("test").expect_err("no file").to_string();
        assert!(
            error.starts_with("kafka.security.password_file = "),
            "{error}"
        );
        config.security.password_file = None;
        config.security.password_env = Some("DRIFTLINE_TEST_VARIABLE_THAT_IS_NOT_SET".to_owned());
        let error = config.client("test").expect_err("no variable").to_string();
        assert!(
            error.contains("DRIFTLINE_TEST_VARIABLE_THAT_IS_NOT_SET"),
            "{error}"
        );
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn encryption_without_the_feature_says_how_to_get_it() {
        let (mut config, _file) = with_password("x");
        config.security.mechanism = Mechanism::ScramSha512;
        assert!(
            config
                .check()
                .expect_err("scram")
                .to_string()
                .contains("kafka-tls")
        );
        config.security = Security {
            protocol: Protocol::Ssl,
            ..Security::default()
        };
        assert!(
            config
                .check()
                .expect_err("ssl")
                .to_string()
                .contains("kafka-tls")
        );
    }
}
