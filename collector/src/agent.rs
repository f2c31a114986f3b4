//! The loop: waits for the tick, collects what is due, and hands over samples and events.
//!
//! It decides nothing by itself: when to tick is judged by [`crate::tick`], what failures mean by
//! [`crate::health`]. Where the samples go is the caller's choice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use driftline_schemas::{Event, SampleBatch};

use crate::clock;
use crate::component::own::{Account, Own, Writing};
use crate::component::{self, Component, ComponentError};
use crate::config::Config;
use crate::health::{Health, panic_message};
use crate::notices;
use crate::recorder::Recorder;
use crate::service::{self, Services, Yield};
use crate::stop::Stop;
use crate::tick::{Action, Judgement, Schedule, Tick, micros};

/// After a panic a component is left alone for so long.
const PANIC_PAUSE_US: i64 = 60_000_000;
/// Longest text of a failure in an event.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// What a turn of the loop yields.
#[derive(Debug)]
pub(crate) enum Output {
    /// Facts, in the order in which they happened.
    Events(Vec<Event>),
    /// A tick's samples, and its time in microseconds since 1970 UTC.
    Samples(i64, SampleBatch),
}

/// Who takes what the loop yields.
pub(crate) trait Consumer {
    /// Takes it; false ends the loop.
    fn take(&mut self, output: Output) -> bool;

    /// What is counted while writing, where something is written.
    fn writing(&self) -> Option<Writing>;
}

/// The components and what is known of them.
pub(crate) struct Agent {
    slots: Vec<Slot>,
    services: Option<Services>,
    recorder: Recorder,
    health: Health,
    own: Own,
    counts: Counts,
    /// The component that took longest at the last tick.
    slowest: (&'static str, Duration),
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ticks: u64,
    pub(crate) missed: u64,
    pub(crate) samples: u64,
}

/// A component and when it is due.
struct Slot {
    component: Box<dyn Component>,
    every_us: i64,
    /// The interval of the wall clock in which it was collected last.
    last: Option<i64>,
    paused_until_us: i64,
}

impl Agent {
    /// Everything that the configuration asks for.
    pub(crate) fn new(config: &Config) -> Self {
        let mut agent = Self::with(component::components(config), config);
        agent.services = Services::start(service::services(config));
        agent
    }

    fn with(components: Vec<Box<dyn Component>>, config: &Config) -> Self {
        let tick_us = micros(config.interval);
        let slot = |component: Box<dyn Component>| {
            let ticks = micros(component.interval()).div_euclid(tick_us).max(1);
            Slot {
                component,
                every_us: ticks * tick_us,
                last: None,
                paused_until_us: i64::MIN,
            }
        };
        Self {
            slots: components.into_iter().map(slot).collect(),
            services: None,
            recorder: Recorder::new(),
            health: Health::default(),
            own: Own::new(&config.host.proc),
            counts: Counts::default(),
            slowest: ("", Duration::ZERO),
        }
    }

    /// Ticks until it is told to stop, has held as many ticks as were asked for, or the consumer
    /// wants no more.
    pub(crate) fn run(
        &mut self,
        mut schedule: Schedule,
        ticks: Option<u64>,
        stop: &Stop,
        consumer: &mut dyn Consumer,
    ) -> Counts {
        while ticks.is_none_or(|ticks| self.counts.ticks < ticks) && !stop.is_requested() {
            let now = clock::now();
            let judgement = schedule.judge(now);
            let events = self.explain(&judgement, now.wall_us);
            if !events.is_empty() && !consumer.take(Output::Events(events)) {
                break;
            }
            match judgement.action {
                Action::Wait(time) => {
                    stop.wait(time);
                }
                Action::Run(tick) => {
                    if !self.tick(tick, consumer) {
                        break;
                    }
                }
            }
        }
        // What the last passes brought, and what has been taken on and not been recorded yet. A
        // consumer that takes no more is told of the rest in vain.
        let rest = self.services.take().map(Services::finish);
        self.hand_over(rest.unwrap_or_default(), consumer);
        self.counts
    }

    /// The events that a judgement calls for.
    fn explain(&mut self, judgement: &Judgement, now_us: i64) -> Vec<Event> {
        let mut events = Vec::new();
        events.extend(
            judgement
                .stepped_us
                .map(|by_us| notices::clock_stepped(now_us, by_us)),
        );
        if let Some(missed) = judgement.missed {
            self.counts.missed += missed.ticks;
            let (subject, duration) = self.slowest;
            let details = match missed.reason {
                crate::tick::Reason::Overloaded => {
                    format!(
                        "at the last tick {subject} took longest, {:.3} s",
                        duration.as_secs_f64()
                    )
                }
                _ => String::new(),
            };
            events.push(notices::gap(now_us, &missed, &details));
        }
        events
    }

    /// Holds one tick.
    fn tick(&mut self, tick: Tick, consumer: &mut dyn Consumer) -> bool {
        self.recorder.begin(tick.ts_us);
        self.slowest = ("", Duration::ZERO);
        let mut events = Vec::new();
        for (section, slot) in self.slots.iter_mut().enumerate() {
            if slot.is_due(tick.ts_us) {
                let begun = clock::mono_ns();
                self.recorder.begin_section(section + 1);
                let outcome = slot.collect(tick.ts_us, &mut self.recorder);
                let took = Duration::from_nanos(clock::mono_ns().saturating_sub(begun));
                let subject = slot.component.subject();
                if took > self.slowest.1 {
                    self.slowest = (subject, took);
                }
                Own::record_duration(subject, took, &mut self.recorder);
                let outcome = outcome.map_err(|error| shorten(&error.to_string()));
                events.extend(self.health.observe(
                    slot.component.component(),
                    subject,
                    outcome,
                    tick.ts_us,
                ));
            }
        }
        let account = Account {
            lateness: tick.lateness,
            ticks_missed: self.counts.missed,
            writing: consumer.writing(),
        };
        self.recorder.begin_section(0);
        self.own.record(&account, &mut self.recorder);
        let batch = self.recorder.finish();
        self.counts.ticks += 1;
        self.counts.samples += batch.samples.len() as u64;
        let goes_on = events.is_empty() || consumer.take(Output::Events(events));
        goes_on
            && consumer.take(Output::Samples(tick.ts_us, batch))
            && self.take_from_services(consumer)
    }

    /// Hands over what the services have yielded since the last tick.
    fn take_from_services(&mut self, consumer: &mut dyn Consumer) -> bool {
        let yields = self.services.as_mut().map(Services::take);
        self.hand_over(yields.unwrap_or_default(), consumer)
    }

    fn hand_over(&mut self, yields: Vec<Yield>, consumer: &mut dyn Consumer) -> bool {
        for Yield {
            ts_us,
            batches,
            events,
        } in yields
        {
            if !events.is_empty() && !consumer.take(Output::Events(events)) {
                return false;
            }
            for batch in batches
                .into_iter()
                .filter(|batch| !batch.samples.is_empty())
            {
                self.counts.samples += batch.samples.len() as u64;
                if !consumer.take(Output::Samples(ts_us, batch)) {
                    return false;
                }
            }
        }
        true
    }
}

impl Slot {
    /// Whether a new interval of the wall clock has begun since it was collected last.
    fn is_due(&mut self, ts_us: i64) -> bool {
        let interval = ts_us.div_euclid(self.every_us);
        if self.last == Some(interval) || ts_us < self.paused_until_us {
            return false;
        }
        self.last = Some(interval);
        true
    }

    /// Collects it. A panic is an error like others, so that it costs no other component.
    fn collect(&mut self, ts_us: i64, recorder: &mut Recorder) -> Result<(), ComponentError> {
        // The recorder stays whole: a sample is recorded or not. The component is given time to
        // come to other input before it is asked again.
        let component = &mut self.component;
        match catch_unwind(AssertUnwindSafe(|| component.collect(recorder))) {
            Ok(outcome) => outcome,
            Err(panic) => {
                self.paused_until_us = ts_us + PANIC_PAUSE_US;
                Err(ComponentError::Panicked {
                    message: panic_message(&*panic).to_owned(),
                })
            }
        }
    }
}

fn shorten(message: &str) -> String {
    message.chars().take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftline_schemas as schemas;
    use driftline_schemas::EventName;

    /// Records one sample each time, or does worse.
    struct Fake {
        subject: &'static str,
        every: Duration,
        act: fn(&mut Recorder) -> Result<(), ComponentError>,
    }

    impl Component for Fake {
        fn component(&self) -> schemas::Component {
            schemas::Component::Host
        }

        fn subject(&self) -> &'static str {
            self.subject
        }

        fn interval(&self) -> Duration {
            self.every
        }

        fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
            (self.act)(out)
        }
    }

    #[derive(Default)]
    struct Kept {
        events: Vec<Event>,
        batches: Vec<(i64, SampleBatch)>,
    }

    impl Consumer for Kept {
        fn take(&mut self, output: Output) -> bool {
            match output {
                Output::Events(events) => self.events.extend(events),
                Output::Samples(ts_us, batch) => self.batches.push((ts_us, batch)),
            }
            true
        }

        fn writing(&self) -> Option<Writing> {
            None
        }
    }

    fn good(out: &mut Recorder) -> Result<(), ComponentError> {
        out.record(1, &mut [], 1.0);
        Ok(())
    }

    fn failing(out: &mut Recorder) -> Result<(), ComponentError> {
        out.record(4, &mut [], 1.0);
        Err(ComponentError::Absent {
            what: "it",
            remedy: "find it",
        })
    }

    fn panicking(_: &mut Recorder) -> Result<(), ComponentError> {
        panic!("out of luck")
    }

    fn agent(fakes: Vec<Fake>) -> Agent {
        let components = fakes
            .into_iter()
            .map(|fake| Box::new(fake) as Box<dyn Component>)
            .collect();
        Agent::with(components, &Config::default())
    }

    fn fake(
        subject: &'static str,
        seconds: u64,
        act: fn(&mut Recorder) -> Result<(), ComponentError>,
    ) -> Fake {
        Fake {
            subject,
            every: Duration::from_secs(seconds),
            act,
        }
    }

    fn tick(agent: &mut Agent, second: i64, kept: &mut Kept) {
        let tick = Tick {
            ts_us: second * 1_000_000,
            lateness: Duration::ZERO,
        };
        assert!(agent.tick(tick, kept));
    }

    fn has(batch: &SampleBatch, metric: u32) -> bool {
        let known = schemas::MetricRef::Known(metric);
        batch
            .samples
            .iter()
            .any(|sample| batch.series[sample.series as usize].metric == known)
    }

    #[test]
    fn a_failure_or_a_panic_stops_no_other_component() {
        let mut agent = agent(vec![
            fake("a", 1, panicking),
            fake("b", 1, failing),
            fake("c", 1, good),
        ]);
        let mut kept = Kept::default();
        for second in 0..61 {
            tick(&mut agent, second, &mut kept);
        }
        assert!(
            kept.batches
                .iter()
                .all(|(_, batch)| has(batch, 1) && has(batch, 4))
        );
        let told: Vec<_> = kept
            .events
            .iter()
            .map(|e| (e.name.clone(), e.subject.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (EventName::ComponentFailed, "a"),
                (EventName::ComponentFailed, "b")
            ]
        );
        assert!(
            kept.events[0].message.contains("out of luck"),
            "{:?}",
            kept.events[0]
        );
        assert!(agent.health.is_failed("a"));
    }

    #[test]
    fn components_run_once_in_each_of_their_intervals() {
        let mut agent = agent(vec![fake("slow", 10, good)]);
        let mut kept = Kept::default();
        // Second 20 is missing, so 21 stands in for it.
        for second in (8..=19).chain(21..=29) {
            tick(&mut agent, second, &mut kept);
        }
        let ran: Vec<i64> = kept
            .batches
            .iter()
            .filter(|(_, batch)| has(batch, 1))
            .map(|kept| kept.0 / 1_000_000)
            .collect();
        assert_eq!(ran, [8, 10, 21]);
    }

    #[test]
    fn overload_names_the_slowest_component() {
        let mut agent = agent(Vec::new());
        agent.slowest = ("host.disk", Duration::from_millis(2_500));
        let reason = crate::tick::Reason::Overloaded;
        let missed = crate::tick::Missed {
            reason,
            from_us: 1,
            until_us: 2,
            ticks: 2,
        };
        let judgement = Judgement {
            stepped_us: Some(5),
            missed: Some(missed),
            action: Action::Wait(Duration::ZERO),
        };
        let events = agent.explain(&judgement, 9);
        assert_eq!(events.len(), 2);
        assert!(
            events[1]
                .message
                .contains("host.disk took longest, 2.500 s"),
            "{}",
            events[1].message
        );
        assert_eq!(agent.counts.missed, 2);
    }

    #[test]
    fn it_ends_after_the_ticks_that_were_asked_for_or_on_request() {
        let config = Config {
            interval: Duration::from_millis(100),
            ..Config::default()
        };
        let mut agent = agent(vec![fake("a", 1, good)]);
        let mut kept = Kept::default();
        let stop = Stop::new();
        let schedule = Schedule::immediate(clock::now(), config.interval);
        let counts = agent.run(schedule.clone(), Some(3), &stop, &mut kept);
        assert_eq!((counts.ticks, kept.batches.len()), (3, 3));
        stop.request();
        assert_eq!(agent.run(schedule, None, &stop, &mut kept).ticks, 3);
    }
}
