//! `ringer conform`: what the tests said, beside the rules.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use common::*;

/// A directory with a `cargo` that does this.
fn cargo(name: &str, script: &str) -> Scratch {
    let dir = Scratch::new(name);
    fs::create_dir(&dir.0).unwrap();
    let cargo = dir.0.join("cargo");
    fs::write(&cargo, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

fn conform(cargo: &Scratch) -> std::process::Command {
    let path = std::env::var("PATH").unwrap();
    let mut command = ringer(&["conform", "--run"]);
    command.env("PATH", format!("{}:{path}", cargo.path()));
    command
}

/// dash(1) sets no trap for a signal that it was started with as ignored.
#[test]
fn the_tests_get_the_terminals_signals_in_the_background_too() {
    let said = "echo '     Running x.rs (d/ring-0)'; echo 'test a ... ok'";
    let cargo = cargo(
        "conform-signals",
        &format!("trap \"{said}\" INT; kill -INT $$; exit 0"),
    );
    let mut command = conform(&cargo);
    let begin = || {
        // SAFETY: two numbers.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
        Ok(())
    };
    // SAFETY: async-signal-safe: signal(2) alone.
    unsafe { command.pre_exec(begin) };
    let out = output(&mut command);
    fs::remove_dir_all(&cargo.0).unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let said = stdout(&out);
    assert!(said.contains("native 1/1"), "{said}");
    assert!(said.contains("ringer 1/1"), "{said}");
}

#[test]
fn no_test_that_ran_is_trouble() {
    let cargo = cargo("conform-nothing", "echo 'error: no such command'; exit 101");
    let out = output(&mut conform(&cargo));
    fs::remove_dir_all(&cargo.0).unwrap();
    assert_ne!(out.status.code(), Some(0));
    assert!(stderr(&out).contains("no such command"), "{}", stderr(&out));
}
