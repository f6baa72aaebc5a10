//! `ringer bench`: the kernel against ringer.

use crate::bench::{pair, report, row, workload};
use crate::cli;
use crate::error::{Error, Result};
use crate::ui;

pub fn main(args: cli::Bench) -> Result<u8> {
    let rows: Vec<row::Row> = row::ROWS
        .iter()
        .filter(|r| r.is_one_of(&args.names))
        .copied()
        .collect();
    if rows.is_empty() {
        let names: Vec<&str> = row::ROWS.iter().map(|r| r.name).collect();
        let why = format!("no such row; there are {}", names.join(", "));
        return Err(Error::Bench {
            what: args.names.join(" "),
            why,
        });
    }
    let plan = if args.quick { pair::QUICK } else { pair::FULL };
    let mut results = Vec::new();
    for row in rows {
        if ui::is_watched() {
            ui::say(&format!("{} ({}) ...\n", row.name, row.regime));
        }
        results.push(pair::measure(&row, plan)?);
    }
    if args.json {
        ui::print_json(&results)?;
    } else {
        ui::print(&report::table(&results))?;
    }
    // Programs have the samples, and can judge by themselves.
    if !args.json || ui::is_watched() {
        for warning in report::warnings(&results) {
            ui::say(&format!("{warning}\n"));
        }
    }
    Ok(0)
}

/// The hidden half: one workload, in this process, whatever world it is in.
pub fn worker(args: cli::BenchWorker) -> Result<u8> {
    workload::run(&args.name, args.iterations)?;
    Ok(0)
}
