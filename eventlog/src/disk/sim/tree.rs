//! The simulated names: directories as programs see them, and as a power loss leaves them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Rng;
use crate::disk::Entry;

/// What a name stands for: a file or a directory, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(usize),
    Dir(usize),
}

/// Every directory; number 0 is the root.
#[derive(Debug)]
pub(super) struct Tree {
    dirs: Vec<Dir>,
}

#[derive(Debug, Default)]
struct Dir {
    visible: BTreeMap<String, Node>,
    disk: BTreeMap<String, Node>,
    /// Changes not yet synced, in order; the names of one change survive together or not at all.
    unsynced: Vec<Vec<(String, Option<Node>)>>,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            dirs: vec![Dir::default()],
        }
    }

    pub(super) fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        if self.dirs[parent].visible.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.dirs[parent].change(vec![(name, Some(node))]);
        Ok(())
    }

    pub(super) fn add_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.dirs.len();
        self.add(path, Node::Dir(id))?;
        self.dirs.push(Dir::default());
        Ok(())
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.find(path)? {
            Node::File(id) => Ok(id),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn find_dir(&self, path: &Path) -> io::Result<usize> {
        match self.find(path)? {
            Node::Dir(id) => Ok(id),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let visible = &self.dirs[self.find_dir(path)?].visible;
        let entry = |(name, node): (&String, &Node)| Entry {
            name: name.clone(),
            is_dir: matches!(node, Node::Dir(_)),
        };
        Ok(visible.iter().map(entry).collect())
    }

    /// Renames within one directory, which is all that the spool does.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (parent, old) = self.parent(from)?;
        let (other, new) = self.parent(to)?;
        if parent != other {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let dir = &mut self.dirs[parent];
        let node = *dir.visible.get(&old).ok_or(io::ErrorKind::NotFound)?;
        dir.change(vec![(old, None), (new, Some(node))]);
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        let (parent, name) = self.parent(path)?;
        self.dirs[parent].change(vec![(name, None)]);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find_dir(path)?;
        if !self.dirs[id].visible.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (parent, name) = self.parent(path)?;
        self.dirs[parent].change(vec![(name, None)]);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find_dir(path)?;
        self.dirs[id].sync();
        Ok(())
    }

    /// Some directory's oldest changes reach the disk on their own.
    pub(super) fn write_back(&mut self, rng: &mut Rng) {
        let id = rng.index(self.dirs.len());
        let dir = &mut self.dirs[id];
        let count = rng.index(dir.unsynced.len() + 1);
        for change in dir.unsynced.drain(..count) {
            apply(&mut dir.disk, change);
        }
    }

    /// Of the unsynced changes any may survive: a prefix, as journals keep them, or a subset.
    pub(super) fn lose_power(&mut self, rng: &mut Rng) {
        for dir in &mut self.dirs {
            let changes = std::mem::take(&mut dir.unsynced);
            let prefix = rng.one_in(2).then(|| rng.index(changes.len() + 1));
            for (number, change) in changes.into_iter().enumerate() {
                let survives = prefix.map_or_else(|| rng.one_in(2), |kept| number < kept);
                if survives {
                    apply(&mut dir.disk, change);
                }
            }
            dir.visible.clone_from(&dir.disk);
        }
    }

    /// Every file that has a name, sorted by path.
    pub(super) fn files(&self) -> Vec<(PathBuf, usize)> {
        let mut found = Vec::new();
        self.collect(0, &PathBuf::from("/"), &mut found);
        found
    }

    fn collect(&self, id: usize, path: &Path, found: &mut Vec<(PathBuf, usize)>) {
        for (name, node) in &self.dirs[id].visible {
            match node {
                Node::File(file) => found.push((path.join(name), *file)),
                Node::Dir(dir) => self.collect(*dir, &path.join(name), found),
            }
        }
    }

    fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Dir(0);
        for component in path.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            let Node::Dir(id) = node else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
            node = *self.dirs[id]
                .visible
                .get(name)
                .ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    fn parent(&self, path: &Path) -> io::Result<(usize, String)> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        Ok((self.find_dir(parent)?, name))
    }
}

impl Dir {
    fn change(&mut self, change: Vec<(String, Option<Node>)>) {
        apply(&mut self.visible, change.clone());
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        self.unsynced.clear();
        self.disk.clone_from(&self.visible);
    }
}

fn apply(names: &mut BTreeMap<String, Node>, change: Vec<(String, Option<Node>)>) {
    for (name, node) in change {
        match node {
            Some(node) => names.insert(name, node),
            None => names.remove(&name),
        };
    }
}
