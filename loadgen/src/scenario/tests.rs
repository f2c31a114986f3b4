//! What a text means, and what is said about texts that are wrong.

use std::path::Path;
use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(text, Path::new(""))
}

fn right(text: &str) -> Scenario {
    match parse(text) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{error}"),
    }
}

fn wrong(text: &str) -> String {
    parse(text).expect_err("it is wrong").to_string()
}

const STAGE: &str = "[[stages]]\nduration = \"10s\"\nrate = 5\n";
const REQUEST: &str = "[[requests]]\npath = \"/\"\n";

/// The only fault of a stage and a request with this text between them, from line 4 on.
fn wrong_between(text: &str) -> String {
    let message = wrong(&format!("{STAGE}{text}\n{REQUEST}"));
    match message.strip_prefix("scenario is wrong at ") {
        Some(fault) => fault.to_owned(),
        None => message,
    }
}

/// The only fault of a step with these lines, the first of which is line 7.
fn wrong_step(lines: &str) -> String {
    let text = format!("{STAGE}[[journeys]]\n[[journeys.steps]]\npath = \"/a\"\n{lines}\n");
    let message = wrong(&text);
    match message.strip_prefix("scenario is wrong at ") {
        Some(fault) => fault.to_owned(),
        None => message,
    }
}

#[test]
fn the_smallest_scenario_has_defaults() {
    let scenario = right(&format!("{STAGE}{REQUEST}"));
    assert_eq!(scenario.name, DEFAULT_NAME);
    assert_eq!(scenario.seed, DEFAULT_SEED);
    assert_eq!(scenario.stages[0].name, "1");
    assert_eq!(scenario.http.connections, DEFAULT_CONNECTIONS);
    assert_eq!(scenario.http.timeout, DEFAULT_TIMEOUT);
    assert_eq!(scenario.endpoints, ["GET /"]);
    assert!(scenario.journeys[0].is_plain());
    assert_eq!(scenario.hash.len(), 16);
    assert_eq!(scenario.hash, right(&scenario.text).hash);
    assert_ne!(scenario.hash, right(&format!("{}\n", scenario.text)).hash);
}

#[test]
fn steps_and_spikes_become_stages() {
    let scenario = right(&format!(
        "{REQUEST}[[stages]]\nname = \"up\"\nduration = \"10s\"\nrate = {{ steps = [1, 2, 3] }}\n\
         [[stages]]\nname = \"crowd\"\nduration = \"25s\"\n\
         rate = {{ base = 100, spike = 1000, for = \"5s\" }}\narrival = \"poisson\"\n\
         [[stages]]\nduration = \"10s\"\nrate = {{ base = 1, spike = 2, for = \"5s\", at = \"0s\" }}\n"
    ));
    let names: Vec<&str> = scenario
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "up.1",
            "up.2",
            "up.3",
            "crowd.before",
            "crowd.spike",
            "crowd.after",
            "7",
            "8"
        ]
    );
    assert_eq!(scenario.total(), Duration::from_secs(45));
    assert_eq!(scenario.stages[3].duration, Duration::from_secs(10));
    let spike = Load::Rate {
        from: 1000.0,
        to: 1000.0,
        arrival: Arrival::Poisson,
    };
    assert_eq!(scenario.stages[4].load, spike);
    assert_eq!(scenario.stage_at(0), Some(0));
    assert_eq!(scenario.stage_at(10_000_000_000), Some(3));
    assert_eq!(scenario.stage_at(44_999_999_999), Some(7));
    assert_eq!(scenario.stage_at(45_000_000_000), None);
}

#[test]
fn users_get_a_connection_each() {
    let users = "[[stages]]\nduration = \"1s\"\nusers = { from = 1, to = 900 }\n";
    assert_eq!(right(&format!("{REQUEST}{users}")).http.connections, 900);
    let few = "[[stages]]\nduration = \"1s\"\nusers = 3\n";
    let scenario = right(&format!("{REQUEST}{few}"));
    assert_eq!(scenario.http.connections, 3);
    assert_eq!(
        scenario
            .with_users(7, Duration::from_secs(1))
            .http
            .connections,
        7
    );
    let open = scenario.with_rate(100.0, Duration::from_secs(1));
    assert_eq!(open.http.connections, DEFAULT_CONNECTIONS);
    let text = format!("{REQUEST}{users}[http]\nversion = 2\nstreams = 10\n");
    assert_eq!(right(&text).http.connections, 90);
}

#[test]
fn variants_have_one_stage_and_the_thresholds_that_fit() {
    let scenario = right(&format!(
        "warm_up = \"6s\"\n{STAGE}arrival = \"poisson\"\n{REQUEST}[thresholds]\n\
         \"p95\" = \"< 1s\"\n\"p99{{stage=1}}\" = {{ limit = \"< 2s\", abort = true }}\n"
    ));
    assert!(scenario.thresholds[1].abort);
    assert_eq!(scenario.thresholds[1].stage, Some(0));
    let variant = scenario.with_rate(7.0, Duration::from_secs(4));
    assert_eq!(variant.warm_up, Duration::from_secs(2));
    assert_eq!(variant.total(), Duration::from_secs(4));
    assert_eq!(variant.thresholds, scenario.thresholds[..1]);
    let load = Load::Rate {
        from: 7.0,
        to: 7.0,
        arrival: Arrival::Poisson,
    };
    assert_eq!(variant.stages[0].load, load);
}

#[test]
fn bodies_checks_and_captures_are_read() {
    let scenario = right(&format!(
        "{STAGE}[[journeys]]\n[[journeys.steps]]\npath = \"/a\"\n\
         captures = {{ id = {{ json = \"/0/id\" }}, t = {{ regex = 't=(\\d+)' }} }}\n\
         [[journeys.steps]]\nmethod = \"post\"\npath = \"/a/${{id}}\"\n\
         json = {{ t = \"${{t}}\", n = [1, 2.5, true] }}\n\
         checks = {{ status = [\"2xx\", 404, \"300-302\"], contains = [\"a\", \"b\"], within = \"1s\" }}\n\
         think = {{ from = \"1s\", to = \"2s\" }}\n"
    ));
    let step = &scenario.journeys[0].steps[1];
    assert_eq!(scenario.endpoints, ["GET /a", "POST /a/${id}"]);
    assert_eq!(step.method, "POST");
    assert_eq!(
        step.body,
        Template::parse("{\"n\":[1,2.5,true],\"t\":\"${t}\"}").ok()
    );
    assert_eq!(step.headers[0].0, "content-type");
    let [
        Check::Status(ranges),
        Check::Contains(_),
        Check::Contains(_),
        Check::Within(_),
    ] = step.checks.as_slice()
    else {
        panic!("{:?}", step.checks);
    };
    assert_eq!(ranges.as_slice(), [200..=299, 404..=404, 300..=302]);
    assert!(!scenario.journeys[0].is_plain());
}

#[test]
fn websockets_hold_without_rate_or_users() {
    let scenario = right(
        "[[stages]]\nduration = \"30s\"\n[[websockets]]\npath = \"/ws/echo?x=1\"\n\
         connections = 10000\nmessage = { every = \"1s\", size = 64 }\nreconnect = true\n",
    );
    assert_eq!(scenario.stages[0].load, Load::Hold);
    let websocket = &scenario.websockets[0];
    assert_eq!(websocket.name, "ws-echo");
    assert_eq!(
        scenario.endpoints[websocket.endpoints.close as usize],
        "ws-echo.close"
    );
    assert!(
        websocket
            .reconnect
            .is_some_and(|reconnect| reconnect.storm.is_none())
    );
    assert_eq!(
        scenario.describe(),
        "scenario: 1 stage in 30 s, seed 1\n  stage 1: no requests for 30 s\n  \
         websocket ws-echo: 10000 connections opened at 1000 per second, echo of 64 bytes every 1 s"
    );
}

#[test]
fn descriptions_name_shares_and_arrivals() {
    let scenario = right(&format!(
        "name = \"shop\"\n{STAGE}{REQUEST}weight = 3\n[[journeys]]\nname = \"buy\"\n\
         [[journeys.steps]]\npath = \"/a\"\n[[journeys.steps]]\npath = \"/b\"\n\
         [thresholds]\n\"p95\" = \"<200ms\"\n"
    ));
    assert_eq!(
        scenario.describe(),
        "shop: 1 stage in 10 s, seed 1\n  stage 1: 5 arrivals per second for 10 s\n  \
         about 50 arrivals expected\n  75 %: GET / (GET)\n  25 %: buy: GET /a, GET /b\n  \
         must hold: p95 < 200ms"
    );
}

#[test]
fn all_faults_are_named_in_order() {
    let text = "nam = \"x\"\nseed = -1\n[[stages]]\nduration = \"0s\"\nrate = 1e9\n\
                [[requests]]\npath = \"items\"\nweight = 0\n[thresholds]\n\"p95{stage=2}\" = \"< 1s\"\n";
    assert_eq!(
        wrong(text),
        "scenario is wrong in 7 places\n  \
         line 1, column 1: unknown key `nam` in the scenario; did you mean `name`?\n  \
         line 2, column 8: `seed` of the scenario is -1; write a whole number from 0 to 9223372036854775807\n  \
         line 4, column 12: `duration` of stage 1 is zero; write a time such as \"30s\"\n  \
         line 5, column 8: `rate` of stage 1 is 1e9; write a number from 0 to 10000000 (arrivals per second)\n  \
         line 7, column 8: `path` of request 1 is `items`, without a leading `/`; write \"/items\"\n  \
         line 8, column 10: `weight` of request 1 is 0, so that it is never chosen; write a number above 0 or leave it out\n  \
         line 10, column 1: threshold on stage `2`, which does not exist; there are none"
    );
}

#[test]
fn faults_of_stages_name_the_remedy() {
    let stage = |lines: &str| wrong_between(&format!("[[stages]]\nduration = \"1s\"\n{lines}"));
    assert_eq!(
        stage("rat = 5"),
        "scenario is wrong in 2 places\n  \
         line 4, column 1: stage 2 has no load; write rate = 500 or users = 64\n  \
         line 6, column 1: unknown key `rat` in stage 2; did you mean `rate`?"
    );
    assert_eq!(
        stage("rate = 5\nusers = 6"),
        "line 7, column 1: stage 2 has both `rate` and `users`; keep one of them"
    );
    assert_eq!(
        stage("rate = -5"),
        "line 6, column 8: `rate` of stage 2 is -5; write a number from 0 to 10000000 (arrivals per second)"
    );
    assert_eq!(
        stage("rate = { base = 1, spike = 2, for = \"2s\" }"),
        "line 6, column 37: the spike ends after its stage, which lasts 1s; make the spike shorter or the stage longer"
    );
    assert_eq!(
        stage("rate = 1\nname = \"1\""),
        "line 4, column 1: two stages are called `1`; give each a `name` of its own"
    );
    assert_eq!(
        stage("users = 1\narrival = \"poisson\""),
        "line 7, column 1: `arrival` of stage 2 needs a `rate`; write one, or leave it out"
    );
    assert_eq!(
        stage("rate = 1\narrival = \"poison\""),
        "line 7, column 11: `arrival` of stage 2 is `poison`; did you mean `poisson`?"
    );
    assert_eq!(
        wrong(REQUEST),
        "scenario is wrong at line 1, column 1: there are no stages; write [[stages]] with a duration and a rate or users"
    );
    assert!(wrong(STAGE).contains("the scenario sends nothing; write [[requests]]"));
}

#[test]
fn faults_of_requests_name_the_remedy() {
    assert_eq!(
        wrong_step("headers = { \"content length\" = \"1\" }"),
        "line 7, column 13: `content length` is not a header's name; write letters, digits and `-`"
    );
    assert_eq!(
        wrong_step("headers = { Connection = \"close\" }"),
        "line 7, column 13: the client writes the header `Connection` by itself; leave it out: set `keep_alive` of [http]"
    );
    assert_eq!(
        wrong_step("body = \"${usr}\""),
        "line 7, column 8: nothing gives `${usr}` a value: no earlier capture, no feed and no builtin; did you mean `user`?"
    );
    assert_eq!(
        wrong_step("body = \"${id}\"\ncaptures = { id = { json = \"/id\" } }"),
        "line 7, column 8: nothing gives `${id}` a value: no earlier capture, no feed and no builtin; known are `user`, `iteration`, `random`"
    );
    assert_eq!(
        wrong_step("body = \"${id\""),
        "line 7, column 8: `body` of journey 1, step 1: `${` without `}`; close the variable, or write `$${` for the plain characters"
    );
    assert_eq!(
        wrong_step("checks = { matches = \"(\" }"),
        "line 7, column 22: `matches` of `checks` of journey 1, step 1 is not a regular expression: unclosed group; write backslashes in single quotes"
    );
    assert_eq!(
        wrong_step("captures = { id = { json = \"0/id\" } }"),
        "line 7, column 28: `json` of `id` of `captures` of journey 1, step 1 is `0/id`, which is no JSON pointer; write \"/\" before each part, as in \"/items/0/id\""
    );
    assert_eq!(
        wrong_step("captures = { id = { regex = 'id' } }"),
        "line 7, column 29: `regex` of `id` of `captures` of journey 1, step 1 has no group; put what is to be captured in brackets"
    );
    assert_eq!(
        wrong_step("checks = { status = \"ok\" }"),
        "line 7, column 21: `status` of `checks` of journey 1, step 1 is `ok`, which is no status; write 200, \"2xx\", \"200-299\" or several in an array"
    );
    assert_eq!(
        wrong_between(REQUEST),
        "line 6, column 1: request 2 is an endpoint `GET /`, and there is one already; give it a `name` of its own"
    );
    assert_eq!(
        wrong_between("[[journeys]]\nname = \"j\""),
        "line 4, column 1: journey 1 has no steps; write [[journeys.steps]]"
    );
    assert_eq!(
        wrong_between("[[requests]]\npath = \"http://host/a\""),
        "line 5, column 8: `path` of request 1 is `http://host/a`, without a leading `/`; the host comes from --target; write the path alone"
    );
}

#[test]
fn faults_of_feeds_and_websockets_name_the_remedy() {
    let message = wrong_between("[feeds.users]\nfile = \"nowhere/users.csv\"");
    assert_eq!(
        message,
        "line 5, column 8: cannot read feed file nowhere/users.csv: No such file or directory (os error 2); give a path from the scenario's directory"
    );
    let websocket =
        |lines: &str| wrong_between(&format!("[[websockets]]\npath = \"/ws\"\n{lines}"));
    assert_eq!(
        websocket("pattern = \"eco\""),
        "line 6, column 11: `pattern` of websocket 1 is `eco`; did you mean `echo`?"
    );
    assert_eq!(
        websocket("connections = 100\nconnect_rate = 5"),
        "line 4, column 1: 100 connections at 5 per second take 20.0 s to open, and the stages last 10s; raise `connect_rate` or lengthen the stages"
    );
    assert_eq!(
        websocket("message = { every = \"1s\", size = 4 }"),
        "line 6, column 33: `size` of `message` of websocket 1 is 4; write a whole number from 20 to 16777216"
    );
    assert_eq!(
        websocket("pattern = \"subscribe\"\nmessage = { size = 64 }"),
        "line 7, column 1: pattern `subscribe` sends no message; leave `message` out"
    );
}

#[test]
fn faults_of_times_thresholds_and_toml_name_the_remedy() {
    assert_eq!(
        wrong_between("[thresholds]\n\"p95\" = \"200ms\""),
        "line 5, column 9: `200ms` is not a condition; write a comparison and a bound, such as \"< 200ms\""
    );
    assert_eq!(
        wrong_between("[thresholds]\n\"p95{endpoint=GET}\" = \"< 200ms\""),
        "line 5, column 1: threshold on endpoint `GET`, which does not exist; known are `GET /`"
    );
    assert_eq!(
        wrong(&format!("warm_up = \"10s\"\n{STAGE}{REQUEST}")),
        "scenario is wrong at line 1, column 11: `warm_up` of the scenario is not shorter than the stages, which last 10s, so that nothing is measured; shorten it"
    );
    assert_eq!(
        wrong(&format!("drain = 5\n{STAGE}{REQUEST}")),
        "scenario is wrong at line 1, column 9: `drain` of the scenario is a number; write a time with its unit in quotes, such as \"30s\""
    );
    assert!(wrong("name = \n").starts_with("scenario is wrong at line 1, column "));
    assert!(wrong("name = \"a\"\nname = \"b\"\n").contains("not TOML: duplicate key"));
}

#[test]
fn files_that_are_missing_or_too_large_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("shop.toml");
    assert!(matches!(
        Scenario::read(&path),
        Err(ScenarioError::Read { .. })
    ));
    std::fs::write(&path, format!("{STAGE}{REQUEST}")).expect("it can be written");
    assert_eq!(
        Scenario::read(&path).map(|scenario| scenario.name).ok(),
        Some("shop".to_owned())
    );
    let large = "#".repeat(MAX_SCENARIO_BYTES as usize + 1);
    std::fs::write(&path, large).expect("it can be written");
    assert!(matches!(
        Scenario::read(&path),
        Err(ScenarioError::TooLarge { .. })
    ));
}
