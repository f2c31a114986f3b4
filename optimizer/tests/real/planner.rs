//! The planner is asked about an index before it is there, where HypoPG is installed.

use driftline_optimizer::action::hypothetical::METHOD;
use driftline_optimizer::gate::Refusal;
use driftline_optimizer::protocol::Actions;
use driftline_optimizer::recommendation::{Estimate, EstimateMeasure, Verification};
use driftline_optimizer::run::{Report, is_kept};
use driftline_optimizer::{OptimizeError, OptimizerConfig, Recommendation};
use tokio_postgres::Client;

use super::harness::{Server, Traffic, hasty, index_on, optimizer, orders, person, recommendation};
use super::index::{READ, ours};
use super::skipped::skip;

const UPDATE: &str = "UPDATE orders SET state = state + 1 WHERE customer = $1";
const USELESS: &str = "SELECT note FROM orders WHERE state = $1";
const GONE: &str = "SELECT n FROM gone WHERE n = $1";

/// A server with a table and HypoPG, where that can be had.
async fn server_with_hypopg() -> Option<(Server, Client)> {
    let server = Server::postgres()?;
    let client = server.client().await;
    let available = client
        .query_opt(
            "SELECT 1 FROM pg_available_extensions WHERE name = 'hypopg'",
            &[],
        )
        .await
        .expect("it tells its extensions");
    if available.is_none() {
        skip("a test of the optimizer: hypopg cannot be had here");
        return None;
    }
    orders(&client, 20_000).await;
    client
        .batch_execute("CREATE EXTENSION hypopg")
        .await
        .expect("the extension is created");
    Some((server, client))
}

/// Runs a statement a few times, and tells its id.
pub(crate) async fn run(client: &Client, statement: &str, number: i32) -> i64 {
    for _ in 0..3 {
        client.query(statement, &[&number]).await.expect("it runs");
    }
    let row = client
        .query_one(
            "SELECT queryid FROM pg_stat_statements WHERE query = $1",
            &[&statement.replace("+ 1", "+ $2")],
        )
        .await
        .expect("it is known");
    row.get(0)
}

fn about(column: &str, statements: Vec<i64>) -> Recommendation {
    let mut one = recommendation("P2", "shop", index_on(column), Verification::Work);
    one.estimate = Some(Estimate {
        measure: EstimateMeasure::WorkSaved,
        predicted: 0.7,
        low: 0.6,
        high: 0.9,
        method: "E1".to_owned(),
        confidence: 0.8,
        saved_s_per_h: Some(7.0),
        statements,
    });
    one
}

async fn planned(config: OptimizerConfig, recommendation: &Recommendation) -> Report {
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(config, directory.path());
    let all = optimizer
        .plan(std::slice::from_ref(recommendation), &[])
        .await;
    all.expect("it is planned").remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_the_planner_would_use_is_kept_with_the_planners_estimate() {
    let Some((server, client)) = server_with_hypopg().await else {
        return;
    };
    let ids = vec![run(&client, READ, 5).await, run(&client, UPDATE, 5).await];
    let config = hasty(vec![server.config("shop")]);
    let report = planned(config.clone(), &about("customer", ids.clone())).await;
    assert_eq!(report.refusals, []);
    let plan = report.plan.expect("a plan");
    println!("{plan:?}");
    let expected = plan.hypothetical.expect("the planner was asked");
    assert!(expected.used && expected.saved > 0.8, "{expected:?}");
    assert_eq!(expected.statements.len(), 2, "{:?}", plan.notes);
    let shape = |id: i64| {
        let found = expected.statements.iter().find(|s| s.id == id);
        found.expect("it was explained").shape.as_str()
    };
    assert!(shape(ids[0]).contains("by the new index"), "{expected:?}");
    assert!(
        shape(ids[1]).starts_with("ModifyTable on orders > "),
        "{expected:?}"
    );
    // Explaining runs nothing and leaves nothing.
    let row = client
        .query_one("SELECT max(state) FROM orders", &[])
        .await
        .expect("it answers");
    assert_eq!(row.get::<_, i32>(0), 3);
    assert_eq!(ours(&client).await, (0, 0));

    let traffic = Traffic::run(server.client().await, READ, 1000);
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(config, directory.path());
    let state = optimizer
        .apply(&about("customer", ids[..1].to_vec()), person())
        .await
        .expect("it is applied");
    traffic.end().await;
    assert!(is_kept(&optimizer.next(&state)), "{:?}", state.verdicts);
    let estimate = state.recommendation.estimate.expect("an estimate");
    assert_eq!(estimate.method, METHOD);
    let (_, verdict) = &state.verdicts[0];
    println!(
        "predicted {:?}, actual {:?}",
        verdict.predicted, verdict.actual
    );
    assert_eq!(verdict.predicted, Some(estimate.predicted));
    let difference = verdict.actual.expect("a figure") - estimate.predicted;
    assert!(difference.abs() < 0.1, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_the_planner_would_not_use_is_refused() {
    let Some((server, client)) = server_with_hypopg().await else {
        return;
    };
    let id = run(&client, USELESS, 0).await;
    let config = hasty(vec![server.config("shop")]);
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(config, directory.path());
    let refused = optimizer
        .apply(&about("state", vec![id]), person())
        .await
        .expect_err("it is of no use");
    let OptimizeError::Refused(refusals) = &refused else {
        panic!("{refused}");
    };
    assert!(matches!(refusals[..], [Refusal::Unused(_)]), "{refusals:?}");
    assert!(
        refused.to_string().contains("the planner would not use it"),
        "{refused}"
    );
    assert_eq!(ours(&client).await, (0, 0));
    assert_eq!(
        optimizer.actions().await.expect("it reads"),
        Actions::default()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_explained_is_told_and_leaves_the_rules_estimate() {
    let Some((server, client)) = server_with_hypopg().await else {
        return;
    };
    client
        .batch_execute("CREATE TABLE gone (n int)")
        .await
        .expect("a table");
    let gone = run(&client, GONE, 1).await;
    client
        .batch_execute("DROP TABLE gone")
        .await
        .expect("it is gone");
    let analyze = "ANALYZE orders";
    client.batch_execute(analyze).await.expect("it is analyzed");
    let row = client
        .query_one(
            "SELECT queryid FROM pg_stat_statements WHERE query = $1",
            &[&analyze],
        )
        .await
        .expect("it is known");
    let config = hasty(vec![server.config("shop")]);
    let unknown = 4_711;
    let report = planned(config, &about("customer", vec![gone, row.get(0), unknown])).await;
    let plan = report.plan.expect("a plan");
    assert_eq!((&plan.hypothetical, &report.refusals[..]), (&None, &[][..]));
    for told in [
        "relation \"gone\" does not exist",
        "it is no SELECT, INSERT, UPDATE or DELETE",
        "1 of 3 statements are not explained",
    ] {
        let noted = plan.notes.iter().any(|note| note.contains(told));
        assert!(noted, "{told}: {:?}", plan.notes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_extension_is_told_and_is_not_created() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let client = server.client().await;
    orders(&client, 5_000).await;
    let id = run(&client, READ, 5).await;
    let config = hasty(vec![server.config("shop")]);
    let report = planned(config, &about("customer", vec![id])).await;
    let plan = report.plan.expect("a plan");
    assert_eq!((&plan.hypothetical, &report.refusals[..]), (&None, &[][..]));
    let noted = |note: &String| note.contains("hypopg is not installed");
    assert!(plan.notes.iter().any(noted), "{:?}", plan.notes);
    let extension = "SELECT 1 FROM pg_extension WHERE extname = 'hypopg'";
    let created = client.query_opt(extension, &[]).await.expect("it answers");
    assert!(created.is_none(), "an extension was created");
}
