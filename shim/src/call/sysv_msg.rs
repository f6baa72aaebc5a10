//! msgget(2), msgsnd(2), msgrcv(2), msgctl(2).

use ringer_kernel::sysv::sem_ctl::IPC_INFO;
use ringer_kernel::sysv::{msg, msg_ctl, msg_op};

use crate::entry::{Entry, Verdict};
use crate::user::{self, access_ok, Flat};

use super::sysv::{begin, limits, refresh, settle};

/// Bytes of the type, before the text.
const TYPE: usize = 8;

pub fn msgget(entry: &Entry, key: i32, flags: i32) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    refresh(c.root);
    settle(
        entry,
        (libc::SYS_msgget, key),
        msg::msgget(&c.k, c.root, &c.who, key, flags),
    )
}

#[inline(always)]
pub fn msgsnd(entry: &Entry, id: i32, at: usize, len: usize, flags: i32) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    let Some(mtype) = user::fetch::<i64>(at) else {
        return Verdict::errno(libc::EFAULT);
    };
    let too_long = len > c.root.msgmax() as usize;
    if !too_long && mtype >= 1 && id >= 0 && !access_ok(at + TYPE, len) {
        return Verdict::errno(libc::EFAULT);
    }
    let mut text = Flat::new(at.wrapping_add(TYPE));
    let what = (mtype, len);
    settle(
        entry,
        (libc::SYS_msgsnd, id),
        msg_op::msgsnd(&c.k, c.root, &c.who, id, &mut text, what, flags),
    )
}

#[inline(always)]
pub fn msgrcv(entry: &Entry, id: i32, at: usize, len: usize, mtype: i64, flags: i32) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    let what = (mtype, len);
    let mut user = Flat::new(at);
    settle(
        entry,
        (libc::SYS_msgrcv, id),
        msg_op::msgrcv(&c.k, c.root, &c.who, id, &mut user, what, flags),
    )
}

pub fn msgctl(entry: &Entry, id: i32, cmd: i32, arg: usize) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    if matches!(cmd, IPC_INFO | msg_ctl::MSG_INFO) {
        c.root.set_limits(&limits());
    }
    let mut user = Flat::new(arg);
    settle(
        entry,
        (libc::SYS_msgctl, id),
        msg_ctl::msgctl(&c.k, c.root, &c.who, id, cmd, &mut user),
    )
}
