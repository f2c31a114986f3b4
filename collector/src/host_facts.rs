//! What is said of the host once, when a collector starts: cores, memory, kernel, boot id.
//!
//! What changes while it runs is the components' business.

use std::path::Path;

/// Facts about the host that hold as long as it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostFacts {
    pub(crate) hostname: String,
    pub(crate) kernel: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) boot_id: Option<String>,
    pub(crate) cpu_model: Option<String>,
}

impl HostFacts {
    /// Reads them; what cannot be read is left out.
    pub(crate) fn read(hostname: &str, proc: &Path) -> Self {
        let uname = rustix::system::uname();
        let text = |path: &str| std::fs::read_to_string(proc.join(path)).ok();
        Self {
            hostname: hostname.to_owned(),
            kernel: format!(
                "{} {}",
                uname.sysname().to_string_lossy(),
                uname.release().to_string_lossy()
            ),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: text("meminfo")
                .and_then(|text| value_of(&text, "MemTotal")?.parse::<u64>().ok())
                .map(|kib| kib * 1024),
            boot_id: text("sys/kernel/random/boot_id").map(|id| id.trim().to_owned()),
            cpu_model: text("cpuinfo")
                .and_then(|text| Some(value_of_line(&text, "model name")?.to_owned())),
        }
    }

    /// The facts as attributes of an event.
    pub(crate) fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("host.name", self.hostname.clone()),
            ("os.kernel", self.kernel.clone()),
            ("host.arch", std::env::consts::ARCH.to_owned()),
            ("host.cpu.logical_count", self.cores.to_string()),
        ];
        all.extend(
            self.memory_bytes
                .map(|bytes| ("host.memory_bytes", bytes.to_string())),
        );
        all.extend(self.boot_id.clone().map(|id| ("host.boot_id", id)));
        all.extend(
            self.cpu_model
                .clone()
                .map(|model| ("host.cpu.model.name", model)),
        );
        all
    }
}

/// What the system calls itself.
pub fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The first word after `name:`.
fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    value_of_line(text, name)?.split_ascii_whitespace().next()
}

/// All that follows `name:` on its line.
fn value_of_line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_described() {
        let facts = HostFacts::read("here", Path::new("/proc"));
        assert!(facts.cores > 0 && !facts.kernel.is_empty());
        assert!(
            facts
                .attributes()
                .contains(&("host.name", "here".to_owned()))
        );
        assert!(!hostname().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let facts = HostFacts::read("here", Path::new("/nonexistent"));
        assert_eq!(
            (facts.memory_bytes, facts.boot_id, facts.cpu_model),
            (None, None, None)
        );
        assert_eq!(value_of("MemTotal:   12 kB\n", "MemTotal"), Some("12"));
        assert_eq!(
            value_of_line("model name\t: A B\n", "model name"),
            Some("A B")
        );
    }
}
