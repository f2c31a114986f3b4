//! Imported scenarios are scenarios.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::scenario::Scenario;

fn parse(text: &str) -> Scenario {
    match Scenario::parse(text, Path::new("")) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{error}\n{text}"),
    }
}

const OPENAPI: &str = r##"
openapi: 3.0.3
info: { title: "Pet \"shop\"", version: "1" }
servers: [{ url: "https://example.com/v1/" }]
paths:
  /pets/{petId}:
    parameters:
      - { $ref: "#/components/parameters/PetId" }
    get:
      operationId: showPet
      summary: One pet
      parameters:
        - { name: verbose, in: query, required: true, schema: { type: boolean } }
        - { name: page, in: query, schema: { type: integer } }
        - { name: x-tenant, in: header, required: true, schema: { type: string, default: "a${b}" } }
    delete: {}
  /pets:
    get: { operationId: showPet }
    post:
      summary: "Adds\na pet"
      requestBody: { $ref: "#/components/requestBodies/Pet" }
components:
  parameters:
    PetId: { name: petId, in: path, required: true, schema: { type: string }, example: "a b" }
  requestBodies:
    Pet: { content: { application/json: { schema: { $ref: "#/components/schemas/Pet" } } } }
  schemas:
    Pet: { type: object, properties: { name: { type: string, example: "${rex}" }, age: { type: integer, minimum: 3 } } }
"##;

#[test]
fn openapi_gives_requests_and_keeps_writes_out() {
    let text = openapi(OPENAPI).expect("it is right");
    let scenario = parse(&text);
    assert_eq!(scenario.name, "Pet \"shop\"");
    assert_eq!(scenario.endpoints, ["showPet", "showPet #2"]);
    let paths: Vec<&str> = scenario
        .journeys
        .iter()
        .filter_map(|journey| journey.steps[0].path.as_literal())
        .collect();
    assert_eq!(paths, ["/v1/pets", "/v1/pets/a%20b?verbose=true"]);
    assert_eq!(
        scenario.journeys[1].steps[0].headers[0].1.as_literal(),
        Some("a${b}")
    );
    assert!(text.contains(
        "# Adds a pet\n# Not sent, since POST may write; take the `# ` away to send it.\n# [[requests]]\n# name = \"POST /v1/pets\"\n"
    ));
    // With the comments taken away, the writes are right too.
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(code) if code.contains(" = ") || code.starts_with("[[") => format!("{code}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all = parse(&all);
    assert_eq!(all.journeys.len(), 4);
    let post = all
        .journeys
        .iter()
        .find(|journey| journey.name == "POST /v1/pets");
    let body = post.and_then(|journey| journey.steps[0].body.as_ref());
    assert_eq!(
        body.and_then(|body| body.as_literal()),
        Some("{\"age\":3,\"name\":\"${rex}\"}")
    );
}

#[test]
fn openapi_of_another_kind_is_refused() {
    let message = |text: &str| openapi(text).expect_err("it is wrong").to_string();
    assert_eq!(
        message("{\"swagger\": \"2.0\"}"),
        "the document is not an OpenAPI 3 description: it is Swagger 2; convert it to OpenAPI 3 first"
    );
    assert_eq!(
        message("a: [b"),
        "the document is not JSON or YAML; is it the right file?"
    );
    assert!(message("{\"openapi\": \"3.1.0\", \"paths\": {}}").contains("no request to import"));
}

fn har_of(entries: &str) -> String {
    format!(
        "{{\"log\": {{\"version\": \"1.2\", \"pages\": [{{\"title\": \"Shop\"}}], \"entries\": [{entries}]}}}}"
    )
}

const ENTRIES: &str = r#"
{"startedDateTime": "2024-05-01T10:00:03.600Z", "time": 10, "request": {"method": "POST", "url": "https://shop.test/login?next=%2F",
  "headers": [{"name": ":authority", "value": "shop.test"}, {"name": "Content-Type", "value": "application/json"},
              {"name": "Authorization", "value": "Bearer abc"}, {"name": "X-A", "value": "${a}"}],
  "postData": {"mimeType": "application/json", "text": "{\"p\":\"${x}\"}"}}},
{"startedDateTime": "2024-05-01T10:00:00.000Z", "time": 100, "request": {"method": "GET", "url": "https://shop.test/",
  "headers": [{"name": "Cookie", "value": "s=1"}, {"name": "Accept", "value": "text/html"}, {"name": "Sec-Fetch-Mode", "value": "x"}]}},
{"startedDateTime": "2024-05-01T10:00:00.050Z", "time": 100, "request": {"method": "GET", "url": "https://cdn.test/a.js"}},
{"startedDateTime": "2024-05-01T10:00:00.120Z", "time": 980, "request": {"method": "GET", "url": "https://shop.test/logo?v=1 2#x"}}
"#;

#[test]
fn har_gives_a_journey_of_its_own_host() {
    let text = har(&har_of(ENTRIES)).expect("it is right");
    let scenario = parse(&text);
    assert_eq!(scenario.name, "Shop");
    assert_eq!(scenario.endpoints, ["GET /", "GET /logo", "POST /login"]);
    let steps = &scenario.journeys[0].steps;
    assert_eq!(steps[1].path.as_literal(), Some("/logo?v=1%202"));
    let pauses: Vec<Option<Duration>> = steps
        .iter()
        .map(|step| step.think.map(|think| think.from))
        .collect();
    assert_eq!(pauses, [None, Some(Duration::from_millis(2_500)), None]);
    let names = |at: usize| -> Vec<&str> {
        let headers = steps[at].headers.iter();
        headers.map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(names(0), ["accept"]);
    assert_eq!(names(2), ["content-type", "x-a"]);
    assert_eq!(
        steps[2].body.as_ref().and_then(|body| body.as_literal()),
        Some("{\"p\":\"${x}\"}")
    );
    assert!(text.starts_with(
        "# Imported from a HAR recording of shop.test.\n# Left out: 1 requests to other hosts.\n# Left out: the headers authorization, cookie,"
    ));
    assert!(!text.contains("abc"));
    assert!(text.contains("# Mind that 1 steps may write"));
}

#[test]
fn har_without_requests_is_refused() {
    assert!(matches!(har(&har_of("")), Err(ImportError::Empty(_))));
    assert!(matches!(har("{}"), Err(ImportError::Json(_))));
    let data = r#"{"request": {"method": "GET", "url": "data:text/plain,x"}}"#;
    assert!(matches!(har(&har_of(data)), Err(ImportError::Empty(_))));
}
