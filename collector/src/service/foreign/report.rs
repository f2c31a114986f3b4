//! What is told of what was taken: counts into the catalogue's metrics, and each kind of trouble
//! once, as an event, until it has been away for a while.

use driftline_schemas::metric::Component;
use driftline_schemas::metric::catalogue::id;

use super::Reason;
use super::intake::{Intake, Tally};
use crate::health::Health;
use crate::service::Pass;

/// What has been told of one source.
#[derive(Debug)]
pub(crate) struct Report {
    component: Component,
    subject: String,
    health: Health,
    before: Tally,
    told_us: i64,
}

impl Report {
    pub(crate) fn new(component: Component, subject: &str) -> Self {
        Self {
            component,
            subject: subject.to_owned(),
            health: Health::default(),
            before: Tally::default(),
            told_us: i64::MIN,
        }
    }

    /// Records the counts and tells what is new. Where two listeners share a source, the first pass
    /// at a time does it for both.
    pub(crate) fn tell(&mut self, intake: &Intake, malformed: Option<&str>, out: &mut Pass) {
        let now_us = out.ts_us();
        if self.told_us >= now_us {
            return;
        }
        self.told_us = now_us;
        let tally = *intake.tally();
        let subject = self.subject.clone();
        let mut count = |metric: u32, more: Option<(&str, &str)>, value: u64| {
            let own = ("driftline.component", subject.as_str());
            let mut labels: Vec<(&str, &str)> = [own].into_iter().chain(more).collect();
            out.recorder.count(metric, &mut labels, value);
        };
        count(
            const { id("driftline.collector.ingest.samples") },
            None,
            tally.samples,
        );
        count(
            const { id("driftline.collector.ingest.bytes") },
            None,
            tally.bytes,
        );
        let series = intake.dictionary.len() as u64;
        count(
            const { id("driftline.collector.ingest.series") },
            None,
            series,
        );
        let requests = const { id("driftline.collector.ingest.requests") };
        for (outcome, value) in [
            ("taken", tally.taken),
            ("malformed", tally.malformed),
            ("full", tally.full),
        ] {
            count(requests, Some(("outcome", outcome)), value);
        }
        let rejected = const { id("driftline.collector.ingest.rejected") };
        for reason in Reason::ALL {
            let value = tally.rejected[reason as usize];
            if value > 0 {
                count(rejected, Some(("reason", reason.as_str())), value);
            }
        }
        self.tell_trouble(&tally, malformed, out);
        self.before = tally;
    }

    fn tell_trouble(&mut self, tally: &Tally, malformed: Option<&str>, out: &mut Pass) {
        let before = self.before;
        for reason in Reason::ALL {
            let at = reason as usize;
            let more = tally.rejected[at] - before.rejected[at];
            let trouble = (more > 0).then(|| {
                format!(
                    "{more} samples of {} were not taken: {}",
                    self.subject,
                    reason.remedy()
                )
            });
            self.observe(reason.as_str(), trouble, out);
        }
        let more = tally.malformed - before.malformed;
        let trouble = (more > 0).then(|| {
            let first = malformed.unwrap_or("it is not what the protocol says");
            format!(
                "{more} requests or scrapes of {} are malformed: {first}",
                self.subject
            )
        });
        self.observe("malformed", trouble, out);
        let more = tally.full - before.full;
        let trouble = (more > 0).then(|| {
            format!(
                "{more} requests to {} were put off because its buffer is full: raise max_queued, or send less",
                self.subject
            )
        });
        self.observe("full", trouble, out);
    }

    fn observe(&mut self, what: &str, trouble: Option<String>, out: &mut Pass) {
        let subject = format!("{}.{what}", self.subject);
        if trouble.is_none() && !self.health.is_failed(&subject) {
            return;
        }
        let outcome = trouble.map_or(Ok(()), Err);
        let now_us = out.ts_us();
        let told = self
            .health
            .observe(self.component, &subject, outcome, now_us);
        out.events.extend(told);
    }
}
