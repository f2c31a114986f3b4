//! A virtual user: a number, a stream of randomness, captured values and cookies. How its values get
//! into requests is left to `template`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Feed, Think};
use crate::worker::Context;

use super::cookies::Jar;

/// Distinguishes users' streams of randomness from every other stream of the same seed.
const STREAM: [u8; 16] = *b"driftline.user.1";

/// One user: a number, captured values, cookies, and a source of randomness that is the user's own.
///
/// Values and cookies live for one iteration: each journey is a visit of its own, so that the
/// thousandth sends the same requests as the first, in the open model as in the closed one.
#[derive(Debug)]
pub struct User {
    number: u64,
    iterations: u64,
    random: ChaCha8Rng,
    captured: Vec<(String, String)>,
    pub(crate) jar: Jar,
}

impl User {
    /// A user whose number is unique within the run.
    pub fn new(context: &Context, number: u64) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&context.scenario.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&number.to_le_bytes());
        seed[16..].copy_from_slice(&STREAM);
        Self {
            number,
            iterations: 0,
            random: ChaCha8Rng::from_seed(seed),
            captured: Vec::new(),
            jar: Jar::default(),
        }
    }

    /// Begins an iteration; the first has the number 0.
    pub(crate) fn begin(&mut self) {
        self.iterations += 1;
        self.captured.clear();
        self.jar.clear();
    }

    /// Keeps a value for later steps; a second one of the same name replaces the first.
    pub(crate) fn keep(&mut self, name: &str, value: String) {
        match self.captured.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.captured.push((name.to_owned(), value)),
        }
    }

    /// The value of a variable. A captured value hides a built-in one of the same name.
    pub(crate) fn value<'a>(
        &'a mut self,
        name: &str,
        feeds: &'a BTreeMap<String, Arc<Feed>>,
    ) -> Option<Cow<'a, str>> {
        if let Some(at) = self.captured.iter().position(|(known, _)| known == name) {
            return Some(Cow::Borrowed(&self.captured[at].1));
        }
        match name {
            "user" => Some(Cow::Owned(self.number.to_string())),
            "iteration" => Some(Cow::Owned(self.iterations.saturating_sub(1).to_string())),
            "random" => Some(Cow::Owned(format!("{:016x}", self.random.random::<u64>()))),
            _ => {
                let (feed, column) = name.split_once('.')?;
                let feed = feeds.get(feed)?;
                let column = feed.columns.iter().position(|known| known == column)?;
                let rows = u64::try_from(feed.rows.len()).ok()?;
                let row = usize::try_from(self.number.checked_rem(rows)?).ok()?;
                feed.rows[row]
                    .get(column)
                    .map(|value| Cow::Borrowed(value.as_str()))
            }
        }
    }

    /// How long this user pauses this time, in nanoseconds.
    pub(crate) fn pause_ns(&mut self, think: Think) -> u64 {
        let whole =
            |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let (from, to) = (whole(think.from), whole(think.to));
        if from >= to {
            from
        } else {
            self.random.random_range(from..=to)
        }
    }
}
