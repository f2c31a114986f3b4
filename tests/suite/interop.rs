//! Other tools read the tables and agree row for row.

use std::process::Command;

use crate::process::{driftline, example, run, stdout_of};
use crate::services::python;

const COMPARE: &str = r#"
import sys, csv, io
import polars as pl
from deltalake import DeltaTable

table, ours = sys.argv[1], sys.argv[2]
files = DeltaTable(table).file_uris()
frame = pl.read_delta(table)
rows = sorted((r["stream"], r["seq"], r["ts"].isoformat(), r["metric"], r["labels"], r["value"])
              for r in frame.iter_rows(named=True))
mine = sorted((r["stream"], int(r["seq"]), r["ts"], r["metric"], r["labels"], float(r["value"]))
              for r in csv.DictReader(open(ours)))
assert len(rows) == len(mine), f"polars sees {len(rows)} rows, driftline {len(mine)}"
for theirs, own in zip(rows, mine):
    instant = theirs[2][:26].ljust(19)
    assert theirs[0:2] == own[0:2] and theirs[3:] == own[3:], f"{theirs} is not {own}"
    assert own[2][:19] == instant[:19], f"{theirs} is not {own}"
print(len(rows), "rows in", len(files), "files agree")
"#;

#[test]
fn polars_and_delta_rs_agree_row_for_row() {
    let Some(python) = python("interoperability with polars and delta-rs") else {
        return;
    };
    let dir = tempfile::tempdir().expect("temporary directory");
    let data = dir.path().join("data").display().to_string();
    let ledger = dir.path().join("ledger").display().to_string();
    for seed in ["1", "2"] {
        let produced =
            run(Command::new(example("ledger_producer")).args([&data, &ledger, "p", seed, "30"]));
        assert!(
            produced.status.success(),
            "{}",
            String::from_utf8_lossy(&produced.stderr)
        );
        stdout_of(&mut driftline(&["sink", "--once", "--data", &data]));
    }
    let sql = "select stream, seq, ts, metric, labels, value from samples";
    let ours = stdout_of(&mut driftline(&[
        "query", "--data", &data, "--format", "csv", sql,
    ]));
    let csv = dir.path().join("ours.csv");
    std::fs::write(&csv, ours).expect("write");
    let table = format!("{data}/tables/samples");
    let compared = stdout_of(Command::new(python).args(["-c", COMPARE, &table]).arg(&csv));
    assert!(compared.contains("agree"), "{compared}");
}
