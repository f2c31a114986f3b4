//! Real load on this machine, bounded in time and space: every core computes, and one thread writes
//! and syncs a file.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, anyhow};

/// The file that is written over and over.
const FILE_BYTES: u64 = 64 << 20;
/// Written between two syncs.
const CHUNK_BYTES: usize = 1 << 20;

/// Load that goes on until it is stopped.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
    scratch: PathBuf,
}

impl Load {
    /// Loads every core, and the disk below `scratch`.
    pub(super) fn start(scratch: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(scratch)
            .with_context(|| format!("cannot create {}", scratch.display()))?;
        let file = scratch.join("load.bin");
        let out =
            File::create(&file).with_context(|| format!("cannot create {}", file.display()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || {
                compute(&stop);
                Ok(())
            }));
        }
        let disk_stop = Arc::clone(&stop);
        threads.push(thread::spawn(move || write_and_sync(out, &disk_stop)));
        Ok(Self {
            stop,
            threads,
            scratch: scratch.to_path_buf(),
        })
    }

    /// Ends it and removes what it wrote.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let ended = thread
                .join()
                .map_err(|_| anyhow!("a thread of the load panicked"))?;
            ended.context("the disk load failed; is the disk full?")?;
        }
        fs::remove_dir_all(&self.scratch)
            .with_context(|| format!("cannot remove {}", self.scratch.display()))
    }
}

fn compute(stop: &AtomicBool) {
    let mut state = 1_u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..100_000 {
            state = black_box(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            );
        }
    }
}

fn write_and_sync(mut file: File, stop: &AtomicBool) -> std::io::Result<()> {
    let chunk = vec![0x5a_u8; CHUNK_BYTES];
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        file.write_all(&chunk)?;
        file.sync_data()?;
        written += chunk.len() as u64;
        if written >= FILE_BYTES {
            file.seek(SeekFrom::Start(0))?;
            written = 0;
        }
    }
    Ok(())
}
