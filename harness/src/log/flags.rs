//! Numbers by the names that the headers give them.

use std::borrow::Cow;

const OPEN: &[(u64, &str)] = &[
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o20000, "O_ASYNC"),
    (0o40000, "O_DIRECT"),
    (0o100000, "O_LARGEFILE"),
    (0o1000000, "O_NOATIME"),
    (0o2000000, "O_CLOEXEC"),
];

const EVENTFD: &[(u64, &str)] = &[
    (1, "EFD_SEMAPHORE"),
    (0o4000, "EFD_NONBLOCK"),
    (0o2000000, "EFD_CLOEXEC"),
];

const SOCKET: &[(u64, &str)] = &[(0o4000, "SOCK_NONBLOCK"), (0o2000000, "SOCK_CLOEXEC")];

const CLONE: &[(u64, &str)] = &[
    (0x100, "CLONE_VM"),
    (0x200, "CLONE_FS"),
    (0x400, "CLONE_FILES"),
    (0x800, "CLONE_SIGHAND"),
    (0x1000, "CLONE_PIDFD"),
    (0x4000, "CLONE_VFORK"),
    (0x8000, "CLONE_PARENT"),
    (0x10000, "CLONE_THREAD"),
    (0x80000, "CLONE_SETTLS"),
    (0x100000, "CLONE_PARENT_SETTID"),
    (0x200000, "CLONE_CHILD_CLEARTID"),
    (0x1000000, "CLONE_CHILD_SETTID"),
];

const ACTION: &[(u64, &str)] = &[
    (0x1, "SA_NOCLDSTOP"),
    (0x2, "SA_NOCLDWAIT"),
    (0x4, "SA_SIGINFO"),
    (0x0800_0000, "SA_ONSTACK"),
    (0x1000_0000, "SA_RESTART"),
    (0x4000_0000, "SA_NODEFER"),
    (0x8000_0000, "SA_RESETHAND"),
];

/// Flags of sigaction(2).
pub fn sigaction(flags: u64) -> Cow<'static, str> {
    names(flags, ACTION, "0")
}

/// Flags of pipe2(2).
pub fn pipe2(flags: u64) -> Cow<'static, str> {
    names(flags, OPEN, "0")
}

/// Flags of eventfd2(2).
pub fn eventfd2(flags: u64) -> Cow<'static, str> {
    names(flags, EVENTFD, "0")
}

/// A socket's type, with its flags.
pub fn socket(raw: u64) -> Cow<'static, str> {
    let kind = match raw & 0xf {
        1 => "SOCK_STREAM",
        2 => "SOCK_DGRAM",
        5 => "SOCK_SEQPACKET",
        _ => "?",
    };
    match names(raw & !0xf, SOCKET, "") {
        rest if rest.is_empty() => kind.into(),
        rest => format!("{kind}|{rest}").into(),
    }
}

/// What shutdown(2) is to end.
pub fn shutdown(how: i64) -> Cow<'static, str> {
    match how {
        0 => "SHUT_RD".into(),
        1 => "SHUT_WR".into(),
        _ => "SHUT_RDWR".into(),
    }
}

/// Flags of open(2).
pub fn open(flags: u64) -> Cow<'static, str> {
    status(flags & !O_LARGEFILE)
}

/// libc's own addition. (uapi/asm-generic/fcntl.h)
const O_LARGEFILE: u64 = 0o100000;

/// Flags of mq_open(3).
pub fn mq_open(flags: u64) -> Cow<'static, str> {
    status(flags)
}

/// File status flags, as F_SETFL takes them, with the access mode of the end.
pub fn status(flags: u64) -> Cow<'static, str> {
    let mode = match flags & 3 {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        _ => "O_RDWR",
    };
    match names(flags & !3, OPEN, "") {
        rest if rest.is_empty() => mode.into(),
        rest => format!("{mode}|{rest}").into(),
    }
}

/// Flags of clone(2), the exit signal aside.
pub fn clone(flags: u64) -> Cow<'static, str> {
    names(flags & !0xff, CLONE, "")
}

fn names(flags: u64, table: &[(u64, &'static str)], none: &'static str) -> Cow<'static, str> {
    let mut rest = flags;
    let mut found: Vec<Cow<'static, str>> = Vec::new();
    for (bit, name) in table.iter().filter(|(bit, _)| flags & bit != 0) {
        found.push((*name).into());
        rest &= !bit;
    }
    if rest != 0 {
        found.push(format!("{rest:#x}").into());
    }
    match found.as_slice() {
        [] => none.into(),
        [one] => one.clone(),
        many => many.join("|").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bits_by_name_and_the_rest_as_a_number() {
        assert_eq!(pipe2(0), "0");
        assert_eq!(pipe2(0o2000000), "O_CLOEXEC");
        assert_eq!(pipe2(0o2004000), "O_NONBLOCK|O_CLOEXEC");
        assert_eq!(pipe2(0o2000000 | 1 << 30), "O_CLOEXEC|0x40000000");
        assert_eq!(status(0o4001), "O_WRONLY|O_NONBLOCK");
        assert_eq!(status(0), "O_RDONLY");
        assert_eq!(clone(0x4100 | 17), "CLONE_VM|CLONE_VFORK");
        assert_eq!(clone(17), "");
    }
}
