//! What docker-compose.yml describes: every file it mounts is there, every role's configuration is
//! read by the real binary, and the file passes `docker compose config` where that can be run.

use std::path::Path;
use std::process::Command;

use crate::process::{driftline, run, stdout_of};
use crate::skipped::skip;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn compose_file_is_valid_for_compose_itself() {
    let candidates: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    let found = candidates.into_iter().find(|words| {
        let version = Command::new(words[0])
            .args(&words[1..])
            .arg("version")
            .output();
        version.is_ok_and(|output| output.status.success())
    });
    let Some(words) = found else {
        return skip("docker compose config: neither docker compose nor docker-compose is there");
    };
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["-f", "docker-compose.yml", "config"]);
    let config = stdout_of(command.current_dir(repository()));
    for service in ["kafka:", "collector:", "sink:", "query:"] {
        assert!(config.contains(service), "{service} is missing: {config}");
    }
}

#[test]
fn every_mounted_configuration_is_read_by_the_binary() {
    let compose = std::fs::read_to_string(repository().join("docker-compose.yml")).expect("read");
    let mounts: Vec<&str> = compose
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("- ./")?
                .split_once(':')
                .map(|(path, _)| path)
        })
        .collect();
    assert_eq!(mounts.len(), 3, "{mounts:?}");
    for path in mounts {
        let path = repository().join(path).display().to_string();
        let output = run(&mut driftline(&["config", "check", "--config", &path]));
        assert!(
            output.status.success(),
            "{path}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
