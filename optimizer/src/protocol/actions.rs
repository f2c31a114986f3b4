//! Where every action stands, from the events of the log. One whose steps cannot be read, or make no
//! action, is told apart and keeps no other from being read.

use std::collections::HashMap;

use driftline_schemas::event::Event;

use super::{Record, State, event};

/// Every action of a log, the oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Actions {
    /// Where they stand.
    pub states: Vec<State>,
    /// Those of which that is not known. They are never gone on with.
    pub damaged: Vec<Damaged>,
}

/// An action whose steps are damaged, as where the oldest of them are beyond the log's retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Its id.
    pub action: String,
    /// The first thing that is wrong with its steps.
    pub reason: String,
}

impl Actions {
    /// The actions that these events are of, which stand in the order of their times.
    pub fn of(events: &[Event]) -> Self {
        let mut places = HashMap::new();
        let mut steps: Vec<(&str, Vec<&Event>)> = Vec::new();
        for event in events {
            let Some(action) = event::action(event) else {
                continue;
            };
            let at = *places.entry(action).or_insert(steps.len());
            if at == steps.len() {
                steps.push((action, Vec::new()));
            }
            steps[at].1.push(event);
        }
        let mut all = Self::default();
        for (action, events) in steps {
            match fold(&events) {
                Ok(state) => all.states.extend(state),
                Err(reason) => all.damaged.push(Damaged {
                    action: action.to_owned(),
                    reason,
                }),
            }
        }
        all
    }
}

fn fold(events: &[&Event]) -> Result<Option<State>, String> {
    let read = events.iter().filter_map(|one| event::read(one).transpose());
    let records: Vec<Record> = read
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    State::fold(&records).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Approval;
    use crate::protocol::Step;
    use crate::protocol::properties::life::recommendation;

    fn step(ts_us: i64, action: &str, step: Step) -> Event {
        let record = Record {
            ts_us,
            action: action.to_owned(),
            step,
        };
        event::write(&record, &recommendation()).expect("it is written")
    }

    fn planned(ts_us: i64, action: &str) -> Event {
        let recommendation = Box::new(recommendation());
        let plan = crate::action::Plan::default();
        step(
            ts_us,
            action,
            Step::DryRunPassed {
                recommendation,
                plan,
            },
        )
    }

    fn approved(ts_us: i64, action: &str) -> Event {
        let by = Approval::Automatic;
        step(ts_us, action, Step::Approved { by })
    }

    #[test]
    fn what_is_damaged_is_told_and_hides_no_other() {
        let note = "done".to_owned();
        let mut garbled = approved(6, "c");
        for (key, value) in &mut garbled.attributes {
            if key == event::DETAIL {
                *value = "{".to_owned();
            }
        }
        let events = [
            planned(1, "a"),
            planned(2, "b"),
            step(3, "b", Step::ApplySucceeded { note }),
            // Its plan is beyond the log's retention.
            approved(4, "d"),
            planned(5, "c"),
            garbled,
            approved(7, "a"),
        ];
        let all = Actions::of(&events);
        let states: Vec<_> = all.states.iter().map(|state| &state.action[..]).collect();
        assert_eq!(states, ["a"]);
        assert_eq!(all.states[0].approved, Some(Approval::Automatic));
        let damaged: Vec<_> = all.damaged.iter().map(|one| &one.action[..]).collect();
        assert_eq!(damaged, ["b", "d", "c"]);
        for (one, why) in all
            .damaged
            .iter()
            .zip(["cannot follow", "not planned", "not readable"])
        {
            assert!(one.reason.contains(why), "{one:?}");
        }
    }
}
