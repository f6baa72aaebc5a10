//! mq_open(2), mq_unlink(2).

use core::sync::atomic::Ordering::*;

use ringer_kernel::abi::Errno;
use ringer_kernel::arena::header::flag;
use ringer_kernel::file::{self, fd_table, role};
use ringer_kernel::log::Kind;
use ringer_kernel::mqueue::limits::{Cred, Limits};
use ringer_kernel::mqueue::name::{self, Made, Wish};
use ringer_kernel::mqueue::{self, Handle};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::reap::forget_descriptor;

use crate::call::errno_verdict;
use crate::call::pipe::F_SETPIPE_SZ;
use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::host::Shim;
use crate::user;
use crate::{adopt as identities, arm, attach, demotion, procfs};

use super::twin::{Path, BYTES};
use super::Attr;

/// The longest name that is looked at, its NUL included. (limits.h PATH_MAX)
const PATH_MAX: usize = 4096;
/// (include/uapi/linux/capability.h)
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_FOWNER: u32 = 3;
const CAP_SYS_RESOURCE: u32 = 24;

/// Whether this process's queues are ringer's.
fn served(entry: &Entry) -> bool {
    attach::emulates(flag::EMULATE_MQ) && !demotion::is_apart() && arm::arm(entry)
}

/// `getname`: a name of at most 255 bytes, or why not.
fn fetch_name(at: usize, into: &mut [u8; 256]) -> Result<usize, Errno> {
    for i in 0..PATH_MAX {
        let byte = user::fetch::<u8>(at.wrapping_add(i)).ok_or(Errno::EFAULT)?;
        match into.get_mut(i) {
            Some(to) => *to = byte,
            None if byte == 0 => return Ok(256), // too long, but for `lookup`
            None => {}
        }
        if byte == 0 {
            return Ok(i);
        }
    }
    Err(Errno::ENAMETOOLONG)
}

fn capabilities() -> u64 {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let mut data = [0u32; 6];
    sys!(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr());
    let [low, _, _, high, ..] = data;
    u64::from(high) << 32 | u64::from(low)
}

fn in_group(gid: u32) -> bool {
    let mut groups = [0u32; 512];
    let n = sys!(libc::SYS_getgroups, groups.len(), groups.as_mut_ptr());
    groups.iter().take(n.max(0) as usize).any(|&g| g == gid)
}

fn with_cred<R>(f: impl FnOnce(&Cred<'_>) -> R) -> R {
    let caps = capabilities();
    let has = |cap: u32| caps & 1 << cap != 0;
    f(&Cred {
        uid: sys!(libc::SYS_geteuid) as u32,
        gid: sys!(libc::SYS_getegid) as u32,
        in_group: &in_group,
        may_override: has(CAP_DAC_OVERRIDE),
        may_exceed: has(CAP_SYS_RESOURCE),
        may_own: has(CAP_FOWNER),
    })
}

/// /proc/sys/fs/mqueue/NAME.
fn limit(name: &str, otherwise: i64) -> i64 {
    let mut text = [0u8; 24];
    let path = procfs::Path::new().text("/proc/sys/fs/mqueue/").text(name);
    let n = procfs::slurp(&path, &mut text);
    let text = text.get(..n.max(0) as usize).unwrap_or(&[]);
    match text.first() {
        Some(b'0'..=b'9') => procfs::number(text) as i64,
        _ => otherwise,
    }
}

fn limits() -> Limits {
    let l = Limits::default();
    Limits {
        queues_max: limit("queues_max", i64::from(l.queues_max)) as u32,
        msg_max: limit("msg_max", l.msg_max),
        msg_default: limit("msg_default", l.msg_default),
        msgsize_max: limit("msgsize_max", l.msgsize_max),
        msgsize_default: limit("msgsize_default", l.msgsize_default),
    }
}

fn rlimit_msgqueue() -> u64 {
    let mut limit = [u64::MAX; 2];
    let to = limit.as_mut_ptr();
    sys!(libc::SYS_prlimit64, 0, libc::RLIMIT_MSGQUEUE, 0, to);
    limit.first().copied().unwrap_or(u64::MAX)
}

/// Whoever may open the queue in any way opens the FIFO for reading and writing; its owner always.
fn access_of(mode: u32) -> u32 {
    let may = |class: u32| mode >> class & 0o6 != 0;
    let bits = |class: u32| if may(class) { 0o6 << class } else { 0 };
    0o600 | bits(3) | bits(0)
}

/// A new queue's FIFO. It is made with the program's mode, so that the umask applies.
fn make_twin(id: u32, mode: u32) -> Result<Made, Errno> {
    let failed = |ret| Errno::from_ret(ret).unwrap_or(Errno::ENOSPC);
    let path = Path::of(id).ok_or(Errno::ENOSPC)?;
    let at = libc::AT_FDCWD;
    sys!(libc::SYS_unlinkat, at, path.as_ptr(), 0); // left by one who was killed
    let node = libc::S_IFIFO | mode & 0o7777;
    let ret = sys!(libc::SYS_mknodat, at, path.as_ptr(), node, 0);
    if ret < 0 {
        return Err(failed(ret));
    }
    // SAFETY: all zero is a valid stat.
    let mut st: libc::stat = unsafe { core::mem::zeroed() };
    let ret = sys!(libc::SYS_newfstatat, at, path.as_ptr(), &raw mut st, 0);
    if ret < 0 {
        return Err(failed(ret));
    }
    sys!(libc::SYS_fchmodat, at, path.as_ptr(), access_of(st.st_mode));
    Ok(Made {
        dev: st.st_dev,
        ino: st.st_ino,
        mode: st.st_mode,
    })
}

/// mq_open(2): `name` is without the slash.
pub fn open(entry: &Entry, name_at: usize, flags: i32, mode: u32, attr_at: usize) -> Verdict {
    if !attach::ensure_process() || !served(entry) {
        return Verdict::Pass;
    }
    let Some(k) = entry.ctx(-1) else {
        return Verdict::Pass;
    };
    let attr = match attr_at {
        0 => None,
        at => match user::fetch::<Attr>(at) {
            Some(attr) => Some((attr.maxmsg, attr.msgsize)),
            None => return Verdict::errno(libc::EFAULT),
        },
    };
    let mut bytes = [0u8; 256];
    let len = match fetch_name(name_at, &mut bytes) {
        Ok(0) => return Verdict::errno(libc::ENOENT),
        Ok(len) => len,
        Err(e) => return errno_verdict(e),
    };
    // A number is taken before the name is looked up.
    let number = sys!(libc::SYS_eventfd2, 0, libc::EFD_CLOEXEC);
    if number < 0 {
        return Verdict::Done(number);
    }
    let wish = Wish {
        name: bytes.get(..len).unwrap_or(&[]),
        create: flags & libc::O_CREAT != 0,
        exclusive: flags & libc::O_EXCL != 0,
        access: (flags & libc::O_ACCMODE) as u32,
        attr,
        limits: &limits,
        bytes_max: rlimit_msgqueue(),
    };
    let opened = with_cred(|who| name::open(&k, &wish, who, |id| make_twin(id, mode)));
    sys!(libc::SYS_close, number);
    let (h, new) = match opened {
        Ok(found) => found,
        Err(e) => return errno_verdict(e),
    };
    if flags & libc::O_DIRECT != 0 {
        name::close(&k, &h);
        return Verdict::errno(libc::EINVAL); // do_dentry_open
    }
    match name_it(entry, &k, &h, flags) {
        Ok(fd) => {
            log_open(&k, &h, new, fd, flags);
            Verdict::Done(fd as isize)
        }
        Err(e) => {
            name::close(&k, &h);
            errno_verdict(e)
        }
    }
}

fn log_open(k: &Ctx<'_, Shim>, h: &Handle, new: bool, fd: i32, flags: i32) {
    let word = |w: &core::sync::atomic::AtomicU32| u64::from(w.load(Relaxed));
    if new {
        let how = u64::from(flags as u32) << 32 | word(&h.q.mode);
        let size = word(&h.q.maxmsg) << 32 | word(&h.q.msgsize);
        h.log(k, Kind::MqCreate, 0, (i64::from(fd), how, size));
    } else {
        h.log(k, Kind::MqOpen, 0, (i64::from(fd), flags as u64, 0));
    }
}

/// A descriptor and a description of a queue that has counted them already.
fn name_it(entry: &Entry, k: &Ctx<'_, Shim>, h: &Handle, flags: i32) -> Result<i32, Errno> {
    let p = entry.process().ok_or(Errno::ENFILE)?;
    let path = Path::of(h.q.id.load(Relaxed)).ok_or(Errno::ENFILE)?;
    let fd = path.open();
    if let Some(e) = Errno::from_ret(fd) {
        return Err(e);
    }
    let fd = fd as i32;
    sys!(libc::SYS_fcntl, fd, F_SETPIPE_SZ, BYTES);
    let dropped = libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY | libc::O_TRUNC;
    let keep = (flags & !dropped) as u32;
    let what = (role::MQ, h.slot);
    let file = file::new_file_of(k.arena, k.me, k.host, what, keep);
    let installed = file.map(|f| (f, fd_table::install(k.arena, k.me, k.host, p, fd, f)));
    match installed {
        Ok((_, Ok(0))) => Ok(fd),
        Ok((_, Ok(stale))) => {
            // Closed behind our back, and its number used again.
            forget_descriptor(k, stale, |_| false);
            Ok(fd)
        }
        Ok((f, Err(e))) => {
            file::close_ref(k.arena, k.me, k.host, f);
            sys!(libc::SYS_close, fd);
            Err(e)
        }
        Err(e) => {
            sys!(libc::SYS_close, fd);
            Err(e)
        }
    }
}

/// mq_unlink(2).
pub fn unlink(entry: &Entry, name_at: usize) -> Verdict {
    if !attach::ensure_process() || !served(entry) {
        return Verdict::Pass;
    }
    let Some(k) = entry.ctx(-1) else {
        return Verdict::Pass;
    };
    let mut bytes = [0u8; 256];
    let len = match fetch_name(name_at, &mut bytes) {
        Ok(0) => return Verdict::errno(libc::ENOENT),
        Ok(len) => len,
        Err(e) => return errno_verdict(e),
    };
    let name = bytes.get(..len).unwrap_or(&[]);
    match with_cred(|who| name::unlink(&k, name, who)) {
        Ok(()) => Verdict::Done(0),
        Err(Errno::EACCES) if len > 0 && !name.contains(&b'/') && name != b"." && name != b".." => {
            Verdict::errno(libc::EPERM) // libc makes EACCES of it
        }
        Err(e) => errno_verdict(e),
    }
}

/// Takes `fd` up if it is a descriptor of one of the session's queues that came here unseen. How it was
/// opened nobody knows: for reading and writing, and blocking.
pub fn adopt(entry: &Entry, fd: i32) -> bool {
    let (Some(arena), Some(p)) = (attach::arena(), entry.process()) else {
        return false;
    };
    let used = arena.header().queues_used.load(Relaxed);
    if used <= 1 {
        return false;
    }
    let Some((dev, ino, mode)) = identities::identity(fd) else {
        return false;
    };
    if mode & libc::S_IFMT != libc::S_IFIFO {
        return false;
    }
    let found = (1..used)
        .filter_map(|slot| mqueue::handle(arena, slot))
        .find(|h| h.q.is_live() && h.q.dev.load(Relaxed) == dev && h.q.ino.load(Relaxed) == ino);
    let (Some(h), true, Some(k)) = (found, arm::arm(entry), entry.ctx(fd)) else {
        return false;
    };
    h.q.opens.fetch_add(1, AcqRel);
    let what = (role::MQ, h.slot);
    let file = file::new_file_of(k.arena, k.me, k.host, what, libc::O_RDWR as u32);
    match file.map(|f| (f, fd_table::install(k.arena, k.me, k.host, p, fd, f))) {
        Ok((_, Ok(0))) => true,
        Ok((_, Ok(stale))) => {
            forget_descriptor(&k, stale, |_| false);
            true
        }
        Ok((f, Err(_))) => {
            file::close_ref(k.arena, k.me, k.host, f);
            name::close(&k, &h);
            false
        }
        Err(_) => {
            name::close(&k, &h);
            false
        }
    }
}
