//! What a ledger's records add up to: which runs are settled, which one is open, and the latest
//! past.
//!
//! Records that contradict each other are refused, here and thereby before they are written: no run
//! can be settled twice.

use std::collections::VecDeque;

use super::{Ending, Record};

/// Settled runs that are remembered for each job.
pub(super) const HISTORY_MAX: usize = 1_000;

/// How a run was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its command did its work.
    Finished,
    /// Its command failed.
    Failed,
    /// It was missed.
    Skipped,
    /// It and all between it and an earlier time (in µs, exclusive) were missed.
    PassedOver {
        /// The earlier time.
        after_us: i64,
    },
}

impl Outcome {
    /// The word of the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::PassedOver { .. } => "passed over",
        }
    }
}

/// A run that is over. Times are µs since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// When it was scheduled.
    pub scheduled_us: i64,
    /// When it was settled.
    pub at_us: i64,
    /// How.
    pub outcome: Outcome,
    /// When its first attempt began, where there was one.
    pub begun_us: Option<i64>,
    /// How many attempts there were.
    pub starts: u32,
    /// How the last one ended.
    pub ending: Option<Ending>,
}

/// Where an open run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// An attempt was begun, and nothing is known of its end: it runs, or its scheduler died.
    Begun,
    /// An attempt has ended; the next may begin at a time.
    Retrying {
        /// When the attempt ended.
        since_us: i64,
        /// When the next may begin.
        retry_at_us: i64,
        /// How the attempt ended.
        ending: Ending,
    },
}

/// A run that was begun and is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// When it was scheduled.
    pub scheduled_us: i64,
    /// When its first attempt began.
    pub begun_us: i64,
    /// Attempts begun.
    pub starts: u32,
    /// Attempts that failed by themselves.
    pub failures: u32,
    /// Attempts whose end was never written down, without the latest.
    pub interruptions: u32,
    /// Where it stands.
    pub phase: Phase,
}

/// What is known of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobState {
    settled_through_us: Option<i64>,
    enrolled: Option<(String, String)>,
    open: Option<Open>,
    history: VecDeque<Settled>,
}

impl JobState {
    /// Every run until this time is settled; `None` for a job that was never seen.
    pub fn settled_through_us(&self) -> Option<i64> {
        self.settled_through_us
    }

    /// The cron expression and the time zone by which the job is due.
    pub fn enrolled(&self) -> Option<(&str, &str)> {
        let (cron, zone) = self.enrolled.as_ref()?;
        Some((cron, zone))
    }

    /// The run that was begun and is not settled.
    pub fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// The latest settled runs, in the order in which they were settled.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Settled> {
        self.history.iter()
    }

    /// Takes in a record, or says why it cannot follow what came before.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Enrolled { at_us, cron, zone } => {
                if self.open.is_some() {
                    return Err("it is enrolled while a run is open".to_owned());
                }
                self.enrolled = Some((cron.clone(), zone.clone()));
                self.settle_through(*at_us);
            }
            Record::Begun {
                at_us,
                scheduled_us,
                ..
            } => self.begin(*at_us, *scheduled_us)?,
            Record::Retrying {
                at_us,
                scheduled_us,
                ending,
                retry_at_us,
            } => {
                let open = self.open_at(*scheduled_us)?;
                open.failures += u32::from(*ending != Ending::Stopped);
                open.phase = Phase::Retrying {
                    since_us: *at_us,
                    retry_at_us: *retry_at_us,
                    ending: ending.clone(),
                };
            }
            Record::Finished { .. } | Record::Failed { .. } => self.end(record)?,
            Record::Skipped {
                at_us,
                scheduled_us,
            } => {
                for scheduled_us in scheduled_us {
                    self.settle(Settled {
                        scheduled_us: *scheduled_us,
                        at_us: *at_us,
                        outcome: Outcome::Skipped,
                        begun_us: None,
                        starts: 0,
                        ending: None,
                    })?;
                }
            }
            Record::PassedOver {
                at_us,
                after_us,
                through_us,
            } => self.settle(Settled {
                scheduled_us: *through_us,
                at_us: *at_us,
                outcome: Outcome::PassedOver {
                    after_us: *after_us,
                },
                begun_us: None,
                starts: 0,
                ending: None,
            })?,
        }
        Ok(())
    }

    /// The fewest records from which this state comes back; the state of an open run does not.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.history.iter().map(Settled::record).collect();
        if let Some((cron, zone)) = &self.enrolled {
            records.push(Record::Enrolled {
                at_us: self.settled_through_us.unwrap_or(i64::MIN),
                cron: cron.clone(),
                zone: zone.clone(),
            });
        }
        records
    }

    fn begin(&mut self, at_us: i64, scheduled_us: i64) -> Result<(), String> {
        match &mut self.open {
            Some(open) if open.scheduled_us == scheduled_us => {
                open.interruptions += u32::from(open.phase == Phase::Begun);
                open.starts += 1;
                open.phase = Phase::Begun;
            }
            Some(open) => {
                return Err(format!(
                    "run {scheduled_us} is begun while run {} is open",
                    open.scheduled_us
                ));
            }
            None => {
                self.check_unsettled(scheduled_us)?;
                self.open = Some(Open {
                    scheduled_us,
                    begun_us: at_us,
                    starts: 1,
                    failures: 0,
                    interruptions: 0,
                    phase: Phase::Begun,
                });
            }
        }
        Ok(())
    }

    fn end(&mut self, record: &Record) -> Result<(), String> {
        let (Record::Finished {
            at_us,
            scheduled_us,
            begun_us,
            starts,
            ending,
        }
        | Record::Failed {
            at_us,
            scheduled_us,
            begun_us,
            starts,
            ending,
        }) = record
        else {
            return Ok(());
        };
        if self.open.is_some() {
            self.open_at(*scheduled_us)?;
        }
        self.open = None;
        let finished = matches!(record, Record::Finished { .. });
        self.settle(Settled {
            scheduled_us: *scheduled_us,
            at_us: *at_us,
            outcome: if finished {
                Outcome::Finished
            } else {
                Outcome::Failed
            },
            begun_us: Some(*begun_us),
            starts: *starts,
            ending: Some(ending.clone()),
        })
    }

    fn open_at(&mut self, scheduled_us: i64) -> Result<&mut Open, String> {
        self.open
            .as_mut()
            .filter(|open| open.scheduled_us == scheduled_us)
            .ok_or_else(|| format!("run {scheduled_us} ends and was not begun"))
    }

    fn settle(&mut self, settled: Settled) -> Result<(), String> {
        if let Some(open) = &self.open {
            return Err(format!(
                "a run is settled while run {} is open",
                open.scheduled_us
            ));
        }
        self.check_unsettled(settled.scheduled_us)?;
        self.settle_through(settled.scheduled_us);
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(settled);
        Ok(())
    }

    fn check_unsettled(&self, scheduled_us: i64) -> Result<(), String> {
        match self.settled_through_us {
            Some(through_us) if scheduled_us <= through_us => {
                Err(format!("run {scheduled_us} is settled a second time"))
            }
            _ => Ok(()),
        }
    }

    fn settle_through(&mut self, through_us: i64) {
        self.settled_through_us = self.settled_through_us.max(Some(through_us));
    }
}

impl Settled {
    fn record(&self) -> Record {
        let (at_us, scheduled_us) = (self.at_us, self.scheduled_us);
        let begun_us = self.begun_us.unwrap_or(at_us);
        let ending = self.ending.clone().unwrap_or(Ending::Interrupted);
        match self.outcome {
            Outcome::Finished => Record::Finished {
                at_us,
                scheduled_us,
                begun_us,
                starts: self.starts,
                ending,
            },
            Outcome::Failed => Record::Failed {
                at_us,
                scheduled_us,
                begun_us,
                starts: self.starts,
                ending,
            },
            Outcome::Skipped => Record::Skipped {
                at_us,
                scheduled_us: vec![scheduled_us],
            },
            Outcome::PassedOver { after_us } => Record::PassedOver {
                at_us,
                after_us,
                through_us: scheduled_us,
            },
        }
    }
}
