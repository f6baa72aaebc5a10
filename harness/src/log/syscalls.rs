//! Names of the system calls that a signal may be found to interrupt: those of signal(7),
//! "Interruption of system calls and library functions by signal handlers".

use std::borrow::Cow;

macro_rules! names {
    ($($nr:ident $name:literal)*) => {
        &[$((libc::$nr, $name)),*]
    };
}

const NAMES: &[(i64, &str)] = names! {
    SYS_read "read"
    SYS_readv "readv"
    SYS_pread64 "pread64"
    SYS_write "write"
    SYS_writev "writev"
    SYS_ioctl "ioctl"
    SYS_open "open"
    SYS_openat "openat"
    SYS_wait4 "wait4"
    SYS_waitid "waitid"
    SYS_accept "accept"
    SYS_accept4 "accept4"
    SYS_connect "connect"
    SYS_recvfrom "recvfrom"
    SYS_recvmsg "recvmsg"
    SYS_recvmmsg "recvmmsg"
    SYS_sendto "sendto"
    SYS_sendmsg "sendmsg"
    SYS_sendmmsg "sendmmsg"
    SYS_flock "flock"
    SYS_fcntl "fcntl"
    SYS_mq_timedreceive "mq_timedreceive"
    SYS_mq_timedsend "mq_timedsend"
    SYS_futex "futex"
    SYS_getrandom "getrandom"
    SYS_pause "pause"
    SYS_rt_sigsuspend "sigsuspend"
    SYS_rt_sigtimedwait "sigtimedwait"
    SYS_epoll_wait "epoll_wait"
    SYS_epoll_pwait "epoll_pwait"
    SYS_epoll_pwait2 "epoll_pwait2"
    SYS_poll "poll"
    SYS_ppoll "ppoll"
    SYS_select "select"
    SYS_pselect6 "pselect6"
    SYS_msgrcv "msgrcv"
    SYS_msgsnd "msgsnd"
    SYS_semop "semop"
    SYS_semtimedop "semtimedop"
    SYS_clock_nanosleep "clock_nanosleep"
    SYS_nanosleep "nanosleep"
    SYS_io_getevents "io_getevents"
    SYS_restart_syscall "restart_syscall"
    SYS_kill "kill"
    SYS_tgkill "tgkill"
    SYS_rt_sigprocmask "sigprocmask"
};

/// `nanosleep`; of others the number.
pub fn name(nr: i64) -> Cow<'static, str> {
    let known = NAMES.iter().find(|(n, _)| *n == nr);
    known.map_or_else(
        || Cow::Owned(format!("system call {nr}")),
        |(_, name)| Cow::Borrowed(*name),
    )
}
