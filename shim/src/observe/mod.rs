//! Mode `observe`: the real kernel serves, and what it did is told with the records that ringer's own calls
//! have. What a call alone does not tell (how much is queued now, what a semaphore's value is) is asked for
//! right after it: as true as it can be, seen from outside.

pub mod io;
pub mod mq;
pub mod pending;
pub mod sysv;

use ringer_kernel::arena::header::flag;
use ringer_kernel::log::{Kind, Logged};
use ringer_kernel::pipe::Ctx;

use crate::entry::Entry;
use crate::host::Shim;
use crate::tls::tls;
use crate::{arm, attach, demotion};

/// Whether calls that the kernel serves are to be told, in whatever mode it does.
#[inline(always)]
pub fn tells() -> bool {
    attach::has(flag::LOG)
}

/// Before a call: the process is in the session, and what it forks and how it ends is seen, as with ringer.
/// `false`: nothing is told.
#[cold]
pub fn begin() -> bool {
    if !attach::ensure_process() || demotion::is_apart() || tls().in_vfork.get() != 0 {
        return false;
    }
    let entry = Entry::enter();
    let ready = entry.owner().is_some() && arm::arm(&entry);
    let _ = entry.leave();
    ready && tls().writer().is_some()
}

/// With the context of a record, if there is a log. errno stays as it is.
pub fn with_log(fd: i32, tell: impl FnOnce(&Ctx<'_, Shim>)) {
    // SAFETY: libc's own thread-local.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let kept = unsafe { *errno };
    let entry = Entry::enter();
    if let Some(mut k) = entry.ctx(fd).filter(|k| k.log.is_on()) {
        k.log = k.log.by_kernel();
        tell(&k);
    }
    let _ = entry.leave();
    // SAFETY: as above.
    unsafe { *errno = kept };
}

/// A record about an object that is known by its number, or about none.
fn put(k: &Ctx<'_, Shim>, o: Option<&impl Logged>, kind: Kind, abc: (i64, u64, u64)) {
    match o {
        Some(o) => k.log.about(o, kind, 0, abc),
        None => k.log.event(kind, 0, abc),
    };
}
