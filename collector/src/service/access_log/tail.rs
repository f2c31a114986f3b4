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

use super::rotated::siblings;
use super::state::Position;

/// Files that are followed at once, rotated ones that still grow among them.
const MAX_FILES: usize = 64;
/// So much of a file's beginning tells it from others.
const HEAD_BYTES: u64 = 1_024;
/// Read at a time; a line that is longer is skipped.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// A rotated file that did not grow at so many passes is let go.
const IDLE_PASSES: u32 = 3;
/// Files bear the time of the kernel's last tick, which is up to 10 ms ago: what seems so much older
/// than the last look may be younger.
const TICK_NS: i64 = 20_000_000;

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
    /// Rotated files that were copies of what is read, as long as it had not been truncated: device
    /// and inode.
    spared: Vec<(u64, u64)>,
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
        (remembered, spared): (Vec<Position>, Vec<(u64, u64)>),
        current_ns: i64,
        start: bool,
    ) -> Self {
        Self {
            pattern: path.to_string_lossy().into_owned(),
            from_start: start || current_ns > 0,
            followed: Vec::new(),
            remembered,
            current_ns,
            spared,
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

    pub(super) fn spared(&self) -> Vec<(u64, u64)> {
        self.spared.clone()
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
        // One of which no line is known yet may have been truncated unseen.
        rotated |= self.followed.iter().any(|one| one.position.head_bytes == 0);
        if (rotated || !self.spared.is_empty()) && self.current_ns > 0 {
            self.adopt_rotated(&paths);
        }
        self.let_go(now_ns);
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
    /// rotated more than once meanwhile. A copy of what is read is spared, until that is truncated.
    fn adopt_rotated(&mut self, paths: &[PathBuf]) {
        let since_ns = self.current_ns - TICK_NS;
        let mut spared = Vec::new();
        for path in siblings(paths)
            .filter(|path| !self.follows(path))
            .collect::<Vec<_>>()
        {
            let Ok(found) = fs::metadata(&path) else {
                continue;
            };
            let id = (found.dev(), found.ino());
            if modified_ns(&found) <= since_ns && !self.spared.contains(&id) {
                continue;
            }
            if self.followed.iter().any(|one| one.is_copied_to(&path)) {
                spared.push(id);
            } else if self.followed.len() < MAX_FILES {
                self.followed.extend(Followed::open(&path, 0).ok());
            } else {
                self.overflowed = true;
            }
        }
        spared.truncate(MAX_FILES);
        self.spared = spared;
    }

    /// Lets go of rotated files that grow no more. A last line without an end is lost with them.
    fn let_go(&mut self, now_ns: i64) {
        let lost_bytes = &mut self.lost_bytes;
        self.followed.retain_mut(|followed| {
            let found = followed.file.metadata().ok();
            followed.len = found.as_ref().map_or(0, Metadata::len);
            let now = (followed.len, followed.position.offset);
            // One that seems to have changed since the last look would be taken for a new one.
            let is_old = found.is_none_or(|found| modified_ns(&found) < now_ns - 2 * TICK_NS);
            let rests = !followed.is_current && now == followed.before && is_old;
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
        let began = position.offset == 0;
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
        let followed = &mut self.followed[at];
        if began {
            followed.note_head(chunk);
        } else {
            followed.extend_head()?;
        }
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
        if offset > 0 {
            let head = read_head(&followed.file)?;
            followed.note_head(&head);
        }
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

    /// Whether the file at this path is a copy of this one, which may have been truncated since.
    fn is_copied_to(&self, path: &Path) -> bool {
        let known = self.position.head_bytes;
        let compared = File::open(path).and_then(|file| {
            if known > 0 {
                return Ok(hash_head(&file, known)? == Some(self.position.head_hash));
            }
            // Nothing was read yet. One without a whole line may become a copy.
            let (theirs, ours) = (read_head(&file)?, read_head(&self.file)?);
            let line = memchr(b'\n', &theirs).map_or(theirs.len(), |end| end + 1);
            Ok(ours.starts_with(&theirs[..line]))
        });
        compared.unwrap_or(false)
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
        if self.position.head_bytes == 0 {
            return Ok(false);
        }
        let head = hash_head(&self.file, self.position.head_bytes)?;
        Ok(head != Some(self.position.head_hash))
    }

    /// Takes over what a file begins with that is read from its beginning. Less than a line tells no
    /// file from another.
    fn note_head(&mut self, begin: &[u8]) {
        let head = &begin[..begin.len().min(HEAD_BYTES as usize)];
        if memchr(b'\n', head).is_some() || head.len() as u64 == HEAD_BYTES {
            (self.position.head_bytes, self.position.head_hash) = (head.len() as u64, hash(head));
        }
    }

    /// Hashes more of the beginning where there is more, if it is still the same file.
    fn extend_head(&mut self) -> io::Result<()> {
        let known = self.position.head_bytes;
        if known == 0 || known >= HEAD_BYTES {
            return Ok(());
        }
        let head = read_head(&self.file)?;
        let same = head.get(..known as usize).map(hash) == Some(self.position.head_hash);
        if same && head.len() as u64 > known {
            self.note_head(&head);
        }
        Ok(())
    }
}

fn read_head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES as usize];
    let read = file.read_at(&mut head, 0)?;
    head.truncate(read);
    Ok(head)
}

/// The hash of a file's first bytes; `None` where there are not so many.
fn hash_head(file: &File, bytes: u64) -> io::Result<Option<u64>> {
    let mut head = vec![0; usize::try_from(bytes.min(HEAD_BYTES)).unwrap_or(0)];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(Some(hash(&head)))
}

fn hash(head: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(head);
    hasher.finish()
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
