//! What coordinator and worker processes say to each other, in frames of bounded size: a JSON
//! message, and beside some messages a binary part (statistics).

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use url::Url;

use super::super::gauges::Snapshot;
use crate::target::Target;

/// Changes whenever the messages do.
pub(crate) const PROTOCOL: u32 = 1;
/// Largest JSON part; a scenario's text is inside one of them.
pub(crate) const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// Largest binary part: statistics of some hundred endpoints in some hundred stages.
pub(crate) const MAX_ATTACHMENT_BYTES: usize = 64 << 20;
/// Largest message of somebody who has not shown the token.
pub(crate) const MAX_HELLO_BYTES: usize = 4 << 10;

/// What a worker process says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromWorker {
    /// The first message.
    Hello(Hello),
    /// The answer to a ping: its number, and the worker's wall clock in µs.
    Pong { number: u32, wall_us: i64 },
    /// The scenario is read and the log is open.
    Ready,
    /// Gauges so far; statistics so far are attached.
    Report(Snapshot),
    /// Nothing new; still there.
    Alive,
    /// The last report.
    Finished(Finished),
    /// It cannot go on.
    Failed(String),
}

/// Who a worker process is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    /// Hexadecimal digits.
    pub(crate) token: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) cores: u32,
}

impl std::fmt::Debug for Hello {
    /// Without the token: it must not come into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("host", &self.host)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// What a worker process came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finished {
    pub(crate) snapshot: Snapshot,
    pub(crate) durable: u64,
    pub(crate) lost: u64,
    pub(crate) bytes: u64,
    pub(crate) disk_failures: u64,
    pub(crate) failures: Vec<String>,
}

/// What the coordinator says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromCoordinator {
    /// Wants a pong at once; also says that the coordinator is still there.
    Ping { number: u32 },
    /// Read the scenario and open the log.
    Prepare(Box<Prepare>),
    /// Begin at this time of the coordinator's wall clock; the worker's clock is ahead of it by
    /// `offset_us`.
    Go { t0_us: i64, offset_us: i64 },
    /// End early: no arrivals any more.
    Stop,
}

/// What a worker process must know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepare {
    /// The run's id.
    pub run: String,
    /// The number of the worker's process within the run, from 1.
    pub process: u32,
    /// The number of its first thread within the run.
    pub first: u32,
    /// How many threads it starts.
    pub threads: u32,
    /// Threads of all processes of the run.
    pub of: u32,
    /// The scenario's text.
    pub text: String,
    /// The scenario's hash.
    pub hash: String,
    /// The scenario's file on the coordinator's host.
    pub path: Option<PathBuf>,
    /// Where load goes, as the coordinator has resolved and allowed it.
    pub target: TargetParts,
}

/// A [`Target`] that can travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetParts {
    url: String,
    tls: bool,
    host: String,
    authority: String,
    addresses: Vec<SocketAddr>,
}

impl From<&Target> for TargetParts {
    fn from(target: &Target) -> Self {
        Self {
            url: target.url.to_string(),
            tls: target.tls,
            host: target.host.clone(),
            authority: target.authority.clone(),
            addresses: target.addresses.clone(),
        }
    }
}

impl TargetParts {
    /// The target, unless its URL is not one or it has no address.
    pub(crate) fn target(&self) -> Option<Target> {
        Some(Target {
            url: Url::parse(&self.url).ok()?,
            tls: self.tls,
            host: self.host.clone(),
            authority: self.authority.clone(),
            addresses: self.addresses.clone(),
        })
        .filter(|target| !target.addresses.is_empty())
    }
}

/// Writes one frame.
pub(crate) async fn write<T: Serialize>(
    out: &mut (impl AsyncWrite + Unpin),
    message: &T,
    attached: &[u8],
) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    if json.len() > MAX_MESSAGE_BYTES || attached.len() > MAX_ATTACHMENT_BYTES {
        return Err(malformed(format!(
            "a message of {} and {} bytes is too large",
            json.len(),
            attached.len()
        )));
    }
    out.write_u32(json.len() as u32).await?;
    out.write_u32(attached.len() as u32).await?;
    out.write_all(&json).await?;
    out.write_all(attached).await?;
    out.flush().await
}

/// Reads one frame of at most so many bytes in each part.
pub(crate) async fn read<T: DeserializeOwned>(
    input: &mut (impl AsyncRead + Unpin),
    (most_json, most_attached): (usize, usize),
) -> io::Result<(T, Vec<u8>)> {
    let json_bytes = input.read_u32().await? as usize;
    let attached_bytes = input.read_u32().await? as usize;
    if json_bytes > most_json || attached_bytes > most_attached {
        return Err(malformed(format!(
            "a message of {json_bytes} and {attached_bytes} bytes is too large"
        )));
    }
    let mut json = vec![0; json_bytes];
    input.read_exact(&mut json).await?;
    let mut attached = vec![0; attached_bytes];
    input.read_exact(&mut attached).await?;
    let message = serde_json::from_slice(&json)
        .map_err(|_| malformed("it is none of this protocol's messages".to_owned()))?;
    Ok((message, attached))
}

fn malformed(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
