//! `ringer ipcrm --posix-...`: the objects that have names.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::Ordering::*;

use ringer_kernel::mqueue::limits::Cred;
use ringer_kernel::mqueue::name;
use ringer_kernel::pipe::Ctx;

use crate::arena::queues;
use crate::session::belongings::{self, Kind};
use crate::session::{shared, Session};
use crate::sys::{self, Here};

pub fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Queue => "queue",
        Kind::Semaphore => "semaphore",
        Kind::Memory => "shared memory",
    }
}

/// Removes what the session has under that name, with its slash or without. Why not, in words.
pub fn remove(k: &Ctx<'_, Here>, session: &Session, kind: Kind, given: &str) -> Result<(), String> {
    let bare = given.strip_prefix('/').unwrap_or(given);
    if kind == Kind::Queue {
        return unlink_queue(k, session, bare);
    }
    let full = format!("/{bare}");
    let found = belongings::of(&session.path)
        .into_iter()
        .find(|b| b.kind == kind && shared::name(b) == full);
    let found = found.ok_or("there is none")?;
    fs::remove_file(found.path).map_err(|e| e.to_string())
}

fn unlink_queue(k: &Ctx<'_, Here>, session: &Session, bare: &str) -> Result<(), String> {
    let there = || -> BTreeSet<u32> {
        queues::slots(k.arena)
            .map(|(_, q)| q.id.load(Relaxed))
            .collect()
    };
    let before = there();
    // Whoever may write to the arena may do it.
    let who = Cred {
        uid: sys::uid(),
        gid: 0,
        in_group: &|_| true,
        may_override: true,
        may_exceed: true,
        may_own: true,
    };
    name::unlink(k, bare.as_bytes(), &who).map_err(|e| match e.get() {
        libc::ENOENT => "there is none".to_owned(),
        e => sys::strerror(e),
    })?;
    // One that is still open somewhere goes with the last who has it, and takes its twin along.
    let gone = &before - &there();
    for b in belongings::of(&session.path) {
        let id = b.rest.strip_prefix("mq").and_then(|n| n.parse().ok());
        if b.kind == Kind::Queue && id.is_some_and(|id: u32| gone.contains(&id)) {
            fs::remove_file(b.path).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}
