//! What can be configured: the section `[collector]` of `driftline.toml`. Every key has a default,
//! unknown keys are errors.
//!
//! Reading files and the environment is left to the binaries.

pub mod duration;
mod filter;
mod validate;

use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_eventlog::spool::SpoolConfig;
use driftline_schemas::ProducerId;
use serde::{Deserialize, Serialize};

pub use crate::service::access_log::AccessLogConfig;
pub use crate::service::http::HttpProbeConfig;
pub use crate::service::otlp::OtlpConfig;
pub use crate::service::postgres::PostgresConfig;
pub use crate::service::redis::RedisConfig;
pub use crate::service::remote_write::RemoteWriteConfig;
pub use crate::service::scrape::ScrapeConfig;
pub use crate::service::websocket::WebsocketProbeConfig;
pub use filter::NameFilter;
pub(crate) use filter::matches_any;
pub use validate::ConfigError;

/// The shortest interval of ticks.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The longest one, and the longest time between two syncs.
pub(crate) const MAX_INTERVAL: Duration = Duration::from_secs(3_600);
/// What follows the host's name in the default producer id.
const PRODUCER_SUFFIX: &str = "-collector";
/// The longest producer id, as `schemas` has it.
const MAX_PRODUCER_CHARS: usize = 64;

/// The collector's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The producer's id in the log; by default the host's name and `-collector`.
    pub producer: Option<String>,
    /// The host's name in the tables; by default what the system calls itself.
    pub hostname: Option<String>,
    /// How often the components are collected, on whole multiples of the wall clock.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How often the spool is synced; by default every second, or every 5 where Kafka is configured.
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub sync_every: Option<Duration>,
    /// How many blocks wait in memory while the spool cannot be written; then the oldest go.
    pub queue_blocks: usize,
    /// The machine itself.
    pub host: HostConfig,
    /// Its processes.
    pub process: ProcessConfig,
    /// Its control groups.
    pub cgroup: CgroupConfig,
    /// Which services are looked for on this machine.
    pub discover: DiscoverConfig,
    /// PostgreSQL servers.
    pub postgres: Vec<PostgresConfig>,
    /// Redis servers.
    pub redis: Vec<RedisConfig>,
    /// HTTP APIs that are probed.
    pub http: Vec<HttpProbeConfig>,
    /// Access logs of HTTP servers.
    pub access_log: Vec<AccessLogConfig>,
    /// WebSocket services that are probed.
    pub websocket: Vec<WebsocketProbeConfig>,
    /// Exporters in the Prometheus and OpenMetrics text formats.
    pub prometheus: Vec<ScrapeConfig>,
    /// The receiver of OTLP.
    pub otlp: OtlpConfig,
    /// The receiver of the Prometheus remote-write protocol.
    pub remote_write: RemoteWriteConfig,
    /// The local log: the section `[spool]`, which other roles share.
    #[serde(skip)]
    pub spool: SpoolConfig,
    /// Where the log is forwarded to, the section `[kafka]`; left out, it stays on this machine.
    #[cfg(feature = "kafka")]
    #[serde(skip)]
    pub kafka: Option<driftline_eventlog::kafka::KafkaConfig>,
}

/// What is collected of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostConfig {
    /// Whether it is collected at all.
    pub enabled: bool,
    /// How often; rounded up to whole ticks.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// Where the kernel's process file system is mounted.
    pub proc: PathBuf,
    /// Which disks; partitions only where `include` names them.
    pub disks: NameFilter,
    /// Which network interfaces.
    pub interfaces: NameFilter,
    /// Whether TCP connections are counted by state. The kernel walks its whole table for that,
    /// which takes milliseconds even when it is nearly empty.
    pub connection_states: bool,
    /// Which file systems.
    pub filesystems: FilesystemsConfig,
}

/// Which file systems are collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesystemsConfig {
    /// Types that are left out; `*` stands for any text.
    pub exclude_types: Vec<String>,
}

/// What is collected of processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessConfig {
    /// Whether they are collected at all.
    pub enabled: bool,
    /// How often the chosen processes are collected; rounded up to whole ticks.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How often all processes are looked at to choose among them.
    #[serde(with = "duration")]
    pub scan_every: Duration,
    /// So many of those that use most CPU time, and so many of those that use most memory.
    pub top: usize,
    /// Names of executables that are always collected; `*` stands for any text.
    pub names: Vec<String>,
    /// At most so many processes in all.
    pub max: usize,
}

/// What is collected of control groups (version 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CgroupConfig {
    /// Whether they are collected at all.
    pub enabled: bool,
    /// How often; rounded up to whole ticks.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How often the tree is walked for new groups.
    #[serde(with = "duration")]
    pub scan_every: Duration,
    /// So many levels below the root.
    pub depth: usize,
    /// At most so many groups.
    pub max: usize,
}

/// Which services are looked for on this machine, at their usual addresses, where the configuration
/// names none of their kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoverConfig {
    /// PostgreSQL servers.
    pub postgres: bool,
    /// Redis servers.
    pub redis: bool,
}

impl DiscoverConfig {
    /// Looks for nothing.
    pub fn nothing() -> Self {
        Self {
            postgres: false,
            redis: false,
        }
    }
}

impl Default for DiscoverConfig {
    fn default() -> Self {
        Self {
            postgres: true,
            redis: true,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            producer: None,
            hostname: None,
            interval: Duration::from_secs(1),
            sync_every: None,
            queue_blocks: 300,
            host: HostConfig::default(),
            process: ProcessConfig::default(),
            cgroup: CgroupConfig::default(),
            discover: DiscoverConfig::default(),
            postgres: Vec::new(),
            redis: Vec::new(),
            http: Vec::new(),
            access_log: Vec::new(),
            websocket: Vec::new(),
            prometheus: Vec::new(),
            otlp: OtlpConfig::default(),
            remote_write: RemoteWriteConfig::default(),
            spool: SpoolConfig::default(),
            #[cfg(feature = "kafka")]
            kafka: None,
        }
    }
}

impl Default for HostConfig {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            enabled: true,
            interval: Duration::from_secs(1),
            proc: PathBuf::from("/proc"),
            disks: NameFilter {
                include: Vec::new(),
                exclude: names(&["loop*", "ram*", "zram*", "fd*", "sr*"]),
            },
            interfaces: NameFilter {
                include: Vec::new(),
                exclude: names(&["veth*"]),
            },
            connection_states: false,
            filesystems: FilesystemsConfig::default(),
        }
    }
}

impl Default for FilesystemsConfig {
    /// Types without space of their own, and those whose server may be away.
    fn default() -> Self {
        const VIRTUAL: [&str; 30] = [
            "autofs",
            "binfmt_misc",
            "bpf",
            "cgroup",
            "cgroup2",
            "configfs",
            "debugfs",
            "devpts",
            "devtmpfs",
            "efivarfs",
            "fuse*",
            "hugetlbfs",
            "iso9660",
            "mqueue",
            "nsfs",
            "overlay",
            "proc",
            "pstore",
            "ramfs",
            "rootfs",
            "rpc_pipefs",
            "securityfs",
            "selinuxfs",
            "squashfs",
            "sysfs",
            "tmpfs",
            "tracefs",
            "erofs",
            "fusectl",
            "nfsd",
        ];
        const NETWORK: [&str; 8] = [
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "ceph",
            "9p",
            "glusterfs",
            "afs",
        ];
        let all = VIRTUAL.iter().chain(&NETWORK);
        Self {
            exclude_types: all.map(|&kind| kind.to_owned()).collect(),
        }
    }
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(1),
            scan_every: Duration::from_secs(10),
            top: 5,
            names: Vec::new(),
            max: 50,
        }
    }
}

impl Default for CgroupConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(5),
            scan_every: Duration::from_secs(30),
            depth: 3,
            max: 100,
        }
    }
}

impl Config {
    /// Keeps what services must remember over restarts below the data directory, where the
    /// configuration does not say otherwise.
    pub(crate) fn with_state_below(mut self, data_dir: &Path) -> Self {
        for log in &mut self.access_log {
            log.state_dir
                .get_or_insert_with(|| data_dir.join("state/access-log"));
        }
        self
    }

    /// How often the spool is synced.
    pub fn sync_every(&self) -> Duration {
        self.sync_every
            .unwrap_or(Duration::from_secs(if self.ships() { 5 } else { 1 }))
    }

    /// Whether the log is forwarded to Kafka.
    pub fn ships(&self) -> bool {
        #[cfg(feature = "kafka")]
        return self.kafka.is_some();
        #[cfg(not(feature = "kafka"))]
        false
    }

    /// The producer's id on a host of this name.
    ///
    /// # Errors
    /// When the configured id is not one.
    pub fn producer_id(&self, hostname: &str) -> Result<ProducerId, ConfigError> {
        let text = self
            .producer
            .clone()
            .unwrap_or_else(|| default_producer(hostname));
        ProducerId::new(&text).map_err(|source| ConfigError::Producer {
            found: text,
            source,
        })
    }
}

/// The host's name with everything replaced that a producer's id cannot hold.
fn default_producer(hostname: &str) -> String {
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let name: String = hostname
        .to_lowercase()
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(MAX_PRODUCER_CHARS - PRODUCER_SUFFIX.len())
        .collect();
    if name.is_empty() {
        "host-collector".to_owned()
    } else {
        name + PRODUCER_SUFFIX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_is_the_default_and_survives_a_round_trip() {
        let empty: Config = toml::from_str("").expect("everything has a default");
        assert_eq!(empty, Config::default());
        let text = toml::to_string(&empty).expect("serialisable");
        assert_eq!(
            toml::from_str::<Config>(&text).expect("its own text"),
            empty
        );
        empty.validate().expect("the default works");
    }

    #[test]
    fn unknown_keys_are_named() {
        for text in ["intervall = \"1s\"", "[host.disk]", "[process]\nnumber = 3"] {
            let error = toml::from_str::<Config>(text).expect_err(text).to_string();
            assert!(error.contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn every_host_name_makes_a_producer_s_id() {
        let config = Config::default();
        let long = "x".repeat(200);
        for (name, expected) in [
            ("web-1.example.org", "web-1.example.org-collector"),
            ("Mein Rechner", "mein-rechner-collector"),
            ("--", "host-collector"),
            ("", "host-collector"),
            (long.as_str(), &format!("{}-collector", "x".repeat(54))),
        ] {
            assert_eq!(config.producer_id(name).expect(name).as_str(), expected);
        }
    }
}
