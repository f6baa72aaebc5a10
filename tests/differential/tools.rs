//! Running C programs under `ringer`, and reading what it says.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use ringer_support::{build, cc};
use serde_json::Value;

/// Seconds that a run may take.
const LIMIT: &str = "120";

/// `ringer` with these arguments and then a program; killed if it hangs.
pub fn ringer(arguments: &[&str], program: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", LIMIT]).arg(build::ringer());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RINGER_") || name == "LD_PRELOAD" {
            command.env_remove(name);
        }
    }
    command.args(arguments).arg("--").args(program);
    command.stdin(Stdio::null()).output().expect("timeout(1)")
}

pub fn compiled(source: &str) -> String {
    // The compiler is told so already.
    let source = source.replace("#define _GNU_SOURCE\n", "");
    cc::cc(&source).to_str().expect("a path").to_owned()
}

/// The report of `ringer diff`, and its exit status.
pub fn diff(options: &[&str], program: &[&str]) -> (Option<i32>, Value) {
    let arguments = [&["diff", "--runs", "2", "--export", "json"], options].concat();
    let out = ringer(&arguments, program);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let report = serde_json::from_slice(&out.stdout);
    (
        out.status.code(),
        report.unwrap_or_else(|e| panic!("{e}: {said}")),
    )
}

/// The entries of a run's log.
pub fn log(mode: &str, program: &str) -> Vec<Value> {
    let name = format!(
        "ringer-observe-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    let file: PathBuf = std::env::temp_dir().join(name);
    let path = file.to_str().expect("a path");
    let out = ringer(&["run", "--mode", mode, "--log", path], &[program]);
    let text = fs::read_to_string(&file).expect("a log");
    let _ = fs::remove_file(&file);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).expect(l))
        .collect();
    let end = lines.len() - 1;
    assert_eq!(lines[end]["summary"]["lost"], 0, "{}", lines[end]);
    lines[1..end].to_vec()
}

/// Of the entries with this operation and class of objects: a field each.
pub fn fields(log: &[Value], op: &str, class: &str, field: &str) -> Vec<Value> {
    let of_class = |e: &&Value| {
        let named = e["obj"]
            .as_str()
            .is_some_and(|o| o.starts_with(&format!("{class}#")));
        e["op"] == op && (named || class.is_empty())
    };
    let at = |e: &Value| field.split('.').fold(e.clone(), |v, name| v[name].clone());
    log.iter().filter(of_class).map(at).collect()
}
