//! `ringer sessions`: which there are, who is in them, how big they are; and away with one.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde::Serialize;

use crate::cli;
use crate::error::{Error, Result};
use crate::session::{self, belongings, leftover, Session};
use crate::ui::table::{Align, Table};
use crate::ui::{self, human};

#[derive(Serialize)]
struct Row {
    session: String,
    /// `live`; `left over`: nobody is in it, and nobody will be; `kept`: it has a name.
    state: &'static str,
    processes: usize,
    /// Bytes of memory that its arena takes, and what belongs to it.
    bytes: u64,
    /// Queues, semaphores and shared memory by name.
    names: usize,
    file: String,
}

pub fn main(args: cli::Sessions) -> Result<u8> {
    if let Some(name) = &args.remove {
        return remove(name);
    }
    let rows: Vec<Row> = super::ps::sessions(None)?.iter().map(row).collect();
    if args.json {
        ui::print_json(&rows)?;
    } else {
        ui::print(&text(&rows))?;
    }
    Ok(0)
}

fn row(session: &Session) -> Row {
    let deserted = session.is_deserted();
    let size = |path: &std::path::Path| fs::metadata(path).map_or(0, |m| m.blocks() * 512);
    let belongings = belongings::of(&session.path);
    let segments = session::name::segments(|arena| arena == session.path);
    let others = belongings.iter().map(|b| &b.path).chain(&segments);
    let others: u64 = others.map(|path| size(path)).sum();
    Row {
        session: session.name(),
        state: match (deserted, session.is_named()) {
            (false, _) => "live",
            (true, true) => "kept",
            (true, false) => "left over",
        },
        processes: match deserted {
            true => 0,
            false => leftover::live_processes(&session.arena).count(),
        },
        bytes: size(&session.path) + others,
        names: belongings.len(),
        file: session.path.display().to_string(),
    }
}

fn text(rows: &[Row]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SESSION", Left),
        ("STATE", Left),
        ("PROCESSES", Right),
        ("SIZE", Right),
        ("NAMES", Right),
        ("FILE", Left),
    ]);
    for row in rows {
        table.row(vec![
            row.session.clone(),
            row.state.to_owned(),
            row.processes.to_string(),
            human::bytes(row.bytes),
            row.names.to_string(),
            row.file.clone(),
        ]);
    }
    table.text()
}

/// Removes a session that nobody is in, with all that it has.
fn remove(name: &str) -> Result<u8> {
    let session = session::find(name)?;
    if !session.is_deserted() {
        let processes = leftover::live_processes(&session.arena).count();
        return Err(Error::SessionIsLive {
            name: session.name(),
            processes,
        });
    }
    session.unlink();
    Ok(0)
}
