//! A program as C: something that a person can read, compile and run in either world.

use std::fmt::Write;

use super::calls::BUFFER;
use super::calls_sem::UNNAMED;
use super::program::{Call, Place, Program, Reg, SemWay, What, ACTORS, REGISTERS};

/// The calls alone, a line each.
pub fn calls(program: &Program) -> String {
    let mut text = String::new();
    for (at, step) in program.steps.iter().enumerate() {
        let _ = writeln!(text, "STEP({at}, {}, {});", step.who, call(&step.call, at));
    }
    text
}

/// With all that is needed to compile it: `cc x.c && ./a.out && ringer run -- ./a.out`.
pub fn whole(program: &Program) -> String {
    let body: String = calls(program)
        .lines()
        .map(|line| format!("\t{line}\n"))
        .collect();
    HEAD.replace("@REGISTERS", &REGISTERS.to_string())
        .replace("@ACTORS", &ACTORS.to_string())
        .replace("@BUFFER", &BUFFER.to_string())
        .replace("@STEPS", &program.steps.len().to_string())
        .replace("@BODY", &body)
}

const HEAD: &str = include_str!("emit_c.c");

fn r(reg: &Reg) -> String {
    format!("r[{}]", usize::from(*reg) % REGISTERS)
}

fn q(reg: &Reg) -> String {
    format!("q[{}]", usize::from(*reg) % REGISTERS)
}

fn s(reg: &Reg) -> String {
    format!("s[{}]", usize::from(*reg) % REGISTERS)
}

fn p(reg: &Reg) -> String {
    format!("p[{}]", usize::from(*reg) % REGISTERS)
}

fn at(place: Place, len: u32) -> String {
    match place {
        Place::Good => "buf".into(),
        Place::Null => "NULL".into(),
        Place::Hole => format!("HOLE({len})"),
        Place::Edge => format!("EDGE({len})"),
    }
}

fn set(signals: &[i32]) -> String {
    signals
        .iter()
        .fold("set(".to_owned(), |s, n| s + &format!("{n}, "))
        + "0)"
}

fn vectors(lens: &[u32]) -> String {
    let mut from = 0;
    let mut text = String::new();
    for len in lens {
        let _ = write!(text, "{{buf + {from}, {len}}}, ");
        from += len;
    }
    format!("(struct iovec[]){{{text}{{0}}}}, {}", lens.len())
}

fn call(call: &Call, step: usize) -> String {
    match call {
        Call::Pipe2 { r: a, w: b, flags } => format!("two(pipe2(fds, {flags:#x}), fds, &{}, &{})", r(a), r(b)),
        Call::Socketpair { a, b, kind } => {
            format!("two(socketpair(AF_UNIX, {kind:#x}, 0, fds), fds, &{}, &{})", r(a), r(b))
        }
        Call::Eventfd { to, count, flags } => format!("keep(&{}, eventfd({count}u, {flags:#x}))", r(to)),
        Call::Read { fd, len, at: p } => format!("read({}, {}, {len})", r(fd), at(*p, *len)),
        Call::Write { fd, len, at: p } => format!("write({}, {}, {len})", r(fd), at(*p, *len)),
        Call::Readv { fd, lens } => format!("readv({}, {})", r(fd), vectors(lens)),
        Call::Writev { fd, lens } => format!("writev({}, {})", r(fd), vectors(lens)),
        Call::Add { fd, value } => format!("write({}, &(unsigned long){{{value}u}}, 8)", r(fd)),
        Call::Send { fd, len, flags, at: p } => format!("send({}, {}, {len}, {flags:#x})", r(fd), at(*p, *len)),
        Call::Recv { fd, len, flags, at: p } => format!("recv({}, {}, {len}, {flags:#x})", r(fd), at(*p, *len)),
        Call::Shutdown { fd, how } => format!("shutdown({}, {how})", r(fd)),
        Call::Close { fd } => format!("close({})", r(fd)),
        Call::Dup { fd, to } => format!("keep(&{}, dup({}))", r(to), r(fd)),
        Call::Dup2 { fd, over } => format!("dup2({}, {})", r(fd), r(over)),
        Call::Dup3 { fd, over, flags } => format!("dup3({}, {}, {flags:#x})", r(fd), r(over)),
        Call::Fcntl { fd, cmd, arg } => format!("fcntl({}, {}, {arg:#x})", r(fd), command(*cmd)),
        Call::Fionread { fd } => format!("told(\"n\", ioctl({}, FIONREAD, &n), n)", r(fd)),
        Call::Poll { fds, ms } => {
            let one = |(fd, events): &(Reg, i16)| format!("{{{}, {events:#x}}}, ", r(fd));
            let all: String = fds.iter().map(one).collect();
            format!("polled((struct pollfd[]){{{all}}}, {}, {ms})", fds.len())
        }
        Call::MqOpen { to, name, flags, most, size } => format!(
            "keep(&{}, mq_open(queue({name}), {flags:#x}, 0600, &(struct mq_attr){{.mq_maxmsg = {most}, .mq_msgsize = {size}}}))",
            r(to)
        ),
        Call::MqSend { fd, len, priority, at: p } => {
            format!("mq_send({}, {}, {len}, {priority})", r(fd), at(*p, *len))
        }
        Call::MqReceive { fd, len, at: p } => {
            format!("mq_receive({}, {}, {len}, &priority)", r(fd), at(*p, *len))
        }
        Call::MqAttr { fd } => format!("told(\"messages\", mq_getattr({}, &attr), attr.mq_curmsgs)", r(fd)),
        Call::MqUnlink { name } => format!("mq_unlink(queue({name}))"),
        Call::Msgget { to } => format!("keep(&{}, msgget(IPC_PRIVATE, 0600)) < 0 ? -1 : 0", q(to)),
        Call::Msgsnd { id, kind, len, flags } => {
            format!("(*(long *)buf = {kind}, msgsnd({}, buf, {len}, {flags:#x}))", q(id))
        }
        Call::Msgrcv { id, kind, len, flags } => format!("msgrcv({}, buf, {len}, {kind}, {flags:#x})", q(id)),
        Call::Msgcount { id } => format!("told(\"messages\", msgctl({}, IPC_STAT, &stat), stat.msg_qnum)", q(id)),
        Call::Msgrm { id } => format!("msgctl({}, IPC_RMID, NULL)", q(id)),
        Call::Semget { to, count } => format!("keep(&{}, semget(IPC_PRIVATE, {count}, 0600)) < 0 ? -1 : 0", s(to)),
        Call::Semop { id, ops } => {
            let one = |(num, op, flags): &(u16, i16, i16)| format!("{{{num}, {op}, {flags:#x}}}, ");
            let all: String = ops.iter().map(one).collect();
            format!("semop({}, (struct sembuf[]){{{all}}}, {})", s(id), ops.len())
        }
        Call::Semctl { id, num, cmd, value } => format!("semctl({}, {num}, {cmd}, {value})", s(id)),
        Call::Action { signal, what, flags, mask } => {
            let what = match what {
                What::Default => "(void *)SIG_DFL",
                What::Ignore => "(void *)SIG_IGN",
                What::Handler => "handler",
            };
            format!("action({signal}, {what}, {flags:#x}, {})", set(mask))
        }
        Call::Mask { how, set: s } => {
            let how = ["SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK"].get(*how as usize).unwrap_or(&"9");
            format!("sigprocmask({how}, {}, NULL)", set(s))
        }
        Call::Pending => "pending()".into(),
        Call::Take { set: s, waits: false } => format!("sigtimedwait({}, NULL, &now)", set(s)),
        Call::Take { set: s, waits: true } => format!("sigwaitinfo({}, NULL)", set(s)),
        Call::Suspend { set: s } => format!("sigsuspend({})", set(s)),
        Call::Tgkill { whom, signal } => format!("to_thread({whom}, {signal})"),
        Call::MqNotify { fd, signal: 0 } => format!("mq_notify({}, NULL)", r(fd)),
        Call::MqNotify { fd, signal } => format!("notify({}, {signal})", r(fd)),
        Call::Kill { whom, signal } => format!("kill(page->pid[{whom}], {signal})"),
        Call::Queue { whom, signal, value } => {
            format!("sigqueue(page->pid[{whom}], {signal}, (union sigval){{{value}}})")
        }
        Call::Raise { signal } => format!("raise({signal})"),
        Call::Thread { child } => format!("threaded({child}, {step})"),
        Call::Fork { child } => format!("forked({child})"),
        Call::Socket { to, kind } => format!("keep(&{}, socket(AF_UNIX, {kind:#x}, 0))", r(to)),
        Call::Bind { fd, name } => format!("bind({}, (void *)address({name}), NAMED)", r(fd)),
        Call::Listen { fd, backlog } => format!("listen({}, {backlog})", r(fd)),
        Call::Connect { fd, name } => format!("connect({}, (void *)address({name}), NAMED)", r(fd)),
        Call::Accept { fd, to, flags } => format!("keep(&{}, accept4({}, NULL, NULL, {flags:#x}))", r(to), r(fd)),
        Call::Setsockopt { fd, option, value } => {
            format!("setsockopt({}, SOL_SOCKET, {option}, &(int){{{value}}}, 4)", r(fd))
        }
        Call::Getsockopt { fd, option } => {
            format!("told(\"option\", getsockopt({}, SOL_SOCKET, {option}, &n, &(socklen_t){{4}}), n)", r(fd))
        }
        Call::Outq { fd } => format!("told(\"n\", ioctl({}, TIOCOUTQ, &n), n)", r(fd)),
        Call::SendTo { fd, len, flags, name } => {
            format!("sendto({}, buf, {len}, {flags:#x}, (void *)address({name}), NAMED)", r(fd))
        }
        Call::Pass { fd, len, flags, what } => format!("pass({}, {len}, {flags:#x}, {})", r(fd), r(what)),
        Call::Obtain { fd, len, flags, room, to } => {
            format!("obtain({}, {len}, {flags:#x}, {room}, &{})", r(fd), r(to))
        }
        Call::SemInit { sem, shared, value } => {
            format!("sem_init(&page->sem[{}], {}, {value}u)", usize::from(*sem) % UNNAMED, i32::from(*shared))
        }
        Call::SemOpen { to, name, flags, value } => {
            format!("opened(&{}, sem_open(semaphore({name}), {flags:#x}, 0600, {value}u))", p(to))
        }
        Call::SemClose { sem } => format!("closed(&{})", p(sem)),
        Call::SemUnlink { name } => format!("sem_unlink(semaphore({name}))"),
        Call::SemPost { sem } => format!("sem_post(SEM({}))", usize::from(*sem) % REGISTERS),
        Call::SemWait { sem, way } => {
            let sem = usize::from(*sem) % REGISTERS;
            match way {
                SemWay::Wait => format!("sem_wait(SEM({sem}))"),
                SemWay::Try => format!("sem_trywait(SEM({sem}))"),
                SemWay::Past => format!("sem_timedwait(SEM({sem}), &past)"),
                SemWay::BadTime => format!("sem_timedwait(SEM({sem}), &bad)"),
                SemWay::BadClock => format!("sem_clockwait(SEM({sem}), 99, &past)"),
            }
        }
        Call::SemValue { sem } => {
            format!("told(\"value\", sem_getvalue(SEM({}), &n), n)", usize::from(*sem) % REGISTERS)
        }
        Call::Exec => format!("executed({step})"),
        Call::Join { child } => format!("waitpid(page->pid[{child}], &n, WNOHANG) > 0"),
    }
}

fn command(cmd: i32) -> String {
    let name = match cmd {
        libc::F_DUPFD => "F_DUPFD",
        libc::F_GETFD => "F_GETFD",
        libc::F_SETFD => "F_SETFD",
        libc::F_GETFL => "F_GETFL",
        libc::F_SETFL => "F_SETFL",
        libc::F_DUPFD_CLOEXEC => "F_DUPFD_CLOEXEC",
        libc::F_SETPIPE_SZ => "F_SETPIPE_SZ",
        libc::F_GETPIPE_SZ => "F_GETPIPE_SZ",
        other => return other.to_string(),
    };
    name.to_owned()
}
