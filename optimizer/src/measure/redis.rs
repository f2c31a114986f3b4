//! Windows of a Redis server, from the differences of INFO.

use redis::aio::MultiplexedConnection;

use super::{CacheWork, Window};
use crate::config::ServerConfig;
use crate::server::{ServerError, redis_failed};

/// Counters at a time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// When, in microseconds since 1970 UTC.
    pub at_us: i64,
    /// The id of the server's run: another after a restart.
    pub run: String,
    /// The counters.
    pub cache: CacheWork,
    /// `maxmemory`, in bytes; 0 without a limit.
    pub max_bytes: u64,
    /// The machine's memory, in bytes.
    pub system_bytes: u64,
    /// Its role: `master` or `slave`.
    pub role: String,
}

/// Reads the counters.
pub async fn read(
    connection: &mut MultiplexedConnection,
    server: &ServerConfig,
    at_us: i64,
) -> Result<Snapshot, ServerError> {
    let text: String = redis::cmd("INFO")
        .arg("all")
        .query_async(connection)
        .await
        .map_err(|source| redis_failed(server, source))?;
    Ok(parse(&text, at_us))
}

/// The window between two readings; `None` if the server was restarted or its counters reset.
pub fn window(earlier: &Snapshot, later: &Snapshot) -> Option<Window> {
    if earlier.run != later.run {
        return None;
    }
    let (was, now) = (&earlier.cache, &later.cache);
    Some(Window {
        from_us: earlier.at_us,
        to_us: later.at_us,
        cache: Some(CacheWork {
            hits: now.hits.checked_sub(was.hits)?,
            misses: now.misses.checked_sub(was.misses)?,
            evicted: now.evicted.checked_sub(was.evicted)?,
            commands: now.commands.checked_sub(was.commands)?,
            errors: now.errors.checked_sub(was.errors)?,
            used_bytes: now.used_bytes,
            fragmentation: now.fragmentation,
        }),
        ..Window::default()
    })
}

fn parse(text: &str, at_us: i64) -> Snapshot {
    let mut snapshot = Snapshot {
        at_us,
        ..Snapshot::default()
    };
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let number = || value.parse::<u64>().unwrap_or(0);
        let cache = &mut snapshot.cache;
        match key {
            "run_id" => value.clone_into(&mut snapshot.run),
            "role" => value.clone_into(&mut snapshot.role),
            "keyspace_hits" => cache.hits = number(),
            "keyspace_misses" => cache.misses = number(),
            "evicted_keys" => cache.evicted = number(),
            "total_commands_processed" => cache.commands = number(),
            "total_error_replies" => cache.errors = number(),
            "used_memory" => cache.used_bytes = number(),
            "mem_fragmentation_ratio" => {
                let ratio = value.parse::<f64>().unwrap_or(0.0);
                cache.fragmentation = if ratio.is_finite() { ratio } else { 0.0 };
            }
            "maxmemory" => snapshot.max_bytes = number(),
            "total_system_memory" => snapshot.system_bytes = number(),
            _ => {}
        }
    }
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_becomes_a_window_and_a_restart_makes_none() {
        let info = |run: &str, hits: u64| {
            let text = format!(
                "# Server\r\nrun_id:{run}\r\nkeyspace_hits:{hits}\r\nkeyspace_misses:2\r\n\
                 mem_fragmentation_ratio:nan\r\nmaxmemory:1000\r\n"
            );
            parse(&text, 0)
        };
        let window = window(&info("a", 5), &info("a", 9)).expect("a window");
        let cache = window.cache.expect("a cache");
        assert_eq!((cache.hits, cache.misses, cache.fragmentation), (4, 0, 0.0));
        assert_eq!(super::window(&info("a", 5), &info("b", 9)), None);
        assert_eq!(super::window(&info("a", 9), &info("a", 5)), None);
        assert_eq!(info("a", 1).max_bytes, 1000);
    }
}
