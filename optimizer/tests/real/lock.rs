//! Of two optimizers with logs of their own, one at a time works on a server.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use driftline_optimizer::action::RedisParameter;
use driftline_optimizer::config::ServerConfig;
use driftline_optimizer::recommendation::Verification;
use driftline_optimizer::run::system_clock;
use driftline_optimizer::server::ServerError;
use driftline_optimizer::{Action, OptimizeError, Optimizer, Recommendation};
use tokio::sync::Notify;

use super::harness::{Server, Stopping, hasty, optimizer, orders, person, recommendation};
use super::index::missing;
use super::journal::FileJournal;

/// How long a server may take to see that a session has ended.
const FREE_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_optimizer_waits_for_a_postgresql_server() {
    let Some(server) = Server::postgres() else {
        return;
    };
    orders(&server.client().await, 2_000).await;
    one_at_a_time(server.config("shop"), &missing()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_optimizer_waits_for_a_redis_server() {
    let Some(server) = Server::redis() else {
        return;
    };
    let action = Action::RedisConfigSet {
        parameter: RedisParameter::MaxmemoryPolicy,
        value: "allkeys-lfu".to_owned(),
    };
    let wanted = recommendation("R7", "cache", action, Verification::HitRatio);
    one_at_a_time(server.config("cache"), &wanted).await;
}

/// The first stops at its first step, holding the server; what it holds is free when it is gone.
async fn one_at_a_time(server: ServerConfig, wanted: &Recommendation) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = hasty(vec![server]);
    // There is no traffic, so that nothing is ever judged.
    config.windows_max = 2;
    let stopped = Arc::new(Notify::new());
    let journal = Stopping {
        inner: FileJournal::open(directory.path().join("first.jsonl")).expect("a journal"),
        stop: 0,
        after: false,
        seen: AtomicUsize::new(0),
        stopped: Arc::clone(&stopped),
    };
    let first = Optimizer::new(config.clone(), journal, system_clock).expect("good");
    let second = optimizer(config, directory.path());
    {
        let mut work = Box::pin(first.apply(wanted, person()));
        tokio::select! {
            done = &mut work => panic!("it must stop: {done:?}"),
            () = stopped.notified() => {}
        }
        let refused = second.apply(wanted, person()).await;
        assert!(is_locked(&refused), "{refused:?}");
    }
    let free = async {
        loop {
            let done = second.apply(wanted, person()).await;
            if !is_locked(&done) {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(FREE_WITHIN, free).await;
    done.expect("the server is free").expect("it ends in order");
    // It has let go by itself.
    let third = second.apply(wanted, person()).await;
    assert!(!is_locked(&third), "{third:?}");
}

fn is_locked<T>(done: &Result<T, OptimizeError>) -> bool {
    matches!(done, Err(OptimizeError::Server(ServerError::Locked { .. })))
}
