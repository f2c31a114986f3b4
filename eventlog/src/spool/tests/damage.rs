//! What a reader makes of damage and of formats that it does not know.

use super::*;

#[test]
fn damage_is_reported_with_its_place_and_skipped_only_when_asked() {
    let (sim, disk) = sim(1);
    let producer = producer(&disk, Path::new(LOG), 1, &small()).expect("open");
    let mut writer = producer.writer(Kind::Samples).expect("a writer");
    fill(&mut writer, 0, 20).expect("fill");
    let (path, size) = segments(&sim)[0].clone();
    sim.flip_bit(&path, size / 2, 3).expect("damage");
    let mut reader = SpoolReader::read_only(disk, Path::new(LOG));
    let mut next = 0;
    let error = loop {
        match reader.read(&source(&writer), next, 1) {
            Ok(records) => next += records.len() as u64,
            Err(error) => break error,
        }
    };
    let LogError::Corrupt {
        path: found,
        offset,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(*found, path);
    assert!((1..size).contains(offset), "{offset}");
    reader
        .read(&source(&writer), next, 1)
        .expect_err("it stays an error");
    let good = reader.skip_corrupt(&source(&writer), next).expect("skip");
    assert!(good > next);
    assert_eq!(
        drain(&mut reader, &source(&writer), good).expect("read on"),
        20
    );
}

#[test]
fn a_newer_format_is_named_and_left_alone() {
    let (sim, disk) = sim(1);
    let first = producer(&disk, Path::new(LOG), 1, &small()).expect("open");
    let mut writer = first.writer(Kind::Samples).expect("a writer");
    fill(&mut writer, 0, 3).expect("fill");
    let source = source(&writer);
    drop((writer, first));
    let (path, _) = segments(&sim)[0].clone();
    let mut preamble = format::encode_header("", 0);
    preamble.truncate(8);
    preamble.extend(2_u32.to_le_bytes());
    preamble.extend(crc32c::crc32c(&preamble).to_le_bytes());
    disk.open(&path, true)
        .expect("open")
        .write_at(0, &preamble)
        .expect("write");

    let second = producer(&disk, Path::new(LOG), 2, &small()).expect("it can still start");
    let outcome = &second.repairs()[0].outcome;
    assert!(
        matches!(outcome, RepairOutcome::LeftAlone { .. }),
        "{outcome:?}"
    );
    let mut reader = SpoolReader::read_only(disk, Path::new(LOG));
    let error = reader
        .read(&source, 0, 100)
        .expect_err("it cannot be understood");
    assert!(
        matches!(error, LogError::NewerFormat { found: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("upgrade"), "{error}");
}
