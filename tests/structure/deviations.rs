//! The list of deviations and the tests that show them belong together.

use crate::sources::{read, rust_files};
use crate::tests_by_name::assert_exists;
use ringer_support::deviates;
use ringer_support::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

const KEYS: [&str; 5] = ["id", "rule", "kernel_range", "reason", "test"];

#[test]
fn each_deviation_is_explained_and_shown() {
    let mut ids = BTreeSet::new();
    for entry in deviates::entries() {
        let keys: Vec<&str> = entry.keys.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, KEYS, "the keys of an entry of deviations.toml");
        for key in KEYS {
            assert!(!entry.text(key).is_empty(), "{key} is empty in {entry:?}");
        }
        let id = entry.text("id");
        assert!(ids.insert(id.to_owned()), "{id} twice in deviations.toml");
        assert_exists(entry.text("test"), "deviations.toml");
    }
    assert_eq!(ids, cited(), "deviations.toml's, and those that tests cite");
}

/// The ids that are given to `deviates!`.
fn cited() -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for path in rust_files("tests") {
        let text = read(&path);
        for call in text.split("\ndeviates!(").skip(1) {
            let id = call.split('"').nth(1).expect("an id");
            ids.insert(id.to_owned());
        }
    }
    ids
}

deviates!(
    the_times_of_a_pipe_move_when_it_is_used,
    "times-stand-still",
    {
        let p = pipe();
        let times = || {
            let st = fstat(&p.r).unwrap();
            [
                (st.st_atime, st.st_atime_nsec),
                (st.st_mtime, st.st_mtime_nsec),
            ]
        };
        let tick = || ringer_support::shared::pause(Duration::from_millis(50));
        let before = times();
        tick();
        write_all(&p.w, b"x");
        let written = times();
        assert!(written[1] > before[1], "st_mtime after a write");
        tick();
        assert_eq!(read_n(&p.r, 1), Ok(b"x".to_vec()));
        assert!(times()[0] > written[0], "st_atime after a read");
    }
);
