//! Space and inodes of mounted file systems.
//!
//! Asking a network file system can block for as long as its server is away, so the types that
//! need a network are left out unless the configuration admits them.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;
use rustix::fs::{StatVfs, statvfs};

use crate::component::{Component, ComponentError};
use crate::config::{HostConfig, matches_any};
use crate::procfile::{Line, ProcFile, lines};
use crate::recorder::Recorder;

const MOUNTINFO: &str = "/proc/self/mountinfo";
const STATE: &str = "system.filesystem.state";
/// Space changes slowly, and each file system costs a call.
const FILESYSTEMS_EVERY: Duration = Duration::from_secs(10);
/// Most file systems that are collected.
const MAX_FILESYSTEMS: usize = 128;

/// The host's file systems.
#[derive(Debug)]
pub(crate) struct Filesystems {
    file: ProcFile,
    buffer: Vec<u8>,
    interval: Duration,
    exclude_types: Vec<String>,
}

impl Filesystems {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            file: ProcFile::new(config.proc.join("self/mountinfo")),
            buffer: Vec::new(),
            interval: config.interval.max(FILESYSTEMS_EVERY),
            exclude_types: config.filesystems.exclude_types.clone(),
        }
    }
}

impl Component for Filesystems {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.filesystem"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        let text = self.file.read(&mut self.buffer)?;
        let mut failure = None;
        for mount in mounts(text, &self.exclude_types)? {
            match statvfs(mount.mountpoint.as_str()) {
                Ok(space) => record_space(&mount, &space, out),
                Err(errno) => {
                    let error =
                        ComponentError::unreadable(Path::new(&mount.mountpoint), errno.into());
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

fn record_space(mount: &Mount<'_>, space: &StatVfs, out: &mut Recorder) {
    if space.f_blocks == 0 {
        return;
    }
    let block = space.f_frsize;
    let reserved = space.f_bfree.saturating_sub(space.f_bavail);
    let states = [
        ("used", space.f_blocks.saturating_sub(space.f_bfree)),
        ("free", space.f_bavail),
        ("reserved", reserved),
    ];
    let labelled = |state: Option<&'static str>| {
        let mut labels = vec![
            ("system.device", mount.device.as_str()),
            ("system.filesystem.type", mount.kind),
            ("system.filesystem.mode", mount.mode),
            ("system.filesystem.mountpoint", mount.mountpoint.as_str()),
        ];
        labels.extend(state.map(|state| (STATE, state)));
        labels
    };
    for (state, blocks) in states {
        let bytes = blocks.saturating_mul(block);
        out.count(
            const { id("system.filesystem.usage") },
            &mut labelled(Some(state)),
            bytes,
        );
    }
    let limit = space.f_blocks.saturating_mul(block);
    out.count(
        const { id("system.filesystem.limit") },
        &mut labelled(None),
        limit,
    );
    // File systems that make inodes as they need them have none to run out of.
    if space.f_files > 0 {
        let used = space.f_files.saturating_sub(space.f_ffree);
        for (state, inodes) in [("used", used), ("free", space.f_ffree)] {
            out.count(
                const { id("system.filesystem.inodes.usage") },
                &mut labelled(Some(state)),
                inodes,
            );
        }
    }
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount<'a> {
    device: String,
    mountpoint: String,
    kind: &'a str,
    /// `rw` or `ro`.
    mode: &'a str,
}

/// The mounts of wanted types, each device once: of several mounts of one device the first counts.
fn mounts<'a>(text: &'a str, exclude_types: &[String]) -> Result<Vec<Mount<'a>>, ComponentError> {
    let mut devices = HashSet::new();
    let mut found = Vec::new();
    for line in lines(MOUNTINFO, text) {
        let (device_number, mount) = parse_mount(&line)?;
        if matches_any(exclude_types, mount.kind) || !devices.insert(device_number) {
            continue;
        }
        if found.len() == MAX_FILESYSTEMS {
            return Err(ComponentError::TooMany {
                things: "file systems",
                limit: MAX_FILESYSTEMS,
                remedy: "add types to host.filesystems.exclude_types",
            });
        }
        found.push(mount);
    }
    Ok(found)
}

/// `36 35 98:0 /root /mountpoint rw,noatime optional… - type device superblock-options`, see proc(5).
fn parse_mount<'a>(line: &Line<'a>) -> Result<(&'a str, Mount<'a>), ComponentError> {
    const EXPECTED: &str = "a mount with its type and device";
    let Some((left, right)) = line.text.split_once(" - ") else {
        return Err(line.malformed(EXPECTED));
    };
    let mut left = line.fields_of(left);
    left.skip(2);
    let device_number = left.word(EXPECTED)?;
    left.skip(1);
    let mountpoint = unescape(left.word(EXPECTED)?);
    let options = left.word(EXPECTED)?;
    let mut right = line.fields_of(right);
    let kind = right.word(EXPECTED)?;
    let device = unescape(right.word(EXPECTED)?);
    let mode = if options.split(',').any(|option| option == "ro") {
        "ro"
    } else {
        "rw"
    };
    Ok((
        device_number,
        Mount {
            device,
            mountpoint,
            kind,
            mode,
        },
    ))
}

/// The kernel writes spaces, tabs, line feeds and backslashes as `\` and three octal digits.
fn unescape(word: &str) -> String {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                out.push(byte);
                rest = &tail[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows, value};

    const FIXTURE: &str = "\
22 27 0:20 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 0:22 / /dev/shm rw,nosuid shared:3 - tmpfs tmpfs rw
29 27 254:16 / /mnt/a\\040b ro,relatime shared:7 master:1 - xfs /dev/vdb ro
30 27 254:0 /var /srv rw,relatime - ext4 /dev/vda rw,discard
";

    #[test]
    fn each_device_is_listed_once_and_virtual_types_are_left_out() {
        let exclude = HostConfig::default().filesystems.exclude_types;
        let found = mounts(FIXTURE, &exclude).expect("well formed");
        let brief: Vec<_> = found
            .iter()
            .map(|m| (m.device.as_str(), m.mountpoint.as_str(), m.kind, m.mode))
            .collect();
        assert_eq!(
            brief,
            [
                ("/dev/vda", "/", "ext4", "rw"),
                ("/dev/vdb", "/mnt/a b", "xfs", "ro")
            ]
        );
    }

    #[test]
    fn malformed_mounts_are_located() {
        for bad in [
            "27 1 254:0 / / rw ext4 /dev/vda",
            "27 1 - ext4 /dev/vda",
            "27 1 254:0 / / rw - ext4",
        ] {
            let text = format!("22 27 0:20 / /proc rw - proc proc rw\n{bad}\n");
            let error = mounts(&text, &[]).expect_err(bad).to_string();
            assert!(error.starts_with("/proc/self/mountinfo:2"), "{error}");
        }
    }

    #[test]
    fn states_add_up_to_the_limit() {
        let space = statvfs("/").expect("the root is mounted");
        let mount = Mount {
            device: "d".into(),
            mountpoint: "/".into(),
            kind: "k",
            mode: "rw",
        };
        let samples = rows(|out| {
            record_space(&mount, &space, out);
            Ok(())
        });
        let samples = samples.expect("nothing can fail");
        let rest = "system.filesystem.mode=rw,system.filesystem.mountpoint=/";
        let of = |state: &str| {
            let labels = format!(
                "system.device=d,{rest},system.filesystem.state={state},system.filesystem.type=k"
            );
            value(&samples, "system.filesystem.usage", &labels)
        };
        let labels = format!("system.device=d,{rest},system.filesystem.type=k");
        let limit = value(&samples, "system.filesystem.limit", &labels);
        assert_eq!(of("used") + of("free") + of("reserved"), limit);
    }
}
