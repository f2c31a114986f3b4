//! The service's own record.

use driftline_loadgen::service::LogTo;

use crate::support::{Client, get, log_of, service};

#[test]
fn the_file_holds_every_request() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("target.csv");
    let service = service(|config| config.log = LogTo::File(path.clone()));
    std::thread::scope(|scope| {
        for client in 0..8 {
            let service = &service;
            scope.spawn(move || {
                let mut connection = Client::new(service);
                let batch: String = (0..250)
                    .map(|n| get(&format!("/?{client}-{n}"), ""))
                    .collect();
                connection.send(batch);
                (0..250).for_each(|_| assert_eq!(connection.receive().status, 200));
            });
        }
    });
    service.stop().expect("it stops");
    let text = std::fs::read_to_string(&path).expect("the file");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("arrival_us,start_us,end_us,status,path"));
    let mut paths = std::collections::BTreeSet::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let times: Vec<i64> = fields[..3]
            .iter()
            .map(|time| time.parse().expect("a time"))
            .collect();
        assert!(times.is_sorted(), "{line}");
        assert_eq!(fields[3], "200");
        assert!(paths.insert(fields[4].to_owned()), "{line} is there twice");
    }
    assert_eq!(paths.len(), 2_000);
}

#[test]
fn rows_in_memory_tell_paths_and_statuses() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    client.get("/items/1?a=1,2");
    client.get("/nothing");
    let log = log_of(&service, 2);
    let rows: Vec<_> = log.iter().map(|row| (&*row.path, row.status)).collect();
    assert_eq!(rows, [("/items/1?a=1,2", 200), ("/nothing", 404)]);
    assert!(
        log.iter()
            .all(|row| row.arrival_us <= row.start_us && row.start_us <= row.end_us)
    );
}
