//! Who may do what with an object. See sysvipc(7), "IPC object permissions"; Linux v6.18
//! ipc/util.c `ipcperms`.

use crate::abi::Errno;
use crate::sync::atomic::{AtomicU32, Ordering::*};

pub const IPC_PRIVATE: i32 = 0;
pub const IPC_CREAT: i32 = 0o1000;
pub const IPC_EXCL: i32 = 0o2000;
pub const IPC_NOWAIT: i32 = 0o4000;

/// Bits of a mode that are asked for, for all three classes at once.
pub const READ: u32 = 0o444;
pub const WRITE: u32 = 0o222;
pub const EXECUTE: u32 = 0o111;
const MODE: u32 = 0o777;

pub const CAP_IPC_LOCK: u32 = 14;
pub const CAP_IPC_OWNER: u32 = 15;
pub const CAP_SYS_ADMIN: u32 = 21;
pub const CAP_SYS_RESOURCE: u32 = 24;

/// What is asked only when the plain comparison of users does not decide.
pub trait Rights {
    fn in_group(&self, gid: u32) -> bool;
    fn capable(&self, capability: u32) -> bool;
}

/// Who makes a call.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    pub pid: u32,
    pub tid: u32,
    /// Slot and generation of the process.
    pub slot: u32,
    pub generation: u32,
    pub euid: u32,
    pub egid: u32,
    pub rights: &'a dyn Rights,
}

/// `kern_ipc_perm`. Changed under the root's lock and the object's.
#[repr(C)]
pub struct Perm {
    /// The id plus one; 0: the slot is free. Stored last when an object is made, first when it goes.
    pub id: AtomicU32,
    pub key: AtomicU32,
    pub uid: AtomicU32,
    pub gid: AtomicU32,
    pub cuid: AtomicU32,
    pub cgid: AtomicU32,
    /// Nine bits, and of shared memory SHM_DEST and SHM_LOCKED.
    pub mode: AtomicU32,
    pub seq: AtomicU32,
}

impl Perm {
    pub fn is_free(&self) -> bool {
        self.id.load(Acquire) == 0
    }

    #[inline(always)]
    pub fn is(&self, id: i32) -> bool {
        self.id.load(Acquire) == (id as u32).wrapping_add(1)
    }

    pub fn id(&self) -> i32 {
        self.id.load(Acquire).wrapping_sub(1) as i32
    }

    /// A new object's, but for its id.
    pub fn begin(&self, key: i32, mode: u32, who: &Who<'_>) {
        self.key.store(key as u32, Relaxed);
        self.uid.store(who.euid, Relaxed);
        self.cuid.store(who.euid, Relaxed);
        self.gid.store(who.egid, Relaxed);
        self.cgid.store(who.egid, Relaxed);
        self.mode.store(mode & MODE, Relaxed);
    }

    /// `ipcperms`: whether `who` may have the bits of `asked`.
    #[inline(always)]
    pub fn allows(&self, asked: u32, who: &Who<'_>) -> bool {
        let asked = asked >> 6 | asked >> 3 | asked;
        let mode = self.mode.load(Relaxed);
        let owns = who.euid == self.cuid.load(Relaxed) || who.euid == self.uid.load(Relaxed);
        if owns && asked & !(mode >> 6) & 7 == 0 {
            return true;
        }
        self.allows_otherwise(asked, mode, owns, who)
    }

    #[cold]
    fn allows_otherwise(&self, asked: u32, mode: u32, owns: bool, who: &Who<'_>) -> bool {
        let in_group = |gid: u32| gid == who.egid || who.rights.in_group(gid);
        let granted = if owns {
            mode >> 6
        } else if in_group(self.cgid.load(Relaxed)) || in_group(self.gid.load(Relaxed)) {
            mode >> 3
        } else {
            mode
        };
        asked & !granted & 7 == 0 || who.rights.capable(CAP_IPC_OWNER)
    }

    /// Whether `who` may change or remove it: `ipcctl_obtain_check`.
    pub fn may_control(&self, who: &Who<'_>) -> Result<(), Errno> {
        let owns = who.euid == self.cuid.load(Relaxed) || who.euid == self.uid.load(Relaxed);
        if owns || who.rights.capable(CAP_SYS_ADMIN) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// `ipc_update_perm`.
    pub fn update(&self, new: &Ipc64Perm) -> Result<(), Errno> {
        if new.uid == u32::MAX || new.gid == u32::MAX {
            return Err(Errno::EINVAL);
        }
        self.uid.store(new.uid, Relaxed);
        self.gid.store(new.gid, Relaxed);
        let kept = self.mode.load(Relaxed) & !MODE;
        self.mode.store(kept | new.mode & MODE, Relaxed);
        Ok(())
    }

    /// `kernel_to_ipc64_perm`.
    pub fn as_user(&self) -> Ipc64Perm {
        Ipc64Perm {
            key: self.key.load(Relaxed),
            uid: self.uid.load(Relaxed),
            gid: self.gid.load(Relaxed),
            cuid: self.cuid.load(Relaxed),
            cgid: self.cgid.load(Relaxed),
            mode: self.mode.load(Relaxed),
            seq: self.seq.load(Relaxed) & 0xffff,
            ..Ipc64Perm::default()
        }
    }
}

/// struct ipc64_perm of x86-64. (include/uapi/asm-generic/ipcbuf.h)
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Ipc64Perm {
    pub key: u32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
    /// 16 bits, and as many of padding.
    pub seq: u32,
    pub pad: u32,
    pub unused: [u64; 2],
}

const _: () = assert!(core::mem::size_of::<Ipc64Perm>() == 48);

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use super::*;

    pub struct Nobody {
        pub groups: &'static [u32],
        pub capabilities: &'static [u32],
    }

    impl Rights for Nobody {
        fn in_group(&self, gid: u32) -> bool {
            self.groups.contains(&gid)
        }
        fn capable(&self, capability: u32) -> bool {
            self.capabilities.contains(&capability)
        }
    }

    pub const PLAIN: Nobody = Nobody {
        groups: &[],
        capabilities: &[],
    };

    pub fn who(euid: u32, egid: u32, rights: &Nobody) -> Who<'_> {
        Who {
            pid: 10,
            tid: 10,
            slot: 1,
            generation: 1,
            euid,
            egid,
            rights,
        }
    }

    fn perm(mode: u32) -> Perm {
        let z = || AtomicU32::new(0);
        let p = Perm {
            id: z(),
            key: z(),
            uid: z(),
            gid: z(),
            cuid: z(),
            cgid: z(),
            mode: z(),
            seq: z(),
        };
        p.begin(1, mode, &who(100, 200, &PLAIN));
        p
    }

    #[test]
    fn the_class_is_chosen_before_the_bits_are_looked_at() {
        let p = perm(0o066);
        assert!(
            !p.allows(READ, &who(100, 200, &PLAIN)),
            "the owner, by class"
        );
        assert!(p.allows(READ, &who(101, 200, &PLAIN)));
        assert!(p.allows(WRITE, &who(101, 201, &PLAIN)));
        let member = Nobody {
            groups: &[200],
            capabilities: &[],
        };
        assert!(!perm(0o606).allows(READ, &who(101, 201, &member)));
    }

    #[test]
    fn a_capability_overrides() {
        let owner = Nobody {
            groups: &[],
            capabilities: &[CAP_IPC_OWNER],
        };
        assert!(perm(0).allows(READ | WRITE, &who(1, 1, &owner)));
        assert_eq!(perm(0).may_control(&who(1, 1, &owner)), Err(Errno::EPERM));
        assert_eq!(perm(0).may_control(&who(100, 1, &PLAIN)), Ok(()));
    }
}
