//! One file of a log: where reading has come to in it, and what tells it from other files.
//!
//! Which files are followed is left to the tail.

use std::fs::File;
use std::hash::Hasher as _;
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::memchr;
use siphasher::sip::SipHasher13;

use super::super::rotated::{FileId, Met, id_of};
use super::super::state::Position;

/// So much of a file's beginning tells it from others.
const HEAD_BYTES: u64 = 1_024;

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) file: File,
    pub(super) position: Position,
    /// Whether one of the log's paths leads to it.
    pub(super) is_current: bool,
    pub(super) idle_passes: u32,
    pub(super) len: u64,
    /// Its length and position at the pass before.
    pub(super) before: (u64, u64),
}

impl Followed {
    /// Opens the file that was met, from its beginning.
    ///
    /// # Errors
    /// When it cannot be opened, or its path leads to another file by now.
    pub(super) fn open(met: &Met) -> io::Result<Self> {
        let file = File::open(&met.path)?;
        let found = file.metadata()?;
        if id_of(&found) != met.id {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was moved away"));
        }
        let (device, inode) = met.id;
        Ok(Self {
            file,
            position: Position {
                device,
                inode,
                offset: 0,
                head_bytes: 0,
                head_hash: 0,
                in_long_line: false,
            },
            is_current: false,
            idle_passes: 0,
            len: found.len(),
            before: (0, 0),
        })
    }

    /// Goes on in a file if it is the position's, or a copy of it.
    pub(super) fn resume(met: &Met, position: &Position) -> Option<Self> {
        let mut followed = Self::open(met).ok()?;
        // Of a file that was empty there is no head to compare.
        let same = followed.len >= position.offset
            && (position.head_bytes == 0
                || hash_head(&followed.file, position.head_bytes).ok()?
                    == Some(position.head_hash));
        followed.skip_to(position.offset).ok()?;
        followed.position.in_long_line = position.in_long_line;
        same.then_some(followed)
    }

    /// Passes over what stands before the offset.
    pub(super) fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        self.position.offset = offset;
        if offset > 0 {
            let head = read_head(&self.file)?;
            self.note_head(&head);
        }
        Ok(())
    }

    pub(super) fn id(&self) -> FileId {
        (self.position.device, self.position.inode)
    }

    /// Whether a file is a copy of this one, or may become one: a copy that is being written is
    /// empty at first.
    pub(super) fn is_copied_to(&self, file: &File) -> bool {
        let known = self.position.head_bytes;
        // Ours before theirs: a copy is whole before what it was taken from is truncated.
        let compared = read_head(&self.file).and_then(|ours| {
            let theirs = read_head(file)?;
            if known > 0
                && let Some(head) = theirs.get(..known as usize)
            {
                return Ok(hash(head) == self.position.head_hash);
            }
            let line = memchr(b'\n', &theirs).map_or(theirs.len(), |end| end + 1);
            Ok(ours.starts_with(&theirs[..line]))
        });
        compared.unwrap_or(false)
    }

    /// Reads from its position on. Nothing where the file has begun anew since the last look: what
    /// stands at that position now may be anything, the copy is looked for first.
    pub(super) fn read_on(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position.offset)?;
        let head_bytes = self.position.head_bytes;
        let is_same = read == 0
            || head_bytes == 0
            || hash_head(&self.file, head_bytes)? == Some(self.position.head_hash);
        Ok(if is_same { read } else { 0 })
    }

    pub(super) fn was_truncated(&self) -> io::Result<bool> {
        if self.file.metadata()?.len() < self.position.offset {
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
    pub(super) fn note_head(&mut self, begin: &[u8]) {
        let head = &begin[..begin.len().min(HEAD_BYTES as usize)];
        if memchr(b'\n', head).is_some() || head.len() as u64 == HEAD_BYTES {
            (self.position.head_bytes, self.position.head_hash) = (head.len() as u64, hash(head));
        }
    }

    /// Hashes more of the beginning where there is more, if it is still the same file.
    pub(super) fn extend_head(&mut self) -> io::Result<()> {
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

    /// Whether a line ends at its position.
    pub(super) fn is_between_lines(&self) -> io::Result<bool> {
        let mut last = [0];
        let before = self.position.offset - 1;
        self.file.read_exact_at(&mut last, before)?;
        Ok(last == *b"\n")
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
