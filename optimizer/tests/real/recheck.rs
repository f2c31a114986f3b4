//! What is kept is measured again at once where it is suspected: kept where it does no harm, undone
//! where it does.

use driftline_optimizer::protocol::{Check, Closure, Next};
use driftline_optimizer::verify::Outcome;

use super::harness::{Server, Traffic, hasty, optimizer, orders, person};
use super::index::{READ, missing, ours};
use super::planner::run;

/// Sets the indexed column, at first to what it is: PostgreSQL compares the values, so that the index
/// costs such an update nothing until the shift is another one.
const UPDATE: &str = "UPDATE orders SET customer = customer + (SELECT by FROM shift) WHERE id = $1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_suspected_is_measured_at_once_and_undone_only_where_it_does_harm() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let client = server.client().await;
    orders(&client, 5_000).await;
    client
        .batch_execute("CREATE TABLE shift (by int NOT NULL); INSERT INTO shift VALUES (0)")
        .await
        .expect("a table");
    let reads = Traffic::run(server.client().await, READ, 1000);
    let updates = Traffic::run(server.client().await, UPDATE, 1000);
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = hasty(vec![server.config("shop")]);
    // What does harm is to be judged also where the statement that was to gain has gone.
    config.windows_max = 30;
    config.verify.hurt_hard = f64::INFINITY;
    let optimizer = optimizer(config, directory.path());
    let mut wanted = missing();
    if let Some(estimate) = &mut wanted.estimate {
        estimate.statements = vec![run(&client, READ, 1).await];
    }
    let state = optimizer
        .apply(&wanted, person())
        .await
        .expect("it is applied");
    assert!(
        waits_for(&optimizer.next(&state), Check::First),
        "{state:?}"
    );

    // Nothing got worse by it: it stays, and the check that was made early is not made again.
    let state = optimizer.recheck(&state).await.expect("it is measured");
    let first = state.verdict(Check::First).expect("a verdict");
    assert_eq!(first.outcome, Outcome::Kept, "{first:?}");
    assert!(waits_for(&optimizer.next(&state), Check::Last), "{state:?}");
    assert_eq!(ours(&client).await, (1, 0));

    // Nobody reads by the index any more, and each update has to change it.
    reads.end().await;
    client
        .batch_execute("UPDATE shift SET by = 1")
        .await
        .expect("it shifts");
    let state = optimizer.recheck(&state).await.expect("it is measured");
    updates.end().await;
    let last = state.verdict(Check::Last).expect("a verdict");
    println!("{}", last.reason);
    assert_eq!(last.outcome, Outcome::Regressed, "{last:?}");
    assert_eq!(optimizer.next(&state), Next::Closed(Closure::Reverted));
    assert_eq!(ours(&client).await, (0, 0));

    // What is undone is not measured again.
    let again = optimizer.recheck(&state).await.expect("it rests");
    assert_eq!(again.last_us, state.last_us, "a step was taken: {again:?}");
}

fn waits_for(next: &Next, check: Check) -> bool {
    matches!(next, Next::Wait { check: due, .. } if *due == check)
}
