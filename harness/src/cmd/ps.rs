//! `ringer ps`: who is in which session, and what he waits for.

use serde::Serialize;

use crate::arena::processes::{self, ProcessView};
use crate::cli;
use crate::error::Result;
use crate::log::signals::Mask;
use crate::session::{self, Session};
use crate::sys::clock::{self, Clock};
use crate::ui::table::{Align, Table};
use crate::ui::{self, human};

#[derive(Serialize)]
struct Row {
    session: String,
    #[serde(flatten)]
    process: ProcessView,
}

impl Row {
    /// Who has ended is history. Who was killed and not cleaned up after is of interest to whoever
    /// looks at that session.
    fn is_news(&self, this_session: bool) -> bool {
        let p = &self.process;
        p.state != "dead" && (this_session || p.unseen || p.kernel_state.is_some())
    }
}

pub fn main(args: cli::Ps) -> Result<u8> {
    let rows: Vec<Row> = sessions(args.session.as_deref())?
        .iter()
        .flat_map(rows)
        .filter(|row| args.all || row.is_news(args.session.is_some()))
        .collect();
    if args.json {
        ui::print_json(&rows)?;
    } else {
        ui::print(&text(&rows))?;
    }
    Ok(0)
}

/// The session that was asked for, or all of them. A person is told of those that cannot be read.
pub fn sessions(only: Option<&str>) -> Result<Vec<Session>> {
    if let Some(name) = only {
        return session::find(name).map(|s| vec![s]);
    }
    let (sessions, strange) = session::all();
    if !strange.is_empty() && ui::is_watched() {
        let names: Vec<String> = strange.iter().map(|p| session::name::of_path(p)).collect();
        let them = human::list(&names, 3);
        ui::say(&format!(
            "ringer: not shown, being broken or of another build: {them}\n"
        ));
    }
    Ok(sessions)
}

fn rows(session: &Session) -> Vec<Row> {
    let clock = Clock::of(session.header());
    processes::processes(&session.arena, &clock, clock::tsc())
        .into_iter()
        .map(|process| Row {
            session: session.name(),
            process,
        })
        .collect()
}

/// What is to be said about one session.
pub fn of_session(session: &Session) -> String {
    text(&rows(session))
}

fn text(rows: &[Row]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SESSION", Left),
        ("PID", Right),
        ("STATE", Left),
        ("THREADS", Right),
        ("FDS", Right),
        ("HOOK", Right),
        ("TRAP", Right),
        ("WAITS FOR", Left),
        ("COMMAND", Left),
    ]);
    for Row {
        session,
        process: p,
    } in rows
    {
        let command = p.command.as_ref().unwrap_or(&p.comm);
        table.row(vec![
            session.clone(),
            number(p),
            state(p),
            p.threads.to_string(),
            p.descriptors.to_string(),
            p.calls.hook.to_string(),
            p.calls.trap.to_string(),
            waits(p),
            cut(command, 60),
        ]);
    }
    table.text() + &signals(rows)
}

/// Its number; of another PID namespace's process also what it is here.
fn number(p: &ProcessView) -> String {
    match (p.foreign, p.pid_here) {
        (false, _) => p.pid.to_string(),
        (true, Some(here)) => format!("{} ({here})", p.pid),
        (true, None) => format!("{} (?)", p.pid),
    }
}

/// The masks of each thread, by the names of proc(5).
fn signals(rows: &[Row]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("PID", Right),
        ("TID", Right),
        ("SigPnd", Left),
        ("ShdPnd", Left),
        ("SigBlk", Left),
        ("SigIgn", Left),
        ("SigCgt", Left),
    ]);
    let mut any = false;
    for Row { process: p, .. } in rows {
        for s in &p.signals {
            any = true;
            let set = |mask: Mask| {
                if mask == Mask::default() {
                    "-".to_owned()
                } else {
                    mask.to_string()
                }
            };
            table.row(vec![
                p.pid.to_string(),
                s.tid.to_string(),
                set(s.pending),
                set(s.shared),
                set(s.blocked),
                set(s.ignored),
                set(s.caught),
            ]);
        }
    }
    if any {
        format!("\n{}", table.text())
    } else {
        String::new()
    }
}

/// Both views agree in the usual case; where not, that is the news.
fn state(p: &ProcessView) -> String {
    match (p.state, p.kernel_state) {
        ("dead", _) => "ended".to_owned(),
        ("announced", _) => "starting".to_owned(),
        (state, None) if p.unseen => format!("{state} elsewhere"),
        (_, None) => "killed".to_owned(),
        ("live", Some(state)) => kernel_state(state).to_owned(),
        (other, Some(state)) => format!("{other}, {}", kernel_state(state)),
    }
}

fn kernel_state(letter: char) -> &'static str {
    match letter {
        'R' => "running",
        'S' | 'I' => "asleep",
        'D' => "in disk wait",
        'T' | 't' => "stopped",
        'Z' | 'X' => "ending",
        _ => "?",
    }
}

fn waits(p: &ProcessView) -> String {
    let all: Vec<String> = p
        .waits
        .iter()
        .map(|w| {
            format!(
                "{} to {} since {}",
                w.object,
                w.purpose,
                human::duration(w.since_ns)
            )
        })
        .collect();
    if all.is_empty() {
        return "-".to_owned();
    }
    human::list(&all, 3)
}

fn cut(text: &str, most: usize) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_cut_and_stay_on_their_line() {
        assert_eq!(cut("a\nb", 40), "a b");
        assert_eq!(cut("abcdefghij", 8), "abcde...");
    }
}
