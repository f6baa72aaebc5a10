//! `ringer ipcs`: the objects of sessions, live or left over.

use serde::Serialize;

use ringer_kernel::log::object;

use crate::arena::descriptors::{self, Holder};
use crate::arena::eventfds::{self, EventfdView};
use crate::arena::pipes::{self, PipeView};
use crate::arena::queues::{self, QueueView};
use crate::arena::sockets::{self, PairView};
use crate::cli;
use crate::error::Result;
use crate::session::shared::{self, MemoryView, SemaphoreView};
use crate::session::Session;
use crate::ui::table::{Align, Table};
use crate::ui::{self, human};

#[derive(Serialize)]
struct Row {
    session: String,
    /// `pipe#3`
    object: String,
    #[serde(flatten)]
    view: View,
}

#[derive(Serialize)]
#[serde(untagged)]
enum View {
    Pipe(PipeView),
    Eventfd(EventfdView),
    Pair(PairView),
    Queue(QueueView),
    Semaphore(SemaphoreView),
    Memory(MemoryView),
}

/// One object of any kind.
#[derive(Serialize)]
#[serde(untagged)]
enum Any<'a> {
    Pipe(&'a Row),
    Sysv(&'a super::ipcs_sysv::Row),
}

pub fn main(args: cli::Ipcs) -> Result<u8> {
    let sessions = super::ps::sessions(args.session.as_deref())?;
    let rows: Vec<Row> = sessions.iter().flat_map(rows).collect();
    let sysv = super::ipcs_sysv::rows(&sessions);
    if args.json {
        let pipes = rows.iter().map(Any::Pipe);
        let all: Vec<Any<'_>> = pipes.chain(sysv.iter().map(Any::Sysv)).collect();
        ui::print_json(&all)?;
    } else {
        ui::print(&text(&rows))?;
        ui::print(&super::ipcs_sysv::text(&sysv))?;
    }
    Ok(0)
}

fn rows(session: &Session) -> Vec<Row> {
    let mut holders = descriptors::holders(&session.arena);
    if holders.cut_off {
        let name = session.name();
        ui::say(&format!(
            "ringer: session {name} looks corrupted: `ringer inspect --check`\n"
        ));
    }
    let pipes = pipes::pipes(&session.arena, &mut holders)
        .into_iter()
        .map(|p| (p.object.to_string(), View::Pipe(p)));
    let eventfds = eventfds::eventfds(&session.arena, &mut holders)
        .into_iter()
        .map(|e| (format!("eventfd#{}", e.id), View::Eventfd(e)));
    let pairs = sockets::pairs(&session.arena, &mut holders)
        .into_iter()
        .map(|p| (format!("socket#{}", p.id), View::Pair(p)));
    let queues = queues::queues(&session.arena, &mut holders)
        .into_iter()
        .map(|q| (format!("mq#{}", q.id), View::Queue(q)));
    let (semaphores, memory) = shared::of(session);
    let semaphores = semaphores
        .into_iter()
        .map(|s| (s.name.clone(), View::Semaphore(s)));
    let memory = memory
        .into_iter()
        .map(|m| (m.name.clone(), View::Memory(m)));
    pipes
        .chain(eventfds)
        .chain(pairs)
        .chain(queues)
        .chain(semaphores)
        .chain(memory)
        .map(|(object, view)| Row {
            session: session.name(),
            object,
            view,
        })
        .collect()
}

/// A table for each class of objects; those of pipes always.
fn text(rows: &[Row]) -> String {
    type Is = fn(&View) -> bool;
    type Show = fn(&[Row]) -> Table;
    let others: [(Is, Show); 6] = [
        (is_fifo, fifos_table),
        (|v| matches!(v, View::Eventfd(_)), eventfds_table),
        (|v| matches!(v, View::Pair(_)), sockets_table),
        (|v| matches!(v, View::Queue(_)), queues_table),
        (|v| matches!(v, View::Semaphore(_)), semaphores_table),
        (|v| matches!(v, View::Memory(_)), memory_table),
    ];
    let mut text = pipes_table(rows).text();
    for (is, table) in others {
        if rows.iter().any(|r| is(&r.view)) {
            text.push('\n');
            text.push_str(&table(rows).text());
        }
    }
    text
}

fn is_fifo(view: &View) -> bool {
    matches!(view, View::Pipe(p) if p.object.class() == object::FIFO)
}

fn mode(mode: &str, cause: Option<&str>) -> String {
    cause.map_or_else(|| mode.to_owned(), |cause| format!("{mode}: {cause}"))
}

fn pipes_table(rows: &[Row]) -> Table {
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
    for row in rows {
        let View::Pipe(p) = &row.view else { continue };
        if is_fifo(&row.view) {
            continue;
        }
        table.row(vec![
            row.session.clone(),
            row.object.clone(),
            mode(p.mode, p.cause),
            p.slots.to_string(),
            p.queued.to_string(),
            human::bytes(p.written),
            human::bytes(p.read),
            sleepers(p.sleeping_readers, p.sleeping_writers),
            holders(&p.writers),
            holders(&p.readers),
        ]);
    }
    table
}

fn fifos_table(rows: &[Row]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SESSION", Left),
        ("FIFO", Left),
        ("PATH", Left),
        ("SLOTS", Right),
        ("QUEUED", Right),
        ("SLEEP", Left),
        ("WRITERS", Left),
        ("READERS", Left),
    ]);
    for row in rows.iter().filter(|row| is_fifo(&row.view)) {
        let View::Pipe(p) = &row.view else { continue };
        table.row(vec![
            row.session.clone(),
            row.object.clone(),
            p.path.clone().unwrap_or_else(|| "-".to_owned()),
            p.slots.to_string(),
            p.queued.to_string(),
            openers(p),
            holders(&p.writers),
            holders(&p.readers),
        ]);
    }
    table
}

/// Who sleeps in read, write or open.
fn openers(p: &PipeView) -> String {
    let all = [
        (p.sleeping_readers, "to read"),
        (p.sleeping_writers, "to write"),
        (p.opening_readers, "to open for reading"),
        (p.opening_writers, "to open for writing"),
    ];
    let all: Vec<String> = all
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    match all.as_slice() {
        [] => "-".to_owned(),
        all => all.join(", "),
    }
}

fn eventfds_table(rows: &[Row]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SESSION", Left),
        ("EVENTFD", Left),
        ("MODE", Left),
        ("COUNTER", Right),
        ("WRITES", Right),
        ("READS", Right),
        ("SLEEP", Left),
        ("HOLDERS", Left),
    ]);
    for row in rows {
        let View::Eventfd(e) = &row.view else {
            continue;
        };
        table.row(vec![
            row.session.clone(),
            row.object.clone(),
            mode(e.mode, e.cause),
            e.counter.to_string(),
            e.writes.to_string(),
            e.reads.to_string(),
            sleepers(e.sleeping_readers, e.sleeping_writers),
            holders(&e.holders),
        ]);
    }
    table
}

/// Two lines for each pair.
fn sockets_table(rows: &[Row]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SESSION", Left),
        ("SOCKET", Left),
        ("TYPE", Left),
        ("MODE", Left),
        ("QUEUED", Right),
        ("SENT", Right),
        ("CHARGED", Right),
        ("SNDBUF", Right),
        ("SLEEP", Left),
        ("HOLDERS", Left),
        ("NAME", Left),
    ]);
    for row in rows {
        let View::Pair(p) = &row.view else { continue };
        for (side, s) in p.sockets.iter().enumerate() {
            table.row(vec![
                row.session.clone(),
                format!("{}.{side}", row.object),
                p.kind.to_owned(),
                mode(p.mode, p.cause),
                s.queued.to_string(),
                human::bytes(s.sent),
                s.charged.to_string(),
                s.sndbuf.to_string(),
                sleepers(s.sleeping_to_receive, s.sleeping_to_send),
                holders(&s.holders),
                p.name.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
    }
    table
}

fn sleepers(readers: u32, writers: u32) -> String {
    match (readers, writers) {
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

fn semaphores_table(rows: &[Row]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SESSION", Left),
        ("SEMAPHORE", Left),
        ("MODE", Right),
        ("VALUE", Right),
        ("SLEEP", Right),
        ("OPEN IN", Left),
        ("TAKEN BY", Left),
    ]);
    for row in rows {
        let View::Semaphore(s) = &row.view else {
            continue;
        };
        table.row(vec![
            row.session.clone(),
            s.name.clone(),
            format!("{:o}", s.mode),
            s.value.to_string(),
            s.sleepers.to_string(),
            pids(&s.mapped_by),
            s.taken_by.as_ref().map_or_else(|| "-".to_owned(), taker),
        ]);
    }
    table
}

fn taker(taker: &shared::Taker) -> String {
    let dead = if taker.dead { " (dead)" } else { "" };
    format!("{}{dead}", taker.pid)
}

fn memory_table(rows: &[Row]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SESSION", Left),
        ("MEMORY", Left),
        ("MODE", Right),
        ("SIZE", Right),
        ("RESIDENT", Right),
        ("MAPPED IN", Left),
    ]);
    for row in rows {
        let View::Memory(m) = &row.view else { continue };
        table.row(vec![
            row.session.clone(),
            m.name.clone(),
            format!("{:o}", m.mode),
            human::bytes(m.size),
            human::bytes(m.resident),
            pids(&m.mapped_by),
        ]);
    }
    table
}

fn pids(all: &[u32]) -> String {
    let all: Vec<String> = all.iter().map(u32::to_string).collect();
    if all.is_empty() {
        return "-".to_owned();
    }
    human::list(&all, 4)
}

fn queues_table(rows: &[Row]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SESSION", Left),
        ("QUEUE", Left),
        ("NAME", Left),
        ("MODE", Right),
        ("MESSAGES", Right),
        ("BYTES", Right),
        ("MSGSIZE", Right),
        ("SLEEP", Left),
        ("NOTIFIES", Left),
        ("HOLDERS", Left),
    ]);
    for row in rows {
        let View::Queue(q) = &row.view else { continue };
        table.row(vec![
            row.session.clone(),
            row.object.clone(),
            match q.unlinked {
                true => format!("{} (unlinked)", q.name),
                false => q.name.clone(),
            },
            format!("{:o}", q.mode),
            format!("{} of {}", q.messages, q.maxmsg),
            q.bytes.to_string(),
            q.msgsize.to_string(),
            sleepers(q.waiting_receivers, q.waiting_senders),
            q.notifies
                .map_or_else(|| "-".to_owned(), |(pid, how)| format!("{pid} {how}")),
            holders(&q.holders),
        ]);
    }
    table
}
