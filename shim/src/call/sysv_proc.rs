//! /proc/sysvipc/{msg,sem,shm}, as ipcs(1) reads them: the session's objects, in a file of their own. See
//! proc(5); Linux v6.18 ipc/*.c `sysvipc_*_proc_show`.

use core::fmt::{self, Write};
use core::sync::atomic::Ordering::*;

use ringer_kernel::sysv::perm::Perm;
use ringer_kernel::sysv::{msg_ctl, shm};

use crate::entry::Entry;
use crate::gate::sys;
use crate::user;

use super::sysv::{begin, serves, Call};

const DIRECTORY: &[u8] = b"/proc/sysvipc/";

#[derive(Clone, Copy)]
enum File {
    Msg,
    Sem,
    Shm,
}

/// What the path names. `None`: none of these files, or they are the kernel's.
fn named(path: usize) -> Option<File> {
    if !serves() {
        return None;
    }
    let mut text = [0u8; 18];
    let len = user::fetch_str(path, &mut text)?;
    match text.get(..len)?.strip_prefix(DIRECTORY)? {
        b"msg" => Some(File::Msg),
        b"sem" => Some(File::Sem),
        b"shm" => Some(File::Shm),
        _ => None,
    }
}

/// Whether opening this path is for [`open`] to do. An unarmed process's pointer must be good.
pub fn is_one(path: usize) -> bool {
    named(path).is_some()
}

/// open(2) of such a path: a descriptor, or -errno. `None`: it is none of ringer's.
pub fn open(entry: &Entry, path: usize, flags: i32) -> Option<isize> {
    let file = named(path)?;
    let c = begin(entry)?;
    let close_on_exec = flags & libc::O_CLOEXEC != 0;
    let fd = sys!(
        libc::SYS_memfd_create,
        c"sysvipc".as_ptr(),
        usize::from(close_on_exec) * libc::MFD_CLOEXEC as usize
    );
    if fd >= 0 {
        let mut lines = Lines { fd };
        let _ = match file {
            File::Msg => msg(&c, &mut lines),
            File::Sem => sem(&c, &mut lines),
            File::Shm => shm_segments(&c, &mut lines),
        };
        sys!(libc::SYS_lseek, fd, 0, libc::SEEK_SET);
    }
    Some(fd)
}

/// Writes line by line.
struct Lines {
    fd: isize,
}

struct Line {
    bytes: [u8; 320],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for b in s.bytes() {
            *self.bytes.get_mut(self.len).ok_or(fmt::Error)? = b;
            self.len += 1;
        }
        Ok(())
    }
}

impl Lines {
    fn line(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        let mut line = Line {
            bytes: [0; 320],
            len: 0,
        };
        line.write_fmt(text)?;
        line.write_str("\n")?;
        sys!(libc::SYS_write, self.fd, line.bytes.as_ptr(), line.len);
        Ok(())
    }
}

/// Owner and group, then creator and his group.
fn owners(p: &Perm) -> [u32; 4] {
    [&p.uid, &p.gid, &p.cuid, &p.cgid].map(|id| id.load(Relaxed))
}

/// Key, id and mode.
fn begins(p: &Perm) -> (i32, i32, u32) {
    let key = p.key.load(Relaxed) as i32;
    (key, p.id(), p.mode.load(Relaxed))
}

fn msg(c: &Call, out: &mut Lines) -> fmt::Result {
    out.line(format_args!(
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      \
         stime      rtime      ctime"
    ))?;
    for q in c
        .root
        .msg_ids
        .indices()
        .filter_map(|i| c.root.queues.in_use(c.k.arena, i))
    {
        let (key, id, mode) = begins(&q.perm);
        let [uid, gid, cuid, cgid] = owners(&q.perm);
        let d = msg_ctl::as_user(q);
        out.line(format_args!(
            "{key:10} {id:10}  {mode:4o}  {:10} {:10} {:5} {:5} {uid:5} {gid:5} {cuid:5} {cgid:5} \
             {:10} {:10} {:10}",
            d.cbytes, d.qnum, d.lspid, d.lrpid, d.stime, d.rtime, d.ctime
        ))?;
    }
    Ok(())
}

fn sem(c: &Call, out: &mut Lines) -> fmt::Result {
    out.line(format_args!(
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime"
    ))?;
    for s in c
        .root
        .sem_ids
        .indices()
        .filter_map(|i| c.root.sets.in_use(c.k.arena, i))
    {
        let (key, id, mode) = begins(&s.perm);
        let [uid, gid, cuid, cgid] = owners(&s.perm);
        out.line(format_args!(
            "{key:10} {id:10}  {mode:4o} {:10} {uid:5} {gid:5} {cuid:5} {cgid:5} {:10} {:10}",
            s.nsems.load(Relaxed),
            s.otime.load(Relaxed),
            s.ctime.load(Relaxed)
        ))?;
    }
    Ok(())
}

fn shm_segments(c: &Call, out: &mut Lines) -> fmt::Result {
    use ringer_kernel::host::Host;
    out.line(format_args!(
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
         atime      dtime      ctime                   rss                  swap"
    ))?;
    shm::settle(&c.k, c.root, c.who.slot);
    for (_, s) in shm::segments(c.k.arena, c.root) {
        let (key, id, mode) = begins(&s.perm);
        let [uid, gid, cuid, cgid] = owners(&s.perm);
        let path = c.root.segment_path(s.file.load(Relaxed));
        let rss = path.map_or(0, |p| c.k.host.file_bytes(&p));
        out.line(format_args!(
            "{key:10} {id:10}  {mode:4o} {:21} {:5} {:5}  {:5} {uid:5} {gid:5} {cuid:5} {cgid:5} \
             {:10} {:10} {:10} {rss:21} {:21}",
            s.size.load(Relaxed),
            s.cpid.load(Relaxed),
            s.lpid.load(Relaxed),
            shm::nattch(c.k.arena, c.root, id),
            s.atime.load(Relaxed),
            s.dtime.load(Relaxed),
            s.ctime.load(Relaxed),
            0
        ))?;
    }
    Ok(())
}
