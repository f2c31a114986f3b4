//! File descriptors: how many a run needs, how many a process may have, and how many processes that
//! makes. The soft limit is raised to the hard one; past the hard one only more processes help.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::scenario::{Load, Scenario};

/// Descriptors for everything but connections: the log, runtimes, the coordinator, the terminal.
const OTHER_DESCRIPTORS: u64 = 128;
/// More worker processes than this are a mistake in the scenario.
pub const MAX_PROCESSES: u32 = 1_024;

/// Too few processes for the connections of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{connections} connections need {needed} worker processes of at most {limit} file descriptors each, not {asked}: \
     use --processes {needed} (or none, which starts as many as are needed), or raise the hard limit (ulimit -Hn)"
)]
pub struct TooFewProcesses {
    /// Connections of the scenario.
    pub connections: u64,
    /// Processes that it takes.
    pub needed: u64,
    /// Processes that were asked for.
    pub asked: u32,
    /// Descriptors that a process may have.
    pub limit: u64,
}

/// Most connections that a run of the scenario has open at the same time.
pub(super) fn connections(scenario: &Scenario) -> u64 {
    let users = scenario.stages.iter().map(|stage| match stage.load {
        Load::Users { from, to } => from.max(to),
        Load::Rate { .. } | Load::Hold => 0,
    });
    // Every user of a closed model may hold a connection of its own.
    let http = match scenario.journeys.is_empty() {
        true => 0,
        false => users.max().unwrap_or(0).max(scenario.http.connections),
    };
    let websockets = scenario.websockets.iter();
    u64::from(http)
        + websockets
            .map(|group| u64::from(group.connections))
            .sum::<u64>()
}

/// How many processes it takes to hold so many connections, or the number that was asked for.
pub(super) fn processes(
    connections: u64,
    limit: Option<u64>,
    asked: Option<u32>,
) -> Result<u32, TooFewProcesses> {
    let limit = limit.unwrap_or(u64::MAX);
    let room = limit.saturating_sub(OTHER_DESCRIPTORS).max(1);
    let needed = connections.div_ceil(room).max(1);
    let too_few = |asked| TooFewProcesses {
        connections,
        needed,
        asked,
        limit,
    };
    match asked {
        Some(asked) if u64::from(asked) < needed => Err(too_few(asked)),
        Some(asked) => Ok(asked),
        None if needed > u64::from(MAX_PROCESSES) => Err(too_few(MAX_PROCESSES)),
        None => Ok(needed as u32),
    }
}

/// Raises this process's soft limit of descriptors to the hard one, which is returned; none is no
/// limit. Where that fails, the soft limit is what there is.
pub(super) fn raise_descriptors() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    if before.current == before.maximum {
        return before.maximum;
    }
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => before.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors cannot be raised");
            before.current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing;

    #[test]
    fn processes_follow_from_connections_and_limit() {
        assert_eq!(processes(10, Some(20_000), None), Ok(1));
        assert_eq!(processes(0, None, None), Ok(1));
        assert_eq!(processes(150_000, Some(20_000), None), Ok(8));
        assert_eq!(processes(150_000, None, None), Ok(1));
        assert_eq!(processes(10, Some(20_000), Some(3)), Ok(3));
        let error = processes(150_000, Some(20_000), Some(2)).expect_err("too few");
        assert_eq!((error.needed, error.asked), (8, 2));
        assert!(error.to_string().contains("--processes 8"), "{error}");
        assert!(processes(u64::MAX, Some(200), None).is_err());
    }

    #[test]
    fn users_may_hold_a_connection_each() {
        let mut scenario = testing::scenario(&["a"], &[1, 1]);
        assert_eq!(connections(&scenario), 0, "nothing is sent");
        scenario.journeys.push(testing::journey());
        assert_eq!(connections(&scenario), 4);
        scenario.stages[1].load = Load::Users { from: 1, to: 500 };
        assert_eq!(connections(&scenario), 500);
    }

    #[test]
    fn the_soft_limit_can_be_raised_to_the_hard_one() {
        let hard = raise_descriptors();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}
