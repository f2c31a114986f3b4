//! Follows the files of a log: finds them again after a restart, follows them when they are renamed,
//! copied and truncated, and yields whole lines.
//!
//! What a line means is left to its caller, who keeps the positions together with what was counted.

use std::fs::{self, File, Metadata};
use std::hash::Hasher as _;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};
use siphasher::sip::SipHasher13;

use super::state::Position;

/// Files that are followed at once, rotated ones that still grow among them.
const MAX_FILES: usize = 64;
/// Entries of a directory that are looked at for rotated files.
const MAX_ENTRIES: usize = 10_000;
/// So much of a file's beginning tells it from others.
const HEAD_BYTES: u64 = 1_024;
/// Read at a time; a line that is longer is skipped.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// A rotated file that did not grow at so many passes is let go.
const IDLE_PASSES: u32 = 3;

/// A file that is being read.
#[derive(Debug)]
struct Followed {
    file: File,
    position: Position,
    /// Whether one of the log's paths leads to it.
    is_current: bool,
    idle_passes: u32,
    len: u64,
    /// Its length and position at the pass before.
    before: (u64, u64),
}

/// The files of a log.
#[derive(Debug)]
pub(super) struct Tail {
    pattern: String,
    followed: Vec<Followed>,
    /// Positions of before the restart whose files have not been looked for.
    remembered: Vec<Position>,
    /// Untracked rotated files that changed after this time hold new lines.
    current_ns: i64,
    /// Whether files that are met are read from their beginning.
    from_start: bool,
    /// Bytes known to be gone unread, since the beginning.
    pub(super) lost_bytes: u64,
    /// Files of before the restart that were not found again; how much of them is lost is unknown.
    pub(super) vanished: u32,
    /// Whether there were more files than are followed.
    pub(super) overflowed: bool,
}

impl Tail {
    /// With positions, it goes on from there. Without, it begins at the end of what there is, or
    /// at the start.
    pub(super) fn new(
        path: &Path,
        remembered: Vec<Position>,
        current_ns: i64,
        start: bool,
    ) -> Self {
        Self {
            pattern: path.to_string_lossy().into_owned(),
            from_start: start || current_ns > 0,
            followed: Vec::new(),
            remembered,
            current_ns,
            lost_bytes: 0,
            vanished: 0,
            overflowed: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.followed.len()
    }

    pub(super) fn positions(&self) -> Vec<Position> {
        let all = self.followed.iter();
        all.map(|followed| followed.position.clone()).collect()
    }

    /// Bytes that are written and not read.
    pub(super) fn lag(&self) -> u64 {
        let all = self.followed.iter();
        all.map(|followed| followed.len.saturating_sub(followed.position.offset))
            .sum()
    }

    /// Looks for new, renamed and truncated files.
    ///
    /// # Errors
    /// When no file of the log can be opened.
    pub(super) fn refresh(&mut self, now_ns: i64) -> io::Result<()> {
        let paths = self.paths()?;
        let restarted = !self.remembered.is_empty();
        self.find_remembered(&paths);
        for followed in &mut self.followed {
            followed.is_current = false;
        }
        let mut rotated = restarted;
        let mut failure = None;
        for path in &paths {
            match fs::metadata(path).and_then(|found| self.visit(path, &found, &paths)) {
                Ok(is_new) => rotated |= is_new,
                Err(error) => failure = Some(error),
            }
        }
        if rotated && self.current_ns > 0 {
            self.adopt_rotated(&paths);
        }
        self.let_go();
        self.current_ns = now_ns;
        self.from_start = true;
        match failure {
            Some(error) if !self.followed.iter().any(|followed| followed.is_current) => Err(error),
            _ if paths.is_empty() => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(()),
        }
    }

    /// The files that the pattern names now.
    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        if !self.pattern.contains(['*', '?', '[']) {
            return Ok(vec![PathBuf::from(&self.pattern)]);
        }
        let found = glob::glob(&self.pattern)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let files = found.filter_map(Result::ok).filter(|path| path.is_file());
        // One more than is followed, so that it shows when there are too many.
        Ok(files.take(MAX_FILES + 1).collect())
    }

    /// Takes a file that a path of the log leads to; true if it was not followed yet, or begins anew.
    fn visit(&mut self, path: &Path, found: &Metadata, paths: &[PathBuf]) -> io::Result<bool> {
        let known = self
            .followed
            .iter()
            .position(|one| is_at(&one.position, found));
        if let Some(at) = known {
            self.followed[at].is_current = true;
            if self.followed[at].was_truncated(found.len())? {
                self.save_rest(at, paths);
                let position = &mut self.followed[at].position;
                (position.offset, position.in_long_line) = (0, false);
                (position.head_bytes, position.head_hash) = (0, 0);
                // It may have been truncated more than once since the last look.
                return Ok(true);
            }
            return Ok(false);
        }
        if self.followed.len() >= MAX_FILES {
            self.overflowed = true;
            return Ok(false);
        }
        let offset = if self.from_start { 0 } else { found.len() };
        let mut followed = Followed::open(path, offset)?;
        if offset > 0 && !ends_a_line(&followed.file, offset)? {
            followed.position.in_long_line = true;
        }
        followed.is_current = true;
        self.followed.push(followed);
        Ok(true)
    }

    /// The file was truncated: what had not been read is in a copy, or lost.
    fn save_rest(&mut self, at: usize, paths: &[PathBuf]) {
        let followed = &self.followed[at];
        let unread = followed.len.saturating_sub(followed.position.offset);
        let before = followed.position.clone();
        match self.find_copy(&before, paths) {
            Some(copy) => self.followed.push(copy),
            None => self.lost_bytes += unread,
        }
    }

    /// Finds the files of before the restart, by what they are or by how they begin.
    fn find_remembered(&mut self, paths: &[PathBuf]) {
        for position in std::mem::take(&mut self.remembered) {
            let candidates = paths.iter().cloned().chain(siblings(paths));
            let same = candidates
                .filter(|path| fs::metadata(path).is_ok_and(|found| is_at(&position, &found)))
                .find_map(|path| Followed::resume(&path, &position));
            let found = same.or_else(|| self.find_copy(&position, paths));
            match found {
                Some(followed) => self.followed.push(followed),
                None => self.vanished += 1,
            }
        }
    }

    /// A rotated file that begins as the position's file does, and is at least as long.
    fn find_copy(&self, position: &Position, paths: &[PathBuf]) -> Option<Followed> {
        if position.head_bytes == 0 {
            return None;
        }
        siblings(paths)
            .filter(|path| !self.follows(path))
            .find_map(|path| Followed::resume(&path, position))
    }

    fn follows(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| {
            let mut all = self.followed.iter();
            all.any(|one| is_at(&one.position, &found))
        })
    }

    /// Takes rotated files that were never followed and have changed since the last look: the log was
    /// rotated more than once meanwhile.
    fn adopt_rotated(&mut self, paths: &[PathBuf]) {
        let since_ns = self.current_ns;
        let fresh: Vec<PathBuf> = siblings(paths)
            .filter(|path| fs::metadata(path).is_ok_and(|found| modified_ns(&found) > since_ns))
            .filter(|path| !self.follows(path))
            .collect();
        for path in fresh {
            let is_copy = |one: &Followed| one.position.head_bytes > 0 && one.begins(&path);
            if self.followed.len() < MAX_FILES && !self.followed.iter().any(is_copy) {
                self.followed.extend(Followed::open(&path, 0).ok());
            }
        }
    }

    /// Lets go of rotated files that grow no more. A last line without an end is lost with them.
    fn let_go(&mut self) {
        let lost_bytes = &mut self.lost_bytes;
        self.followed.retain_mut(|followed| {
            followed.len = followed.file.metadata().map_or(0, |found| found.len());
            let now = (followed.len, followed.position.offset);
            let rests = !followed.is_current && now == followed.before;
            followed.idle_passes = if rests { followed.idle_passes + 1 } else { 0 };
            followed.before = now;
            let stays = followed.idle_passes < IDLE_PASSES;
            if !stays {
                *lost_bytes += now.0.saturating_sub(now.1);
            }
            stays
        });
    }

    /// Reads on in one of the files and hands over whole lines; yields how many bytes it came on.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(
        &mut self,
        at: usize,
        buffer: &mut Vec<u8>,
        take: &mut dyn FnMut(Line<'_>),
    ) -> io::Result<u64> {
        buffer.resize(CHUNK_BYTES, 0);
        let read = self.followed[at].read_on(buffer)?;
        let position = &mut self.followed[at].position;
        let chunk = &buffer[..read];
        let (begin, end) = match (memchr(b'\n', chunk), memrchr(b'\n', chunk)) {
            (Some(first), Some(last)) if position.in_long_line => (first + 1, last + 1),
            (_, Some(last)) => (0, last + 1),
            _ if position.in_long_line => (read, read),
            _ if read == CHUNK_BYTES => {
                take(Line::TooLong(&chunk[..200]));
                position.in_long_line = true;
                (read, read)
            }
            _ => (0, 0),
        };
        let mut rest = &chunk[begin..end];
        while let Some(length) = memchr(b'\n', rest) {
            let line = &rest[..length];
            take(Line::Whole(line.strip_suffix(b"\r").unwrap_or(line)));
            rest = &rest[length + 1..];
        }
        if end > 0 {
            position.in_long_line &= memchr(b'\n', chunk).is_none();
        }
        position.offset += end as u64;
        self.followed[at].note_head()?;
        Ok(end as u64)
    }
}

/// A line of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Without its end.
    Whole(&'a [u8]),
    /// The beginning of one that is too long.
    TooLong(&'a [u8]),
}

impl Followed {
    fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        let mut followed = Self {
            file,
            position: Position {
                device: found.dev(),
                inode: found.ino(),
                offset,
                head_bytes: 0,
                head_hash: 0,
                in_long_line: false,
            },
            is_current: false,
            idle_passes: 0,
            len: found.len(),
            before: (0, 0),
        };
        followed.note_head()?;
        Ok(followed)
    }

    /// Goes on in a file if it is the position's, or a copy of it.
    fn resume(path: &Path, position: &Position) -> Option<Self> {
        let mut followed = Self::open(path, position.offset).ok()?;
        // Of a file that was empty there is no head to compare.
        let same = followed.len >= position.offset
            && (position.head_bytes == 0
                || hash_head(&followed.file, position.head_bytes).ok()?
                    == Some(position.head_hash));
        followed.position.in_long_line = position.in_long_line;
        same.then_some(followed)
    }

    /// Whether the file at this path begins as this one did.
    fn begins(&self, path: &Path) -> bool {
        let hash = File::open(path).and_then(|file| hash_head(&file, self.position.head_bytes));
        hash.is_ok_and(|hash| hash == Some(self.position.head_hash))
    }

    /// Reads from its position on. Nothing where the file has begun anew since the last look: what
    /// stands at that position now may be anything, the copy is looked for first.
    fn read_on(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position.offset)?;
        let head_bytes = self.position.head_bytes;
        let is_same = read == 0
            || head_bytes == 0
            || hash_head(&self.file, head_bytes)? == Some(self.position.head_hash);
        Ok(if is_same { read } else { 0 })
    }

    fn was_truncated(&self, len: u64) -> io::Result<bool> {
        if len < self.position.offset {
            return Ok(true);
        }
        // What has not changed in size may have been rewritten, but no log is.
        if len == self.len || self.position.head_bytes == 0 {
            return Ok(false);
        }
        let head = hash_head(&self.file, self.position.head_bytes)?;
        Ok(head != Some(self.position.head_hash))
    }

    /// Hashes as much of the beginning as there is, until it is enough.
    fn note_head(&mut self) -> io::Result<()> {
        if self.position.head_bytes >= HEAD_BYTES {
            return Ok(());
        }
        let len = self.file.metadata()?.len().min(HEAD_BYTES);
        if len > self.position.head_bytes
            && let Some(hash) = hash_head(&self.file, len)?
        {
            (self.position.head_bytes, self.position.head_hash) = (len, hash);
        }
        Ok(())
    }
}

/// The hash of a file's first bytes; `None` where there are not so many.
fn hash_head(file: &File, bytes: u64) -> io::Result<Option<u64>> {
    let mut head = vec![0; usize::try_from(bytes.min(HEAD_BYTES)).unwrap_or(0)];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut hasher = SipHasher13::new();
    hasher.write(&head);
    Ok(Some(hasher.finish()))
}

fn ends_a_line(file: &File, offset: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, offset - 1)?;
    Ok(last == *b"\n")
}

fn is_at(position: &Position, found: &Metadata) -> bool {
    (position.device, position.inode) == (found.dev(), found.ino())
}

fn modified_ns(found: &Metadata) -> i64 {
    found.mtime() * 1_000_000_000 + found.mtime_nsec()
}

/// Rotated files of the log: its names with a number or a date behind them. Compressed ones are not
/// among them.
fn siblings(paths: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    let of_one = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let directory = path.parent().map(|parent| {
            if parent.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                parent.to_owned()
            }
        });
        let entries = directory.and_then(|directory| fs::read_dir(directory).ok());
        let entries = entries.into_iter().flatten().take(MAX_ENTRIES);
        entries.filter_map(Result::ok).filter_map(move |entry| {
            let found = entry.file_name();
            let suffix = found.to_str()?.strip_prefix(name.as_deref()?)?;
            is_rotation(suffix).then(|| entry.path())
        })
    };
    let mut all: Vec<PathBuf> = paths.iter().flat_map(of_one).collect();
    all.sort();
    all.into_iter()
}

fn is_rotation(suffix: &str) -> bool {
    let dated = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | 'T' | ':');
    matches!(suffix, ".old" | ".bak")
        || (suffix.starts_with(['.', '-', '_']) && suffix.len() > 1 && suffix.chars().all(dated))
}
