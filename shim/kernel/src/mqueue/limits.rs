//! What mq_open(3) allows. Linux v6.18 ipc/mqueue.c `mqueue_get_inode`, include/linux/ipc_namespace.h.

use crate::abi::Errno;

/// Priorities are below this. (limits.h MQ_PRIO_MAX)
pub const MQ_PRIO_MAX: u32 = 32768;
/// What CAP_SYS_RESOURCE may have.
pub const HARD_MSGMAX: i64 = 65536;
pub const HARD_MSGSIZEMAX: i64 = 16 << 20;
pub const NAME_MAX: usize = 255;
/// sizeof(struct msg_msg), sizeof(struct posix_msg_tree_node).
const MSG_MSG: u64 = 48;
const TREE_NODE: u64 = 48;

/// /proc/sys/fs/mqueue/*.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub queues_max: u32,
    pub msg_max: i64,
    pub msg_default: i64,
    pub msgsize_max: i64,
    pub msgsize_default: i64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            queues_max: 256,
            msg_max: 10,
            msg_default: 10,
            msgsize_max: 8192,
            msgsize_default: 8192,
        }
    }
}

/// The attributes of a new queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attr {
    pub maxmsg: u32,
    pub msgsize: u32,
    /// What it counts for, against RLIMIT_MSGQUEUE.
    pub charge: u64,
}

/// `wanted` are the program's mq_maxmsg and mq_msgsize; `may_exceed`: CAP_SYS_RESOURCE.
///
/// EINVAL: not positive, or above the limits; EOVERFLOW cannot be, below the hard limits.
pub fn attr(wanted: Option<(i64, i64)>, limits: &Limits, may_exceed: bool) -> Result<Attr, Errno> {
    let (maxmsg, msgsize) = wanted.unwrap_or((
        limits.msg_max.min(limits.msg_default),
        limits.msgsize_max.min(limits.msgsize_default),
    ));
    let (most, longest) = if may_exceed {
        (HARD_MSGMAX, HARD_MSGSIZEMAX)
    } else {
        (limits.msg_max, limits.msgsize_max)
    };
    let fits = (1..=most).contains(&maxmsg) && (1..=longest).contains(&msgsize);
    let (Ok(count), Ok(size), true) = (u32::try_from(maxmsg), u32::try_from(msgsize), fits) else {
        return Err(Errno::EINVAL);
    };
    let tree = u64::from(count) * MSG_MSG + u64::from(count.min(MQ_PRIO_MAX)) * TREE_NODE;
    Ok(Attr {
        maxmsg: count,
        msgsize: size,
        charge: u64::from(count) * u64::from(size) + tree,
    })
}

/// What mq_open(3) makes of a name, without its slash. (`lookup_noperm`: no directories here)
pub fn name(name: &[u8]) -> Result<(), Errno> {
    if name.is_empty() {
        return Err(Errno::ENOENT);
    }
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if name.contains(&b'/') || name == b"." || name == b".." {
        return Err(Errno::EACCES);
    }
    Ok(())
}

/// Who opens a queue.
pub struct Cred<'a> {
    pub uid: u32,
    pub gid: u32,
    pub in_group: &'a dyn Fn(u32) -> bool,
    /// CAP_DAC_OVERRIDE, CAP_SYS_RESOURCE, CAP_FOWNER.
    pub may_override: bool,
    pub may_exceed: bool,
    pub may_own: bool,
}

pub const MAY_READ: u32 = 4;
pub const MAY_WRITE: u32 = 2;

impl Cred<'_> {
    /// `inode_permission` on a queue of this mode and owner.
    pub fn may(&self, mode: u32, uid: u32, gid: u32, wanted: u32) -> bool {
        if self.may_override {
            return true;
        }
        let bits = if self.uid == uid {
            mode >> 6
        } else if self.gid == gid || (self.in_group)(gid) {
            mode >> 3
        } else {
            mode
        };
        bits & wanted == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_bounded_by_the_limits_or_by_the_hard_ones() {
        let l = Limits::default();
        let of = |a, b, root| attr(Some((a, b)), &l, root).map(|a| (a.maxmsg, a.msgsize));
        assert_eq!(of(10, 8192, false), Ok((10, 8192)));
        for (a, b) in [(0, 1), (1, 0), (-1, 1), (1, -1), (11, 1), (1, 8193)] {
            assert_eq!(of(a, b, false), Err(Errno::EINVAL));
        }
        assert_eq!(of(65536, 1 << 24, true), Ok((65536, 1 << 24)));
        assert_eq!(of(65537, 1, true), Err(Errno::EINVAL));
        assert_eq!(of(1, (1 << 24) + 1, true), Err(Errno::EINVAL));
        assert_eq!(
            attr(None, &l, false).map(|a| a.charge),
            Ok(10 * (8192 + 96))
        );
    }

    #[test]
    fn names_are_one_component() {
        assert_eq!(name(b""), Err(Errno::ENOENT));
        for bad in [&b"."[..], b"..", b"a/b", b"/"] {
            assert_eq!(name(bad), Err(Errno::EACCES));
        }
        assert_eq!(name(&[b'a'; 256]), Err(Errno::ENAMETOOLONG));
        assert_eq!(name(&[b'a'; 255]), Ok(()));
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let none = |_| false;
        let group = |g| g == 7;
        let who = |uid, in_group| Cred {
            uid,
            gid: 1,
            in_group,
            may_override: false,
            may_exceed: false,
            may_own: false,
        };
        assert!(who(5, &none).may(0o600, 5, 9, MAY_READ | MAY_WRITE));
        assert!(!who(5, &none).may(0o066, 5, 9, MAY_READ));
        assert!(who(6, &group).may(0o040, 5, 7, MAY_READ));
        assert!(!who(6, &group).may(0o004, 5, 7, MAY_READ));
        assert!(who(6, &none).may(0o004, 5, 7, MAY_READ));
    }
}
