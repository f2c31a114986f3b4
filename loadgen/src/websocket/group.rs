//! One group of connections as one worker sees it: its share, its schedule, and what the
//! connections have in common.

use std::sync::Arc;

use crate::operation::NEVER_NS;
use crate::scenario::{Feed, Pattern, Reconnect, Scenario, Template, TemplatePart};
use crate::scenario::{WebSocket, WebSocketEndpoints};
use crate::worker::Share;

use super::message::STAMP_BYTES;
use super::plan;

/// What the connections of a group do at their turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Sends messages; whether they come back.
    Send { count: u32, size: usize, echo: bool },
    /// Sends a ping.
    Ping,
    /// May read one message more.
    Read,
    /// Has none.
    Never,
}

/// A group, as far as this worker is concerned.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) turn: Turn,
    pub(crate) every_ns: u64,
    pub(crate) endpoints: WebSocketEndpoints,
    pub(crate) timeout_ns: u64,
    pub(crate) reconnect: Option<Reconnect>,
    /// Connections of the whole run in this group, and of all groups before it.
    total: u32,
    before: u64,
    rate: f64,
    share: Share,
    /// This worker's connections: slots from `first` to `end`; those from `next` on have not been
    /// opened for the first time yet.
    pub(crate) first: u32,
    pub(crate) next: u32,
    pub(crate) end: u32,
    /// The next storm, and how far the present one has come.
    pub(crate) storm_ns: u64,
    pub(crate) storm_at: Option<(u32, u64)>,
    path: Template,
    headers: Vec<(String, Template)>,
    seed: u64,
}

impl Group {
    /// This worker's part of every group of a scenario; slots count from 0 over all groups.
    pub(crate) fn all(scenario: &Scenario, share: Share) -> Vec<Self> {
        let (mut first, mut before) = (0, 0);
        scenario
            .websockets
            .iter()
            .enumerate()
            .map(|(index, socket)| {
                let seed = plan::draw(scenario.seed, index as u64, 0);
                let group = Self::new(socket, share, first, before, seed);
                first = group.end;
                before += u64::from(socket.connections);
                group
            })
            .collect()
    }

    fn new(socket: &WebSocket, share: Share, first: u32, before: u64, seed: u64) -> Self {
        let (turn, every) = match socket.pattern {
            Pattern::Echo { every, size } => (send(1, size, true), Some(every)),
            Pattern::Burst { every, count, size } => (send(count, size, true), Some(every)),
            Pattern::Publish { every, size } => (send(1, size, false), Some(every)),
            Pattern::Idle { ping } => (Turn::Ping, Some(ping)),
            Pattern::SlowConsumer { every } => (Turn::Read, Some(every)),
            Pattern::Subscribe => (Turn::Never, None),
        };
        let storm = socket.reconnect.and_then(|reconnect| reconnect.storm);
        Self {
            turn,
            every_ns: every.map_or(NEVER_NS, plan::nanoseconds).max(1),
            endpoints: socket.endpoints,
            timeout_ns: plan::nanoseconds(socket.timeout),
            reconnect: socket.reconnect,
            total: socket.connections,
            before,
            rate: socket.connect_rate,
            share,
            first,
            next: first,
            end: first + share.split(socket.connections),
            storm_ns: storm.map_or(NEVER_NS, plan::nanoseconds),
            storm_at: None,
            path: socket.path.clone(),
            headers: socket.headers.clone(),
            seed,
        }
    }

    /// A slot's number within the group, over all workers: they take turns.
    pub(crate) fn number(&self, slot: u32) -> u32 {
        (slot - self.first)
            .saturating_mul(self.share.of)
            .saturating_add(self.share.index)
    }

    /// A slot's number within the run.
    pub(crate) fn position(&self, slot: u32) -> u64 {
        self.before + u64::from(self.number(slot))
    }

    /// When a slot is to be opened for the first time.
    pub(crate) fn connect_ns(&self, slot: u32) -> u64 {
        plan::connect_ns(self.number(slot), self.rate)
    }

    /// When the next slot is to be opened for the first time.
    pub(crate) fn next_connect_ns(&self) -> u64 {
        if self.next < self.end {
            self.connect_ns(self.next)
        } else {
            NEVER_NS
        }
    }

    /// The first turn of a slot from a time on.
    pub(crate) fn turn_ns(&self, slot: u32, from_ns: u64) -> u64 {
        if self.turn == Turn::Never {
            return NEVER_NS;
        }
        let phase = plan::phase_ns(self.seed, self.number(slot), self.total, self.every_ns);
        plan::next_turn_ns(from_ns, phase, self.every_ns)
    }

    /// The pause of a slot before its `attempt`-th connect; `None` where it is not made again.
    pub(crate) fn pause_ns(&self, slot: u32, attempt: u32) -> Option<u64> {
        let random = plan::draw(self.seed, u64::from(self.number(slot)), u64::from(attempt));
        Some(plan::pause_ns(self.reconnect?, random))
    }

    /// Moves on to the next storm, when it is due.
    pub(crate) fn begin_storm(&mut self, now_ns: u64) {
        let storm = self.reconnect.and_then(|reconnect| reconnect.storm);
        if let (Some(storm), true) = (storm, self.storm_ns <= now_ns) {
            self.storm_at = Some((self.first, self.storm_ns));
            self.storm_ns = self
                .storm_ns
                .saturating_add(plan::nanoseconds(storm).max(1));
        }
    }

    /// Path and headers of a slot's handshake.
    pub(crate) fn request(
        &self,
        scenario: &Scenario,
        slot: u32,
        attempt: u32,
    ) -> (String, Vec<(&str, String)>) {
        let variables = Variables {
            scenario,
            number: self.number(slot),
            attempt,
            random: plan::draw(!self.seed, u64::from(self.number(slot)), u64::from(attempt)),
        };
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), variables.render(value)));
        (variables.render(&self.path), headers.collect())
    }
}

fn send(count: u32, size: u32, echo: bool) -> Turn {
    Turn::Send {
        count,
        size: usize::try_from(size).unwrap_or(usize::MAX).max(STAMP_BYTES),
        echo,
    }
}

/// What stands for variables in templates: `user` is the connection's number in its group and
/// `iteration` counts how often it was made.
struct Variables<'a> {
    scenario: &'a Scenario,
    number: u32,
    attempt: u32,
    random: u64,
}

impl Variables<'_> {
    fn render(&self, template: &Template) -> String {
        if let Some(text) = template.as_literal() {
            return text.to_owned();
        }
        template
            .parts
            .iter()
            .map(|part| match part {
                TemplatePart::Literal(text) => text.clone(),
                TemplatePart::Variable(name) => self.value(name),
            })
            .collect()
    }

    /// Empty for a variable that there is none of, which a checked scenario does not hold.
    fn value(&self, name: &str) -> String {
        match name {
            "user" => self.number.to_string(),
            "iteration" => self.attempt.to_string(),
            "random" => format!("{:016x}", self.random),
            _ => name
                .split_once('.')
                .and_then(|(feed, column)| self.feed(self.scenario.feeds.get(feed)?, column))
                .unwrap_or_default(),
        }
    }

    fn feed(&self, feed: &Arc<Feed>, column: &str) -> Option<String> {
        let column = feed.columns.iter().position(|name| name == column)?;
        let row = feed
            .rows
            .get(self.number as usize % feed.rows.len().max(1))?;
        row.get(column).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn socket(connections: u32) -> WebSocket {
        WebSocket {
            name: "ws".to_owned(),
            path: Template {
                parts: vec![
                    TemplatePart::Literal("/room/".to_owned()),
                    TemplatePart::Variable("user".to_owned()),
                ],
            },
            headers: Vec::new(),
            connections,
            connect_rate: 1_000.0,
            pattern: Pattern::Idle {
                ping: Duration::from_secs(1),
            },
            reconnect: None,
            timeout: Duration::from_secs(1),
            endpoints: WebSocketEndpoints {
                connect: 0,
                message: 1,
                delivery: 2,
                ping: 3,
                close: 4,
            },
        }
    }

    #[test]
    fn shares_together_are_the_whole_schedule() {
        let mut times = Vec::new();
        for index in 0..3 {
            let share = Share { index, of: 3 };
            let group = Group::new(&socket(10), share, 5, 0, 1);
            times.extend((group.first..group.end).map(|slot| group.connect_ns(slot)));
        }
        times.sort_unstable();
        let expected: Vec<u64> = (0..10).map(|number| number * 1_000_000).collect();
        assert_eq!(times, expected);
    }

    #[test]
    fn small_messages_still_hold_their_stamp() {
        assert_eq!(
            send(1, 3, true),
            Turn::Send {
                count: 1,
                size: STAMP_BYTES,
                echo: true
            }
        );
    }
}
