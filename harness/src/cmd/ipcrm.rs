//! `ringer ipcrm`: removes objects of a session, live or left over: those of System V as IPC_RMID would, those
//! of POSIX as their unlink functions.

use std::sync::atomic::Ordering::*;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::log::Log;
use ringer_kernel::pipe::Ctx;
use ringer_kernel::sysv::{self, msg, perm::Perm, sem, shm, Root};
use ringer_kernel::task;

use super::ipcrm_names as by_name;
use crate::cli;
use crate::error::{Error, Result};
use crate::session::belongings::Kind;
use crate::session::{self, Access, Session};
use crate::sys::{self, procfs, Here};
use crate::ui;

#[derive(Clone, Copy)]
enum Class {
    Queue,
    Segment,
    Set,
}

impl Class {
    fn word(self) -> &'static str {
        match self {
            Class::Queue => "queue",
            Class::Segment => "segment",
            Class::Set => "set of semaphores",
        }
    }
}

pub fn main(args: cli::Ipcrm) -> Result<u8> {
    let found = session::find(&args.session)?;
    let session = Session::open(&found.path, Access::Member)?;
    let root = sysv::root(&session.arena);
    let mut orders = Vec::new();
    for (class, ids, keys) in [
        (Class::Queue, &args.queue_id, &args.queue_key),
        (Class::Segment, &args.shm_id, &args.shm_key),
        (Class::Set, &args.sem_id, &args.sem_key),
    ] {
        orders.extend(ids.iter().map(|id| (class, Ok(*id))));
        orders.extend(keys.iter().map(|key| (class, Err(key.0))));
    }
    let pid = std::process::id();
    let start = procfs::start_of(pid);
    let Some((slot, me)) = task::claim_task(&session.arena, &Here, 0, pid, pid, start) else {
        return Err(Error::NoPlace { path: session.path });
    };
    if let Some(task) = task::task(&session.arena, slot) {
        sys::process::mark_at_death(task);
    }
    let k = Ctx {
        arena: &session.arena,
        host: &Here,
        me,
        log: Log::OFF,
    };
    let mut status = 0;
    for (class, which) in orders {
        let id = match which {
            Ok(id) => Some(id),
            Err(key) => root.and_then(|root| by_key(&k, root, class, key)),
        };
        let result = match (root, id) {
            (Some(root), Some(id)) => remove(&k, root, class, id),
            _ => Err(Errno::EINVAL.into()),
        };
        if let Err(e) = result {
            let name = match which {
                Ok(id) => id.to_string(),
                Err(key) => format!("with key {key:#x}"),
            };
            let why = match e {
                SysError::Errno(Errno::EINVAL) => "there is none".to_owned(),
                SysError::Errno(e) => sys::strerror(e.get()),
                _ => "interrupted".to_owned(),
            };
            ui::say(&format!("ringer: ipcrm: {} {name}: {why}\n", class.word()));
            status = 1;
        }
    }
    for (kind, names) in [
        (Kind::Queue, &args.posix_mqueue),
        (Kind::Semaphore, &args.posix_semaphore),
        (Kind::Memory, &args.posix_shmem),
    ] {
        for name in names {
            if let Err(why) = by_name::remove(&k, &session, kind, name) {
                let what = by_name::word(kind);
                ui::say(&format!("ringer: ipcrm: {what} {name}: {why}\n"));
                status = 1;
            }
        }
    }
    if let Some(task) = task::task(&session.arena, slot) {
        task::release_task(&session.arena, task);
    }
    Ok(status)
}

fn remove(
    k: &Ctx<'_, Here>,
    root: &'static Root,
    class: Class,
    id: i32,
) -> std::result::Result<usize, SysError> {
    let allowed = |_: &Perm| Ok(()); // whoever may write to the arena may do it
    match class {
        Class::Queue => msg::remove(k, root, id, allowed),
        Class::Segment => {
            shm::settle(k, root, 0);
            shm::remove(k, root, id, allowed)
        }
        Class::Set => sem::remove(k, root, id, allowed),
    }
}

/// The id of the object with this key.
fn by_key(k: &Ctx<'_, Here>, root: &'static Root, class: Class, key: u32) -> Option<i32> {
    let ids = match class {
        Class::Queue => &root.msg_ids,
        Class::Segment => &root.shm_ids,
        Class::Set => &root.sem_ids,
    };
    ids.indices()
        .filter_map(|i| match class {
            Class::Queue => root.queues.get(k.arena, i).map(|q| &q.perm),
            Class::Segment => root.segments.get(k.arena, i).map(|s| &s.perm),
            Class::Set => root.sets.get(k.arena, i).map(|s| &s.perm),
        })
        .find(|p| !p.is_free() && key != 0 && p.key.load(Relaxed) == key)
        .map(Perm::id)
}
