//! Columns of events.

use prost::Message as _;

use super::{DecodeError, expect_len, known};
use crate::event::{Event, EventName};
use crate::metric::Component;
use crate::wire::EventsMessage;

pub(super) fn encode(events: &[Event]) -> Vec<u8> {
    let mut message = EventsMessage::default();
    for event in events {
        message.ts_us.push(event.ts_us);
        message.name.push(event.name.as_str().to_owned());
        message.component.push(event.component.number());
        message.subject.push(event.subject.clone());
        message.message.push(event.message.clone());
        message.attributes.push(event.attributes.len() as u32);
        for (key, value) in &event.attributes {
            message.attribute_key.push(key.clone());
            message.attribute_value.push(value.clone());
        }
    }
    message.encode_to_vec()
}

pub(super) fn decode(raw: &[u8], rows: usize) -> Result<Vec<Event>, DecodeError> {
    let message = EventsMessage::decode(raw).map_err(|source| DecodeError::Protobuf {
        what: "events",
        source,
    })?;
    for (column, found) in [
        ("ts_us", message.ts_us.len()),
        ("name", message.name.len()),
        ("component", message.component.len()),
        ("subject", message.subject.len()),
        ("message", message.message.len()),
        ("attributes", message.attributes.len()),
    ] {
        expect_len(column, found, rows)?;
    }
    let counted: u64 = message.attributes.iter().map(|n| u64::from(*n)).sum();
    let counted = usize::try_from(counted).unwrap_or(usize::MAX);
    expect_len("attribute_key", message.attribute_key.len(), counted)?;
    expect_len("attribute_value", message.attribute_value.len(), counted)?;
    let mut pairs = message
        .attribute_key
        .into_iter()
        .zip(message.attribute_value);
    let texts = message
        .name
        .into_iter()
        .zip(message.subject)
        .zip(message.message);
    texts
        .enumerate()
        .map(|(at, ((name, subject), text))| {
            let Ok(name) = name.parse::<EventName>();
            Ok(Event {
                ts_us: message.ts_us[at],
                name,
                component: known("component", message.component[at], Component::from_number)?,
                subject,
                message: text,
                attributes: pairs
                    .by_ref()
                    .take(message.attributes[at] as usize)
                    .collect(),
            })
        })
        .collect()
}
