//! Which messages a receiver wants. See Linux v6.18 ipc/msg.c `convert_mode`, `testmsg`.

use crate::planted::{planted, Bug};

pub const MSG_NOERROR: i32 = 0o10000;
pub const MSG_EXCEPT: i32 = 0o20000;
pub const MSG_COPY: i32 = 0o40000;

/// As a call says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Any,
    Type(i64),
    Except(i64),
    /// The lowest type, up to this.
    UpTo(i64),
    /// The one with this number (MSG_COPY).
    Number(i64),
}

impl Wanted {
    pub fn new(mtype: i64, flags: i32) -> Wanted {
        if flags & MSG_COPY != 0 {
            Wanted::Number(mtype)
        } else if mtype == 0 {
            Wanted::Any
        } else if mtype < 0 {
            Wanted::UpTo(mtype.checked_neg().unwrap_or(i64::MAX))
        } else if flags & MSG_EXCEPT != 0 {
            Wanted::Except(mtype)
        } else {
            Wanted::Type(mtype)
        }
    }

    /// As a waiter has it.
    pub fn pack(self) -> (u64, u32) {
        match self {
            Wanted::Any => (0, 0),
            Wanted::Type(t) => (t as u64, 1),
            Wanted::Except(t) => (t as u64, 2),
            Wanted::UpTo(t) => (t as u64, 3),
            Wanted::Number(n) => (n as u64, 4),
        }
    }

    pub fn unpack(value: u64, mode: u32) -> Wanted {
        let t = value as i64;
        match mode {
            1 => Wanted::Type(t),
            2 => Wanted::Except(t),
            3 => Wanted::UpTo(t),
            4 => Wanted::Number(t),
            _ => Wanted::Any,
        }
    }

    /// `testmsg`.
    #[inline(always)]
    pub fn takes(self, mtype: i64) -> bool {
        match self {
            Wanted::Any | Wanted::Number(_) => true,
            Wanted::Type(t) => mtype == t,
            Wanted::Except(t) => (mtype != t) != planted(Bug::MsgExceptIsTheType),
            Wanted::UpTo(t) => mtype <= t - i64::from(planted(Bug::MsgUpToIsBelow)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_linuxs_search_mode() {
        assert_eq!(Wanted::new(0, MSG_EXCEPT), Wanted::Any);
        assert_eq!(Wanted::new(-3, MSG_EXCEPT), Wanted::UpTo(3));
        assert_eq!(Wanted::new(i64::MIN, 0), Wanted::UpTo(i64::MAX));
        assert_eq!(Wanted::new(2, MSG_EXCEPT), Wanted::Except(2));
        assert_eq!(Wanted::new(-2, MSG_COPY), Wanted::Number(-2));
        for w in [
            Wanted::Any,
            Wanted::Type(5),
            Wanted::Except(-1),
            Wanted::UpTo(i64::MAX),
            Wanted::Number(3),
        ] {
            let (value, mode) = w.pack();
            assert_eq!(Wanted::unpack(value, mode), w);
        }
        assert!(Wanted::UpTo(3).takes(3) && !Wanted::UpTo(3).takes(4));
        assert!(Wanted::Except(3).takes(4) && !Wanted::Except(3).takes(3));
    }
}
