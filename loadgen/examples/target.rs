//! The bundled target beside a bare one, to measure what the bundled one costs.
//!
//! `target service [OPTIONS]` is what `driftline target` runs. `target bare` is the least that can
//! answer: one thread, a read, a search for the end of the head, and a write. It understands nothing.

use std::error::Error;
use std::io;

use clap::Parser;
use driftline_loadgen::service::{self, ServiceArgs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};

/// The answer of the bundled target to `GET /`.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n\
                        content-length: 17\r\n\r\ndriftline target\n";
/// What one read takes at most.
const READ_BYTES: usize = 4096;

#[derive(Parser)]
enum Command {
    /// The bundled target
    Service(Box<ServiceArgs>),
    /// The least that can answer
    Bare {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:8081")]
        listen: String,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    match Command::parse() {
        Command::Service(args) => Ok(service::run(*args)?),
        Command::Bare { listen } => Ok(bare(&listen)?),
    }
}

fn bare(address: &str) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on http://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(async move {
                if let Err(error) = answer(stream).await {
                    eprintln!("a connection ended: {error}");
                }
            });
        }
    })
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = [0; READ_BYTES];
    loop {
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        if bytes[..read].ends_with(b"\r\n\r\n") {
            stream.write_all(ANSWER).await?;
        }
    }
}
