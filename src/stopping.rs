//! Ctrl-C and SIGTERM as a request to stop, heard by every role.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context as _;
use driftline_collector::Stop;

/// The request to stop.
#[derive(Clone, Default)]
pub(crate) struct Stopping {
    /// The roles that a signal stops now; they change when roles are started again.
    current: Arc<Mutex<Stop>>,
    /// For the collector, which waits for it.
    pub(crate) collector: Stop,
    /// For the sink and its maintenance, which look at it. It is set after the collector has ended,
    /// so that the last blocks are committed.
    pub(crate) sink: Arc<AtomicBool>,
}

impl Stopping {
    /// Hears SIGINT and SIGTERM from now on. A second signal ends the process at once.
    pub(crate) fn on_signals() -> anyhow::Result<Self> {
        let stopping = Self::default();
        *lock(&stopping.current) = stopping.collector.clone();
        let current = Arc::clone(&stopping.current);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listen = move || {
            runtime.block_on(async {
                use tokio::signal::unix::{SignalKind, signal};
                let (Ok(mut int), Ok(mut term)) = (
                    signal(SignalKind::interrupt()),
                    signal(SignalKind::terminate()),
                ) else {
                    tracing::error!("signals cannot be heard; stop this process by SIGKILL");
                    return;
                };
                tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                tracing::info!("stopping; what is pending is committed first");
                lock(&current).request();
                tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                std::process::exit(130);
            });
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)
            .context("cannot start the thread that hears signals")?;
        Ok(stopping)
    }

    /// The same signals for roles that are started anew after these have ended.
    pub(crate) fn again(&self) -> Self {
        let fresh = Self {
            current: Arc::clone(&self.current),
            ..Self::default()
        };
        *lock(&fresh.current) = fresh.collector.clone();
        fresh
    }

    /// Asks the sink to stop too.
    pub(crate) fn stop_sink(&self) {
        self.sink.store(true, Ordering::Relaxed);
    }
}

fn lock(current: &Mutex<Stop>) -> MutexGuard<'_, Stop> {
    // A request cannot be left half made.
    current.lock().unwrap_or_else(PoisonError::into_inner)
}
