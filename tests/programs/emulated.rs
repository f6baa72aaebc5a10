//! Did ringer really serve the pipes, or did the kernel? The output alone cannot tell.

use ringer_support::build;
use std::path::Path;
use std::process::Command;

/// What the log must say about the pipes of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pipes {
    /// Served from user space to the end.
    Emulated,
    /// Some go back to the kernel, because a program has them that cannot be shimmed.
    Demoted,
    /// There may be none, or it is not this test's business.
    Any,
}

/// What a log says about pipes.
struct Summary {
    /// Pipes that were created as emulated ones.
    emulated: u64,
    /// Those of them that went back to the kernel.
    demoted: u64,
    /// The whole summary, for the message.
    text: String,
}

/// Checks what became of the pipes of a command that ran under `ringer run --log LOG`.
pub fn assert_emulated(log: &Path, expected: Pipes) {
    if expected == Pipes::Any {
        return;
    }
    let summary = summary(log);
    assert!(
        summary.emulated > 0,
        "no pipe was emulated: {}",
        summary.text
    );
    match expected {
        Pipes::Emulated => assert_eq!(summary.demoted, 0, "demoted: {}", summary.text),
        Pipes::Demoted => assert!(summary.demoted > 0, "nothing demoted: {}", summary.text),
        Pipes::Any => {}
    }
}

/// Reads the summary of a log. **The one place that knows the interface**: the command
/// `ringer trace --summary-json LOG` prints one JSON object, in it
/// `{"pipes": {"emulated": N, "demoted": N}}`.
fn summary(log: &Path) -> Summary {
    let mut ringer = Command::new(build::ringer());
    ringer.args(["trace", "--summary-json"]).arg(log);
    let said = ringer
        .output()
        .unwrap_or_else(|e| panic!("{ringer:?}: {e}"));
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success(),
        "{ringer:?}: {} {complaint}",
        said.status
    );
    let json: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{ringer:?}: {e}: {text}"));
    let count = |name: &str| {
        let number = json["pipes"][name].as_u64();
        number.unwrap_or_else(|| panic!("no number pipes.{name} in {text}"))
    };
    Summary {
        emulated: count("emulated"),
        demoted: count("demoted"),
        text,
    }
}
