//! System V IPC of a session: semaphores, messages, shared memory. See sysvipc(7); Linux v6.18
//! ipc/{util,sem,msg,shm}.c.
//!
//! ```text
//! Header.sysv ─► Root: limits, counts, and directories of pages of
//!                 SemSet[idx]  MsgQueue[idx]  ShmSeg[idx]   an id is seq << 15 | idx
//!                 Waiter[thread slot]                       who sleeps, and for what
//!                 Undo[]  Attach[]                          what a process has to give back
//! ```
//!
//! A slot of a directory stays what it is for ever, so a lock in it may be tried by whoever still
//! knows an old id. Everything else about an object is reached under its lock, after a look at its
//! id.
//!
//! # Lock order
//!
//! `process.fd_lock`, `root.lock`, an object's lock, `header.lock`. Two objects' locks are never
//! held together.
//!
//! # Sleeping
//!
//! As in Linux, whoever changes an object carries out the calls of those who sleep on it, in their
//! order: a sleeper's [`waiter::Waiter`] says what it wants, and gets the result. So nobody is overtaken
//! by a newcomer, and there is one order of service for all.
//!
//! # Crash points
//!
//! - C1. `sysv.committed`: killed between the journal's mark and the last store of what it says: the next
//!   owner of the lock does all of it once more. Each entry is a value, not a change.
//! - C2. `sysv.settled`: killed after a sleeper's call was carried out, before the sleeper is told: the
//!   next owner tells it.
//! - C4. `sysv.asleep`: killed while in a queue: whoever would serve it passes it over, and who gets its
//!   thread's slot takes it out.
//! - C3. `sysv.made`: killed while an object is made or removed: its slot is free, or the object is
//!   whole; blocks leak.

pub mod debtor;
pub mod ids;
pub mod log;
pub mod msg;
pub mod msg_ctl;
pub mod msg_op;
pub mod msg_text;
pub mod msg_wait;
pub mod msg_wanted;
pub mod perm;
pub mod queue;
pub mod root;
pub mod sem;
pub mod sem_ctl;
pub mod sem_op;
pub mod sem_step;
pub mod sem_undo;
pub mod sem_wait;
pub mod shm;
pub mod shm_ctl;
pub mod sleep;
pub mod table;
pub mod waiter;

pub use perm::{Rights, Who};
pub use root::{ensure, root, Limits, Root};

use crate::arena::Arena;
use crate::host::Host;
use crate::pipe::Ctx;

/// The process in `slot` is gone, or is about to be: what it has to give back is given back.
pub fn leave<H: Host>(k: &Ctx<'_, H>, slot: u32, generation: u32) {
    let Some(root) = root(k.arena) else { return };
    sem_undo::leave(k, root, slot, generation);
    shm::leave(k, root, slot, generation);
}

/// Whether any process has something to give back: else nobody need ask at its end.
pub fn owes(arena: &Arena) -> bool {
    use crate::sync::atomic::Ordering::*;
    root(arena)
        .is_some_and(|r| r.undos_live.load(Acquire) != 0 || r.attaches_live.load(Acquire) != 0)
}
