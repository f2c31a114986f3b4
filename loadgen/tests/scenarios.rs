//! The bundled scenarios are right, and each shows what its first lines promise.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use driftline_loadgen::scenario::{Load, Pattern, Scenario};
use driftline_loadgen::schedule::{self, Arrivals};
use driftline_loadgen::worker::Share;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn bundled(name: &str) -> Scenario {
    match Scenario::read(&directory().join(name)) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{name}: {error}"),
    }
}

#[test]
fn every_bundled_scenario_is_right() {
    let entries = std::fs::read_dir(directory()).expect("the scenarios are there");
    let mut seen = BTreeSet::new();
    for entry in entries {
        let name = entry.expect("it can be listed").file_name();
        let name = name.to_str().expect("names are ASCII");
        let Some(stem) = name.strip_suffix(".toml") else {
            continue;
        };
        let scenario = bundled(name);
        assert_eq!(scenario.name, stem);
        assert!(
            scenario.text.starts_with("# "),
            "{name} says nothing of itself"
        );
        assert!(!scenario.thresholds.is_empty(), "{name} promises nothing");
        assert!(scenario.describe().starts_with(stem));
        let whole = Share { index: 0, of: 1 };
        let arrivals = Arrivals::new(&scenario, whole).count() as f64;
        let expected = schedule::expected(&scenario) as f64;
        // Six standard deviations of a Poisson count; evenly spread arrivals are exact.
        assert!(
            (arrivals - expected).abs() <= 6.0 * expected.sqrt(),
            "{name}"
        );
        seen.insert(stem.to_owned());
    }
    let wanted = [
        "api",
        "chat",
        "checkout",
        "demo",
        "spike",
        "users",
        "websocket",
    ];
    assert_eq!(seen, wanted.map(str::to_owned).into());
}

#[test]
fn checkout_feeds_its_users_and_uses_captures() {
    let scenario = bundled("checkout.toml");
    let users = &scenario.feeds["users"];
    assert_eq!(users.columns, ["user", "password", "note"]);
    assert_eq!(users.rows[1][2], "a comma, inside quotes");
    assert_eq!(users.rows[2][2], "a \"quoted\" word");
    let buyer = &scenario.journeys[0];
    assert!(buyer.cookies);
    assert!(buyer.steps.iter().any(|step| !step.captures.is_empty()));
}

#[test]
fn users_come_and_go() {
    let scenario = bundled("users.toml");
    let whole = Share { index: 0, of: 1 };
    let at = |seconds: u64| schedule::users_at(&scenario, whole, seconds * 1_000_000_000);
    assert_eq!([at(0), at(15), at(35)], [1, 64, 0]);
    assert!(schedule::next_change(&scenario, whole, 0).is_some());
}

#[test]
fn websockets_are_ten_thousand_and_chats_have_slow_readers() {
    let scenario = bundled("websocket.toml");
    assert_eq!(scenario.websockets[0].connections, 10_000);
    assert!(scenario.stages.iter().all(|stage| stage.load == Load::Hold));
    let chat = bundled("chat.toml");
    let has =
        |wanted: fn(&Pattern) -> bool| chat.websockets.iter().any(|group| wanted(&group.pattern));
    assert!(has(|pattern| matches!(pattern, Pattern::Publish { .. })));
    assert!(has(|pattern| matches!(pattern, Pattern::Subscribe)));
    assert!(has(|pattern| matches!(
        pattern,
        Pattern::SlowConsumer { .. }
    )));
}

#[test]
fn the_reference_of_all_keys_is_right_and_states_the_defaults() {
    let readme = std::fs::read_to_string(directory().join("README.md")).expect("it is there");
    let reference = readme.split("```").nth(1).expect("it has a block");
    let reference = reference.strip_prefix("toml").expect("the block is TOML");
    let parse = |text: &str| match Scenario::parse(text, &directory()) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{error}"),
    };
    let stated = parse(reference);
    let default = parse(
        "[[stages]]\nduration = \"1s\"\nrate = 1\n[[requests]]\npath = \"/\"\n[[websockets]]\npath = \"/ws\"\n",
    );
    assert_eq!((stated.seed, stated.drain), (default.seed, default.drain));
    let mut http = stated.http.clone();
    http.headers.clear();
    assert_eq!(format!("{http:?}"), format!("{:?}", default.http));
    let (chat, plain) = (&stated.websockets[0], &default.websockets[0]);
    assert_eq!(chat.connect_rate, plain.connect_rate);
    assert_eq!(chat.timeout, plain.timeout);
    assert_eq!(stated.websockets[1].pattern, plain.pattern);
}
