//! What the manual says about the step that differs, where one sentence of it fits.

use ringer_kernel::log::object;

use crate::log::entry::{Object, Op};

use super::known::Found;
use super::step::Step;

/// The rule that the kernel's step follows, or else the one that ringer's step would.
pub fn rule(found: &Found) -> Option<&'static str> {
    let of = |(steps, at): &(Vec<Step>, usize)| steps.get(*at).and_then(of_step);
    of(&found.kernel).or_else(|| of(&found.ringer))
}

fn class(step: &Step) -> Option<u32> {
    let name = step.object()?.split('@').next()?;
    name.parse().ok().map(Object::class)
}

fn of_step(step: &Step) -> Option<&'static str> {
    let errno = step.errno.as_deref().unwrap_or_default();
    match (step.op, class(step)) {
        (Op::Read, Some(object::EVENTFD)) => Some(eventfd_read(errno)),
        (Op::Write, Some(object::EVENTFD)) => Some(eventfd_write(errno)),
        (Op::Read | Op::Write, Some(object::SOCKET)) => socket(step, errno),
        (Op::Read | Op::Write, _) => pipe(step, errno),
        (Op::MqSend | Op::MqReceive | Op::MqOpen | Op::MqNotify, _) => queue(step.op, errno),
        (Op::SysvCall | Op::Semop | Op::MsgSend | Op::MsgReceive, _) => sysv(step, errno),
        _ => signal(step),
    }
}

fn pipe(step: &Step, errno: &str) -> Option<&'static str> {
    Some(match (step.op, errno) {
        (Op::Read, "") if step.is_end_of_file() => {
            "\"If all file descriptors referring to the write end of a pipe have been closed, then an attempt to read(2) from the pipe will see end-of-file\" [pipe(7)]"
        }
        (Op::Write, "EPIPE") => {
            "\"If all file descriptors referring to the read end of a pipe have been closed, then a write(2) will cause a SIGPIPE signal\", else EPIPE [pipe(7)]"
        }
        (Op::Read, "EAGAIN") => {
            "\"The file descriptor [...] has been marked nonblocking (O_NONBLOCK), and the read would block\" [read(2)]"
        }
        (Op::Write, "EAGAIN") => {
            "\"If there is not room to write n bytes immediately, then write(2) fails, with errno set to EAGAIN\" [pipe(7)]"
        }
        (_, "EINTR") => {
            "\"The call was interrupted by a signal before any data\" was read or written [read(2), write(2), signal(7)]"
        }
        (_, "EBADF") => "a descriptor that is not open for this [read(2), write(2)]",
        (_, "EFAULT") => "\"buf is outside your accessible address space\" [read(2), write(2)]",
        (Op::Write, "") => "\"POSIX.1 says that writes of less than PIPE_BUF bytes must be atomic\" [pipe(7)]",
        (Op::Read, "") => "a read returns what is there, and waits only if there is nothing [pipe(7)]",
        _ => return None,
    })
}

fn eventfd_read(errno: &str) -> &'static str {
    match errno {
        "EINVAL" => "\"A read(2) fails with the error EINVAL if the size of the supplied buffer is less than 8 bytes\" [eventfd(2)]",
        "EAGAIN" => "\"If the eventfd counter is zero at the time of the call to read(2), then the call either blocks [...] or fails with the error EAGAIN\" [eventfd(2)]",
        _ => "a read returns the counter and resets it to zero; with EFD_SEMAPHORE it returns 1 and decrements it by 1 [eventfd(2)]",
    }
}

fn eventfd_write(errno: &str) -> &'static str {
    match errno {
        "EINVAL" => "\"A write(2) fails with the error EINVAL if the size of the supplied buffer is less than 8 bytes, or if an attempt is made to write the value 0xffffffffffffffff\" [eventfd(2)]",
        "EAGAIN" => "\"If the addition would cause the counter's value to exceed the maximum, then the write(2) either blocks [...] or fails with the error EAGAIN\" [eventfd(2)]",
        _ => "\"A write(2) call adds the 8-byte integer value supplied in its buffer to the counter\" [eventfd(2)]",
    }
}

fn socket(step: &Step, errno: &str) -> Option<&'static str> {
    Some(match errno {
        "EPIPE" => "\"The local end has been shut down on a connection oriented socket\" [send(2)]",
        "ECONNRESET" => "\"Connection reset by peer\" [send(2), unix(7)]",
        "ECONNREFUSED" => "nobody is at the other end of a datagram socket [unix(7)]",
        "EMSGSIZE" => "\"The socket type requires that message be sent atomically, and the size of the message to be sent made this impossible\" [send(2)]",
        "EAGAIN" => "\"The socket is marked nonblocking and the requested operation would block\" [send(2), recv(2)]",
        "" if step.is_end_of_file() => "\"When a stream socket peer has performed an orderly shutdown, the return value will be 0\" [recv(2)]",
        _ => return None,
    })
}

fn queue(op: Op, errno: &str) -> Option<&'static str> {
    Some(match (op, errno) {
        (Op::MqReceive, "") => "mq_receive \"removes the oldest message with the highest priority\" [mq_receive(3)]",
        (Op::MqSend, "") => "\"Messages are placed on the queue in decreasing order of priority, with newer messages of the same priority being placed after older messages\" [mq_send(3)]",
        (Op::MqReceive, "EAGAIN") => "\"The queue was empty, and the O_NONBLOCK flag was set\" [mq_receive(3)]",
        (Op::MqSend, "EAGAIN") => "\"The queue was full, and the O_NONBLOCK flag was set\" [mq_send(3)]",
        (Op::MqReceive, "EMSGSIZE") => "\"msg_len was less than the mq_msgsize attribute of the message queue\" [mq_receive(3)]",
        (Op::MqSend, "EMSGSIZE") => "\"msg_len was greater than the mq_msgsize attribute of the message queue\" [mq_send(3)]",
        (_, "ETIMEDOUT") => "\"The call timed out before a message could be transferred\" [mq_send(3), mq_receive(3)]",
        (Op::MqNotify, "EBUSY") => "\"Another process has already registered to receive notification for this message queue\" [mq_notify(3)]",
        _ => return None,
    })
}

fn sysv(step: &Step, errno: &str) -> Option<&'static str> {
    Some(match (step.op, errno) {
        (_, "EAGAIN") => "an operation could not proceed immediately, and IPC_NOWAIT was given or the time was over [semop(2), msgop(2)]",
        (_, "EIDRM") => "the object was removed while the call waited [semop(2), msgop(2)]",
        (_, "EINTR") => "\"While blocked in this system call, the thread caught a signal\"; never restarted [semop(2), msgop(2), signal(7)]",
        (_, "ENOMSG") => "\"IPC_NOWAIT was specified in msgflg and no message of the requested type existed\" [msgop(2)]",
        (_, "E2BIG") => "the message is longer than msgsz, and MSG_NOERROR is not given [msgop(2)]",
        (_, "ERANGE") => "semop + semval is greater than SEMVMX [semop(2)]",
        (_, "EEXIST") => "IPC_CREAT and IPC_EXCL were given, but an object exists for the key [semget(2), msgget(2), shmget(2)]",
        (_, "EACCES") => "the mode of the object does not permit that [sysvipc(7)]",
        (Op::Semop, _) => "\"The set of operations contained in sops is performed in array order, and atomically\" [semop(2)]",
        (Op::MsgReceive, _) => "type 0: the first message; above 0: the first of that type; below 0: the first of the lowest type up to it [msgop(2)]",
        _ => return None,
    })
}

fn signal(step: &Step) -> Option<&'static str> {
    Some(match step.op {
        Op::Kill => "\"If multiple instances of a standard signal are generated while that signal is blocked, then only one instance of the signal is marked as pending\" [signal(7)]",
        Op::Handler => "\"A signal may be blocked, which means that it will not be delivered until it is later unblocked\" [signal(7)]",
        Op::Sigtimedwait => "a signal of the set that is pending is taken, the lowest number first [sigwaitinfo(2), signal(7)]",
        Op::Sigprocmask => "\"It is not possible to block SIGKILL or SIGSTOP. Attempts to do so are silently ignored\" [sigprocmask(2)]",
        _ => return None,
    })
}
