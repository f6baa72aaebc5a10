//! The programs of `examples-c/`: each prints exactly what the comment at its head says.

use crate::case::Case;
use crate::emulated::Pipes;
use crate::fixture::{self, TempDir};
use std::fs;
use std::path::PathBuf;

macro_rules! examples {
    ($($name:ident: $pipes:ident,)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name), Pipes::$pipes);
            }
        )*

        #[test]
        fn every_example_has_a_test() {
            let mut tested = vec![$(stringify!($name)),*];
            tested.sort_unstable();
            assert_eq!(sources(), tested);
        }
    };
}

examples! {
    broken_pipe: Emulated,
    connection: Any,
    handlers: Emulated,
    jobserver: Emulated,
    packet: Emulated,
    pipeline: Emulated,
    poll_two_pipes: Emulated,
    popen: Emulated,
    producer_consumer: Emulated,
    self_pipe: Emulated,
    stdio_pipe: Emulated,
    sysv_memory: Any,
    sysv_messages: Any,
    sysv_semaphores: Emulated,
}

fn directory() -> PathBuf {
    fixture::workspace().join("examples-c")
}

/// The names of all examples, sorted, without ".c".
fn sources() -> Vec<String> {
    let entries = fs::read_dir(directory()).expect("examples-c").flatten();
    let mut names: Vec<String> = entries
        .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".c")?.to_owned()))
        .collect();
    names.sort_unstable();
    names
}

fn check(name: &str, pipes: Pipes) {
    let source = directory().join(name).with_extension("c");
    let text = fs::read_to_string(&source).expect("the source of the example");
    assert!(
        text.lines().count() <= 80,
        "{name}.c is longer than 80 lines"
    );
    let expected = expected_output(&text);
    assert!(!expected.is_empty(), "{name}.c does not say what it prints");

    let dir = TempDir::new();
    let program = dir.path().join(name);
    fixture::compile(&source, &program, &[]);
    let native = Case::new([&program])
        .pipes(pipes)
        .check()
        .expect("nothing to skip it for");
    assert_eq!(
        native.stdout(),
        expected,
        "{name}.c prints what its comment says"
    );
    assert_eq!(native.stderr(), "");
    assert_eq!(native.status, 0);
}

/// The block behind "Expected output:" in the head comment, without its margin.
fn expected_output(source: &str) -> String {
    let head = source.split("*/").next().unwrap_or_default();
    let block = head
        .split_once("Expected output:")
        .map_or("", |(_, block)| block);
    block
        .lines()
        .filter_map(|l| l.strip_prefix(" *     "))
        .map(|l| format!("{l}\n"))
        .collect()
}
