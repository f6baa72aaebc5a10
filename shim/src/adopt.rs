//! A new program image finds the descriptors that came through exec: each is checked against what the kernel
//! has under its number. A pipe's and a socket's twin, and a queue's FIFO, are known by st_dev and st_ino, an
//! eventfd by its number and a signalfd by its mask in /proc/self/fdinfo.

use ringer_kernel::arena::Arena;
use ringer_kernel::eventfd::{self, Eventfd};
use ringer_kernel::file::{self, fd_table, role, End, FileRef, SocketFile, SocketId};
use ringer_kernel::log::Kind;
use ringer_kernel::pipe::{self, Ctx};
use ringer_kernel::task::reap::{flush, forget_descriptor};
use ringer_kernel::unix;

use core::sync::atomic::Ordering::*;

use crate::entry::Entry;
use crate::gate::sys;
use crate::host::Shim;
use crate::{arm, attach, procfs, rescue};

/// st_dev, st_ino and the access mode of a descriptor. `None`: it is closed.
pub fn identity(fd: i32) -> Option<(u64, u64, u32)> {
    // SAFETY: all zero is a valid stat.
    let mut st: libc::stat = unsafe { core::mem::zeroed() };
    (sys!(libc::SYS_fstat, fd, &raw mut st) == 0).then_some((st.st_dev, st.st_ino, st.st_mode))
}

/// What a descriptor is, as far as the kernel tells.
pub struct Identity {
    fd: i32,
    dev: u64,
    ino: u64,
    kind: u32,
    /// O_RDONLY and its kin, of a FIFO.
    access: i32,
    /// Of an anonymous inode.
    anonymous: procfs::Anonymous,
}

impl Identity {
    /// `None`: it is closed.
    pub fn of(fd: i32) -> Option<Identity> {
        let (dev, ino, mode) = identity(fd)?;
        let kind = mode & libc::S_IFMT;
        let access = match kind {
            libc::S_IFIFO => sys!(libc::SYS_fcntl, fd, libc::F_GETFL) as i32 & libc::O_ACCMODE,
            _ => 0,
        };
        let anonymous = match kind {
            0 => procfs::anonymous(fd),
            _ => procfs::Anonymous::default(),
        };
        Some(Identity {
            fd,
            dev,
            ino,
            kind,
            access,
            anonymous,
        })
    }

    pub fn may_be_ours(&self) -> bool {
        matches!(self.kind, 0 | libc::S_IFIFO | libc::S_IFSOCK)
    }

    /// Whether it can be a descriptor of that description.
    pub fn is(&self, f: &FileRef) -> bool {
        match (f, self.kind) {
            (FileRef::Pipe(e), libc::S_IFIFO) => {
                let both = self.access == libc::O_RDWR && e.file.has(pipe::fifo::RDWR);
                let writes = self.access == libc::O_WRONLY || both;
                e.pipe.is_twin(self.dev, self.ino) && writes == (e.end == End::Write)
            }
            (FileRef::Mq(e), libc::S_IFIFO) => crate::call::mq::is_twin(e.queue, self.fd),
            (FileRef::Socket(s), libc::S_IFSOCK) => {
                s.pair.side_of(self.dev, self.ino) == Some(s.side())
            }
            (FileRef::Eventfd(e), 0) => {
                let id = self.anonymous.eventfd_id;
                id.is_some_and(|id| e.eventfd.is_twin(id))
            }
            (FileRef::Signalfd(s), 0) => self.anonymous.sigmask == Some(s.mask()),
            _ => false,
        }
    }
}

/// Whether `fd` is open, and is what the table says that it is.
pub fn is_still(f: &FileRef, fd: i32) -> bool {
    match f {
        FileRef::Pipe(e) => identity(fd).is_some_and(|(dev, ino, _)| e.pipe.is_twin(dev, ino)),
        FileRef::Eventfd(e) => procfs::eventfd_id(fd).is_some_and(|id| e.eventfd.is_twin(id)),
        FileRef::Signalfd(_) => procfs::signalfd_mask(fd).is_some(),
        FileRef::Mq(e) => crate::call::mq::is_twin(e.queue, fd),
        FileRef::Socket(s) => {
            identity(fd).is_some_and(|(dev, ino, _)| s.pair.side_of(dev, ino) == Some(s.side()))
        }
    }
}

/// The table stayed in the arena: what exec closed is taken out.
pub fn from_table(entry: &Entry) {
    let Some(p) = entry.process() else { return };
    if p.fd_count.load(Relaxed) == 0 {
        return;
    }
    let Some(k) = entry.ctx(-1) else { return };
    if !arm::arm(entry) {
        return no_dispatch(entry);
    }
    fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, slot| {
        if FileRef::of(k.arena, slot).is_some_and(|f| is_still(&f, fd)) {
            log_adoption(&k, fd, slot);
        } else {
            let slot = fd_table::take(k.arena, p, fd);
            if slot != 0 {
                flush(&k, attach::process_slot(entry.tls), slot);
                forget_descriptor(&k, slot, |_| true);
            }
        }
    });
    ringer_kernel::mqueue::notify::silence(&k, attach::process_slot(entry.tls));
}

/// Nobody announced this process: its open descriptors are compared with the session's pipes.
pub fn from_descriptors(entry: &Entry) {
    match entry.ctx(-1) {
        Some(k) => each_descriptor(|fd| adopt(entry, &k, fd)),
        None => rescue::descriptors(),
    }
}

/// Calls `f` for every descriptor that is open.
pub fn each_descriptor(mut f: impl FnMut(i32)) {
    let dir = sys!(
        libc::SYS_openat,
        libc::AT_FDCWD,
        c"/proc/self/fd".as_ptr(),
        libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
        0
    );
    if dir < 0 {
        (0..256).for_each(f);
        return;
    }
    procfs::each_entry(dir, |name| {
        let fd = procfs::number(name) as isize;
        if name.first().is_some_and(u8::is_ascii_digit) && fd != dir {
            f(fd as i32);
        }
    });
    sys!(libc::SYS_close, dir);
}

/// Which of the session's pipes `fd` is an end of, its end, and its status flags. `None`: of none.
pub fn pipe_of(arena: &Arena, fd: i32) -> Option<(u32, Option<End>, i32)> {
    let (dev, ino, file_mode) = identity(fd)?;
    if file_mode & libc::S_IFMT != libc::S_IFIFO {
        return None;
    }
    let used = arena.header().pipes_used.load(Relaxed);
    let pipe_slot = (1..used).find(|&slot| {
        pipe::get(arena, slot)
            .is_some_and(|p| p.mode.load(Acquire) != pipe::mode::FREE && p.is_twin(dev, ino))
    })?;
    let flags = sys!(libc::SYS_fcntl, fd, libc::F_GETFL) as i32;
    if flags & libc::O_PATH != 0 {
        return None; // names the pipe, opens nothing
    }
    let end = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => Some(End::Read),
        libc::O_WRONLY => Some(End::Write),
        // Both at once (O_RDWR on /proc/self/fd/N): the ring has no such description.
        _ => None,
    };
    Some((pipe_slot, end, flags))
}

/// Takes `fd` up if it is an end of one of the session's pipes. Its description is a new one
/// unless there is one of that end already.
pub fn adopt(entry: &Entry, k: &Ctx<'_, Shim>, fd: i32) {
    if crate::call::mq::adopt(entry, fd) {
        return;
    }
    if let Some((slot, e)) = eventfd_of(k.arena, fd) {
        let no_place = |cause| {
            crate::demotion::demote_eventfd(k, fd, e, cause);
        };
        return take_up(entry, k, fd, (role::EVENTFD, slot), no_place);
    }
    if let Some(s) = socket_of(k.arena, fd) {
        let object = SocketFile::object(s.slot, s.side);
        return take_up(entry, k, fd, (role::SOCKET, object), |cause| {
            crate::demotion::demote_pair(k, fd, &s, cause);
            crate::exposure::expose(k, fd, &s);
        });
    }
    let (Some((pipe_slot, end, flags)), Some(process)) = (pipe_of(k.arena, fd), entry.process())
    else {
        return;
    };
    if pipe::get(k.arena, pipe_slot).is_some_and(pipe::fifo::is_fifo) {
        if crate::call::fifo::install(entry, k, fd, pipe_slot).is_some() {
            log_adoption(k, fd, fd_table::slot_of(k.arena, process, fd));
        }
        return;
    }
    let Some(end) = end else {
        crate::demotion::demote_slot(k, fd, pipe_slot, ringer_kernel::log::Cause::Transfer);
        return;
    };
    if !arm::arm(entry) {
        return no_dispatch(entry);
    }
    let keep = (libc::O_NONBLOCK | libc::O_DIRECT | libc::O_ASYNC) as u32;
    let Ok(slot) = file::new_file(k.arena, k.me, k.host, pipe_slot, end, flags as u32 & keep)
    else {
        crate::demotion::demote_slot(k, fd, pipe_slot, ringer_kernel::log::Cause::NoMemory);
        return;
    };
    match fd_table::install(k.arena, k.me, k.host, process, fd, slot) {
        Ok(0) => {}
        Ok(old) => {
            file::close_ref(k.arena, k.me, k.host, old);
        }
        Err(_) => {
            file::close_ref(k.arena, k.me, k.host, slot);
            crate::demotion::demote_slot(k, fd, pipe_slot, ringer_kernel::log::Cause::NoMemory);
            return;
        }
    }
    log_adoption(k, fd, slot);
}

/// Which of the session's eventfds `fd` is.
pub fn eventfd_of(arena: &Arena, fd: i32) -> Option<(u32, &'static Eventfd)> {
    if arena.header().eventfds_live.load(Relaxed) == 0 {
        return None;
    }
    let (_, _, file_mode) = identity(fd)?;
    if file_mode & libc::S_IFMT != 0 {
        return None; // an anonymous inode has no type
    }
    eventfd::find(arena, procfs::eventfd_id(fd)?)
}

/// Which of the session's sockets `fd` is.
pub fn socket_of(arena: &Arena, fd: i32) -> Option<SocketId> {
    if arena.header().pairs_live.load(Relaxed) == 0 {
        return None;
    }
    let (dev, ino, file_mode) = identity(fd)?;
    if file_mode & libc::S_IFMT != libc::S_IFSOCK {
        return None;
    }
    let (slot, side) = unix::find(arena, dev, ino)?;
    let pair = unix::get(arena, slot)?;
    Some(SocketId { slot, side, pair })
}

/// Gives `fd` a description of what it is found to be.
fn take_up(
    entry: &Entry,
    k: &Ctx<'_, Shim>,
    fd: i32,
    names: (u32, u32),
    no_place: impl Fn(ringer_kernel::log::Cause),
) {
    let no_memory = ringer_kernel::log::Cause::NoMemory;
    let Some(process) = entry.process() else {
        return;
    };
    if !arm::arm(entry) {
        return no_dispatch(entry);
    }
    let flags = sys!(libc::SYS_fcntl, fd, libc::F_GETFL) as u32;
    let keep = (libc::O_NONBLOCK | libc::O_ASYNC) as u32;
    let Ok(file) = file::new_file_of(k.arena, k.me, k.host, names, flags & keep) else {
        return no_place(no_memory);
    };
    match fd_table::install(k.arena, k.me, k.host, process, fd, file) {
        Ok(0) => {}
        Ok(old) => {
            file::close_ref(k.arena, k.me, k.host, old);
        }
        Err(_) => {
            file::close_ref(k.arena, k.me, k.host, file);
            return no_place(no_memory);
        }
    }
    log_adoption(k, fd, file);
}

pub fn log_adoption(k: &Ctx<'_, Shim>, fd: i32, slot: u32) {
    if let (true, Some(f)) = (k.log.is_on(), FileRef::of(k.arena, slot)) {
        let mut log = k.log;
        log.fd = fd;
        log.layer = ringer_kernel::log::layer::OWN;
        f.log(&log, Kind::Adopt, (f.end_number() as i64, 0, 0));
    }
}

/// Without dispatch nothing may be emulated: what came through exec goes to the kernel.
fn no_dispatch(entry: &Entry) {
    crate::demotion::demote_all(entry, ringer_kernel::log::Cause::NoDispatch);
}
