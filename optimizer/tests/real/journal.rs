//! The optimizer's memory in a file, where the product has its event log.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use driftline_optimizer::{Journal, JournalError};
use driftline_schemas::event::{Event, EventName};
use driftline_schemas::metric::Component;
use serde::{Deserialize, Serialize};

/// Steps in a file, one JSON object a line. A torn last line is what a crash leaves; it is cut.
#[derive(Debug)]
pub(crate) struct FileJournal {
    path: PathBuf,
    /// Appends come one after another; the lock is held over the sync.
    lock: tokio::sync::Mutex<()>,
}

/// An event as a line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    ts_us: i64,
    name: String,
    component: String,
    subject: String,
    message: String,
    attributes: Vec<(String, String)>,
}

impl FileJournal {
    /// A journal in this file, which is created when the first event is kept.
    pub(crate) fn open(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let path = path.into();
        let journal = Self {
            path,
            lock: tokio::sync::Mutex::new(()),
        };
        journal.cut_torn_line()?;
        Ok(journal)
    }

    fn cut_torn_line(&self) -> Result<(), JournalError> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.failed(error)),
        };
        let whole = bytes
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |at| at + 1);
        if whole < bytes.len() {
            let file = std::fs::OpenOptions::new().write(true).open(&self.path);
            file.and_then(|file| {
                file.set_len(whole as u64)?;
                file.sync_all()
            })
            .map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn failed(&self, error: impl std::fmt::Display) -> JournalError {
        JournalError {
            journal: self.path.display().to_string(),
            problem: error.to_string(),
        }
    }

    fn append_line(path: &Path, line: &[u8]) -> std::io::Result<()> {
        let created = !path.exists();
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        file.write_all(line)?;
        file.sync_all()?;
        match path.parent() {
            Some(parent) if created && parent != Path::new("") => {
                std::fs::File::open(parent)?.sync_all()
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Journal for FileJournal {
    async fn append(&self, event: Event) -> Result<(), JournalError> {
        let line = Line {
            ts_us: event.ts_us,
            name: event.name.as_str().to_owned(),
            component: event.component.as_str().to_owned(),
            subject: event.subject,
            message: event.message,
            attributes: event.attributes,
        };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| self.failed(error))?;
        bytes.push(b'\n');
        let _held = self.lock.lock().await;
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || Self::append_line(&path, &bytes))
            .await
            .map_err(|error| self.failed(error))?
            .map_err(|error| self.failed(error))
    }

    async fn events(&self) -> Result<Vec<Event>, JournalError> {
        let text = match tokio::fs::read_to_string(&self.path).await {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(error)),
        };
        let read = |line: &str| {
            let line: Line = serde_json::from_str(line).map_err(|error| self.failed(error))?;
            let name: EventName = match line.name.parse() {
                Ok(name) => name,
                Err(never) => match never {},
            };
            Ok(Event {
                ts_us: line.ts_us,
                name,
                component: line.component.parse().map_err(|error| self.failed(error))?,
                subject: line.subject,
                message: line.message,
                attributes: line.attributes,
            })
        };
        text.lines().map(read).collect()
    }
}

fn event(subject: &str) -> Event {
    Event {
        ts_us: 5,
        name: EventName::ApplyStarted,
        component: Component::Redis,
        subject: subject.to_owned(),
        message: "m".to_owned(),
        attributes: vec![("k".to_owned(), "v\n".to_owned())],
    }
}

#[tokio::test]
async fn events_come_back_in_order_and_a_torn_line_is_cut() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("steps.jsonl");
    let journal = FileJournal::open(&path).expect("it opens");
    assert_eq!(journal.events().await.expect("none"), []);
    for subject in ["a", "b"] {
        journal.append(event(subject)).await.expect("it is kept");
    }
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes.extend_from_slice(b"{\"ts_us\":");
    std::fs::write(&path, bytes).expect("it is torn");
    let journal = FileJournal::open(&path).expect("it opens");
    journal.append(event("c")).await.expect("it is kept");
    let all = journal.events().await.expect("they read");
    assert_eq!(all, ["a", "b", "c"].map(event));
}
