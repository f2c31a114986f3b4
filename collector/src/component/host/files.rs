//! File handles of the whole host.

use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;

use crate::component::{Component, ComponentError};
use crate::config::HostConfig;
use crate::procfile::{ProcFile, lines};
use crate::recorder::Recorder;

const FILE_NR: &str = "/proc/sys/fs/file-nr";

/// The host's file handles.
#[derive(Debug)]
pub(crate) struct FileHandles {
    file: ProcFile,
    buffer: Vec<u8>,
    interval: Duration,
}

impl FileHandles {
    pub(crate) fn new(config: &HostConfig) -> Self {
        let file = ProcFile::new(config.proc.join("sys/fs/file-nr"));
        Self {
            file,
            buffer: Vec::new(),
            interval: config.interval,
        }
    }
}

impl Component for FileHandles {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.file_handles"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        record_file_nr(self.file.read(&mut self.buffer)?, out)
    }
}

fn record_file_nr(text: &str, out: &mut Recorder) -> Result<(), ComponentError> {
    const EXPECTED: &str = "allocated, free and maximum";
    let line = lines(FILE_NR, text).next();
    let line = line.ok_or(ComponentError::Malformed {
        file: FILE_NR,
        line: 1,
        expected: EXPECTED,
    })?;
    let mut fields = line.fields();
    let allocated = fields.count(EXPECTED)?;
    let free = fields.count(EXPECTED)?;
    out.count(
        const { id("system.file_handle.count") },
        &mut [],
        allocated.saturating_sub(free),
    );
    out.count(
        const { id("system.file_handle.limit") },
        &mut [],
        fields.count(EXPECTED)?,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows, value};

    #[test]
    fn handles_in_use_and_their_limit() {
        let samples = rows(|out| record_file_nr("550\t0\t2466186\n", out)).expect("well formed");
        assert_eq!(value(&samples, "system.file_handle.count", ""), 550.0);
        assert_eq!(value(&samples, "system.file_handle.limit", ""), 2_466_186.0);
        for bad in ["", "1 2", "a b c"] {
            assert!(rows(|out| record_file_nr(bad, out)).is_err(), "{bad:?}");
        }
    }
}
