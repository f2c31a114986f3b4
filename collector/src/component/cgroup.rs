//! Control groups, version 2: CPU time and throttling, memory, I/O, pressure and tasks.
//!
//! The tree is walked seldom and to a bounded depth and number. Files are opened for each reading,
//! because an open file would keep a removed group alive in the kernel. What their text means is
//! parsed in `read`.

mod read;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_schemas as schemas;

use crate::component::{Component, ComponentError};
use crate::config::CgroupConfig;
use crate::procfile::{ProcFile, lines};
use crate::recorder::Recorder;

const MOUNTINFO: &str = "/proc/self/mountinfo";
const DISKSTATS: &str = "/proc/diskstats";

/// The host's control groups.
#[derive(Debug)]
pub(crate) struct Cgroups {
    config: CgroupConfig,
    proc: PathBuf,
    buffer: Vec<u8>,
    groups: Vec<Group>,
    /// Names of disks by `major:minor`, as `io.stat` calls them.
    disks: HashMap<String, String>,
    passes: u64,
    truncated: bool,
}

/// A control group: where it is and which of its files there are.
#[derive(Debug)]
struct Group {
    /// Its path below the root of the tree, as the label has it.
    path: String,
    files: Vec<(read::File, PathBuf)>,
}

impl Cgroups {
    pub(crate) fn new(config: &CgroupConfig, proc: &Path) -> Self {
        Self {
            config: config.clone(),
            proc: proc.to_owned(),
            buffer: Vec::new(),
            groups: Vec::new(),
            disks: HashMap::new(),
            passes: 0,
            truncated: false,
        }
    }

    fn scan_is_due(&self) -> bool {
        let between = self.config.scan_every.as_nanos() / self.config.interval.as_nanos().max(1);
        u128::from(self.passes).is_multiple_of(between.max(1)) || self.groups.is_empty()
    }

    fn scan(&mut self) -> Result<(), ComponentError> {
        let mountinfo = ProcFile::new(self.proc.join("self/mountinfo"))
            .read(&mut self.buffer)?
            .to_owned();
        let Some(root) = mountpoint(&mountinfo)? else {
            self.groups.clear();
            return Err(ComponentError::Absent {
                what: "the tree of control groups, version 2",
                remedy: "mount it (cgroup2), or set collector.cgroup.enabled = false",
            });
        };
        let diskstats = ProcFile::new(self.proc.join("diskstats")).read(&mut self.buffer)?;
        self.disks = disk_names(diskstats);
        let (paths, truncated) = walk(Path::new(&root), self.config.depth, self.config.max);
        self.truncated = truncated;
        self.groups = paths
            .into_iter()
            .map(|path| Group::new(Path::new(&root), path))
            .collect();
        Ok(())
    }
}

impl Component for Cgroups {
    fn component(&self) -> schemas::Component {
        schemas::Component::Cgroup
    }

    fn subject(&self) -> &'static str {
        "cgroup"
    }

    fn interval(&self) -> Duration {
        self.config.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        if self.scan_is_due() {
            self.scan()?;
        }
        self.passes += 1;
        let mut failure = None;
        for group in &self.groups {
            for (file, path) in &group.files {
                // A group may be removed at any time; the next walk will not find it.
                let Ok(len) = ProcFile::new(path).read_bytes(&mut self.buffer) else {
                    continue;
                };
                let text = String::from_utf8_lossy(&self.buffer[..len]);
                if let Err(error) = file.record(&group.path, &text, &self.disks, out) {
                    failure.get_or_insert(error);
                }
            }
        }
        if self.truncated {
            failure.get_or_insert(ComponentError::TooMany {
                things: "control groups",
                limit: self.config.max,
                remedy: "raise collector.cgroup.max or lower collector.cgroup.depth",
            });
        }
        failure.map_or(Ok(()), Err)
    }
}

impl Group {
    /// Notes which files the group has: controllers that are not enabled have none.
    fn new(root: &Path, path: String) -> Self {
        let directory = root.join(path.trim_start_matches('/'));
        let files = read::File::ALL
            .into_iter()
            .map(|file| (file, directory.join(file.name())));
        Self {
            path,
            files: files.filter(|(_, path)| path.exists()).collect(),
        }
    }
}

/// Where the tree is mounted.
fn mountpoint(mountinfo: &str) -> Result<Option<String>, ComponentError> {
    for line in lines(MOUNTINFO, mountinfo) {
        let Some((left, right)) = line.text.split_once(" - ") else {
            return Err(line.malformed("a mount with its type and device"));
        };
        if right.starts_with("cgroup2 ") {
            let mut fields = line.fields_of(left);
            fields.skip(4);
            return Ok(Some(fields.word("a mount point")?.to_owned()));
        }
    }
    Ok(None)
}

/// Names of disks by `major:minor`. What cannot be understood keeps its number as its name.
fn disk_names(diskstats: &str) -> HashMap<String, String> {
    let name = |line: crate::procfile::Line<'_>| {
        let mut fields = line.fields();
        let (major, minor, name) = (fields.next()?, fields.next()?, fields.next()?);
        Some((format!("{major}:{minor}"), name.to_owned()))
    };
    lines(DISKSTATS, diskstats).filter_map(name).collect()
}

/// The groups level by level, each level sorted, and whether there are more than `max`.
fn walk(root: &Path, depth: usize, max: usize) -> (Vec<String>, bool) {
    let mut found = vec!["/".to_owned()];
    let mut level = found.clone();
    for _ in 0..depth {
        let mut next: Vec<String> = level.iter().flat_map(|path| children(root, path)).collect();
        next.sort();
        let room = max.saturating_sub(found.len());
        found.extend(next.iter().take(room).cloned());
        if next.len() > room {
            return (found, true);
        }
        level = next;
    }
    (found, false)
}

/// The groups right below one. What cannot be listed has none.
fn children(root: &Path, path: &str) -> Vec<String> {
    let directory = root.join(path.trim_start_matches('/'));
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let entries = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let parent = path.trim_end_matches('/');
    entries
        .filter_map(|entry| Some(format!("{parent}/{}", entry.file_name().to_str()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows_of, value};
    use std::fs;

    /// A process file system that points to a tree of control groups beside it.
    fn fixture() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("below the directory")).expect("created");
            fs::write(path, text).expect("written");
        };
        let root = directory.path().join("tree");
        write(
            "proc/self/mountinfo",
            &format!("41 31 0:38 / {} rw - cgroup2 cgroup2 rw\n", root.display()),
        );
        write("proc/diskstats", " 254 0 vda 1 2 3 4 5 6 7 8 9 10 11\n");
        write(
            "tree/cpu.stat",
            "usage_usec 9\nuser_usec 5000000\nsystem_usec 4000000\n",
        );
        write(
            "tree/b.slice/cpu.stat",
            "usage_usec 9\nuser_usec 1000000\nsystem_usec 500000\n",
        );
        write("tree/b.slice/memory.current", "4096\n");
        write(
            "tree/b.slice/io.stat",
            "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
        );
        write("tree/b.slice/x.service/pids.current", "3\n");
        write("tree/a.slice/pids.current", "7\n");
        directory
    }

    fn collect(
        directory: &Path,
        config: CgroupConfig,
    ) -> (Vec<crate::testing::Row>, Result<(), ComponentError>) {
        let mut cgroups = Cgroups::new(&config, &directory.join("proc"));
        let mut out = Recorder::new();
        let result = cgroups.collect(&mut out);
        (rows_of(&out.finish()), result)
    }

    #[test]
    fn the_tree_is_collected_by_path() {
        let directory = fixture();
        let (rows, result) = collect(directory.path(), CgroupConfig::default());
        result.expect("everything can be read");
        assert_eq!(
            value(&rows, "cgroup.cpu.time", "cgroup.path=/,cpu.mode=user"),
            5.0
        );
        assert_eq!(
            value(&rows, "cgroup.memory.usage", "cgroup.path=/b.slice"),
            4096.0
        );
        assert_eq!(
            value(&rows, "cgroup.task.count", "cgroup.path=/b.slice/x.service"),
            3.0
        );
        let labels = "cgroup.path=/b.slice,disk.io.direction=write,system.device=vda";
        assert_eq!(value(&rows, "cgroup.disk.io", labels), 2.0);
    }

    #[test]
    fn depth_and_number_are_bounded_and_said() {
        let directory = fixture();
        let (rows, result) = collect(
            directory.path(),
            CgroupConfig {
                depth: 1,
                ..CgroupConfig::default()
            },
        );
        result.expect("nothing is left out within this depth");
        assert!(!rows.iter().any(|row| row.1.contains("x.service")));
        let (rows, result) = collect(
            directory.path(),
            CgroupConfig {
                max: 2,
                ..CgroupConfig::default()
            },
        );
        assert!(
            rows.iter().any(|row| row.1.contains("a.slice"))
                && !rows.iter().any(|row| row.1.contains("b.slice"))
        );
        let error = result.expect_err("b.slice is left out").to_string();
        assert!(error.contains("collector.cgroup.max"), "{error}");
    }

    #[test]
    fn a_host_without_the_tree_is_told_what_to_do() {
        let directory = fixture();
        fs::write(
            directory.path().join("proc/self/mountinfo"),
            "22 27 0:20 / /proc rw - proc proc rw\n",
        )
        .expect("written");
        let (_, result) = collect(directory.path(), CgroupConfig::default());
        let error = result.expect_err("there is no tree").to_string();
        assert!(error.contains("cgroup2"), "{error}");
        assert!(mountpoint("garbage\n").is_err());
    }

    #[test]
    fn malformed_files_are_located_and_cost_no_other() {
        let directory = fixture();
        fs::write(directory.path().join("tree/cpu.stat"), "user_usec many\n").expect("written");
        let (rows, result) = collect(directory.path(), CgroupConfig::default());
        let error = result.expect_err("many is no count").to_string();
        assert!(error.starts_with("cpu.stat:1"), "{error}");
        assert_eq!(
            value(&rows, "cgroup.memory.usage", "cgroup.path=/b.slice"),
            4096.0
        );
    }
}
