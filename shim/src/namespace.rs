//! In which PID namespace this process is. See `ringer_kernel::task::alive` for what that is good for.

use core::sync::atomic::{AtomicU32, Ordering::*};

use crate::entry::Entry;
use crate::gate::sys;
use crate::tls::tls;
use crate::{attach, host};

/// The inode of /proc/self/ns/pid, 0 for none.
static NAMESPACE: AtomicU32 = AtomicU32::new(0);
/// Whether /proc shows this namespace, and not one around it.
static HAS_PROC: AtomicU32 = AtomicU32::new(0);
/// For which process both are known, 0: for none.
static KNOWN: AtomicU32 = AtomicU32::new(0);

/// The namespace of the caller's number.
pub fn current() -> u32 {
    // What is kept is the parent's, whose memory this is; and a parent in another namespace has number 0.
    if tls().in_vfork.get() != 0 && host::getppid() == 0 {
        return ask();
    }
    if KNOWN.load(Acquire) == 0 {
        NAMESPACE.store(ask(), Relaxed);
        HAS_PROC.store(u32::from(proc_knows_us()), Relaxed);
        KNOWN.store(host::getpid(), Release);
    }
    NAMESPACE.load(Relaxed)
}

/// Whether /proc/N is process N of this namespace.
pub fn has_proc() -> bool {
    current();
    HAS_PROC.load(Relaxed) != 0
}

pub fn forget() {
    KNOWN.store(0, Release);
}

/// A forked child has its parent's namespace, if it can see who knew of that.
pub fn after_fork(ppid: u32) {
    let known = KNOWN.load(Relaxed);
    if tls().in_vfork.get() == 0 && known != host::getpid() {
        let same = known != 0 && known == ppid;
        KNOWN.store(if same { host::getpid() } else { 0 }, Release);
    }
}

/// One who is not of the session's own namespace is known to the others by what the kernel marks alone.
pub fn be_known(entry: &Entry) {
    let home = attach::arena().map_or(0, |a| a.header().namespace.load(Relaxed));
    if home != current() {
        entry.owner();
    }
}

/// pid_namespaces(7).
fn ask() -> u32 {
    // SAFETY: all zero is a valid stat.
    let mut st: libc::stat = unsafe { core::mem::zeroed() };
    let path = c"/proc/self/ns/pid".as_ptr();
    let ret = sys!(libc::SYS_newfstatat, libc::AT_FDCWD, path, &raw mut st, 0);
    if ret == 0 {
        st.st_ino as u32
    } else {
        0
    }
}

fn proc_knows_us() -> bool {
    let mut text = [0u8; 16];
    let (at, path) = (libc::AT_FDCWD, c"/proc/self".as_ptr());
    let n = sys!(
        libc::SYS_readlinkat,
        at,
        path,
        text.as_mut_ptr(),
        text.len()
    );
    let digits = usize::try_from(n).ok().and_then(|n| text.get(..n));
    digits.is_some_and(|d| crate::procfs::number(d) == u64::from(host::getpid()))
}
