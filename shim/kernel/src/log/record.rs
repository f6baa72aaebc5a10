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

/// By which way a call reached ringer.
pub mod layer {
    /// Symbol hook.
    pub const HOOK: u16 = 1;
    /// Syscall User Dispatch.
    pub const TRAP: u16 = 3;
    /// ringer's own doing: adoption, clean-up.
    pub const OWN: u16 = 4;
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
    /// Served by the kernel (observe mode or demoted): write. a: result.
    KernelWrite = 25,
    /// Served by the kernel: read. a: result.
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
