//! The message queues of an arena, as plain data.

use std::sync::atomic::Ordering::*;

use serde::Serialize;

use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::mqueue::notify::kind;
use ringer_kernel::mqueue::{self, wait, Queue};

use super::descriptors::{Holder, Holders};

#[derive(Clone, Debug, Serialize)]
pub struct QueueView {
    /// N of mq#N.
    pub id: u32,
    /// With its slash; of one that was unlinked, what it was.
    pub name: String,
    pub unlinked: bool,
    pub messages: u32,
    pub maxmsg: u32,
    pub msgsize: u32,
    pub bytes: u64,
    /// As `ls -l` and chmod have it, without the file's type.
    pub mode: u32,
    pub uid: u32,
    pub waiting_receivers: u32,
    pub waiting_senders: u32,
    /// Who is to be told, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notifies: Option<(u32, &'static str)>,
    pub holders: Vec<Holder>,
}

/// The queues that are in use, in the order of their numbers.
pub fn queues(arena: &Arena, holders: &mut Holders) -> Vec<QueueView> {
    let mut found: Vec<QueueView> = slots(arena)
        .map(|(slot, q)| {
            let (bytes, len) = q.name();
            let word = |w: &ringer_kernel::sync::atomic::AtomicU32| w.load(Relaxed);
            QueueView {
                id: word(&q.id),
                name: format!("/{}", String::from_utf8_lossy(&bytes[..len.min(255)])),
                unlinked: word(&q.named) == 0,
                messages: word(&q.count),
                maxmsg: word(&q.maxmsg),
                msgsize: word(&q.msgsize),
                bytes: q.bytes.load(Relaxed),
                mode: word(&q.mode) & 0o7777,
                uid: word(&q.uid),
                waiting_receivers: line(arena, word(&q.receivers)),
                waiting_senders: line(arena, word(&q.senders)),
                notifies: match word(&q.notify_kind) {
                    kind::SILENT | kind::SIGNAL_BEFORE_EXEC | kind::THREAD_BEFORE_EXEC => {
                        Some((word(&q.notify_pid), "not at all"))
                    }
                    kind::SIGNAL => Some((word(&q.notify_pid), "by a signal")),
                    kind::THREAD => Some((word(&q.notify_pid), "by a thread")),
                    _ => None,
                },
                holders: holders.by_queue.remove(&slot).unwrap_or_default(),
            }
        })
        .collect();
    found.sort_by_key(|q| q.id);
    found
}

/// How many are in line, as far as that can be seen at a glance.
fn line(arena: &Arena, first: u32) -> u32 {
    let (mut n, mut at) = (0, first);
    while at != 0 && n < layout::MAX_TASKS {
        let Some(w) = wait::record(arena, at) else {
            break;
        };
        n += 1;
        at = w.next.load(Relaxed);
    }
    n
}

/// Slots of the table of queues that are in use.
pub fn slots(arena: &Arena) -> impl Iterator<Item = (u32, &'static Queue)> {
    let arena = *arena;
    let h = arena.header();
    let used = h.queues_used.load(Acquire).min(h.queues_made.load(Acquire));
    (1..used.min(layout::MAX_QUEUES)).filter_map(move |slot| {
        let q = mqueue::get(&arena, slot)?;
        q.is_live().then_some((slot, q))
    })
}
