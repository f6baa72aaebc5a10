//! Calls about descriptors and ids that move no bytes.

use super::calls::{Actor, MSG, SEM};
use super::program::Call;

pub fn call(actor: &mut Actor, call: &Call, out: &mut Vec<u8>) -> i64 {
    match call {
        Call::Eventfd { to, count, flags } => {
            // SAFETY: numbers.
            let fd = unsafe { libc::eventfd(*count, *flags) };
            actor.keep(*to, fd)
        }
        Call::Shutdown { fd, how } => {
            // SAFETY: numbers.
            unsafe { libc::shutdown(actor.number(*fd), *how).into() }
        }
        Call::Close { fd } => {
            // SAFETY: a descriptor of the program's.
            unsafe { libc::close(own(actor.number(*fd))).into() }
        }
        Call::Dup { fd, to } => {
            // SAFETY: a number.
            let new = unsafe { libc::dup(actor.number(*fd)) };
            actor.keep(*to, new)
        }
        Call::Dup2 { fd, over } => {
            // SAFETY: numbers of the program's.
            unsafe { libc::dup2(actor.number(*fd), own(actor.number(*over))).into() }
        }
        Call::Dup3 { fd, over, flags } => {
            // SAFETY: numbers of the program's.
            unsafe { libc::dup3(actor.number(*fd), own(actor.number(*over)), *flags).into() }
        }
        Call::Fcntl { fd, cmd, arg } => {
            // SAFETY: commands that take a number.
            unsafe { libc::fcntl(actor.number(*fd), *cmd, *arg).into() }
        }
        Call::Fionread { fd } => {
            let mut n = 0i32;
            // SAFETY: room for one number.
            let ret = unsafe { libc::ioctl(actor.number(*fd), libc::FIONREAD, &mut n) };
            if ret == 0 {
                out.extend(n.to_le_bytes());
            }
            ret.into()
        }
        Call::Poll { fds, ms } => {
            let pollfd = |(fd, events): &(u8, i16)| libc::pollfd {
                fd: actor.number(*fd),
                events: *events,
                revents: 0,
            };
            let mut fds: Vec<libc::pollfd> = fds.iter().map(pollfd).collect();
            // SAFETY: as many as there are.
            let ret = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as u64, *ms) };
            out.extend(fds.iter().flat_map(|p| p.revents.to_le_bytes()));
            ret.into()
        }
        Call::MqOpen {
            to,
            name,
            flags,
            most,
            size,
        } => {
            // SAFETY: plain data; zeros are valid.
            let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
            attr.mq_maxmsg = *most;
            attr.mq_msgsize = *size;
            let name = actor.queue_name(*name);
            actor.has_named = true;
            // SAFETY: a C string and a whole attribute.
            let fd = unsafe { libc::mq_open(name.as_ptr(), *flags, 0o600, &attr) };
            actor.keep(*to, fd)
        }
        Call::MqAttr { fd } => {
            // SAFETY: plain data; zeros are valid.
            let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
            // SAFETY: room for one.
            let ret = unsafe { libc::mq_getattr(actor.number(*fd), &mut attr) };
            for field in [
                attr.mq_flags,
                attr.mq_maxmsg,
                attr.mq_msgsize,
                attr.mq_curmsgs,
            ] {
                out.extend((field as u16).to_le_bytes());
            }
            ret.into()
        }
        Call::MqUnlink { name } => {
            // SAFETY: a C string.
            unsafe { libc::mq_unlink(actor.queue_name(*name).as_ptr()).into() }
        }
        Call::MqNotify { fd, signal } => {
            // SAFETY: plain data; zeros are valid.
            let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
            event.sigev_notify = libc::SIGEV_SIGNAL;
            event.sigev_signo = *signal;
            let event: *const libc::sigevent = match signal {
                0 => std::ptr::null(),
                _ => &event,
            };
            // SAFETY: a whole event, or none.
            unsafe { libc::mq_notify(actor.number(*fd), event).into() }
        }
        Call::Msgget { to } => {
            // SAFETY: numbers.
            let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
            actor.keep_id(MSG, *to, id)
        }
        Call::Msgcount { id } => {
            // SAFETY: plain data; zeros are valid.
            let mut stat: libc::msqid_ds = unsafe { std::mem::zeroed() };
            // SAFETY: room for one.
            let ret = unsafe { libc::msgctl(actor.id(MSG, *id), libc::IPC_STAT, &mut stat) };
            out.extend((stat.msg_qnum as u32).to_le_bytes());
            out.extend((stat.msg_qbytes as u32).to_le_bytes());
            ret.into()
        }
        Call::Msgrm { id } => {
            // SAFETY: numbers.
            let ret =
                unsafe { libc::msgctl(actor.id(MSG, *id), libc::IPC_RMID, std::ptr::null_mut()) };
            ret.into()
        }
        Call::Semget { to, count } => {
            // SAFETY: numbers.
            let id = unsafe { libc::semget(libc::IPC_PRIVATE, *count, 0o600) };
            actor.keep_id(SEM, *to, id)
        }
        Call::Semop { id, ops } => {
            let op = |(num, op, flags): &(u16, i16, i16)| libc::sembuf {
                sem_num: *num,
                sem_op: *op,
                sem_flg: *flags,
            };
            let mut ops: Vec<libc::sembuf> = ops.iter().map(op).collect();
            // SAFETY: as many as there are.
            unsafe { libc::semop(actor.id(SEM, *id), ops.as_mut_ptr(), ops.len()).into() }
        }
        Call::Semctl {
            id,
            num,
            cmd,
            value,
        } => {
            // SAFETY: commands that take a number or nothing.
            unsafe { libc::semctl(actor.id(SEM, *id), *num, *cmd, *value).into() }
        }
        _ => -1,
    }
}

/// The standard descriptors are the worker's.
fn own(fd: i32) -> i32 {
    if (0..3).contains(&fd) {
        -1
    } else {
        fd
    }
}

pub fn remove(kind: u32, id: i32) {
    match kind {
        // SAFETY: numbers.
        MSG => unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) },
        // SAFETY: numbers.
        SEM => unsafe { libc::semctl(id, 0, libc::IPC_RMID) },
        _ => 0,
    };
}
