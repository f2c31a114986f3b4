//! Worker processes on this host: the same executable, started with the arguments of its worker
//! command.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::secret::SECRET_VARIABLE;
use super::{FleetError, Secret};

/// How long children may take to end by themselves.
const EXIT_LIMIT: Duration = Duration::from_secs(5);

/// How to start a worker process on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// The arguments of its worker command; `--connect HOST:PORT --data DIR` follow them.
    pub arguments: Vec<String>,
}

impl Launch {
    /// This very program, with these arguments.
    pub fn this(arguments: &[&str]) -> std::io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            arguments: arguments.iter().map(|&one| one.to_owned()).collect(),
        })
    }
}

/// Children that are ended when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Children(Vec<Child>);

impl Children {
    /// Starts so many.
    pub(crate) fn start(
        launch: &Launch,
        count: u32,
        address: SocketAddr,
        secret: &Secret,
        data: &Path,
    ) -> Result<Self, FleetError> {
        let mut children = Self::default();
        for _ in 0..count {
            let child = Command::new(&launch.program)
                .args(&launch.arguments)
                .arg("--connect")
                .arg(address.to_string())
                .arg("--data")
                .arg(data)
                .env(SECRET_VARIABLE, secret.expose())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                // Ctrl-C in the terminal is for the coordinator, which tells its workers.
                .process_group(0)
                .spawn()
                .map_err(|source| FleetError::Child {
                    program: launch.program.display().to_string(),
                    source,
                })?;
            children.0.push(child);
        }
        Ok(children)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        let began = Instant::now();
        for child in &mut self.0 {
            loop {
                match child.try_wait() {
                    Ok(Some(_)) => break,
                    Ok(None) if began.elapsed() < EXIT_LIMIT => {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    // It has had its time, or cannot be asked: it is our own child by its handle.
                    Ok(None) | Err(_) => {
                        let ended = child.kill().and_then(|()| child.wait());
                        if let Err(error) = ended {
                            tracing::warn!(%error, pid = child.id(), "a worker process may still run");
                        }
                        break;
                    }
                }
            }
        }
    }
}
