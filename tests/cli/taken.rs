//! Semaphores with names whose holder was killed: what the log and `ringer ipcs` say of that.

use crate::ringer::{native_only, ringer, run};
use crate::session::Name;
use ringer_support::build;
use ringer_support::cc;
use serde_json::{json, Value};

const PROGRAM: &str = include_str!("taken.c");

#[test]
fn the_death_of_who_took_a_semaphore_is_seen() {
    if native_only() {
        return;
    }
    let name = Name::new("taken");
    let program = cc::cc(PROGRAM).display().to_string();
    let look = format!(
        "env -u LD_PRELOAD {} ipcs --json --session {}",
        build::ringer().display(),
        name.text()
    );
    let traced = run(ringer([
        "trace",
        "--session",
        name.text(),
        "--",
        &program,
        &look,
    ]));
    let (said, log) = (traced.stdout(), traced.stderr());
    assert_eq!(traced.status, 0, "{log}");
    let (pids, all) = said.split_once('\n').expect("two parts");
    let (parent, child) = pids.split_once(' ').expect("two numbers");

    let dies = format!("{child} was killed: its descriptors are closed; it took /held 1 time more than it posted it");
    assert!(log.contains(&dies), "{log}");
    // It is the child's call, although ringer has not met it before.
    let waits = |line: &&str| line.contains("sem_wait(");
    let by: Vec<&str> = (log.lines().filter(waits))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(by, [child, child, parent], "{log}");

    let taken_by = |all: &Value, which: &str| {
        let mut rows = all.as_array().expect("a list").iter();
        let row = rows.find(|row| row["object"] == which).expect(which);
        row["taken_by"].clone()
    };
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let (parent, child) = (number(parent), number(child));
    let all: Value = serde_json::from_str(all).expect("JSON");
    assert_eq!(taken_by(&all, "/held"), json!({"pid": child, "dead": true}));
    assert_eq!(
        taken_by(&all, "/mine"),
        json!({"pid": parent, "dead": false})
    );
    assert_eq!(taken_by(&all, "/back"), Value::Null);

    let table = run(ringer(["ipcs", "--session", name.text()])).stdout();
    let row = table.lines().find(|line| line.contains("/held"));
    let row = row.expect("a row");
    assert!(row.ends_with(&format!("{child} (dead)")), "{table}");
}
