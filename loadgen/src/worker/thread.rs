//! A worker's thread: its name, its CPU, its runtime, and the sign that it has ended.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::task::LocalSet;

use super::engine::Engine;
use super::{Context, Gauges, Parts, WorkerError};
use crate::recorder::Tape;

pub(crate) fn spawn(parts: Parts) -> Result<JoinHandle<Result<(), WorkerError>>, WorkerError> {
    std::thread::Builder::new()
        .name(format!("load-{}", parts.share.index))
        .spawn(move || work(parts))
        .map_err(WorkerError::Start)
}

/// Says that the worker has ended, however it has.
struct Ending(Arc<Gauges>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
    }
}

fn work(parts: Parts) -> Result<(), WorkerError> {
    let _ending = Ending(Arc::clone(&parts.gauges));
    if let Some(cpu) = parts.cpu
        && let Err(error) = pin(cpu)
    {
        tracing::warn!(cpu, %error, "a worker is not pinned to its CPU; latencies may be noisier");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(WorkerError::Start)?;
    let context = Context {
        tape: Tape::new(parts.share.index, parts.queue, parts.lost),
        scenario: parts.scenario,
        target: parts.target,
        share: parts.share,
        clock: parts.clock,
        stop: parts.stop,
        gauges: parts.gauges,
    };
    let local = LocalSet::new();
    let tape = context.tape.clone();
    let ended = local.block_on(&runtime, async move { Engine::new(context)?.run().await });
    // What other tasks had under way is recorded as they are dropped.
    drop(local);
    tape.flush();
    ended
}

fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}
