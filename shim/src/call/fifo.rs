//! open(2) of a FIFO. The kernel does it, with all that it waits for; ringer knows who waits, and which
//! descriptors are FIFOs: for the log, `ringer ps` and `ringer ipcs`. See fifo(7).

use core::sync::atomic::Ordering::Relaxed;

use ringer_kernel::arena::header::flag;
use ringer_kernel::file::{self, fd_table, End};
use ringer_kernel::pipe::fifo::{self, Opening};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::reap::forget_descriptor;

use crate::entry::Entry;
use crate::gate::sys;
use crate::host::Shim;
use crate::{adopt, arm, attach, demotion, user};

/// What is opened, and how: from whichever call.
#[derive(Clone, Copy)]
pub struct Path {
    pub dir: i32,
    pub at: usize,
    pub flags: i32,
}

impl Path {
    /// By open(2), openat(2), openat2(2) or creat(2). `None`: another call.
    pub fn of(nr: i64, args: [usize; 6]) -> Option<Path> {
        let [a, b, c, ..] = args;
        let (dir, at, flags) = match nr {
            libc::SYS_open => (libc::AT_FDCWD, a, b as i32),
            libc::SYS_creat => (libc::AT_FDCWD, a, CREAT),
            libc::SYS_openat => (a as i32, b, c as i32),
            // struct open_how begins with the flags.
            libc::SYS_openat2 => (a as i32, b, user::fetch::<u64>(c)? as i32),
            _ => return None,
        };
        Some(Path { dir, at, flags })
    }

    /// st_dev and st_ino, if this is a FIFO; also if it is a pipe, by way of /proc/self/fd.
    fn fifo(&self) -> Option<(u64, u64)> {
        let makes = libc::O_CREAT | libc::O_EXCL;
        if self.flags & (libc::O_PATH | libc::O_DIRECTORY) != 0 || self.flags & makes == makes {
            return None;
        }
        // SAFETY: all zero is a valid stat.
        let mut st: libc::stat = unsafe { core::mem::zeroed() };
        let ret = sys!(libc::SYS_newfstatat, self.dir, self.at, &raw mut st, 0);
        let is = ret == 0 && st.st_mode & libc::S_IFMT == libc::S_IFIFO;
        is.then_some((st.st_dev, st.st_ino))
    }

    /// Its last sixteen bytes.
    fn tail(&self) -> [u64; 2] {
        let mut text = [0u8; 256];
        let len = user::fetch_str(self.at, &mut text).unwrap_or(0);
        let mut words = [0u8; 16];
        let tail = text.get(len.saturating_sub(16)..len).unwrap_or(&[]);
        for (to, from) in words.iter_mut().zip(tail) {
            *to = *from;
        }
        let words = u128::from_le_bytes(words);
        [words as u64, (words >> 64) as u64]
    }

    fn end(&self) -> Option<End> {
        match self.flags & libc::O_ACCMODE {
            libc::O_RDONLY => Some(End::Read),
            libc::O_WRONLY => Some(End::Write),
            _ => None,
        }
    }
}

/// What creat(2) is.
pub const CREAT: i32 = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;

/// Whether to look first if what is opened is a FIFO, which costs half as much as to open it: only where there
/// are FIFOs, or a log.
fn looks_first() -> bool {
    let met = || attach::arena().is_some_and(|a| a.header().fifos.load(Relaxed) != 0);
    attach::has(flag::LOG) || met()
}

/// A FIFO is about to be made, or has been met.
pub fn meet() {
    if let Some(arena) = attach::arena() {
        arena.header().fifos.store(1, Relaxed);
    }
}

/// mknod(2), mknodat(2).
pub fn mknod(mode: u32) {
    if mode & libc::S_IFMT == libc::S_IFIFO {
        meet();
    }
}

/// An unarmed process is about to open this: if it is a FIFO, the process is armed, so that the call
/// comes to [`begin`].
#[inline(always)]
pub fn prepare(path: Path) {
    if !arm::is_armed() && looks_first() {
        arm_for(path);
    }
}

#[cold]
fn arm_for(path: Path) {
    if path.at == 0 || path.fifo().is_none() || demotion::is_apart() {
        return;
    }
    let entry = Entry::enter();
    if attach::ensure_process() {
        arm::arm(&entry);
    }
    let _ = entry.leave();
}

/// An unarmed process has opened something without a look.
#[inline(always)]
pub fn opened(fd: i32) {
    if fd >= 0 && !arm::is_armed() && attach::is_attached() && has_no_position(fd) {
        opened_unarmed(fd);
    }
}

#[cold]
fn opened_unarmed(fd: i32) {
    if !is_fifo(fd) || demotion::is_apart() || !attach::ensure_process() {
        return;
    }
    let entry = Entry::enter();
    if arm::arm(&entry) {
        if let Some(k) = entry.ctx(fd) {
            take(&entry, &k, fd);
        }
    }
    let _ = entry.leave();
}

/// A pipe, a FIFO or a socket, by the call that costs least. [lseek(2): ESPIPE]
fn has_no_position(fd: i32) -> bool {
    sys!(libc::SYS_lseek, fd, 0, libc::SEEK_CUR) == -(libc::ESPIPE as isize)
}

fn is_fifo(fd: i32) -> bool {
    adopt::identity(fd).is_some_and(|(.., mode)| mode & libc::S_IFMT == libc::S_IFIFO)
}

/// open(2) is about to be called. Whatever it comes to, [`end`] must be told.
pub fn begin(entry: &Entry, path: Path) {
    // A handler that left an earlier open by longjmp left its mark, too.
    if let Some(task) = entry.task() {
        fifo::done(task);
    }
    let Some((dev, ino)) = looks_first().then(|| path.fifo()).flatten() else {
        return;
    };
    if demotion::is_apart() || !attach::ensure_process() || !arm::arm(entry) {
        return;
    }
    let Some(k) = entry.ctx(-1) else { return };
    let Some(slot) = object_of(&k, dev, ino, || is_pipe(path)) else {
        return;
    };
    let how = Opening {
        flags: path.flags as u32,
        end: path.end(),
        tail: if k.log.is_on() { path.tail() } else { [0; 2] },
    };
    if let Some(task) = entry.task() {
        fifo::begin(&k, task, slot, &how);
    }
}

/// The FIFO's slot. `None`: there is no place for it, or it is a pipe.
fn object_of(k: &Ctx<'_, Shim>, dev: u64, ino: u64, is_pipe: impl Fn() -> bool) -> Option<u32> {
    match fifo::find(k.arena, dev, ino) {
        Some((slot, p)) => fifo::is_fifo(p).then_some(slot),
        None if is_pipe() => None,
        None => fifo::find_or_create(k, dev, ino).ok(),
    }
}

/// (include/uapi/linux/magic.h)
const PIPEFS_MAGIC: i64 = 0x5049_5045;

fn no_statfs() -> libc::statfs {
    // SAFETY: all zero is a valid statfs.
    unsafe { core::mem::zeroed() }
}

/// A pipe is in a file system of its own. (Of a path from another directory than the working one the
/// kernel can not be asked that; a pipe that ringer does not know is a FIFO then.)
fn is_pipe(path: Path) -> bool {
    let from_there = path.dir == libc::AT_FDCWD || user::fetch::<u8>(path.at) == Some(b'/');
    let mut fs = no_statfs();
    from_there && sys!(libc::SYS_statfs, path.at, &raw mut fs) == 0 && fs.f_type == PIPEFS_MAGIC
}

/// open(2) is over. Whether it was of a FIFO.
pub fn end(ret: isize, flags: i32) -> bool {
    let entry = Entry::enter();
    let done = ended(&entry, ret, flags as u32).is_some();
    let _ = entry.leave();
    done
}

fn ended(entry: &Entry, ret: isize, flags: u32) -> Option<()> {
    let task = entry.task()?;
    let k = entry.ctx(ret.max(-1) as i32)?;
    let begun = fifo::end(&k, task, flags, ret);
    let taken = take(entry, &k, ret as i32);
    fifo::done(task);
    if let Some(slot) = begun {
        fifo::forget_if_unused(&k, slot);
    }
    begun.map(drop).or(taken)
}

/// If `fd` is open, and of a FIFO, it becomes known as that.
fn take(entry: &Entry, k: &Ctx<'_, Shim>, fd: i32) -> Option<()> {
    if fd < 0 || !has_no_position(fd) || !is_fifo(fd) {
        return None;
    }
    let (dev, ino, _) = adopt::identity(fd)?;
    let is_pipe = || {
        let mut fs = no_statfs();
        sys!(libc::SYS_fstatfs, fd, &raw mut fs) < 0 || fs.f_type == PIPEFS_MAGIC
    };
    let slot = object_of(k, dev, ino, is_pipe)?;
    meet();
    install(entry, k, fd, slot)
}

/// Gives `fd` a description of the FIFO in `slot`. Where there is no place for one, it is the kernel's alone.
pub fn install(entry: &Entry, k: &Ctx<'_, Shim>, fd: i32, slot: u32) -> Option<()> {
    let process = entry.process()?;
    let flags = sys!(libc::SYS_fcntl, fd, libc::F_GETFL) as i32;
    if flags & libc::O_PATH != 0 {
        return None;
    }
    let end = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => End::Read,
        _ => End::Write,
    };
    let kept = flags & (libc::O_NONBLOCK | libc::O_DIRECT | libc::O_ASYNC);
    let both = flags & libc::O_ACCMODE & libc::O_RDWR;
    let file = file::new_file(k.arena, k.me, k.host, slot, end, (kept | both) as u32).ok()?;
    match fd_table::install(k.arena, k.me, k.host, process, fd, file) {
        Ok(0) => {}
        Ok(stale) => forget_descriptor(k, stale, |_| false),
        Err(_) => {
            file::close_ref(k.arena, k.me, k.host, file);
            return None;
        }
    }
    Some(())
}
