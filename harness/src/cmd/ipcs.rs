//! `ringer ipcs`: the pipes of sessions, live or left over.

use serde::Serialize;

use crate::arena::descriptors::{self, Holder};
use crate::arena::pipes::{self, PipeView};
use crate::cli;
use crate::error::Result;
use crate::session::Session;
use crate::ui::table::{Align, Table};
use crate::ui::{self, human};

#[derive(Serialize)]
struct Row {
    session: String,
    /// `pipe#3`
    object: String,
    #[serde(flatten)]
    pipe: PipeView,
}

pub fn main(args: cli::Ipcs) -> Result<u8> {
    let rows: Vec<Row> = super::ps::sessions(args.session.as_deref())?
        .iter()
        .flat_map(rows)
        .collect();
    if args.json {
        ui::print_json(&rows)?;
    } else {
        ui::print(&text(&rows))?;
    }
    Ok(0)
}

fn rows(session: &Session) -> Vec<Row> {
    let holders = descriptors::holders(&session.arena);
    if holders.cut_off {
        let name = session.name();
        ui::say(&format!(
            "ringer: session {name} looks corrupted: `ringer inspect --check`\n"
        ));
    }
    pipes::pipes(&session.arena, holders)
        .into_iter()
        .map(|pipe| Row {
            session: session.name(),
            object: format!("pipe#{}", pipe.id),
            pipe,
        })
        .collect()
}

fn text(rows: &[Row]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SESSION", Left),
        ("PIPE", Left),
        ("MODE", Left),
        ("SLOTS", Right),
        ("QUEUED", Right),
        ("WRITTEN", Right),
        ("READ", Right),
        ("SLEEP", Left),
        ("WRITERS", Left),
        ("READERS", Left),
    ]);
    for Row {
        session,
        object,
        pipe: p,
    } in rows
    {
        table.row(vec![
            session.clone(),
            object.clone(),
            p.cause
                .map_or_else(|| p.mode.to_owned(), |cause| format!("{}: {cause}", p.mode)),
            p.slots.to_string(),
            p.queued.to_string(),
            human::bytes(p.written),
            human::bytes(p.read),
            sleepers(p),
            holders(&p.writers),
            holders(&p.readers),
        ]);
    }
    table.text()
}

fn sleepers(p: &PipeView) -> String {
    match (p.sleeping_readers, p.sleeping_writers) {
        (0, 0) => "-".to_owned(),
        (r, 0) => format!("{r} to read"),
        (0, w) => format!("{w} to write"),
        (r, w) => format!("{r} to read, {w} to write"),
    }
}

/// `412:0, 413:5`
fn holders(all: &[Holder]) -> String {
    let all: Vec<String> = all.iter().map(|h| format!("{}:{}", h.pid, h.fd)).collect();
    if all.is_empty() {
        return "-".to_owned();
    }
    human::list(&all, 4)
}
