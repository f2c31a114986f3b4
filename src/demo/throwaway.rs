//! A PostgreSQL server for the demo, where this machine has the programs: in a directory of its own,
//! on a Unix socket that only its owner can reach, and gone with the demo.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::fs::{Gid, Uid, chown};

/// Where Debian keeps the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// What its superuser is called.
const ROLE: &str = "driftline";
/// What it says when it takes sessions in.
const READY: &str = "ready to accept connections";
/// How long it may take to answer.
const STARTED_WITHIN: Duration = Duration::from_secs(60);
/// How long its end may take.
const ENDED_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);
/// Runs the server until its input ends, which it does when the demo does, however that ends.
const UNTIL_INPUT_ENDS: &str =
    r#"trap '' INT; "$0" "$@" </dev/null & p=$!; read -r _; kill -INT $p; wait $p"#;

/// The running server.
pub(super) struct Postgres {
    directory: PathBuf,
    child: Child,
}

/// Who the server runs as: it refuses to be root.
struct Owner {
    uid: u32,
    gid: u32,
}

/// The directory of `initdb` and `postgres`, the newest first; `None` where they are not there.
pub(super) fn programs() -> Option<PathBuf> {
    let version = |path: &Path| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((version(&entry.path())?, entry.path().join("bin"))))
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = found
        .into_iter()
        .map(|(_, directory)| directory)
        .chain(std::env::split_paths(&path));
    all.find(|directory| {
        ["initdb", "postgres"]
            .iter()
            .all(|name| directory.join(name).is_file())
    })
}

impl Postgres {
    /// Starts a server with statistics of statements, and waits until it answers.
    pub(super) fn start(programs: &Path) -> anyhow::Result<Self> {
        let name = format!("driftline-demo-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        ensure!(
            directory.to_str().is_some_and(|text| text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))),
            "the demo's server cannot live in {}; set TMPDIR to a plain path",
            directory.display()
        );
        fs::create_dir(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let started = Self::start_in(programs, &directory);
        if started.is_err() {
            remove(&directory);
        }
        started
    }

    fn start_in(programs: &Path, directory: &Path) -> anyhow::Result<Self> {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        let owner = owner()?;
        if let Some(owner) = &owner {
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            chown(directory, Some(uid), Some(gid))?;
        }
        let run_as = |command: &mut Command| {
            command.current_dir("/").stdout(Stdio::null());
            if let Some(owner) = &owner {
                command.uid(owner.uid).gid(owner.gid);
            }
        };
        let data = directory.join("data");
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.args(["-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]);
        initdb.args(["-U", ROLE, "-D"]).arg(&data);
        run_as(&mut initdb);
        let done = initdb.output().context("initdb cannot be started")?;
        ensure!(
            done.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
        let mut server = Command::new("/bin/sh");
        server.args(["-c", UNTIL_INPUT_ENDS]);
        server.arg(programs.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(directory);
        for setting in [
            "listen_addresses=",
            "fsync=off",
            "shared_preload_libraries=pg_stat_statements",
        ] {
            server.args(["-c", setting]);
        }
        run_as(&mut server);
        let log = fs::File::create(directory.join("log"))?;
        let child = server.stdin(Stdio::piped()).stderr(log).spawn();
        let server = Self {
            directory: directory.to_path_buf(),
            child: child.context("the server cannot be started")?,
        };
        server.wait()?;
        Ok(server)
    }

    /// The address of its superuser.
    pub(super) fn url(&self) -> String {
        format!(
            "postgresql://{ROLE}@/postgres?host={}",
            self.directory.display()
        )
    }

    /// Its socket is there before it takes anybody in, which its log tells.
    fn wait(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + STARTED_WITHIN;
        let socket = self.directory.join(".s.PGSQL.5432");
        let log = self.directory.join("log");
        let told = || fs::read_to_string(&log).unwrap_or_default();
        while !told().contains(READY) || std::os::unix::net::UnixStream::connect(&socket).is_err() {
            if Instant::now() > deadline {
                let log = told();
                let last: Vec<&str> = log.lines().rev().take(3).collect();
                bail!("it does not answer: {}", last.join(" / "));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + ENDED_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                tracing::warn!("the demo's PostgreSQL server does not end; it is left alone");
                return;
            }
            std::thread::sleep(PAUSE);
        }
        remove(&self.directory);
    }
}

fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory) {
        tracing::warn!("{} cannot be removed: {error}", directory.display());
    }
}

/// Somebody else where this process is root: `postgres`, or `nobody`.
fn owner() -> anyhow::Result<Option<Owner>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let owner = |name: &str| -> Option<Owner> {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Owner {
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    };
    let found = owner("postgres").or_else(|| owner("nobody"));
    Ok(Some(found.context(
        "there is neither a user postgres nor nobody to run the server as",
    )?))
}
