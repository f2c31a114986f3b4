//! Misbehaviour on purpose, for the tests of clients.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::answer::PATTERN;
use super::stream::Stream;

/// The most that a flood sends.
pub(crate) const FLOOD_BYTES: usize = 100 * 1024 * 1024;
/// The length that half a body promises; it sends half of it.
pub(crate) const HALF_BYTES: usize = 1_000;
/// The longest time that is waited for a client to leave before the connection is closed.
const LONGEST_LINGER: Duration = Duration::from_secs(1);
/// The most that is read and thrown away meanwhile.
const LINGER_READS: usize = 256;

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Resets the connection.
    Reset,
    /// Closes it without an answer.
    Close,
    /// Closes it in the middle of a body.
    Half,
    /// Answers with what is no HTTP.
    Garbage,
    /// Never answers.
    Never,
    /// Answers without an end.
    Flood,
}

impl Fault {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "reset" => Self::Reset,
            "close" => Self::Close,
            "half" => Self::Half,
            "garbage" => Self::Garbage,
            "never" => Self::Never,
            "flood" => Self::Flood,
            _ => return None,
        })
    }
}

/// Does it on a connection of HTTP/1.1, which is over then.
pub(crate) async fn commit<S: Stream>(fault: Fault, mut stream: S) -> io::Result<()> {
    match fault {
        Fault::Reset => {
            stream.tcp().set_zero_linger()?;
            Ok(())
        }
        Fault::Close => stream.shutdown().await,
        Fault::Half => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {HALF_BYTES}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&PATTERN[..HALF_BYTES / 2]).await?;
            linger(stream).await
        }
        Fault::Garbage => {
            let garbage: Vec<u8> = (0..512u32).map(|at| (at * 37 % 251) as u8).collect();
            stream.write_all(&garbage).await?;
            linger(stream).await
        }
        Fault::Never => {
            let mut ignored = [0; 64];
            while stream.read(&mut ignored).await? > 0 {}
            Ok(())
        }
        Fault::Flood => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
                .await?;
            for _ in 0..FLOOD_BYTES / PATTERN.len() {
                stream.write_all(PATTERN).await?;
            }
            linger(stream).await
        }
    }
}

/// Closes a connection so that the client can still read what was written: bytes that it sent and
/// nobody read would reset it.
pub(crate) async fn linger<S: Stream>(mut stream: S) -> io::Result<()> {
    stream.shutdown().await?;
    let drained = async {
        let mut ignored = vec![0; 4096];
        for _ in 0..LINGER_READS {
            if stream.read(&mut ignored).await? == 0 {
                break;
            }
        }
        Ok(())
    };
    tokio::time::timeout(LONGEST_LINGER, drained)
        .await
        .unwrap_or(Ok(()))
}
