//! Which journeys go the fast path. What that path is lies in [`crate::client`].

use super::Context;
use crate::client::Prepared;
use crate::scenario::{HttpVersion, Scenario};

/// How a journey is made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    /// By the fast path: index of the prepared request.
    Fast(u32),
    Elsewhere,
}

/// How each journey is made, and the requests of the fast path. Over HTTP/2 all are made in the same
/// way, so that there are not more connections than allowed.
pub(crate) fn ways(scenario: &Scenario, context: &Context) -> (Vec<Way>, Vec<Prepared>) {
    let mut requests = Vec::new();
    let ways: Vec<Way> = scenario
        .journeys
        .iter()
        .map(
            |journey| match Prepared::new(scenario, &context.target, journey) {
                Some(request) => {
                    requests.push(request);
                    Way::Fast(requests.len() as u32 - 1)
                }
                None => Way::Elsewhere,
            },
        )
        .collect();
    let is_mixed = requests.len() < ways.len();
    if is_mixed && scenario.http.version == HttpVersion::Http2 {
        return (vec![Way::Elsewhere; ways.len()], Vec::new());
    }
    (ways, requests)
}
