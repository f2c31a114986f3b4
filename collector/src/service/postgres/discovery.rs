//! Looks for a server at the usual places of this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::PostgresConfig;

/// Where packages and builds from source put their sockets.
const DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];
const SOCKET: &str = ".s.PGSQL.";
const PORT: u16 = 5432;
/// Loopback answers at once or not at all.
const ANSWERS_WITHIN: Duration = Duration::from_millis(100);

/// The addresses of the first server found, one for each role that may be ours: none, so that the
/// system's user counts, and `driftline`. Empty without a server.
pub(super) fn look(template: &PostgresConfig) -> Vec<PostgresConfig> {
    let place = DIRECTORIES
        .iter()
        .find_map(|directory| socket_in(Path::new(directory)))
        .or_else(|| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
            let answer = TcpStream::connect_timeout(&address, ANSWERS_WITHIN);
            answer.ok().map(|_| format!("host=127.0.0.1&port={PORT}"))
        });
    let with = |user: &str, place: &String| PostgresConfig {
        url: format!("postgresql://{user}/postgres?{place}"),
        ..template.clone()
    };
    let both = |place: &String| vec![with("driftline@", place), with("", place)];
    place.as_ref().map(both).unwrap_or_default()
}

/// The place of the server with the lowest port in a directory.
fn socket_in(directory: &Path) -> Option<String> {
    let entries = std::fs::read_dir(directory).ok()?;
    let ports = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.strip_prefix(SOCKET)?.parse::<u16>().ok()
    });
    let port = ports.min()?;
    Some(format!("host={}&port={port}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_with_the_lowest_port_is_found() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(socket_in(directory.path()), None);
        for name in [".s.PGSQL.5434", ".s.PGSQL.5433", ".s.PGSQL.5433.lock", "x"] {
            std::fs::write(directory.path().join(name), "").expect("written");
        }
        let expected = format!("host={}&port=5433", directory.path().display());
        assert_eq!(socket_in(directory.path()), Some(expected));
        assert_eq!(socket_in(Path::new("/no/such/directory")), None);
    }
}
