//! Finding or making the session's arena file.

use core::sync::atomic::Ordering::Relaxed;

use ringer_kernel::arena::header::{flag, Unusable};
use ringer_kernel::arena::{pages, Arena, BUILD};

use crate::attach::{now_ns, ARENA_BYTES};
use crate::gate::sys;
use crate::procfs::Path;
use crate::{env, host};

/// The arena to use, mapped. `None`: there is none, and why was said (or silence was asked for).
pub fn open() -> Option<Arena> {
    env::remember_preload();
    match env::find(env::SESSION) {
        Some(entry) => {
            let path = entry.get(env::SESSION.len()..).unwrap_or(&[]);
            if path.is_empty() {
                return None; // an ancestor has complained
            }
            let arena = join(path)?;
            env::remember_session(path);
            Some(arena)
        }
        None => create(),
    }
}

fn join(path: &[u8]) -> Option<Arena> {
    let mut name = [0u8; 512];
    let Some(to) = name.get_mut(..path.len()).filter(|_| path.len() < 512) else {
        return apart("RINGER_SESSION is too long");
    };
    to.copy_from_slice(path);
    let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let fd = sys!(libc::SYS_openat, libc::AT_FDCWD, name.as_ptr(), flags, 0);
    if fd < 0 {
        return apart("can not open the session's arena (RINGER_SESSION)");
    }
    // SAFETY: all zero is a valid stat.
    let mut st: libc::stat = unsafe { core::mem::zeroed() };
    sys!(libc::SYS_fstat, fd, &raw mut st);
    if st.st_mode & libc::S_IFMT != libc::S_IFREG || (st.st_size as usize) != ARENA_BYTES {
        sys!(libc::SYS_close, fd);
        return apart("the session's arena (RINGER_SESSION) is not one, or is cut off");
    }
    // Not by a load from the mapping: there, a page that nobody has made is SIGBUS on a full tmpfs.
    let mut magic = [0u64; 1];
    let seen = sys!(libc::SYS_pread64, fd, magic.as_mut_ptr(), 8, 0);
    let arena = if seen == 8 && magic != [0] {
        map(fd)
    } else {
        apart("the session's arena (RINGER_SESSION) is not one")
    };
    sys!(libc::SYS_close, fd);
    let arena = arena?;
    match arena.header().check(BUILD, ARENA_BYTES as u64) {
        Ok(()) => Some(arena),
        Err(why) => {
            sys!(libc::SYS_munmap, arena.base(), ARENA_BYTES);
            apart(match why {
                Unusable::NotAnArena => "the session's arena (RINGER_SESSION) is not one",
                Unusable::OtherLayout { .. } | Unusable::OtherBuild => {
                    "the session's arena (RINGER_SESSION) was made by another build of ringer"
                }
                Unusable::Truncated => "the session's arena (RINGER_SESSION) is cut off",
            })
        }
    }
}

/// Pages that a read fault brings along are those of one aligned piece of this size [mm/memory.c, do_fault_around]. So
/// are the buffers of pipes.
const AROUND: usize = 64 * 1024;

fn map(fd: isize) -> Option<Arena> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
    let at = |address: usize| sys!(libc::SYS_mmap, address, ARENA_BYTES, prot, flags, fd, 0);
    let mut base = at(0);
    if base > 0 && !(base as usize).is_multiple_of(AROUND) {
        // There is room below, where the next mapping would have been.
        sys!(libc::SYS_munmap, base, ARENA_BYTES);
        base = at(base as usize & !(AROUND - 1));
    }
    if base < 0 {
        return apart("no address space for the session's arena (4 GiB; see ulimit -v)");
    }
    const MADV_DONTDUMP: usize = 16;
    sys!(libc::SYS_madvise, base, ARENA_BYTES, MADV_DONTDUMP);
    // SAFETY: just mapped, shared, ARENA_BYTES long, and never unmapped once it is in use.
    Some(unsafe { Arena::from_mapping(base as *const u8, ARENA_BYTES) })
}

/// A session for a program that was started with nothing but LD_PRELOAD.
fn create() -> Option<Arena> {
    if file_size_limit() < ARENA_BYTES as u64 {
        return apart("RLIMIT_FSIZE (ulimit -f) allows no arena of 4 GiB, sparse as it is");
    }
    let pid = host::getpid();
    let path = Path::new()
        .text("/dev/shm/ringer-")
        .number(pid)
        .text("-")
        .number((host::tsc() >> 4) as u32);
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    let fd = sys!(
        libc::SYS_openat,
        libc::AT_FDCWD,
        path.as_ptr(),
        flags,
        0o600
    );
    if fd < 0 {
        return apart("can not make an arena in /dev/shm");
    }
    let sized = sys!(libc::SYS_ftruncate, fd, ARENA_BYTES);
    let arena = if sized < 0 {
        apart("can not size an arena in /dev/shm")
    } else {
        map(fd)
    };
    let arena = arena.filter(|a| {
        let made = pages::make_first(a, &host::Shim);
        if !made {
            sys!(libc::SYS_munmap, a.base(), ARENA_BYTES);
            let _: Option<Arena> = apart("no memory in /dev/shm");
        }
        made
    });
    sys!(libc::SYS_close, fd);
    let Some(arena) = arena else {
        sys!(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), 0);
        return None;
    };
    let namespace = crate::namespace::current();
    arena.header().namespace.store(namespace, Relaxed);
    arena.header().initialise(
        ARENA_BYTES as u64,
        BUILD,
        flag::EMULATE_ALL,
        pid,
        now_ns(),
        host::tsc(),
    );
    // SAFETY: NUL-terminated by construction.
    let name = unsafe { env::bytes_of(path.as_ptr()) };
    env::remember_session(name);
    if let Some(entry) = env::session_entry() {
        // SAFETY: a NUL-terminated "NAME=value" that lives for ever; we run before main.
        unsafe { libc::putenv(entry.as_ptr().cast_mut().cast()) };
    }
    Some(arena)
}

/// RLIMIT_FSIZE: above it, ftruncate(2) would be SIGXFSZ.
fn file_size_limit() -> u64 {
    let mut limit = [u64::MAX; 2];
    sys!(
        libc::SYS_prlimit64,
        0,
        libc::RLIMIT_FSIZE,
        0,
        limit.as_mut_ptr()
    );
    limit.first().copied().unwrap_or(u64::MAX)
}

/// Says once why there is no session, and answers `None`.
fn apart<T>(why: &str) -> Option<T> {
    complain_parts(&["ringer: ", why, "; this program runs on the kernel\n"]);
    env::silence();
    None
}

/// One sentence on stderr.
pub fn complain(what: &str) {
    complain_parts(&["ringer: ", what, "\n"]);
}

fn complain_parts(parts: &[&str]) {
    let mut line = [0u8; 256];
    let mut len = 0;
    for b in parts.iter().flat_map(|p| p.bytes()) {
        if let Some(to) = line.get_mut(len) {
            *to = b;
            len += 1;
        }
    }
    sys!(libc::SYS_write, 2, line.as_ptr(), len);
}

/// Removes the arena of an unnamed session without supervisor when its last process leaves.
pub fn remove_if_last(arena: &Arena, mine: u32) {
    use ringer_kernel::task;
    let h = arena.header();
    if h.has(flag::NAMED) || h.supervisor.load(Relaxed) != 0 {
        return;
    }
    let used = h.procs_used.load(Relaxed);
    let others = (1..used).filter(|&s| s != mine).any(|s| {
        task::process(arena, s).is_some_and(|p| {
            let state = p.state.load(Relaxed);
            use task::proc_state::{DEAD, FREE};
            !matches!(state, FREE | DEAD) && !task::process_is_gone(arena, &host::Shim, s, p)
        })
    });
    if others {
        return;
    }
    ringer_kernel::sysv::shm::remove_files(arena, &host::Shim);
    let mut name = [0u8; 512];
    if let Some(path) = env::session_path() {
        if let Some(to) = name.get_mut(..path.len()).filter(|_| path.len() < 512) {
            to.copy_from_slice(path);
            sys!(libc::SYS_unlinkat, libc::AT_FDCWD, name.as_ptr(), 0);
            remove_belongings(path);
        }
    }
}

/// Removes what the session in the arena file `path` has beside it: TAG+..., of-TAG+... and
/// sem.of-TAG+..., where TAG is the file's name.
fn remove_belongings(path: &[u8]) {
    let slash = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
    let mut directory = [0u8; 512];
    for (to, from) in directory.iter_mut().take(511).zip(path.iter().take(slash)) {
        *to = *from;
    }
    let tag = path.get(slash + 1..).unwrap_or(&[]);
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let dir = sys!(
        libc::SYS_openat,
        libc::AT_FDCWD,
        directory.as_ptr(),
        flags,
        0
    );
    if dir < 0 || tag.is_empty() {
        return;
    }
    crate::procfs::each_entry(dir, |name| {
        let text = name.strip_suffix(&[0]).unwrap_or(name);
        let text = text.strip_prefix(b"sem.").unwrap_or(text);
        let text = text.strip_prefix(b"of-").unwrap_or(text);
        let ours = text
            .strip_prefix(tag)
            .is_some_and(|rest| rest.starts_with(b"+"));
        if ours {
            sys!(libc::SYS_unlinkat, dir, name.as_ptr(), 0);
        }
    });
    sys!(libc::SYS_close, dir);
}
