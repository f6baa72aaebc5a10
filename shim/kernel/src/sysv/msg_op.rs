//! msgsnd(2), msgrcv(2). See Linux v6.18 ipc/msg.c `do_msgsnd`, `do_msgrcv`.

use super::msg::{lock_id, MsgQueue};
use super::msg_text::{self, keep, message, take, Message};
use super::msg_wait;
use super::msg_wanted::{Wanted, MSG_COPY, MSG_EXCEPT, MSG_NOERROR};
use super::perm::{Who, IPC_NOWAIT, READ, WRITE};
use super::root::Root;
use super::waiter::Wakes;
use crate::abi::errno::{SysError, SysResult};
use crate::abi::Errno;
use crate::host::{Host, UserRead, UserWrite};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::planted::{planted, Bug};
use crate::sync::atomic::Ordering::*;

/// msgsnd(2). `user` is at the text, behind the type.
#[inline(always)]
pub fn msgsnd<H: Host, U: UserRead>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    user: &mut U,
    (mtype, len): (i64, usize),
    flags: i32,
) -> SysResult {
    if len > root.msgmax() as usize || id < 0 || mtype < 1 {
        return Err(Errno::EINVAL.into());
    }
    let (index, q) = match lock_id(k, root, id) {
        Ok(found) => found,
        // In Linux the text is copied before the queue is looked for.
        Err(e) => {
            return Err(if readable(user, len) {
                e
            } else {
                Errno::EFAULT
            }
            .into())
        }
    };
    let block = match take(k, q, len) {
        Ok(block) => block,
        Err(e) => {
            q.unlock(k);
            return Err(e.into());
        }
    };
    let copied = msg_text::text(k.arena, block, len).is_some_and(|to| user.copy_in(to, len));
    let m = message(k.arena, block).filter(|_| copied);
    let Some(m) = m else {
        keep(k, q, block);
        q.unlock(k);
        return Err(Errno::EFAULT.into());
    };
    m.len.store(len as u32, Relaxed);
    m.mtype.store(mtype as u64, Relaxed);
    m.record.store(0, Relaxed);
    let why = if !q.perm.allows(WRITE, who) {
        Errno::EACCES
    } else if q.fits(len as u64) {
        let mut wakes = Wakes::none();
        deliver(k, root, q, (block, m), who.pid, &mut wakes);
        q.unlock(k);
        wakes.wake(k, root);
        return Ok(0);
    } else if flags & IPC_NOWAIT != 0 {
        Errno::EAGAIN
    } else {
        return msg_wait::wait_to_send(k, root, who, (id, index, q), (block, m));
    };
    keep(k, q, block);
    q.unlock(k);
    Err(why.into())
}

#[cold]
fn readable<U: UserRead>(user: &mut U, len: usize) -> bool {
    let mut piece = [0u8; 256];
    let mut left = len;
    while left > 0 {
        let n = left.min(piece.len());
        if !user.copy_in(piece.as_mut_ptr(), n) {
            return false;
        }
        left -= n;
    }
    true
}

/// A message that fits is taken to a sleeping receiver, or into the queue. Under the lock.
#[inline(always)]
pub fn deliver<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    q: &'static MsgQueue,
    (block, m): (u32, &'static Message),
    pid: u32,
    wakes: &mut Wakes,
) {
    q.lspid.store(pid, Relaxed);
    q.stime.store(k.host.wall_secs(), Relaxed);
    if !q.receivers.is_empty() && msg_wait::hand_over(k, root, q, (block, m), pid, wakes) {
        return;
    }
    q.push(k, block, m);
    let (a, b) = (i64::from(m.len.load(Relaxed)), m.mtype.load(Relaxed));
    let c = u64::from(q.qnum.load(Relaxed)) | u64::from(pid) << 32;
    let record = q.logged.put(k, Kind::MsgSend, 0, (a, b, c));
    m.record.store(record, Relaxed);
}
/// `find_msg`: the block before it, the message's block, and the message.
#[inline(always)]
fn find<H: Host>(
    k: &Ctx<'_, H>,
    q: &MsgQueue,
    wanted: Wanted,
) -> Option<(u32, u32, &'static Message)> {
    let mtype = |m: &Message| m.mtype.load(Relaxed) as i64;
    let mut all = q.messages(k);
    match wanted {
        Wanted::Any => all.next(),
        Wanted::Number(n) => usize::try_from(n).ok().and_then(|n| all.nth(n)),
        Wanted::UpTo(_) => all
            .filter(|(.., m)| wanted.takes(mtype(m)))
            .min_by_key(|(.., m)| mtype(m)), // of several, the first
        _ => all.find(|(.., m)| wanted.takes(mtype(m))),
    }
}

/// msgrcv(2). `user` is at the type, which the text follows.
#[inline(always)]
pub fn msgrcv<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    user: &mut U,
    (mtype, room): (i64, usize),
    flags: i32,
) -> SysResult {
    if id < 0 || (room as isize) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let copies = flags & MSG_COPY != 0;
    if copies && (flags & MSG_EXCEPT != 0 || flags & IPC_NOWAIT == 0) {
        return Err(Errno::EINVAL.into());
    }
    let wanted = Wanted::new(mtype, flags);
    let (index, q) = lock_id(k, root, id)?;
    if !q.perm.allows(READ, who) {
        q.unlock(k);
        return Err(Errno::EACCES.into());
    }
    let Some((before, block, m)) = find(k, q, wanted) else {
        if flags & IPC_NOWAIT != 0 {
            q.unlock(k);
            return Err(Errno::ENOMSG.into());
        }
        let call = (wanted, room, flags);
        return msg_wait::wait_to_receive(k, root, who, (id, index, q), user, call);
    };
    let len = m.len.load(Relaxed) as usize;
    let too_long = len > room || (len == room && planted(Bug::MsgFittingIsTooLong));
    if too_long && (flags & MSG_NOERROR == 0 || copies) {
        q.unlock(k);
        let noerror = flags & MSG_NOERROR != 0;
        return Err(if noerror { Errno::EINVAL } else { Errno::E2BIG }.into());
    }
    if copies {
        let result = fill(k, user, (block, m), room);
        let abc = (len as i64, m.mtype.load(Relaxed), 0);
        q.logged.put(k, Kind::MsgCopy, 0, abc);
        q.unlock(k);
        return result;
    }
    q.pull(k, before, block, m);
    q.rtime.store(k.host.wall_secs(), Relaxed);
    q.lrpid.store(who.pid, Relaxed);
    let record = log_receive(k, q, m, room);
    let result = fill(k, user, (block, m), room);
    keep(k, q, block);
    if q.senders.is_empty() {
        q.unlock(k);
    } else {
        let mut wakes = Wakes::none();
        msg_wait::serve_senders(k, root, q, record, &mut wakes);
        q.unlock(k);
        wakes.wake(k, root);
    }
    result
}

/// What the caller gets of it, which has room for so many bytes.
pub fn log_receive<H: Host>(k: &Ctx<'_, H>, q: &MsgQueue, m: &Message, room: usize) -> u64 {
    let given = (m.len.load(Relaxed) as usize).min(room);
    let (a, b) = (given as i64, m.mtype.load(Relaxed));
    let left = u64::from(q.qnum.load(Relaxed));
    let cause = m.record.load(Relaxed);
    q.logged.put(k, Kind::MsgReceive, cause, (a, b, left))
}

/// `do_msg_fill`: the type and the text, which is lost if the memory is bad.
#[inline(always)]
pub fn fill<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    user: &mut U,
    (block, m): (u32, &Message),
    room: usize,
) -> SysResult {
    let mtype = m.mtype.load(Relaxed);
    let len = (m.len.load(Relaxed) as usize).min(room);
    let ok = user.copy_out((&raw const mtype).cast(), 8)
        && msg_text::text(k.arena, block, len).is_some_and(|from| user.copy_out(from, len));
    if ok {
        Ok(len)
    } else {
        Err(SysError::Errno(Errno::EFAULT))
    }
}
