//! What follows from a checked scenario: its stages in time, one-stage variants of it, and a few
//! lines for people.

use std::time::Duration;

use super::http::DEFAULT_CONNECTIONS;
use super::quantity::{human_ns, three_digits};
use super::{Arrival, Load, Pattern, Scenario, Stage};
use crate::schedule;

/// Name of the only stage of a variant.
const VARIANT_STAGE: &str = "1";
/// Most journeys and WebSocket groups that a description names; the others are counted.
const DESCRIBED: usize = 12;

impl Scenario {
    /// How long all stages last.
    pub fn total(&self) -> Duration {
        self.stages.iter().map(|stage| stage.duration).sum()
    }

    /// The stage of a time, in nanoseconds since the run's beginning; none after the last.
    pub fn stage_at(&self, ns: u64) -> Option<usize> {
        let mut rest = u128::from(ns);
        self.stages.iter().position(|stage| {
            let lasts = stage.duration.as_nanos();
            let is_in = rest < lasts;
            rest = rest.saturating_sub(lasts);
            is_in
        })
    }

    /// The same with one stage of a constant arrival rate. Arrivals are spread as in the first
    /// stage with a rate; the warm-up is at most half of it; thresholds on stages are left out, as
    /// their stages are.
    pub fn with_rate(&self, rate: f64, duration: Duration) -> Self {
        let arrival = self.stages.iter().find_map(|stage| match stage.load {
            Load::Rate { arrival, .. } => Some(arrival),
            _ => None,
        });
        let mut variant = self.with_load(
            Load::Rate {
                from: rate,
                to: rate,
                arrival: arrival.unwrap_or_default(),
            },
            duration,
        );
        // A number of connections that was meant for users says nothing about arrivals.
        if arrival.is_none() {
            variant.http.connections = variant.http.connections.max(DEFAULT_CONNECTIONS);
        }
        variant
    }

    /// The same with one stage of a constant number of virtual users, and connections for each of
    /// them. Warm-up and thresholds as in [`Self::with_rate`].
    pub fn with_users(&self, users: u32, duration: Duration) -> Self {
        let mut variant = self.with_load(
            Load::Users {
                from: users,
                to: users,
            },
            duration,
        );
        let needed = match self.http.version {
            super::HttpVersion::Http1 => users,
            super::HttpVersion::Http2 => users.div_ceil(self.http.streams.max(1)),
        };
        variant.http.connections = variant.http.connections.max(needed);
        variant
    }

    fn with_load(&self, load: Load, duration: Duration) -> Self {
        let mut variant = self.clone();
        variant.warm_up = self.warm_up.min(duration / 2);
        variant.stages = vec![Stage {
            name: VARIANT_STAGE.to_owned(),
            duration,
            load,
        }];
        variant
            .thresholds
            .retain(|threshold| threshold.stage.is_none());
        variant
    }

    /// A few lines for people: stages, arrivals, endpoints with their share, WebSockets.
    pub fn describe(&self) -> String {
        let human = |duration: Duration| human_ns(duration.as_nanos() as f64);
        let mut lines = vec![format!(
            "{}: {} in {}, seed {}",
            self.name,
            counted(self.stages.len(), "stage"),
            human(self.total()),
            self.seed
        )];
        for stage in self.stages.iter().take(DESCRIBED) {
            lines.push(format!(
                "  stage {}: {} for {}",
                stage.name,
                describe_load(&stage.load),
                human(stage.duration)
            ));
        }
        lines.extend(more(self.stages.len()));
        let arrivals = schedule::expected(self);
        if arrivals > 0 {
            lines.push(format!(
                "  about {} expected",
                counted(arrivals as usize, "arrival")
            ));
        }
        let weights: f64 = self.journeys.iter().map(|journey| journey.weight).sum();
        for journey in self.journeys.iter().take(DESCRIBED) {
            let share = three_digits(journey.weight / weights * 100.0);
            lines.push(match journey.steps.as_slice() {
                [step] => format!("  {share} %: {} ({})", journey.name, step.method),
                steps => {
                    let names: Vec<&str> = steps
                        .iter()
                        .filter_map(|step| self.endpoints.get(step.endpoint as usize))
                        .map(String::as_str)
                        .collect();
                    format!("  {share} %: {}: {}", journey.name, names.join(", "))
                }
            });
        }
        lines.extend(more(self.journeys.len()));
        for websocket in self.websockets.iter().take(DESCRIBED) {
            lines.push(format!(
                "  websocket {}: {} opened at {} per second, {}",
                websocket.name,
                counted(websocket.connections as usize, "connection"),
                three_digits(websocket.connect_rate),
                describe_pattern(&websocket.pattern)
            ));
        }
        lines.extend(more(self.websockets.len()));
        for threshold in &self.thresholds {
            lines.push(format!("  must hold: {}", threshold.text));
        }
        lines.join("\n")
    }
}

fn counted(number: usize, word: &str) -> String {
    match number {
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    }
}

fn more(number: usize) -> Option<String> {
    let hidden = number.checked_sub(DESCRIBED).filter(|hidden| *hidden > 0)?;
    Some(format!("  and {hidden} more"))
}

fn describe_load(load: &Load) -> String {
    match *load {
        Load::Rate { from, to, arrival } => {
            let spread = match arrival {
                Arrival::Constant => "",
                Arrival::Poisson => " (poisson)",
            };
            if from == to {
                return format!("{} arrivals per second{spread}", plain(to));
            }
            format!(
                "{} to {} arrivals per second{spread}",
                plain(from),
                plain(to)
            )
        }
        Load::Users { from, to } if from == to => counted(to as usize, "user"),
        Load::Users { from, to } => format!("{from} to {to} users"),
        Load::Hold => "no requests".to_owned(),
    }
}

fn plain(rate: f64) -> String {
    match rate < 100.0 {
        true => three_digits(rate),
        false => format!("{rate:.0}"),
    }
}

fn describe_pattern(pattern: &Pattern) -> String {
    let human = |duration: &Duration| human_ns(duration.as_nanos() as f64);
    match pattern {
        Pattern::Echo { every, size } => format!("echo of {size} bytes every {}", human(every)),
        Pattern::Burst { every, count, size } => {
            format!("bursts of {count} × {size} bytes every {}", human(every))
        }
        Pattern::Publish { every, size } => {
            format!("publishing {size} bytes every {}", human(every))
        }
        Pattern::Subscribe => "subscribing".to_owned(),
        Pattern::Idle { ping } => format!("idle with a ping every {}", human(ping)),
        Pattern::SlowConsumer { every } => format!("reading one message every {}", human(every)),
    }
}
