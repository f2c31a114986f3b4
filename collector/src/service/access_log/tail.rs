//! Follows the files of a log: finds them again after a restart, follows them when they are renamed,
//! copied and truncated, and yields whole lines.
//!
//! A name may lead to another file at any moment, so a file is what its descriptor says, and a look at
//! the directory counts as one only if all names still lead where they led when it began.
//!
//! What a line means is left to its caller, who keeps the positions together with what was counted.

mod followed;

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};

use super::rotated::{FileId, Listing, Met, modified_ns};
use super::state::Position;
use followed::Followed;

/// Files that are followed at once, rotated ones that still grow among them.
const MAX_FILES: usize = 64;
/// Read at a time; a line that is longer is skipped.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// A rotated file that did not grow at so many passes is let go.
const IDLE_PASSES: u32 = 3;
/// Looks at a directory in which files move; the next pass goes on from there.
const MAX_LOOKS: u32 = 5;

/// The files of a log.
#[derive(Debug)]
pub(super) struct Tail {
    pattern: String,
    followed: Vec<Followed>,
    /// What was being read and has yet to be found again.
    sought: Vec<Sought>,
    /// Rotated files that have been let go, the longest ago first: a process that has one open may still
    /// write to it.
    resting: Vec<Resting>,
    /// Rotated files that are not followed and changed since then hold new lines. By the clock that
    /// files bear the time of.
    since_ns: i64,
    /// Whether files moved during all looks of the last pass.
    is_unsettled: bool,
    /// Rotated files that were copies of what is read, as long as it had not been truncated: device
    /// and inode.
    spared: Vec<FileId>,
    /// Whether files that are met are read from their beginning.
    from_start: bool,
    /// Bytes known to be gone unread, since the beginning.
    pub(super) lost_bytes: u64,
    /// Files of before the restart that were not found again; how much of them is lost is unknown.
    pub(super) vanished: u32,
    /// Whether there were more files than are followed.
    pub(super) overflowed: bool,
}

/// A file that is looked for: one of before the restart, or the copy of one that was truncated.
#[derive(Debug)]
struct Sought {
    position: Position,
    /// What is lost if it is not found, where that is known.
    unread: Option<u64>,
}

/// A file that was let go.
#[derive(Debug)]
struct Resting {
    position: Position,
    /// What is lost once it is forgotten: a last line without an end.
    unread: u64,
}

impl Resting {
    fn id(&self) -> FileId {
        (self.position.device, self.position.inode)
    }
}

impl Tail {
    /// With positions, it goes on from there. Without, it begins at the end of what there is, or
    /// at the start.
    pub(super) fn new(
        path: &Path,
        (remembered, resting, spared): (Vec<Position>, Vec<(Position, u64)>, Vec<FileId>),
        since_ns: i64,
        start: bool,
    ) -> Self {
        let sought = |position| Sought {
            position,
            unread: None,
        };
        let sought = remembered.into_iter().map(sought).collect();
        let rests = |(position, unread)| Resting { position, unread };
        let resting = resting.into_iter().map(rests).collect();
        Self {
            pattern: path.to_string_lossy().into_owned(),
            from_start: start || since_ns > 0,
            followed: Vec::new(),
            sought,
            resting,
            since_ns,
            is_unsettled: false,
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
        let followed = self.followed.iter().map(|one| &one.position);
        let sought = self.sought.iter().map(|one| &one.position);
        followed.chain(sought).cloned().collect()
    }

    pub(super) fn resting(&self) -> Vec<(Position, u64)> {
        let all = self.resting.iter();
        all.map(|one| (one.position.clone(), one.unread)).collect()
    }

    pub(super) fn spared(&self) -> Vec<FileId> {
        self.spared.clone()
    }

    /// Since when files that change hold new lines.
    pub(super) fn since_ns(&self) -> i64 {
        self.since_ns
    }

    /// Bytes that are written and not read.
    pub(super) fn lag(&self) -> u64 {
        let all = self.followed.iter();
        all.map(|followed| followed.len.saturating_sub(followed.position.offset))
            .sum()
    }

    /// Looks for new, renamed and truncated files, until nothing moves meanwhile. `now_ns` is at most
    /// the time that a file bears which is changed from now on.
    ///
    /// # Errors
    /// When no file of the log can be opened.
    pub(super) fn refresh(&mut self, now_ns: i64) -> io::Result<()> {
        let mut looks = 1;
        let (listing, failure) = loop {
            let listing = Listing::of(&self.paths()?);
            let (has_moved, failure) = self.look(&listing);
            self.is_unsettled = has_moved && !Listing::of(&self.paths()?).is_like(&listing);
            if !self.is_unsettled || looks == MAX_LOOKS {
                break (listing, failure);
            }
            looks += 1;
        };
        if !self.is_unsettled {
            self.give_up();
            self.forget(&listing);
            self.spared.retain(|id| listing.has(*id));
        }
        if !self.is_unsettled || self.since_ns == 0 {
            self.since_ns = now_ns;
        }
        self.let_go();
        self.from_start = true;
        match failure.or(listing.failure) {
            Some(error) if !self.followed.iter().any(|followed| followed.is_current) => Err(error),
            _ => Ok(()),
        }
    }

    /// One look at the files; says whether any was new, renamed or truncated, and what went wrong.
    fn look(&mut self, listing: &Listing) -> (bool, Option<io::Error>) {
        let mut has_moved = self.is_unsettled || !self.sought.is_empty() || !self.spared.is_empty();
        let mut failure = None;
        let files = &listing.files;
        self.find(files, |met, position| {
            met.id == (position.device, position.inode)
        });
        self.wake(files);
        for followed in &mut self.followed {
            followed.is_current = false;
        }
        for met in files.iter().filter(|met| !met.is_rotated) {
            match self.visit(met) {
                Ok(is_new) => has_moved |= is_new,
                Err(error) => (has_moved, failure) = (true, Some(error)),
            }
        }
        self.find(files, |met, position| {
            met.is_rotated && position.head_bytes > 0
        });
        // One of which no line is known yet may have been truncated unseen.
        has_moved |= self.followed.iter().any(|one| one.position.head_bytes == 0);
        if has_moved && self.since_ns > 0 {
            self.adopt_rotated(files);
        }
        (has_moved, failure)
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
    fn visit(&mut self, met: &Met) -> io::Result<bool> {
        if let Some(followed) = self.followed.iter_mut().find(|one| one.id() == met.id) {
            followed.is_current = true;
            if !followed.was_truncated()? {
                return Ok(false);
            }
            // What had not been read is in a copy, or lost. It may have been truncated more than once
            // since the last look.
            self.sought.push(Sought {
                position: followed.position.clone(),
                unread: Some(followed.len.saturating_sub(followed.position.offset)),
            });
            let position = &mut followed.position;
            (position.offset, position.in_long_line) = (0, false);
            (position.head_bytes, position.head_hash) = (0, 0);
            return Ok(true);
        }
        if self.followed.len() >= MAX_FILES {
            self.overflowed = true;
            return Ok(false);
        }
        let mut followed = Followed::open(met)?;
        if !self.from_start && followed.len > 0 {
            followed.skip_to(followed.len)?;
            followed.position.in_long_line = !followed.is_between_lines()?;
        }
        followed.is_current = true;
        self.followed.push(followed);
        Ok(true)
    }

    /// Goes on in the files that are sought, among those that may be them by what they are or by how
    /// they begin. A copy is at least as long as what was read.
    fn find(&mut self, files: &[Met], may_be: impl Fn(&Met, &Position) -> bool) {
        for sought in std::mem::take(&mut self.sought) {
            let mut candidates = files
                .iter()
                .filter(|met| may_be(met, &sought.position) && !self.follows(met.id));
            match candidates.find_map(|met| Followed::resume(met, &sought.position)) {
                Some(followed) => self.followed.push(followed),
                None => self.sought.push(sought),
            }
        }
    }

    fn follows(&self, id: FileId) -> bool {
        self.followed.iter().any(|one| one.id() == id)
    }

    /// What is sought and is nowhere has gone.
    fn give_up(&mut self) {
        for sought in self.sought.drain(..) {
            match sought.unread {
                Some(bytes) => self.lost_bytes += bytes,
                None => self.vanished += 1,
            }
        }
    }

    /// Goes on in files that were let go and have changed since, or are at one of the log's paths again.
    fn wake(&mut self, files: &[Met]) {
        for met in files {
            let place = self.resting.iter().position(|one| one.id() == met.id);
            let Some(place) = place.filter(|_| !met.is_rotated || met.modified_ns >= self.since_ns)
            else {
                continue;
            };
            let resting = self.resting.remove(place);
            match Followed::resume(met, &resting.position) {
                Some(followed) => self.followed.push(followed),
                // Another file under the same number.
                None => self.lost_bytes += resting.unread,
            }
        }
    }

    /// What rests and is nowhere any more has been deleted or compressed.
    fn forget(&mut self, listing: &Listing) {
        let lost_bytes = &mut self.lost_bytes;
        self.resting.retain(|resting| {
            let stays = listing.has(resting.id());
            if !stays {
                *lost_bytes += resting.unread;
            }
            stays
        });
    }

    /// Takes rotated files that were never followed and have changed since the last look: the log was
    /// rotated more than once meanwhile. A copy of what is read is spared, until that is truncated.
    fn adopt_rotated(&mut self, files: &[Met]) {
        for met in files.iter().filter(|met| met.is_rotated) {
            let was_spared = self.spared.contains(&met.id);
            if self.follows(met.id) || (met.modified_ns < self.since_ns && !was_spared) {
                continue;
            }
            let Ok(fresh) = Followed::open(met) else {
                continue;
            };
            self.spared.retain(|id| *id != met.id);
            let is_copy = self
                .followed
                .iter()
                .any(|one| one.is_copied_to(&fresh.file));
            if is_copy && self.spared.len() < MAX_FILES {
                self.spared.push(met.id);
            } else if !is_copy && self.followed.len() < MAX_FILES {
                self.followed.push(fresh);
            } else {
                self.overflowed = true;
            }
        }
    }

    /// Lets go of rotated files that grow no more, but remembers how far they were read. A last line
    /// without an end is lost with them, once they are forgotten.
    fn let_go(&mut self) {
        let since_ns = self.since_ns;
        let resting = &mut self.resting;
        self.followed.retain_mut(|followed| {
            let found = followed.file.metadata().ok();
            followed.len = found.as_ref().map_or(0, Metadata::len);
            let now = (followed.len, followed.position.offset);
            // One that has changed since the last look would be taken for a new one.
            let is_old = found.is_none_or(|found| modified_ns(&found) < since_ns);
            let rests = !followed.is_current && now == followed.before && is_old;
            followed.idle_passes = if rests { followed.idle_passes + 1 } else { 0 };
            followed.before = now;
            let stays = followed.idle_passes < IDLE_PASSES;
            if !stays {
                resting.push(Resting {
                    position: followed.position.clone(),
                    unread: now.0.saturating_sub(now.1),
                });
            }
            stays
        });
        let most = self.resting.len().saturating_sub(MAX_FILES);
        for forgotten in self.resting.drain(..most) {
            self.lost_bytes += forgotten.unread;
        }
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
