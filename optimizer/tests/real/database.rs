//! What is recommended about another database of the server is done there.

use driftline_optimizer::protocol::{Closure, Next};
use driftline_optimizer::recommendation::Verification;
use driftline_optimizer::run::is_kept;

use super::harness::{Server, Traffic, hasty, index_on, optimizer, orders, person, recommendation};
use super::index::{READ, ours};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_for_another_database_is_created_and_undone_there() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let client = server.client().await;
    client
        .batch_execute("CREATE DATABASE \"Other.one\"")
        .await
        .expect("a database");
    let other = server.client_of("Other.one").await;
    // A table of the same name is in both.
    orders(&client, 2_000).await;
    orders(&other, 5_000).await;
    let traffic = Traffic::run(server.client_of("Other.one").await, READ, 1000);
    let mut missing = recommendation("P2", "shop", index_on("customer"), Verification::Work);
    missing.subject = "Other.one.public.orders".to_owned();
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(hasty(vec![server.config("shop")]), directory.path());
    let state = optimizer
        .apply(&missing, person())
        .await
        .expect("it is applied");
    assert!(is_kept(&optimizer.next(&state)), "{:?}", state.verdicts);
    assert_eq!(ours(&other).await, (1, 0));
    assert_eq!(ours(&client).await, (0, 0));
    let state = optimizer
        .revert(&state.action, "asked for")
        .await
        .expect("it is undone");
    traffic.end().await;
    assert_eq!(optimizer.next(&state), Next::Closed(Closure::Reverted));
    assert_eq!(ours(&other).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_refuses_what_is_about_it_and_nothing_else() {
    let Some(server) = Server::postgres() else {
        return;
    };
    orders(&server.client().await, 2_000).await;
    let here = recommendation("P2", "shop", index_on("customer"), Verification::Work);
    let mut nowhere = here.clone();
    nowhere.subject = "nowhere.public.orders".to_owned();
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(hasty(vec![server.config("shop")]), directory.path());
    let reports = optimizer
        .plan(&[nowhere.clone(), here], &[])
        .await
        .expect("both are planned");
    assert_eq!(reports[1].refusals, []);
    let told = reports[0].refusals.iter().map(ToString::to_string);
    let told: Vec<String> = told.collect();
    assert!(
        matches!(&told[..], [one] if one.contains("the database \"nowhere\", which cannot be used")),
        "{told:?}"
    );
    let refused = optimizer
        .apply(&nowhere, person())
        .await
        .expect_err("it is refused");
    assert!(refused.to_string().contains("nowhere"), "{refused}");
}
