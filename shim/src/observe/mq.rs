//! POSIX message queues that the kernel serves.

use ringer_kernel::log::observed::{self, Observed};
use ringer_kernel::log::{object, Kind};
use ringer_kernel::pipe::Ctx;

use crate::gate::sys;
use crate::host::{self, Shim};
use crate::{adopt, user};

use super::{begin, put, with_log};

/// A call, with what was true before it.
#[derive(Clone, Copy)]
pub struct Call {
    nr: i64,
    args: [usize; 6],
    /// Of an open: whether there was no such queue.
    is_new: bool,
    /// Of an unlink: the queue's inode.
    ino: Option<u32>,
}

/// Before the call. `None`: it is not told.
#[cold]
pub fn before(nr: i64, args: [usize; 6]) -> Option<Call> {
    if !begin() {
        return None;
    }
    let [a, flags, ..] = args;
    let creates = nr == libc::SYS_mq_open && flags as i32 & libc::O_CREAT != 0;
    let ino = (nr == libc::SYS_mq_unlink).then(|| named(a).ok()).flatten();
    Some(Call {
        nr,
        args,
        is_new: creates && named(a) == Err(-(libc::ENOENT as isize)),
        ino,
    })
}

/// The queue of this name (without its slash), if it may be opened.
fn named(name: usize) -> Result<u32, isize> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let fd = sys!(libc::SYS_mq_open, name, flags, 0, 0);
    if fd < 0 {
        return Err(fd);
    }
    let ino = inode(fd as i32);
    sys!(libc::SYS_close, fd);
    ino.ok_or(-(libc::EBADF as isize))
}

fn inode(fd: i32) -> Option<u32> {
    adopt::identity(fd).map(|(_, ino, _)| ino as u32)
}

/// After it; `ret` by the kernel's convention.
#[cold]
pub fn after(call: Call, ret: isize) {
    let [a, ..] = call.args;
    let fd = match call.nr {
        libc::SYS_mq_open => ret as i32,
        libc::SYS_mq_unlink => -1,
        _ => a as i32,
    };
    with_log(fd, |k| {
        let ino = call.ino.or_else(|| inode(fd));
        let o = ino.and_then(|ino| observed::find(k, object::MQ, ino));
        tell(k, call, ret, o);
    });
}

fn tell(k: &Ctx<'_, Shim>, call: Call, ret: isize, o: Option<&'static Observed>) {
    let [a, _, c, d, ..] = call.args;
    let failed = (-4095..=-1).contains(&ret).then_some(-(ret as i64));
    let left = || attributes(a as i32).map_or(0, |[.., messages]| messages as u64);
    let (kind, abc) = match (call.nr, failed) {
        (libc::SYS_mq_open, None) => opened(call, ret as i32),
        (libc::SYS_mq_unlink, None) => (Kind::MqUnlink, (0, 0, 0)),
        (libc::SYS_mq_timedsend, None) => (Kind::MqSend, (c as i64, d as u64, left())),
        (libc::SYS_mq_timedsend, Some(errno)) => (Kind::MqSendFailed, (errno, 0, 0)),
        (libc::SYS_mq_timedreceive, None) => {
            let prio = user::fetch::<u32>(d).unwrap_or(0);
            (Kind::MqReceive, (ret as i64, u64::from(prio), left()))
        }
        (libc::SYS_mq_timedreceive, Some(errno)) => (Kind::MqReceiveFailed, (errno, 0, 0)),
        (libc::SYS_mq_notify, None) => registered(call),
        _ => return,
    };
    put(k, o, kind, abc);
}

/// Made, or found.
fn opened(call: Call, fd: i32) -> (Kind, (i64, u64, u64)) {
    let [_, flags, mode, ..] = call.args;
    if !call.is_new {
        return (Kind::MqOpen, (i64::from(fd), flags as u32 as u64, 0));
    }
    let [_, maxmsg, msgsize, _] = attributes(fd).unwrap_or_default();
    let b = (flags as u32 as u64) << 32 | (mode as u32 & 0o777) as u64;
    let c = (maxmsg as u64) << 32 | msgsize as u32 as u64;
    (Kind::MqCreate, (i64::from(fd), b, c))
}

/// mq_notify: how, as the record has it.
fn registered(call: Call) -> (Kind, (i64, u64, u64)) {
    let [_, event, ..] = call.args;
    if event == 0 {
        return (Kind::MqNotifyOff, (0, 0, 0));
    }
    // struct sigevent: the value, the signal, how.
    let [_, _, signal, how] = user::fetch::<[i32; 4]>(event).unwrap_or_default();
    let (how, signal) = match how {
        libc::SIGEV_SIGNAL => (2, signal),
        libc::SIGEV_THREAD => (3, 0),
        _ => (1, 0),
    };
    (
        Kind::MqNotify,
        (how, signal as u64, u64::from(host::getpid())),
    )
}

/// mq_getattr: flags, most messages, their size, messages.
fn attributes(fd: i32) -> Option<[i64; 4]> {
    let mut attr = [0i64; 8];
    let ret = sys!(libc::SYS_mq_getsetattr, fd, 0, attr.as_mut_ptr());
    let [flags, maxmsg, msgsize, messages, ..] = attr;
    (ret == 0).then_some([flags, maxmsg, msgsize, messages])
}
