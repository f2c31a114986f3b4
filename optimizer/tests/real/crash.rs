//! Killed before and after every step, the optimizer resumes or reverts from its journal alone.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use driftline_optimizer::Optimizer;
use driftline_optimizer::protocol::{Closure, Next, State};
use driftline_optimizer::run::{is_kept, system_clock};
use tokio::sync::Notify;
use tokio_postgres::Client;

use super::harness::{Server, Stopping, Traffic, hasty, optimizer, orders, person};
use super::index::{READ, missing, ours};
use super::journal::FileJournal;

/// More steps than an action takes until its first verdict.
const STEPS_MAX: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_it_resumes_or_reverts() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let client = server.client().await;
    orders(&client, 2_000).await;
    let traffic = Traffic::run(server.client().await, READ, 1000);
    let mut config = hasty(vec![server.config("shop")]);
    // A second window would only be one more step of the same kind.
    config.windows_min = 1;
    let mut crashes = 0;
    for stop in 0..STEPS_MAX {
        for after in [false, true] {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("steps.jsonl");
            let stopped = Arc::new(Notify::new());
            let journal = Stopping {
                inner: FileJournal::open(&path).expect("a journal"),
                stop,
                after,
                seen: AtomicUsize::new(0),
                stopped: stopped.clone(),
            };
            let victim = Optimizer::new(config.clone(), journal, system_clock).expect("good");
            let recommendation = missing();
            let crashed = tokio::select! {
                done = victim.apply(&recommendation, person()) => {
                    done.expect("it ends in order");
                    false
                }
                () = stopped.notified() => true,
            };
            drop(victim);
            lock_is_free(&client).await;
            let resumed = optimizer(config.clone(), directory.path());
            let states = gone_on(&resumed).await;
            let next = states.first().map(|state| resumed.next(state));
            let created = ours(&client).await;
            println!("killed at {stop}, after {after}: {next:?} {created:?}");
            match &next {
                Some(next) if is_kept(next) => assert_eq!(created, (1, 0)),
                None
                | Some(
                    Next::AwaitApproval | Next::Closed(Closure::Reverted | Closure::Failed(_)),
                ) => {
                    assert_eq!(created, (0, 0));
                }
                other => panic!("neither kept nor undone: {other:?}"),
            }
            if let Some(state) = states.first().filter(|_| created.0 > 0) {
                let state = resumed
                    .revert(&state.action, "the test goes on")
                    .await
                    .expect("undone");
                assert_eq!(resumed.next(&state), Next::Closed(Closure::Reverted));
            }
            assert_eq!(ours(&client).await, (0, 0));
            if !crashed {
                traffic.end().await;
                assert!(crashes >= 14, "only {crashes} crashes");
                return;
            }
            crashes += 1;
        }
    }
    panic!("an action takes more than {STEPS_MAX} steps");
}

/// Goes on with what is under way; where every action stands then.
async fn gone_on(optimizer: &Optimizer<FileJournal>) -> Vec<State> {
    let before = optimizer.actions().await.expect("they read");
    for (id, resumed) in optimizer.resume(before.states).await {
        resumed.unwrap_or_else(|error| panic!("{id} does not resume: {error}"));
    }
    let after = optimizer.actions().await.expect("they read");
    assert_eq!(after.damaged, []);
    after.states
}

/// The lock goes with the session of the one that was killed.
async fn lock_is_free(client: &Client) {
    for statement in [
        "SELECT pg_advisory_lock(1685219686, hashtext(current_database()))",
        "SELECT pg_advisory_unlock_all()",
    ] {
        client.batch_execute(statement).await.expect("it is free");
    }
}
