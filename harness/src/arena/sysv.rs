//! The System V objects of an arena, as plain data.

use std::sync::atomic::Ordering::*;

use serde::Serialize;

use ringer_kernel::arena::Arena;
use ringer_kernel::log::object;
use ringer_kernel::sysv::perm::Perm;
use ringer_kernel::sysv::{self, sem, shm, waiter};

/// Semaphores of one set that are told.
const TOLD: u32 = 256;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Common {
    /// `semset#3`, as the log has it.
    pub object: String,
    pub key: u32,
    pub id: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct SemView {
    #[serde(flatten)]
    pub common: Common,
    pub nsems: u32,
    /// Of the first ones.
    pub values: Vec<i32>,
    pub sleepers: u32,
    pub otime: u64,
    pub ctime: u64,
    /// Processes that have something to undo.
    pub undo: Vec<u32>,
}

#[derive(Clone, Debug, Serialize)]
pub struct MsgView {
    #[serde(flatten)]
    pub common: Common,
    pub used_bytes: u64,
    pub messages: u32,
    pub max_bytes: u64,
    pub senders: u32,
    pub receivers: u32,
    pub lspid: u32,
    pub lrpid: u32,
    pub stime: u64,
    pub rtime: u64,
    pub ctime: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ShmView {
    #[serde(flatten)]
    pub common: Common,
    pub bytes: u64,
    /// Who has it attached, once for each attachment.
    pub attached: Vec<u32>,
    /// `dest`: it goes with the last of them. `locked`.
    pub status: Vec<&'static str>,
    pub cpid: u32,
    pub lpid: u32,
    pub atime: u64,
    pub dtime: u64,
    pub ctime: u64,
}

/// One object.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum View {
    Sem(SemView),
    Msg(MsgView),
    Shm(ShmView),
}

fn common(perm: &Perm, logged: &sysv::log::Logged) -> Common {
    let (class, number) = object::name(logged.object.load(Relaxed));
    Common {
        object: format!("{class}#{number}"),
        key: perm.key.load(Relaxed),
        id: perm.id(),
        uid: perm.uid.load(Relaxed),
        gid: perm.gid.load(Relaxed),
        cuid: perm.cuid.load(Relaxed),
        cgid: perm.cgid.load(Relaxed),
        mode: perm.mode.load(Relaxed),
    }
}

/// All of them: semaphores, queues, segments, each in the order of their indices.
pub fn objects(arena: &Arena) -> Vec<View> {
    let Some(root) = sysv::root(arena) else {
        return Vec::new();
    };
    let sems = root
        .sem_ids
        .indices()
        .filter_map(|i| root.sets.in_use(arena, i))
        .map(|s| View::Sem(sem_view(arena, root, s)));
    let queues = root
        .msg_ids
        .indices()
        .filter_map(|i| root.queues.in_use(arena, i))
        .map(|q| {
            View::Msg(MsgView {
                common: common(&q.perm, &q.logged),
                used_bytes: q.cbytes.load(Relaxed),
                messages: q.qnum.load(Relaxed),
                max_bytes: q.qbytes.load(Relaxed),
                senders: q.sending.load(Relaxed),
                receivers: q.receiving.load(Relaxed),
                lspid: q.lspid.load(Relaxed),
                lrpid: q.lrpid.load(Relaxed),
                stime: q.stime.load(Relaxed),
                rtime: q.rtime.load(Relaxed),
                ctime: q.ctime.load(Relaxed),
            })
        });
    let segments = shm::segments(arena, root).map(|(_, s)| View::Shm(shm_view(arena, root, s)));
    sems.chain(queues).chain(segments).collect()
}

fn sem_view(arena: &Arena, root: &'static sysv::Root, s: &sem::SemSet) -> SemView {
    let nsems = s.nsems.load(Relaxed);
    let value = |i| s.sem(arena, i).map(|w| sem::value_of(w.load(Relaxed)));
    SemView {
        common: common(&s.perm, &s.logged),
        nsems,
        values: (0..nsems.min(TOLD)).map_while(value).collect(),
        sleepers: s.asleep.load(Relaxed),
        otime: s.otime.load(Relaxed),
        ctime: s.ctime.load(Relaxed),
        undo: sysv::sem_undo::each(arena, root, s)
            .map(|(_, u)| u.debtor.pid.load(Relaxed))
            .collect(),
    }
}

fn shm_view(arena: &Arena, root: &'static sysv::Root, s: &shm::ShmSeg) -> ShmView {
    let id = s.perm.id();
    let mode = s.perm.mode.load(Relaxed);
    let flags = [(shm::SHM_DEST, "dest"), (shm::SHM_LOCKED, "locked")];
    ShmView {
        common: common(&s.perm, &s.logged),
        bytes: s.size.load(Relaxed),
        attached: shm::attaches(arena, root)
            .filter(|(_, a)| a.id() == id)
            .map(|(_, a)| a.debtor.pid.load(Relaxed))
            .collect(),
        status: flags
            .iter()
            .filter(|(bit, _)| mode & bit != 0)
            .map(|(_, word)| *word)
            .collect(),
        cpid: s.cpid.load(Relaxed),
        lpid: s.lpid.load(Relaxed),
        atime: s.atime.load(Relaxed),
        dtime: s.dtime.load(Relaxed),
        ctime: s.ctime.load(Relaxed),
    }
}

/// The object that the thread in a slot of the table of threads sleeps on, and to do what.
pub fn waits_for(arena: &Arena, slot: u32) -> Option<(String, &'static str)> {
    let root = sysv::root(arena)?;
    let w = root.waiters.get(arena, slot).filter(|w| w.waits())?;
    let object = w.object.load(Acquire);
    let (class, index) = (object & !0xffff, object & 0xffff);
    let logged = match class {
        waiter::class::SEM => &root.sets.get(arena, index)?.logged,
        waiter::class::MSG => &root.queues.get(arena, index)?.logged,
        _ => return None,
    };
    let (name, number) = object::name(logged.object.load(Relaxed));
    let sends = w.how.load(Relaxed) & waiter::how::SENDS != 0;
    let purpose = match class {
        waiter::class::SEM => "operate",
        _ if sends => "send",
        _ => "receive",
    };
    Some((format!("{name}#{number}"), purpose))
}
