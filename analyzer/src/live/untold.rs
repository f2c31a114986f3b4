//! What the live look has to tell while the log does not take it: bounded, and what is dropped is
//! counted and told.

use driftline_schemas::{Component, Event, EventName};

use super::Look;

/// Facts that wait at most, at about a kilobyte each.
const MOST_WAITING: usize = 2_000;

/// Looks that wait for the log.
#[derive(Debug, Clone, Default)]
pub struct Untold {
    look: Look,
    dropped: u64,
    /// The times of the first and the last fact that were dropped, in µs since 1970.
    between_us: Option<(i64, i64)>,
}

impl Untold {
    /// Adds a look. Where others wait and no room is left what is new is dropped, since what began first
    /// explains the rest; its findings are then left out too, for nobody is told what is not kept.
    pub fn add(&mut self, look: Look) {
        let waiting = self.look.events.len();
        if waiting > 0 && waiting + look.events.len() > MOST_WAITING {
            self.dropped += look.events.len() as u64;
            for event in &look.events {
                let (first, last) = self.between_us.unwrap_or((event.ts_us, event.ts_us));
                self.between_us = Some((first.min(event.ts_us), last.max(event.ts_us)));
            }
            return;
        }
        self.look.events.extend(look.events);
        self.look.opened.extend(look.opened);
        self.look.ended.extend(look.ended);
    }

    /// What the log is told, in order; last of all, what was dropped.
    pub fn events(&self, now_us: i64) -> Vec<Event> {
        let mut events = self.look.events.clone();
        if let Some((first, last)) = self.between_us {
            events.push(Event {
                ts_us: now_us,
                name: EventName::ComponentFailed,
                component: Component::Driftline,
                subject: "live".to_owned(),
                message: format!(
                    "{} facts of the live look were dropped, because the log took none and {MOST_WAITING} waited already; what still lasts is looked for anew",
                    self.dropped
                ),
                attributes: vec![
                    ("dropped".to_owned(), self.dropped.to_string()),
                    ("first_us".to_owned(), first.to_string()),
                    ("last_us".to_owned(), last.to_string()),
                ],
            });
        }
        events
    }

    /// Hands over what the log has taken, and whether anything was dropped: then what is watched and
    /// what the log holds have come apart, and the look has to be resumed from the tables.
    pub fn told(&mut self) -> (Look, bool) {
        let told = std::mem::take(self);
        (told.look, told.dropped > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(count: usize, ts_us: i64) -> Look {
        let event = Event {
            ts_us,
            name: EventName::FindingOpened,
            component: Component::Driftline,
            subject: format!("live-{ts_us}"),
            message: String::new(),
            attributes: Vec::new(),
        };
        Look {
            events: vec![event; count],
            ..Look::default()
        }
    }

    #[test]
    fn a_log_that_refuses_fills_no_memory_and_is_told_of_the_rest() {
        let mut untold = Untold::default();
        for ts_us in 0..i64::try_from(2 * MOST_WAITING).expect("a small number") {
            untold.add(look(1, ts_us));
        }
        let events = untold.events(7);
        assert_eq!(events.len(), MOST_WAITING + 1);
        assert_eq!(events[0].ts_us, 0);
        let last = &events[MOST_WAITING];
        assert_eq!(last.name, EventName::ComponentFailed);
        let [dropped, first, to] = &last.attributes[..] else {
            panic!("{last:?}");
        };
        let most = MOST_WAITING.to_string();
        assert_eq!((&dropped.1, &first.1), (&most, &most));
        assert_eq!(to.1, (2 * MOST_WAITING - 1).to_string());
        let (told, came_apart) = untold.told();
        assert_eq!((told.events.len(), came_apart), (MOST_WAITING, true));
        assert!(untold.events(8).is_empty());
    }

    #[test]
    fn a_log_that_takes_them_is_told_nothing_else() {
        let mut untold = Untold::default();
        untold.add(look(3, 1));
        untold.add(look(0, 2));
        assert_eq!(untold.events(9).len(), 3);
        let (told, came_apart) = untold.told();
        assert_eq!((told.events.len(), came_apart), (3, false));
    }
}
