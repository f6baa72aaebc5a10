//! mq_timedsend(2), mq_timedreceive(2), mq_getsetattr(2): POSIX message queues as the kernel's calls have
//! them. libc's functions are in hooks/mq.rs.

mod notify;
mod open;
mod status;
mod twin;

use core::sync::atomic::Ordering::*;

use ringer_kernel::file::{FileRef, MqFile};
use ringer_kernel::host::UserWrite;
use ringer_kernel::log::Kind;
use ringer_kernel::mqueue::limits::MQ_PRIO_MAX;
use ringer_kernel::mqueue::notify::Notice;
use ringer_kernel::pipe::Ctx;
use ringer_kernel::sys::mqueue::{mq_receive, mq_send, Caller};
use ringer_kernel::sys::Blocking;
use ringer_kernel::task::Process;

use crate::entry::{Entry, Verdict};
use crate::gate::{sys, Timespec};
use crate::host::Shim;
use crate::user::{self, access_ok, Flat};

use super::{count_hook, lookup, verdict};

pub use notify::{notify, prepare, By};
pub use open::{adopt, open, unlink};
pub use status::{read, readv, rest_of_status, set_flags, status_flags, write};
pub use twin::{forget_twin, is_twin, watch};

const ACCESS: u32 = libc::O_ACCMODE as u32;

/// struct mq_attr, without its reserve.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Attr {
    flags: i64,
    maxmsg: i64,
    msgsize: i64,
    curmsgs: i64,
    reserved: [i64; 4],
}

/// A message queue's descriptor. `Err`: it is none of ringer's, which the real call judges; a
/// queue that came here by a way that ringer does not see (SCM_RIGHTS) is taken up first.
#[inline(always)]
fn find(entry: &Entry, fd: i32) -> Result<(&'static Process, MqFile), Verdict> {
    match lookup(entry, fd) {
        Some((p, FileRef::Mq(e))) => Ok((p, e)),
        Some(_) => Err(Verdict::errno(libc::EBADF)),
        None => find_unknown(entry, fd),
    }
}

#[cold]
fn find_unknown(entry: &Entry, fd: i32) -> Result<(&'static Process, MqFile), Verdict> {
    if adopt(entry, fd) {
        if let Some((p, FileRef::Mq(e))) = lookup(entry, fd) {
            return Ok((p, e));
        }
    }
    Err(Verdict::Pass)
}

fn blocking(e: &MqFile) -> Blocking {
    match e.file.has(libc::O_NONBLOCK as u32) {
        true => Blocking::No,
        false => Blocking::Yes,
    }
}

/// A deadline in CLOCK_REALTIME, and this thread's place among those who wait.
struct Me {
    deadline: Option<Timespec>,
}

impl Me {
    /// `prepare_timeout`: EFAULT, EINVAL, before anything else is looked at.
    #[inline(always)]
    fn new(at: usize) -> Result<Me, Verdict> {
        if at == 0 {
            return Ok(Me { deadline: None });
        }
        let Some([sec, nsec]) = user::fetch::<[i64; 2]>(at) else {
            return Err(Verdict::errno(libc::EFAULT));
        };
        if sec < 0 || !(0..1_000_000_000).contains(&nsec) {
            return Err(Verdict::errno(libc::EINVAL));
        }
        Ok(Me {
            deadline: Some(Timespec { sec, nsec }),
        })
    }
}

impl Caller for Me {
    fn left(&self) -> u64 {
        let Some(at) = &self.deadline else {
            return u64::MAX;
        };
        let mut now = Timespec { sec: 0, nsec: 0 };
        sys!(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut now);
        let left = i128::from(at.sec - now.sec) * 1_000_000_000 + i128::from(at.nsec - now.nsec);
        u64::try_from(left.max(0)).unwrap_or(u64::MAX - 1)
    }

    /// `task->prio`: real-time threads before all others, these by their nice value.
    fn rank(&self) -> u32 {
        let mut attr = SchedAttr::default();
        let size = core::mem::size_of::<SchedAttr>();
        if sys!(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) < 0 {
            return 120; // as it is for almost everybody
        }
        match attr.policy as i32 {
            libc::SCHED_FIFO | libc::SCHED_RR => 99u32.saturating_sub(attr.priority),
            libc::SCHED_DEADLINE => 0,
            _ => 120u32.saturating_add_signed(attr.nice),
        }
    }
}

/// `struct sched_attr` of sched_getattr(2), in its first version.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    deadline: [u64; 3],
}

/// A call that fails before the queue is asked, for the log.
#[cold]
fn refused(entry: &Entry, fd: i32, kind: Kind, verdict: Verdict) -> Verdict {
    if let (Verdict::Done(ret), Some(k)) = (verdict, entry.ctx(fd)) {
        if let Some((_, f @ FileRef::Mq(_))) = lookup(entry, fd) {
            f.log(&k.log, kind, (-(ret as i64), 0, 0));
        }
    }
    verdict
}

/// mq_timedsend(2).
#[inline(always)]
pub fn timedsend(
    entry: &Entry,
    fd: i32,
    buf: usize,
    len: usize,
    prio: usize,
    timeout: usize,
) -> Verdict {
    let me = match Me::new(timeout) {
        Ok(me) => me,
        Err(verdict) => return refused(entry, fd, Kind::MqSendFailed, verdict),
    };
    if prio as u32 >= MQ_PRIO_MAX {
        return refused(entry, fd, Kind::MqSendFailed, Verdict::errno(libc::EINVAL));
    }
    let (p, e) = match find(entry, fd) {
        Ok(found) => found,
        Err(verdict) => return verdict,
    };
    if !matches!(e.file.flags.load(Relaxed) & ACCESS, 1 | 2) {
        return refused(entry, fd, Kind::MqSendFailed, Verdict::errno(libc::EBADF));
    }
    if len > e.queue.msgsize.load(Relaxed) as usize {
        return refused(
            entry,
            fd,
            Kind::MqSendFailed,
            Verdict::errno(libc::EMSGSIZE),
        );
    }
    if len != 0 && !access_ok(buf, len) {
        return refused(entry, fd, Kind::MqSendFailed, Verdict::errno(libc::EFAULT));
    }
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    count_hook(entry);
    let twin = twin::Twin::of(p, &e, fd);
    let what = (len, prio as u32);
    let mut src = Flat::new(buf);
    match mq_send(&k, &e.handle(), &twin, blocking(&e), &mut src, what, &me) {
        Ok(None) => Verdict::Done(0),
        Ok(Some(notice)) => {
            tell(&notice);
            Verdict::Done(0)
        }
        Err(e) => verdict(Err(e)),
    }
}

/// Nowhere to put the priority.
enum PrioTo {
    Nowhere,
    User(Flat),
}

impl UserWrite for PrioTo {
    #[inline(always)]
    fn copy_out(&mut self, src: *const u8, len: usize) -> bool {
        match self {
            PrioTo::Nowhere => true,
            PrioTo::User(flat) => flat.copy_out(src, len),
        }
    }
}

/// mq_timedreceive(2).
#[inline(always)]
pub fn timedreceive(
    entry: &Entry,
    fd: i32,
    buf: usize,
    len: usize,
    prio: usize,
    timeout: usize,
) -> Verdict {
    let me = match Me::new(timeout) {
        Ok(me) => me,
        Err(verdict) => return refused(entry, fd, Kind::MqReceiveFailed, verdict),
    };
    let (p, e) = match find(entry, fd) {
        Ok(found) => found,
        Err(verdict) => return verdict,
    };
    if !matches!(e.file.flags.load(Relaxed) & ACCESS, 0 | 2) {
        return refused(
            entry,
            fd,
            Kind::MqReceiveFailed,
            Verdict::errno(libc::EBADF),
        );
    }
    if len < e.queue.msgsize.load(Relaxed) as usize {
        return refused(
            entry,
            fd,
            Kind::MqReceiveFailed,
            Verdict::errno(libc::EMSGSIZE),
        );
    }
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    count_hook(entry);
    let twin = twin::Twin::of(p, &e, fd);
    // What is not the program's half of the addresses faults as the null page does.
    let bounded = |at: usize, len: usize| if access_ok(at, len) { at } else { 0 };
    let mut dst = Flat::new(bounded(buf, e.queue.msgsize.load(Relaxed) as usize));
    let mut to = match prio {
        0 => PrioTo::Nowhere,
        at => PrioTo::User(Flat::new(bounded(at, 4))),
    };
    verdict(mq_receive(
        &k,
        &e.handle(),
        &twin,
        blocking(&e),
        &mut dst,
        &mut to,
        &me,
    ))
}

/// A signal with SI_MESGQ. (Linux v6.18 ipc/mqueue.c `__do_notify`; there it passes permissions by.)
#[cold]
fn tell(notice: &Notice) {
    const SI_MESGQ: u32 = -3i32 as u32;
    let mut info = [0u32; 32];
    let (pid, uid) = (sys!(libc::SYS_getpid), sys!(libc::SYS_getuid));
    // si_signo, si_errno, si_code, padding, si_pid, si_uid, si_value
    let value = notice.value;
    let words = [
        notice.signo,
        0,
        SI_MESGQ,
        0,
        pid as u32,
        uid as u32,
        value as u32,
        (value >> 32) as u32,
    ];
    for (to, from) in info.iter_mut().zip(words) {
        *to = from;
    }
    sys!(
        libc::SYS_rt_sigqueueinfo,
        notice.pid,
        notice.signo,
        info.as_ptr()
    );
}

/// mq_getsetattr(2).
pub fn getsetattr(entry: &Entry, fd: i32, new: usize, old: usize) -> Verdict {
    let wanted = match new {
        0 => None,
        at => match user::fetch::<Attr>(at) {
            Some(attr) => Some(attr.flags),
            None => return Verdict::errno(libc::EFAULT),
        },
    };
    let nonblock = i64::from(libc::O_NONBLOCK);
    if wanted.is_some_and(|flags| flags & !nonblock != 0) {
        return Verdict::errno(libc::EINVAL);
    }
    let (_, e) = match find(entry, fd) {
        Ok(found) => found,
        Err(verdict) => return verdict,
    };
    let Some(k) = entry.ctx(fd) else {
        return Verdict::Pass;
    };
    count_hook(entry);
    let word = |w: &core::sync::atomic::AtomicU32| i64::from(w.load(Relaxed));
    let was = Attr {
        flags: word(&e.file.flags) & nonblock,
        maxmsg: word(&e.queue.maxmsg),
        msgsize: word(&e.queue.msgsize),
        curmsgs: word(&e.queue.count),
        ..Attr::default()
    };
    if let Some(flags) = wanted {
        store_flags(&k, &e, flags as u32, libc::O_NONBLOCK as u32);
    }
    if old != 0 && !user::put(old, &was) {
        return Verdict::errno(libc::EFAULT);
    }
    Verdict::Done(0)
}

/// Changes the flags in `mask` of the description.
fn store_flags(k: &Ctx<'_, Shim>, e: &MqFile, flags: u32, mask: u32) {
    let change = |old: u32| Some(old & !mask | flags & mask);
    let _ = e.file.flags.fetch_update(AcqRel, Relaxed, change);
    let now = i64::from(e.file.flags.load(Relaxed));
    let mode = now as u64 & u64::from(ACCESS);
    e.handle().log(k, Kind::SetFlags, 0, (now, mode, 0));
}
