//! The 64-byte record. The only place that knows the wire format.

/// One transition. Numbers mean what [`Kind`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Record {
    /// Index in its ring plus one, stored last: anything else is a torn record.
    pub commit: u64,
    /// Time-stamp counter.
    pub tsc: u64,
    pub kind: u16,
    /// Layer by which the call came.
    pub aux: u16,
    /// pipe#N, 0 for none.
    pub object: u32,
    /// Order among the object's records.
    pub seq: u32,
    pub fd: i32,
    /// Id of the record that made this one possible, 0 for none.
    pub cause: u64,
    pub a: i64,
    pub b: u64,
    pub c: u64,
}

const _: () = assert!(core::mem::size_of::<Record>() == 64);

impl Record {
    /// A position that cannot be known from outside.
    pub const UNKNOWN: u64 = u64::MAX;
}

/// By which way a call reached ringer.
pub mod layer {
    /// Symbol hook.
    pub const HOOK: u16 = 1;
    /// Syscall User Dispatch.
    pub const TRAP: u16 = 3;
    /// ringer's own doing: adoption, clean-up.
    pub const OWN: u16 = 4;
    /// Added to these: the real kernel served the call, and the record's state is what can be known from
    /// outside.
    ///
    /// Of a pipe's Read, Write, Eof and their failures, the upper half of `c` is how long it took, in units of
    /// 2^TICKS_SHIFT ticks.
    pub const BY_KERNEL: u16 = 0x100;
    pub const TICKS_SHIFT: u32 = 10;
}

/// What a signal comes upon where its handler is called: in [`Kind::SigHandler`].
pub mod meets {
    /// No system call, or one that ringer serves.
    pub const NOTHING: u64 = 0;
    /// A system call of the kernel's ends with EINTR: which one is known if its number is not 0.
    pub const INTERRUPTED: u64 = 1;
    /// A system call is made again after the handler, or for the first time.
    pub const TO_BE_MADE: u64 = 2;
}

/// What became of a signal that was sent: in [`Kind::SigSend`].
pub mod sent {
    /// The kernel has it.
    pub const BY_KERNEL: u64 = 0;
    /// Pending in the arena: blocked there.
    pub const BLOCKED: u64 = 1;
    /// One of its number was pending there.
    pub const COALESCED: u64 = 2;
    /// No more may be queued.
    pub const FULL: u64 = 3;
    /// The sender's own, its handler is called at once.
    pub const AT_ONCE: u64 = 4;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $n:literal),* $(,)?) => {
        /// What happened, and what `a`, `b` and `c` are.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $name,)*
            /// Written by another build.
            Unknown(u16),
        }

        impl Kind {
            pub fn raw(self) -> u16 {
                match self {
                    $(Kind::$name => $n,)*
                    Kind::Unknown(n) => n,
                }
            }

            /// Decoding never fails.
            pub fn from_raw(n: u16) -> Kind {
                match n {
                    $($n => Kind::$name,)*
                    n => Kind::Unknown(n),
                }
            }
        }
    };
}

kinds! {
    /// A process joined. a: ppid; b: 1 if it came by exec.
    Start = 1,
    /// It left in order. a: exit status.
    Exit = 2,
    /// a: child's pid; b: clone flags.
    Fork = 3,
    /// exec is about to happen. a: 1 if the new program is shimmed, else 0; b: unshimmable why.
    Exec = 4,
    /// At exit: a: calls by hook; b: by trap; c: traps that passed to the kernel.
    Layers = 5,
    /// exec failed. a: errno.
    ExecFailed = 6,

    /// a: read end's fd; b: write end's fd; c: flags << 32 | slots.
    Create = 10,
    /// A new program image found the descriptor open. a: 0 read end, 1 write end.
    Adopt = 11,
    /// fd duplicated. a: new fd; b: end.
    Dup = 12,
    /// fd closed. a: end; b: descriptions of that end that are left.
    Close = 13,
    /// Nobody holds it any more. a: bytes lost in it.
    Free = 14,
    /// Went to the kernel. a: see `Cause`; b: bytes moved into the twin.
    Demote = 15,
    /// F_SETPIPE_SZ. a: slots now.
    Resize = 16,
    /// Polled: readiness is mirrored into the twin from now on.
    Watch = 17,
    /// F_SETFL or FIONBIO. a: flags now; b: end.
    SetFlags = 18,

    /// a: bytes; b: stream position of the first; c: bytes queued after.
    Write = 20,
    /// a: bytes; b: stream position of the first; c: bytes queued after.
    Read = 21,
    /// write failed. a: errno.
    WriteFailed = 22,
    /// read failed. a: errno.
    ReadFailed = 23,
    /// read gave 0: no writer is left. b: stream position.
    Eof = 24,
    /// Served by the kernel (observe mode or demoted): write. a: result; b: ticks that it took, if known.
    KernelWrite = 25,
    /// Served by the kernel: read. As KernelWrite.
    KernelRead = 26,

    /// Sleeps. a: 0 to read, 1 to write.
    Block = 30,
    /// Sleeps no more. a: ticks asleep; cause: the record that woke it.
    Wake = 31,
    /// A signal ended the wait. a: 0 EINTR, 1 restarted.
    Interrupted = 32,

    /// A lock was taken over from a dead owner. a: who.
    Orphaned = 40,
    /// a: records that did not fit in the ring before this one.
    Lost = 41,
    /// The descriptors of a process that died without closing them. a: its pid.
    Reaped = 42,

    /// A signal was sent. a: to which pid; b: signal | [`sent`] << 8 | si_code << 32; c: the N of
    /// sig#N; fd: to which thread, if above 0.
    SigSend = 50,
    /// It could not be. a: errno; b: signal | si_code << 32; c: pid.
    SigSendFailed = 51,
    /// sigwait and its like took it. a: signal; b: sender's pid | si_code << 32; c: sig#N.
    SigAccept = 52,
    /// Its handler is called. a: signal | [`meets`] << 8 | number of that system call << 16; b: the
    /// handler's address; c: sender's pid | si_code << 32; fd: where its frame is, in units of 16
    /// bytes, the lower 31 bits.
    SigHandler = 53,
    /// The handler has returned. a: signal; b: ticks it took; c: the mask from here on.
    SigReturn = 54,
    /// The mask changed. a: how; b: before; c: after.
    SigMask = 55,
    /// The action changed. a: signal; b: handler, or 0 default, 1 ignored; c: flags.
    SigAction = 56,
    /// Waits for signals. a: 0 sigsuspend, 1 sigtimedwait; b: the mask, or the set.
    SigWait = 57,
    /// It came while it was blocked by name only, and is pending in the kernel now. a: signal.
    SigBounced = 58,
    /// A process has died of one: the supervisor's word. a: signal, 128 more with a core dump, 256
    /// more if only the signal's sender tells so; b: pid.
    SigKilled = 59,
    /// eventfd2. a: fd; b: the counter at first; c: flags.
    EventfdCreate = 70,
    /// a: what was added; b: the counter before; c: after.
    EventfdWrite = 71,
    /// a: what was taken; b: the counter before; c: after; cause: the latest write.
    EventfdRead = 72,
    /// A System V object was made. a: its id; b: its key; c: semaphores, or bytes.
    SysvCreate = 120,
    /// One that was there was asked for. a: its id; b: its key.
    SysvGet = 121,
    /// IPC_RMID. a: its id; b: what was lost with it: messages, or who has it attached.
    SysvRemove = 122,
    /// IPC_SET. a: its id; b: mode; c: gid << 32 | uid.
    SysvSet = 123,
    /// A System V call failed. a: errno; b: the call's number; c: id or key.
    SysvFailed = 124,
    /// An operation on a semaphore. a: what was added; b: flags << 32 | number; c: pid << 32 | value
    /// after.
    SemOp = 125,
    /// SETVAL, SETALL. a: the value, -1 for many; b: the number.
    SemSet = 126,
    /// SEM_UNDO of a process that ended. a: what was added; b: pid << 32 | number; c: value after.
    SemUndo = 127,
    /// Sleeps. a: 0 semop, 1 msgsnd, 2 msgrcv; b: number of the semaphore, or type; c: operation, or size.
    SysvBlock = 128,
    /// Sleeps no more. a: ticks asleep; cause: the record that woke it.
    SysvWake = 129,
    /// A signal ended the wait.
    SysvInterrupted = 130,
    /// A lock was taken over from a dead owner. a: who.
    SysvOrphaned = 131,
    /// A message. a: bytes; b: type; c: messages queued after.
    MsgSend = 132,
    /// a: bytes; b: type; c: messages queued after; cause: the sending.
    MsgReceive = 133,
    /// MSG_COPY. a: bytes; b: type.
    MsgCopy = 134,
    /// a: address; b: attachments after; c: flags.
    ShmAttach = 135,
    /// a: address; b: attachments after; c: pid.
    ShmDetach = 136,
    /// a: 1 SHM_LOCK, 0 SHM_UNLOCK.
    ShmLock = 137,
    /// A System V call was served by the kernel. a: what it came to; b: the call's number; c: id or key.
    SysvByKernel = 138,
    /// A message queue was made. a: fd; b: flags << 32 | mode; c: mq_maxmsg << 32 | mq_msgsize.
    MqCreate = 100,
    /// It was opened. a: fd; b: flags.
    MqOpen = 101,
    /// A description of it is gone. a: descriptions that are left.
    MqClose = 102,
    /// It lost its name.
    MqUnlink = 103,
    /// A message was sent. a: bytes; b: priority; c: messages in the queue after.
    MqSend = 104,
    /// A message was received. a: bytes; b: priority; c: messages in the queue after.
    MqReceive = 105,
    /// A message went straight to a waiting receiver. a: bytes; b: priority; c: the receiver's slot.
    MqHandOver = 106,
    /// The message of a waiting sender got its room. a: bytes; b: priority; c: messages after.
    MqAdmit = 107,
    /// mq_send failed. a: errno.
    MqSendFailed = 108,
    /// mq_receive failed. a: errno.
    MqReceiveFailed = 109,
    /// A process is to be told. a: 1 not at all, 2 by a signal, 3 by a thread; b: signal; c: pid.
    MqNotify = 110,
    /// It is told. a: pid; b: how, as for MqNotify. cause: the message.
    MqNotified = 111,
    /// It is not to be told any more. a: how it would have been.
    MqNotifyOff = 112,
    /// sem_wait and its kin. a: 0 or -errno; b: the address; c: ticks that it took.
    SemWait = 113,

    /// socketpair. a: the first fd; b: the second; c: flags and type.
    SocketPair = 75,
    /// Sent. a: bytes; b: position of the first in this direction; c: bytes queued there after,
    /// doubled, and who: 0 the first socket, 1 the second.
    SocketSend = 76,
    /// Received. As SocketSend.
    SocketRecv = 77,
    /// send failed. a: errno; b: bytes that were sent before; c: who.
    SendFailed = 78,
    /// recv failed, or (errno 0) gave 0: the other side will send no more. a: errno; c: who.
    RecvFailed = 79,
    /// shutdown. a: what: SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2; b: who.
    Shutdown = 80,
    /// setsockopt of something that matters here. a: option; b: value; c: who.
    SetOption = 81,
    /// connect to a socket's name. a: the fd; b, c: the first bytes of the name.
    SocketConnect = 82,
    /// accept, from where on the arena has the connection. As SocketConnect.
    SocketAccept = 83,
    /// shm_open. a: the descriptor, or -errno; b, c: the first bytes of the name.
    ShmOpen = 114,
    /// shm_unlink. a: 0 or -errno; b, c: as above.
    ShmUnlink = 115,
    /// sem_open. a: the address, or -errno; b, c: as above.
    SemOpen = 116,
    /// sem_unlink. a: 0 or -errno; b, c: as above.
    SemUnlink = 117,
    /// memfd_create. a: the descriptor; b, c: as above.
    MemfdCreate = 118,
    /// sem_post. a: 0 or -errno; b: the address; c: the value afterwards.
    SemPost = 119,
    /// open of a FIFO begins: it waits if nobody has the other end open. a: flags; b, c: the last
    /// bytes of the path.
    FifoOpening = 160,
    /// And is over. a: the descriptor, or -errno; b: flags; c: ticks that it took. cause: the opening of
    /// the other end that it waited for.
    FifoOpen = 161,
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// Why an object was demoted to the kernel.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Cause {
            $($(#[$doc])* $name,)*
        }

        impl Cause {
            pub fn raw(self) -> u32 {
                match self {
                    $(Cause::$name => $n,)*
                }
            }

            /// The cause in words, for the log.
            pub fn describe(raw: u32) -> &'static str {
                match raw {
                    $($n => $text,)*
                    _ => "unknown",
                }
            }
        }
    };
}

causes! {
    /// --mode observe, or not in --emulate.
    Observed = 1, "only observed";
    StaticProgram = 2, "exec of a static program";
    Privileged = 3, "exec of a set-user-ID or set-group-ID program";
    PreloadRemoved = 4, "exec with LD_PRELOAD set to something else";
    ForeignLibc = 5, "exec of a program with another C library";
    IoUring = 6, "io_uring";
    ScmRights = 7, "sent with SCM_RIGHTS";
    NoMemory = 8, "no memory for its buffer";
    Unreadable = 9, "exec of a program that can not be read";
    Transfer = 10, "a call that ringer leaves to the kernel";
    TooLarge = 11, "larger than 4 MiB";
    NoDispatch = 12, "Syscall User Dispatch is missing";
    PidfdGetfd = 13, "taken with pidfd_getfd";
    PrivilegesDropped = 14, "its holder gives its privileges up";
    /// clone(CLONE_FILES) of a process, unshare(CLONE_FILES), CLOSE_RANGE_UNSHARE.
    TableSplit = 16, "threads or processes share or split a descriptor table";
    NoAccess = 15, "exec by a user who may not open the session";
    Polled = 17, "poll, select or epoll: the kernel tells its readiness";
    Vectored = 18, "readv or writev";
    Aio = 19, "io_submit";
    Ancillary = 20, "a message with ancillary data";
    Option = 21, "a socket option that ringer does not serve";
    Addressed = 22, "bind, connect, or a message to an address";
    OutOfBand = 23, "out-of-band data";
    Seccomp = 25, "its holder restricts its system calls (seccomp)";
    Namespace = 41, "its holder goes into another PID namespace";
    Fifo = 40, "a FIFO: anybody may open it by its name";
    NotDumpable = 24, "its holder may not be looked into any more (PR_SET_DUMPABLE)";
    /// Of a connection.
    Stranger = 26, "its other end is not ringer's";
    LeftBehind = 42, "one of the pair was closed, and left something unread";
    Sanitizer = 43, "exec of a program whose AddressSanitizer has to be its first library";
    RootChanged = 44, "its holder changes its root: /proc may not be there";
    Traced = 45, "its holder is traced (ptrace): whoever traces it would see ringer's traps";
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_number_decodes_and_encodes_to_itself() {
        for n in 0..=u16::MAX {
            assert_eq!(Kind::from_raw(n).raw(), n);
        }
    }
}
