//! The small files beside the segments: the durable mark with its two slots, and the stamps that
//! are replaced in one step (`closed`, `cursor`).

use std::path::Path;

use super::format::{self, Magic, STAMP_BYTES, Stamp};
use super::layout;
use crate::LogError;
use crate::disk::{Disk, DiskFile};

/// Slots lie in sectors of their own, so that writing one cannot tear the other.
const SLOT_BYTES: u64 = 512;
const SLOTS: u64 = 2;

/// The writer's side of the mark. It is overwritten in place and not synced: it is written only
/// after the records are durable, so an older mark after a power loss hides records until the
/// stream is repaired, and never shows one that is not there.
#[derive(Debug)]
pub(super) struct Mark {
    file: Box<dyn DiskFile>,
    slot: u64,
}

impl Mark {
    /// Creates the mark of a new stream, with room for both slots.
    pub(super) fn create(disk: &dyn Disk, path: &Path) -> Result<Self, LogError> {
        let file = disk
            .create_new(path)
            .map_err(|error| LogError::io("create", path, error))?;
        let mut mark = Self { file, slot: 0 };
        let blank = [0; (SLOTS * SLOT_BYTES) as usize];
        mark.file
            .write_at(0, &blank)
            .map_err(|error| LogError::io("write", path, error))?;
        Ok(mark)
    }

    /// Tells readers how far they may read. A failed attempt is repeated on the same slot, so that
    /// the other one stays whole.
    pub(super) fn publish(&mut self, path: &Path, stamp: Stamp) -> Result<(), LogError> {
        let bytes = format::encode_stamp(Magic::Durable, stamp);
        self.file
            .write_at(self.slot * SLOT_BYTES, &bytes)
            .map_err(|error| LogError::io("write", path, error))?;
        self.slot = (self.slot + 1) % SLOTS;
        Ok(())
    }
}

/// Reads the mark: the further of its valid slots, `None` if neither is valid or there is none.
pub(super) fn read_mark(disk: &dyn Disk, path: &Path) -> Result<Option<Stamp>, LogError> {
    let Some(bytes) = read_small(disk, path, (SLOTS * SLOT_BYTES) as usize)? else {
        return Ok(None);
    };
    let mut furthest: Option<Stamp> = None;
    for slot in bytes.chunks(SLOT_BYTES as usize) {
        match format::decode_stamp(slot, Magic::Durable, path) {
            Ok(stamp) if furthest.is_none_or(|found| found.next < stamp.next) => {
                furthest = Some(stamp);
            }
            Ok(_) => {}
            Err(error @ LogError::NewerFormat { .. }) => return Err(error),
            // A slot that is blank, or being written right now.
            Err(_) => {}
        }
    }
    Ok(furthest)
}

/// Reads a stamp; `None` if there is none.
pub(super) fn read_stamp(
    disk: &dyn Disk,
    path: &Path,
    magic: Magic,
) -> Result<Option<Stamp>, LogError> {
    match read_small(disk, path, STAMP_BYTES)? {
        Some(bytes) => format::decode_stamp(&bytes, magic, path).map(Some),
        None => Ok(None),
    }
}

/// Replaces a stamp in one step: after a crash there is the old one or the new one. Its name is
/// durable only after a sync of the directory, which is left to the caller.
pub(super) fn write_stamp(
    disk: &dyn Disk,
    path: &Path,
    magic: Magic,
    stamp: Stamp,
) -> Result<(), LogError> {
    let temporary = path.with_extension("tmp");
    layout::remove_file(disk, &temporary)?;
    let io = |op| move |error| LogError::io(op, path, error);
    let mut file = disk.create_new(&temporary).map_err(io("create"))?;
    file.write_at(0, &format::encode_stamp(magic, stamp))
        .map_err(io("write"))?;
    file.sync_data().map_err(io("sync"))?;
    disk.rename(&temporary, path).map_err(io("replace"))
}

fn read_small(disk: &dyn Disk, path: &Path, size: usize) -> Result<Option<Vec<u8>>, LogError> {
    let file = match disk.open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("open", path, error)),
    };
    let mut bytes = vec![0; size];
    let count = file
        .read_at(0, &mut bytes)
        .map_err(|error| LogError::io("read", path, error))?;
    bytes.truncate(count);
    Ok(Some(bytes))
}
