//! What the log tells of signals. Nothing here happens when the log is off.
//!
//! The id of a record that a signal came from goes along with it: in its entry of the queue, or,
//! when the kernel carries it, as the target's "last one sent" (so of two that the kernel carries at
//! the same time only the later one's cause is known).

use core::sync::atomic::Ordering::*;

use ringer_kernel::arena::header::flag;
use ringer_kernel::log::{layer, sent, Kind, Log, Record};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::signal::{sigqueue::Sending, Sent, Siginfo, State, Taken};

use crate::entry::Entry;
use crate::host::{self, Shim};
use crate::tls::{tls, Tls};
use crate::{attach, inbox, observe};

#[inline(always)]
pub fn is_on(tls: &Tls) -> bool {
    tls.writer().is_some() || attach::has(flag::LOG) && register(tls)
}

/// A thread that has not been heard of yet.
#[cold]
fn register(tls: &Tls) -> bool {
    if tls.owner_id().is_none() && tls.in_vfork.get() == 0 && attach::process(tls).is_some() {
        let entry = Entry::enter();
        let _ = entry.owner();
        let _ = entry.leave();
    }
    tls.writer().is_some()
}

/// One record, outside the shim.
fn put(tls: &Tls, kind: Kind, cause: u64, abc: (i64, u64, u64)) -> u64 {
    put_at(tls, -1, kind, cause, abc)
}

fn put_at(tls: &Tls, fd: i32, kind: Kind, cause: u64, abc: (i64, u64, u64)) -> u64 {
    let entry = Entry::enter();
    let log = Log {
        ring: tls.writer(),
        fd,
        layer: layer::HOOK,
    };
    let id = log.event(kind, cause, abc);
    let _ = entry.leave();
    id
}

/// si_code.
pub fn code(info: &Siginfo) -> i32 {
    let [_, code, ..] = info;
    *code as i32
}

/// si_pid and si_code in one word. (Of a signal that no process sent, si_pid is something else.)
fn origin(info: &Siginfo) -> u64 {
    let [_, _, sender, ..] = info;
    let pid = match code(info) {
        code if code <= 0 => *sender & 0xffff_ffff,
        _ => 0,
    };
    pid | u64::from(code(info) as u32) << 32
}

/// The N of sig#N for a signal that is about to be sent.
pub fn new_id(k: &Ctx<'_, Shim>) -> u32 {
    if !k.log.is_on() {
        return 0;
    }
    k.arena
        .header()
        .object_ids
        .fetch_add(1, Relaxed)
        .wrapping_add(1)
}

/// The record that will tell of it, and its time: before whatever comes of it.
pub fn about_to_send(k: &Ctx<'_, Shim>) -> (u64, u64) {
    k.log
        .ring
        .map_or((0, 0), |ring| (ring.next_id(), host::tsc()))
}

fn sending(sig: i32, became: u64, code: i32) -> u64 {
    sig as u64 & 0xff | became << 8 | u64::from(code as u32) << 32
}

/// It was left in an inbox, or not.
pub fn left(k: &Ctx<'_, Shim>, s: &State, what: &Sending<'_>, tsc: u64, sent: Sent) {
    let Some(ring) = k.log.ring else { return };
    let became = match sent {
        Sent::Queued => sent::BLOCKED,
        Sent::Coalesced => sent::COALESCED,
        Sent::Full => sent::FULL,
        Sent::Kernel => return, // it tells itself
    };
    let task = ringer_kernel::task::task(k.arena, s.task.load(Relaxed));
    let pid = task.map_or(0, |t| t.pid.load(Relaxed));
    ring.put(Record {
        kind: Kind::SigSend.raw(),
        aux: k.log.layer,
        fd: -1,
        tsc,
        a: i64::from(pid),
        b: sending(what.sig, became, code(what.info)),
        c: u64::from(what.id),
        ..Record::default()
    });
}

/// A signal to oneself whose handler is called at once.
#[inline(always)]
pub fn at_once(sig: i32, info: &Siginfo) -> u64 {
    let tls = tls();
    if !is_on(tls) {
        return 0;
    }
    let pid = i64::from(host::getpid());
    let what = sending(sig, sent::AT_ONCE, code(info));
    put(tls, Kind::SigSend, 0, (pid, what, number()))
}

fn number() -> u64 {
    attach::arena().map_or(0, |a| {
        u64::from(a.header().object_ids.fetch_add(1, Relaxed)) + 1
    })
}

/// What is told of a signal when the kernel has taken it, or has not.
#[derive(Clone, Copy)]
pub struct Pending {
    pid: i32,
    sig: i32,
    code: i32,
    record: u64,
}

/// What becomes of it is the kernel's secret, but for mode `observe`, which may take its time to look.
fn by_kernel(pid: i32, sig: i32) -> u64 {
    if attach::has(flag::OBSERVE) {
        observe::pending::becomes(pid, sig)
    } else {
        sent::BY_KERNEL
    }
}

/// The kernel is about to send it. Told before the call: its effect may be seen at once.
pub fn kernel_sends(pid: i32, sig: i32, code: i32) -> Option<Pending> {
    let tls = tls();
    if !is_on(tls) || sig == 0 {
        return None;
    }
    let what = sending(sig, by_kernel(pid, sig), code);
    let record = put(tls, Kind::SigSend, 0, (i64::from(pid), what, number()));
    remember(pid, sig, record);
    Some(Pending {
        pid,
        sig,
        code,
        record,
    })
}

/// errno of the kernel's answer, if it did not.
pub fn kernel_sent(pending: Option<Pending>, ret: isize) {
    let Some(p) = pending else { return };
    if ret < 0 {
        let what = sending(p.sig, 0, p.code);
        let abc = (-(ret as i64), what, p.pid as u32 as u64);
        put(tls(), Kind::SigSendFailed, p.record, abc);
    }
}

/// As [`kernel_sends`], of a call by number. (If the kernel refuses, no handler and no end will name
/// this record.)
/// `tid`: of the thread that it is for, 0 if it is for the process.
pub fn passes(entry: &Entry, (pid, tid): (i32, i32), sig: i32, code: i32) {
    let Some(k) = entry.ctx(tid.max(0)).filter(|k| k.log.is_on()) else {
        return;
    };
    let what = sending(sig, by_kernel(pid, sig), code);
    let id = u64::from(new_id(&k));
    let record = k.log.event(Kind::SigSend, 0, (i64::from(pid), what, id));
    remember(pid, sig, record);
}

fn key(sender: u32, sig: i32) -> u32 {
    sender & 0xff_ffff | (sig as u32) << 24
}

fn state_of(pid: i32) -> Option<&'static State> {
    let (_, p) =
        ringer_kernel::task::find_process(attach::arena()?, &host::Shim, u32::try_from(pid).ok()?)?;
    Some(&p.signals)
}

fn remember(pid: i32, sig: i32, record: u64) {
    if let Some(s) = state_of(pid) {
        s.sent_record.store(record, Relaxed);
        s.sent_key.store(key(host::getpid(), sig), Release);
    }
}

/// The record that tells who sent this signal, if a process of the session did.
fn cause(tls: &Tls, sig: i32, info: &Siginfo) -> u64 {
    let [_, _, sender, ..] = info;
    let Some(s) = inbox::state(tls).filter(|_| code(info) <= 0) else {
        return 0;
    };
    let key = key(*sender as u32, sig);
    if s.sent_key
        .compare_exchange(key, 0, Acquire, Relaxed)
        .is_ok()
    {
        s.sent_record.load(Relaxed)
    } else {
        0
    }
}

/// A handler is about to be called. The record, for [`returned`].
#[inline(always)]
pub fn handler(tls: &Tls, sig: i32, info: &Siginfo, address: usize, known: u64) -> (u64, u64) {
    handler_upon(tls, sig, info, (address, known), || 0)
}

/// As [`handler`]; `upon`: what it comes upon, as the record has it.
#[inline(always)]
pub fn handler_upon(
    tls: &Tls,
    sig: i32,
    info: &Siginfo,
    (address, known): (usize, u64),
    upon: impl FnOnce() -> u64,
) -> (u64, u64) {
    if !is_on(tls) {
        return (0, 0);
    }
    let cause = if known != 0 {
        known
    } else {
        cause(tls, sig, info)
    };
    let abc = (
        i64::from(sig) | (upon() << 8) as i64,
        address as u64,
        origin(info),
    );
    // Its siginfo lies on its frame: of two that lie in the same place one is gone.
    let frame = (core::ptr::from_ref(info).addr() >> 4) as i32 & i32::MAX;
    (
        put_at(tls, frame, Kind::SigHandler, cause, abc),
        host::tsc(),
    )
}

/// It has returned.
#[inline(always)]
pub fn returned(tls: &Tls, sig: i32, called: (u64, u64), mask: u64) {
    if is_on(tls) {
        let (record, since) = called;
        let ticks = host::tsc().wrapping_sub(since);
        put(tls, Kind::SigReturn, record, (i64::from(sig), ticks, mask));
    }
}

/// sigtimedwait(2) has taken it.
pub fn accepted(taken: &Taken) {
    let tls = tls();
    if is_on(tls) {
        let abc = (
            i64::from(taken.sig),
            origin(&taken.info),
            u64::from(taken.id),
        );
        put(tls, Kind::SigAccept, taken.cause, abc);
    }
}

/// The kernel's sigtimedwait(2) has taken it.
pub fn accepted_from_kernel(sig: i32, info: &Siginfo) {
    let tls = tls();
    if is_on(tls) {
        let abc = (i64::from(sig), origin(info), 0);
        put(tls, Kind::SigAccept, cause(tls, sig, info), abc);
    }
}

/// As [`accepted_from_kernel`], of one that came without its siginfo.
pub fn accepted_unseen(sig: i32) {
    let tls = tls();
    if !is_on(tls) {
        return;
    }
    let sent = inbox::state(tls)
        .filter(|s| s.sent_key.load(Acquire) >> 24 == sig as u32)
        .map_or(0, |s| {
            s.sent_key.store(0, Relaxed);
            s.sent_record.load(Relaxed)
        });
    put(tls, Kind::SigAccept, sent, (i64::from(sig), 0, 0));
}

#[inline(always)]
pub fn mask(tls: &Tls, how: i64, before: u64, after: u64) {
    if is_on(tls) && before != after {
        put(tls, Kind::SigMask, 0, (how, before, after));
    }
}

pub fn action(sig: usize, handler: usize, flags: u64) {
    let tls = tls();
    if is_on(tls) {
        put(tls, Kind::SigAction, 0, (sig as i64, handler as u64, flags));
    }
}

pub fn waits(how: i64, set: u64) {
    let tls = tls();
    if is_on(tls) {
        put(tls, Kind::SigWait, 0, (how, set, 0));
    }
}

/// (Inside the shim nothing is told: the record that is being written may be the one.)
pub fn bounced(tls: &Tls, sig: i32) {
    if tls.depth.get() == 0 && is_on(tls) {
        put(tls, Kind::SigBounced, 0, (i64::from(sig), 0, 0));
    }
}
