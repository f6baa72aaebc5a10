//! `ringer diff`: one command in both worlds.

use std::time::Duration;

use crate::cli;
use crate::diff::{self, report, run};
use crate::error::Result;
use crate::ui;

const SAME: u8 = 0;
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;

pub fn main(args: cli::Diff) -> Result<u8> {
    Ok(compare(args).unwrap_or_else(|e| {
        ui::say(&format!("ringer: {e}\n"));
        TROUBLE
    }))
}

fn compare(args: cli::Diff) -> Result<u8> {
    let place = run::Place::new(run::Plan {
        command: args.command,
        timeout: Duration::from_secs(args.timeout),
        stdin: args.stdin,
        files: args.files,
        shim: args.shim,
        logs: !args.no_logs,
    })?;
    let verdict = diff::worlds(&place, args.runs)?;
    let report = report::Report::new(&place.plan, verdict);
    match args.export {
        Some(cli::Export::Json) => ui::print_json(&report)?,
        None => ui::print(&report.text())?,
    }
    Ok(if report.same { SAME } else { DIFFERENT })
}
