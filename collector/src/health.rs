//! Which parts can be observed: a failure is told once, and again only after the part had recovered.
//!
//! Pure; the events are written by [`crate::agent`].

use std::any::Any;
use std::collections::HashMap;

use driftline_schemas::{Component, Event, EventName};

/// A part must have been good for this long before it counts as recovered, so that one that flickers
/// is told rarely.
const RECOVERED_AFTER_US: i64 = 60_000_000;

/// What is known of each part.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// For each failed part, since when it has been good again, if it has.
    failed: HashMap<String, Option<i64>>,
}

impl Health {
    /// Takes the outcome of a pass over a part and says what is new about it.
    pub(crate) fn observe(
        &mut self,
        component: Component,
        subject: &str,
        outcome: Result<(), String>,
        ts_us: i64,
    ) -> Option<Event> {
        let event = |name, message| Event {
            ts_us,
            name,
            component,
            subject: subject.to_owned(),
            message,
            attributes: Vec::new(),
        };
        match (outcome, self.failed.get_mut(subject)) {
            (Ok(()), None) => None,
            (Err(_), Some(good_since_us)) => {
                *good_since_us = None;
                None
            }
            (Err(message), None) => {
                self.failed.insert(subject.to_owned(), None);
                Some(event(EventName::ComponentFailed, message))
            }
            (Ok(()), Some(good_since_us)) => {
                if ts_us - *good_since_us.get_or_insert(ts_us) < RECOVERED_AFTER_US {
                    return None;
                }
                self.failed.remove(subject);
                let message = format!("{subject} can be observed again");
                Some(event(EventName::ComponentRecovered, message))
            }
        }
    }

    /// Whether a part counts as failed.
    pub(crate) fn is_failed(&self, subject: &str) -> bool {
        self.failed.contains_key(subject)
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(health: &mut Health, second: i64, good: bool) -> Option<EventName> {
        let outcome = if good {
            Ok(())
        } else {
            Err("psi is off".to_owned())
        };
        let event = health.observe(
            Component::Host,
            "host.pressure",
            outcome,
            second * 1_000_000,
        );
        event.map(|event| event.name)
    }

    #[test]
    fn a_failure_is_told_once() {
        let mut health = Health::default();
        assert_eq!(observe(&mut health, 0, true), None);
        assert_eq!(
            observe(&mut health, 1, false),
            Some(EventName::ComponentFailed)
        );
        for second in 2..500 {
            assert_eq!(observe(&mut health, second, false), None);
        }
        assert!(health.is_failed("host.pressure") && !health.is_failed("host.cpu"));
    }

    #[test]
    fn a_recovery_is_told_when_it_lasts() {
        let mut health = Health::default();
        observe(&mut health, 0, false);
        for second in 1..60 {
            assert_eq!(observe(&mut health, second, true), None);
        }
        assert_eq!(observe(&mut health, 60, false), None, "it flickers");
        for second in 61..121 {
            assert_eq!(observe(&mut health, second, true), None);
        }
        assert_eq!(
            observe(&mut health, 121, true),
            Some(EventName::ComponentRecovered)
        );
        assert_eq!(
            observe(&mut health, 122, false),
            Some(EventName::ComponentFailed)
        );
    }
}
