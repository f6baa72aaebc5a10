//! Who sleeps on a queue of messages. See Linux v6.18 ipc/msg.c `pipelined_send`, `ss_wakeup`,
//! `expunge_all`.
//!
//! A sender that finds a matching receiver asleep hands the message over, past the queue. A receiver
//! that makes room sends for those who sleep, in the order of coming, as long as their messages fit.
//! (Linux only wakes them, and they try for themselves; a newcomer may come first there.)

use super::msg::MsgQueue;
use super::msg_op::{self, deliver};
use super::msg_text::{self, message, Message};
use super::msg_wanted::{Wanted, MSG_NOERROR};
use super::perm::Who;
use super::queue::{self, Queue};
use super::root::Root;
use super::sleep::{self, End};
use super::waiter::{self, class, how, word, Waiter, Wakes};
use crate::abi::errno::{Restart, SysError, SysResult};
use crate::abi::Errno;
use crate::host::{crash_point, Host, UserWrite};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;
use crate::task;

/// Instead of an error number: look again. (Linux's -EAGAIN to `expunge_all`.)
const AGAIN: i32 = 4096;

type Found = (i32, u32, &'static MsgQueue);

fn enqueue<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    (_, index, q): Found,
    list: &Queue,
    (mine, w): (u32, &'static Waiter),
) {
    w.object.store(class::MSG | index, Release);
    w.ticket.store(q.tickets.fetch_add(1, Relaxed), Relaxed);
    w.word.store(word::AWAKE, Release);
    list.append(k, root, mine, w);
}

/// Sleeps, and is out of the queue afterwards. `None`: a signal.
fn sleep<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    (_, index, q): Found,
    list: &Queue,
    (mine, w): (u32, &'static Waiter),
) -> Option<i32> {
    q.unlock(k);
    crash_point("sysv.asleep");
    let end = sleep::until_done(k, w, &q.spin, None, &q.logged, || {
        q.lock(k, root, index); // whoever was killed with the lock is noticed here
        q.unlock(k);
        true
    });
    if end != End::Done {
        q.lock(k, root, index);
        if w.done().is_none() {
            list.unlink(k, root, mine, w);
            w.word.store(word::IDLE, Relaxed);
            q.logged.put(k, Kind::SysvInterrupted, 0, (0, 0, 0));
        }
        q.unlock(k);
    }
    let result = w.done().or((end == End::Stopped).then_some(AGAIN));
    w.word.store(word::IDLE, Relaxed);
    result
}

/// msgsnd(2) on a full queue, which is locked. (It is not in between: `waiter::own` may lock.)
#[cold]
pub fn wait_to_send<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    (id, index, q): Found,
    (block, m): (u32, &'static Message),
) -> SysResult {
    q.unlock(k);
    let len = m.len.load(Relaxed);
    let (mine, w) = match waiter::own(k, root, who) {
        Ok(own) => own,
        Err(e) => {
            msg_text::free(k, block);
            return Err(e.into());
        }
    };
    w.how.store(how::SENDS, Relaxed);
    w.room.store(u64::from(len), Relaxed);
    w.message.store(block, Relaxed);
    let result = loop {
        // By now it may be gone, or not for us: as if it had been under our sleep.
        q.lock(k, root, index);
        if !q.perm.is(id) {
            q.unlock(k);
            break Err(Errno::EIDRM.into());
        }
        if !q.perm.allows(super::perm::WRITE, who) {
            q.unlock(k);
            break Err(Errno::EACCES.into());
        }
        if q.fits(u64::from(len)) {
            let mut wakes = Wakes::none();
            deliver(k, root, q, (block, m), who.pid, &mut wakes);
            w.message.store(0, Relaxed);
            q.unlock(k);
            wakes.wake(k, root);
            break Ok(0);
        }
        enqueue(k, root, (id, index, q), &q.senders, (mine, w));
        q.sending.fetch_add(1, Relaxed);
        let abc = (1, m.mtype.load(Relaxed), u64::from(len));
        q.logged.put(k, Kind::SysvBlock, 0, abc);
        let end = sleep(k, root, (id, index, q), &q.senders, (mine, w));
        one_less(&q.sending);
        match end {
            None => break Err(SysError::Restart(Restart::Sys)),
            Some(0) => break Ok(0),
            Some(AGAIN) => {}
            Some(e) => break error(e),
        }
    };
    // What was not sent is still ours.
    let left = w.message.swap(0, Relaxed);
    if left != 0 {
        msg_text::free(k, left);
    }
    w.object.store(0, Release);
    result
}

fn one_less(count: &crate::sync::atomic::AtomicU32) {
    let _ = count.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
}

fn error(errno: i32) -> SysResult {
    Err(Errno::from_ret(-(errno as isize))
        .unwrap_or(Errno::EIO)
        .into())
}

/// msgrcv(2) when there is nothing for it. The queue is locked.
#[cold]
pub fn wait_to_receive<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    (id, index, q): Found,
    user: &mut U,
    (wanted, room, flags): (Wanted, usize, i32),
) -> SysResult {
    q.unlock(k);
    let (mine, w) = waiter::own(k, root, who)?;
    let (value, mode) = wanted.pack();
    let most = if flags & MSG_NOERROR != 0 {
        u64::MAX
    } else {
        room as u64
    };
    w.how.store(0, Relaxed);
    w.want.store(value, Relaxed);
    w.mode.store(mode, Relaxed);
    w.room.store(most, Relaxed);
    w.message.store(0, Relaxed);
    let result = loop {
        w.mark.begin(k, who.slot);
        // As in the first attempt, under the lock that we shall wait under.
        q.lock(k, root, index);
        let gone = !q.perm.is(id);
        if gone || !q.perm.allows(super::perm::READ, who) {
            q.unlock(k);
            let why = if gone { Errno::EIDRM } else { Errno::EACCES };
            break Err(why.into());
        }
        let takes = |m: &Message| wanted.takes(m.mtype.load(Relaxed) as i64);
        if q.messages(k).any(|(.., m)| takes(m)) {
            q.unlock(k);
            // It can not be MSG_COPY, which does not wait.
            break again(k, root, who, id, user, (wanted, room, flags));
        }
        enqueue(k, root, (id, index, q), &q.receivers, (mine, w));
        q.receiving.fetch_add(1, Relaxed);
        q.logged
            .put(k, Kind::SysvBlock, 0, (2, value, u64::from(mode)));
        let end = sleep(k, root, (id, index, q), &q.receivers, (mine, w));
        one_less(&q.receiving);
        match end {
            None => break Err(SysError::Restart(Restart::Sys)),
            Some(AGAIN) => {}
            Some(0) => {
                let block = w.message.swap(0, Relaxed);
                let Some(m) = message(k.arena, block) else {
                    break Err(Errno::EIO.into());
                };
                msg_op::log_receive(k, q, m, room);
                let result = msg_op::fill(k, user, (block, m), room);
                msg_text::free(k, block);
                break result;
            }
            Some(e) => break error(e),
        }
    };
    w.object.store(0, Release);
    result
}

/// There is one, after all.
fn again<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
    user: &mut U,
    (wanted, room, flags): (Wanted, usize, i32),
) -> SysResult {
    let mtype = match wanted {
        Wanted::Any => 0,
        Wanted::UpTo(t) => -t,
        Wanted::Type(t) | Wanted::Except(t) | Wanted::Number(t) => t,
    };
    let call = msg_op::msgrcv::<H, U>;
    let result = call(k, root, who, id, user, (mtype, room), flags);
    match result {
        Err(SysError::Errno(Errno::EINVAL)) => Err(Errno::EIDRM.into()),
        other => other,
    }
}

/// `pipelined_send`: to the first sleeping receiver that wants it. `false`: there is none. Under
/// the lock.
#[cold]
pub fn hand_over<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    q: &'static MsgQueue,
    (block, m): (u32, &'static Message),
    pid: u32,
    wakes: &mut Wakes,
) -> bool {
    let (mtype, len) = (m.mtype.load(Relaxed), u64::from(m.len.load(Relaxed)));
    for (i, w) in q.receivers.each(k, root) {
        let wanted = Wanted::unpack(w.want.load(Relaxed), w.mode.load(Relaxed));
        if !wanted.takes(mtype as i64) {
            continue;
        }
        q.receivers.unlink(k, root, i, w);
        if w.is_dead(k) {
            w.word.store(word::IDLE, Relaxed);
            w.object.store(0, Release);
            continue;
        }
        if w.is_out(k) {
            // Out of the queue from the stop on; continued, it makes the call again.
            if w.finish(k, AGAIN, 0) {
                wakes.push(k, root, i);
            }
            continue;
        }
        if w.room.load(Relaxed) < len {
            if w.finish(k, Errno::E2BIG.get(), 0) {
                wakes.push(k, root, i);
            }
            continue;
        }
        // Linux tells the thread here, not the process.
        q.lrpid.store(tid_of(k, w), Relaxed);
        q.rtime.store(k.host.wall_secs(), Relaxed);
        let c = u64::from(q.qnum.load(Relaxed)) | u64::from(pid) << 32;
        let record = q.logged.put(k, Kind::MsgSend, 0, (len as i64, mtype, c));
        m.record.store(record, Relaxed);
        w.message.store(block, Release); // M2
        crash_point("sysv.handed");
        if w.finish(k, 0, record) {
            wakes.push(k, root, i);
        }
        return true;
    }
    false
}

fn tid_of<H: Host>(k: &Ctx<'_, H>, w: &Waiter) -> u32 {
    crate::sync::lock_word::OwnerId::from_raw(w.owner.load(Relaxed))
        .and_then(|o| task::task_of(k.arena, o))
        .map_or(0, |t| t.tid.load(Relaxed))
}

/// There is room: those who sleep get their messages in. Under the lock.
#[cold]
pub fn serve_senders<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    q: &'static MsgQueue,
    cause: u64,
    wakes: &mut Wakes,
) {
    for (i, w) in q.senders.each(k, root) {
        if !q.fits(w.room.load(Relaxed)) {
            continue;
        }
        let dead = w.is_dead(k);
        let block = w.message.load(Relaxed);
        if let Some(m) = message(k.arena, block).filter(|_| !dead) {
            deliver(k, root, q, (block, m), w.pid.load(Relaxed), wakes);
            crash_point("sysv.handed");
            w.message.store(0, Relaxed);
        }
        q.senders.unlink(k, root, i, w);
        if dead {
            drop_dead(k, w);
        } else if w.finish(k, 0, cause) {
            wakes.push(k, root, i);
        }
    }
}

/// A killed sender's message is nobody's.
fn drop_dead<H: Host>(k: &Ctx<'_, H>, w: &Waiter) {
    let block = w.message.swap(0, Relaxed);
    if block != 0 {
        msg_text::free(k, block);
    }
    w.word.store(word::IDLE, Relaxed);
    w.object.store(0, Release);
}

/// Everybody is sent away with an error number. Under the lock.
pub fn dismiss<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    q: &'static MsgQueue,
    errno: i32,
    cause: u64,
    wakes: &mut Wakes,
) {
    for list in [&q.receivers, &q.senders] {
        for (i, w) in list.drain(k, root) {
            if w.finish(k, errno, cause) {
                wakes.push(k, root, i);
            }
        }
    }
}

/// IPC_SET: everybody looks again.
pub fn reconsider<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    q: &'static MsgQueue,
    cause: u64,
    wakes: &mut Wakes,
) {
    dismiss(k, root, q, AGAIN, cause, wakes);
}

/// What waiter `index`, whose thread is dead, left is cleared away.
pub fn forget<H: Host>(k: &Ctx<'_, H>, root: &'static Root, queue_index: u32, index: u32) {
    let (Some(q), Some(w)) = (
        root.queues.get(k.arena, queue_index),
        root.waiters.get(k.arena, index),
    ) else {
        return;
    };
    q.lock(k, root, queue_index);
    if w.waits() {
        let _ = q.senders.unlink(k, root, index, w) || q.receivers.unlink(k, root, index, w);
    }
    drop_dead(k, w);
    q.unlock(k);
}

/// The last owner of the lock was killed: counts and queues are made anew.
#[cold]
pub fn repair<H: Host>(k: &Ctx<'_, H>, root: &'static Root, q: &'static MsgQueue, index: u32) {
    let (mut n, mut bytes, mut tail) = (0u32, 0u64, 0);
    for (_, block, m) in q.messages(k) {
        n += 1;
        bytes += u64::from(m.len.load(Relaxed));
        tail = block;
    }
    q.qnum.store(n, Relaxed);
    q.cbytes.store(bytes, Relaxed);
    q.tail.store(tail, Relaxed);
    q.receivers.clear();
    q.senders.clear();
    let mut wakes = Wakes::none();
    let me = class::MSG | index;
    // Receivers first: whether a sender's message was handed to one is looked up among them.
    queue::from_waiters(k, root, me, |i, w| {
        if w.how.load(Relaxed) & how::SENDS != 0 {
            let block = w.message.load(Relaxed);
            let queued = q.messages(k).any(|(_, b, _)| b == block);
            if block == 0 || queued || was_handed(k, root, block, i) {
                w.message.store(0, Relaxed);
                finish(k, root, i, w, &mut wakes);
            } else {
                q.senders.append(k, root, i, w);
            }
        } else if w.message.load(Acquire) != 0 {
            finish(k, root, i, w, &mut wakes);
        } else {
            q.receivers.append(k, root, i, w);
        }
    });
    if q.perm.is_free() {
        dismiss(k, root, q, Errno::EIDRM.get(), 0, &mut wakes);
    } else {
        serve_senders(k, root, q, 0, &mut wakes);
    }
    wakes.wake(k, root);
}

fn finish<H: Host>(k: &Ctx<'_, H>, root: &Root, i: u32, w: &Waiter, wakes: &mut Wakes) {
    if w.finish(k, 0, 0) {
        wakes.push(k, root, i);
    }
}

fn was_handed<H: Host>(k: &Ctx<'_, H>, root: &'static Root, block: u32, sender: u32) -> bool {
    let used = k.arena.header().tasks_used.load(Relaxed);
    (1..used)
        .filter(|&i| i != sender)
        .filter_map(|i| root.waiters.get(k.arena, i))
        .any(|w| w.message.load(Relaxed) == block && w.how.load(Relaxed) & how::SENDS == 0)
}
