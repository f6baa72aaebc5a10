//! `ringer ipcs`: the System V objects, with the columns of ipcs(1).

use serde::Serialize;

use crate::arena::sysv::{self, Common, View};
use crate::session::Session;
use crate::sys;
use crate::ui::human;
use crate::ui::table::{Align, Table};

#[derive(Serialize)]
pub struct Row {
    session: String,
    #[serde(flatten)]
    view: View,
}

pub fn rows(sessions: &[Session]) -> Vec<Row> {
    let of = |s: &Session| {
        let name = s.name();
        sysv::objects(&s.arena).into_iter().map(move |view| Row {
            session: name.clone(),
            view,
        })
    };
    sessions.iter().flat_map(of).collect()
}

/// A table for each kind of which there is an object.
pub fn text(rows: &[Row]) -> String {
    use Align::{Left, Right};
    let head = |object, id, rest: &[(&'static str, Align)]| {
        let mut columns = vec![
            ("SESSION", Left),
            (object, Left),
            ("KEY", Left),
            (id, Right),
            ("OWNER", Left),
            ("PERMS", Right),
        ];
        columns.extend(rest);
        Table::new(&columns)
    };
    let mut sems = head(
        "SEMAPHORES",
        "SEMID",
        &[
            ("NSEMS", Right),
            ("VALUES", Left),
            ("SLEEP", Right),
            ("UNDO", Left),
        ],
    );
    let mut queues = head(
        "QUEUE",
        "MSQID",
        &[
            ("USED-BYTES", Right),
            ("MESSAGES", Right),
            ("QBYTES", Right),
            ("SLEEP", Left),
            ("LSPID", Right),
            ("LRPID", Right),
        ],
    );
    let mut segments = head(
        "SEGMENT",
        "SHMID",
        &[
            ("BYTES", Right),
            ("NATTCH", Right),
            ("STATUS", Left),
            ("ATTACHED", Left),
        ],
    );
    let mut any = [false; 3];
    for Row { session, view } in rows {
        match view {
            View::Sem(v) => {
                any[0] = true;
                let values: Vec<String> = v.values.iter().map(i32::to_string).collect();
                sems.row(cells(
                    session,
                    &v.common,
                    vec![
                        v.nsems.to_string(),
                        human::list(&values, 8),
                        v.sleepers.to_string(),
                        pids(&v.undo),
                    ],
                ));
            }
            View::Msg(v) => {
                any[1] = true;
                queues.row(cells(
                    session,
                    &v.common,
                    vec![
                        v.used_bytes.to_string(),
                        v.messages.to_string(),
                        v.max_bytes.to_string(),
                        sleepers(v.senders, v.receivers),
                        v.lspid.to_string(),
                        v.lrpid.to_string(),
                    ],
                ));
            }
            View::Shm(v) => {
                any[2] = true;
                segments.row(cells(
                    session,
                    &v.common,
                    vec![
                        v.bytes.to_string(),
                        v.attached.len().to_string(),
                        v.status.join(","),
                        pids(&v.attached),
                    ],
                ));
            }
        }
    }
    [sems, queues, segments]
        .iter()
        .zip(any)
        .filter(|(_, any)| *any)
        .map(|(table, _)| format!("\n{}", table.text()))
        .collect()
}

fn cells(session: &str, c: &Common, rest: Vec<String>) -> Vec<String> {
    let mut cells = vec![
        session.to_owned(),
        c.object.clone(),
        format!("0x{:08x}", c.key),
        c.id.to_string(),
        sys::user_name(c.uid),
        format!("{:o}", c.mode & 0o777),
    ];
    cells.extend(rest);
    cells
}

fn pids(all: &[u32]) -> String {
    let mut all: Vec<u32> = all.to_vec();
    all.sort_unstable();
    all.dedup();
    let all: Vec<String> = all.iter().map(u32::to_string).collect();
    if all.is_empty() {
        return "-".to_owned();
    }
    human::list(&all, 4)
}

fn sleepers(senders: u32, receivers: u32) -> String {
    match (senders, receivers) {
        (0, 0) => "-".to_owned(),
        (s, 0) => format!("{s} to send"),
        (0, r) => format!("{r} to receive"),
        (s, r) => format!("{s} to send, {r} to receive"),
    }
}
