//! `ringer fuzz`: programs of calls in both worlds. Seeds are fixed: what is found anew is found
//! by people, not by the gate.

mod common;

use std::process::Stdio;

use common::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus");

#[test]
fn the_corpus_is_the_same_in_both_worlds() {
    let out = output(&mut ringer(&["fuzz", "--replay", CORPUS]));
    let said = stdout(&out) + &stderr(&out);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.ends_with(" programs, 0 differ\n"), "{said}");
}

/// Programs as JSON, or as C.
fn printed(options: &[&str]) -> String {
    let out = output(ringer(&["fuzz", "--print", "--seed", "9"]).args(options));
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    stdout(&out)
}

#[test]
fn the_same_seed_is_the_same_program() {
    let one = printed(&["--programs", "1"]);
    assert_eq!(one, printed(&["--programs", "1"]));
    assert!(printed(&["--programs", "2"]).starts_with(&one));
}

/// Which programs a seed makes depends on what they use.
const OLDEST: &str = "pipe,signal,eventfd,unix,mq,sysv";

#[test]
fn a_program_is_c_that_compiles_and_runs() {
    let file = Scratch::new("fuzz.c");
    let program = Scratch::new("fuzz");
    std::fs::write(
        &file.0,
        printed(&[
            "--programs",
            "1",
            "--c",
            "--steps",
            "30",
            "--objects",
            OLDEST,
        ]),
    )
    .unwrap();
    let mut cc = std::process::Command::new("cc");
    let cc = output(cc.args([
        "-Wall",
        "-Werror",
        "-o",
        program.path(),
        file.path(),
        "-lrt",
    ]));
    assert!(cc.status.success(), "{}", stderr(&cc));
    let out = output(std::process::Command::new(program.path()).stdin(Stdio::null()));
    let said = stdout(&out);
    // From step 14 on the only actor may wait for a signal, which natively it does for ever.
    assert!(said.lines().any(|line| line.starts_with(" 13  ")), "{said}");
    assert!(out.status.success());
}

#[test]
fn named_sockets_are_c_that_compiles() {
    compiles("fuzz-named.c", "named,pipe");
}

#[test]
fn semaphores_are_c_that_compiles() {
    compiles("fuzz-sem.c", "sem,sysv");
}

fn compiles(file: &str, objects: &str) {
    let file = Scratch::new(file);
    let options = [
        "--programs",
        "1",
        "--c",
        "--steps",
        "200",
        "--objects",
        objects,
    ];
    std::fs::write(&file.0, printed(&options)).unwrap();
    let mut cc = std::process::Command::new("cc");
    let cc = output(cc.args(["-Wall", "-Werror", "-fsyntax-only", file.path()]));
    assert!(cc.status.success(), "{}", stderr(&cc));
}

/// What is no program is said to be none.
#[test]
fn what_is_no_program_is_trouble() {
    let file = Scratch::new("fuzz-bad.json");
    std::fs::write(&file.0, r#"{"steps":[{"who":0,"call":"nonesuch"}]}"#).unwrap();
    let out = output(&mut ringer(&["fuzz", "--replay", file.path()]));
    assert_eq!(out.status.code(), Some(125));
    assert!(stderr(&out).contains("line 1") && stderr(&out).contains("nonesuch"));
}
