//! `ringer bench`: figures for people and for programs.

use crate::ringer::{native_only, ringer, run};
use serde_json::Value;

#[test]
fn json_is_a_list_of_comparisons() {
    if native_only() {
        return;
    }
    let ended = run(ringer(["bench", "--json", "--quick"]));
    assert_eq!((ended.status, ended.stderr().as_str()), (0, ""));
    let text = ended.stdout();
    let list: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert!(!list.is_empty());
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for row in &list {
        let word = |name: &str| {
            row[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name}: {row}"))
        };
        let number = |name: &str| {
            row[name]
                .as_f64()
                .unwrap_or_else(|| panic!("no {name}: {row}"))
        };
        let (kernel, ringer, ratio) = (number("kernel_ns"), number("ringer_ns"), number("ratio"));
        assert!(kernel > 0.0 && ringer > 0.0 && ratio > 0.0, "{row}");
        let exact = kernel / ringer;
        let off = |expected: f64| (ratio / expected - 1.0).abs();
        assert!(
            off(exact) < 0.02 || off(1.0 / exact) < 0.02,
            "the ratio is of something else: {row}"
        );
        keys.push((word("name"), word("regime")));
    }
    keys.sort_unstable();
    let all = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), all, "a name and regime twice: {text}");
}

#[test]
fn text_is_a_table() {
    if native_only() {
        return;
    }
    let ended = run(ringer(["bench", "--quick"]));
    assert_eq!(ended.status, 0, "{}", ended.stderr());
    assert!(ended.stdout().lines().count() > 1, "{}", ended.stdout());
}
