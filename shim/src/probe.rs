//! Can a program be reached by LD_PRELOAD? Decided from its file, as the kernel and ld.so will.

use ringer_kernel::log::Cause;

use crate::gate::sys;
use crate::procfs::Path;
use crate::sanitizer;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// Dynamically linked against glibc, no privileges: our library comes along.
    Reachable,
    Unreachable(Cause),
    /// There is no such file, or it may not be executed: exec will say so.
    Absent,
}

const X_OK: usize = 1;
/// (include/linux/binfmts.h BINPRM_MAX_RECURSION)
const SCRIPTS: usize = 5;
const PT_INTERP: u32 = 3;

/// Looks at the program that execveat(dir, path, .., flags) would run.
pub fn look(dir: i32, path: usize, flags: i32) -> Program {
    let mut name = path;
    let mut at = dir;
    let mut line = [0u8; 256];
    let by_fd = Path::new().text("/proc/self/fd/").number(dir.max(0) as u32);
    if flags & libc::AT_EMPTY_PATH != 0
        && dir >= 0
        && sys!(libc::SYS_faccessat, dir, path, X_OK) < 0
    {
        name = by_fd.as_ptr() as usize;
        at = libc::AT_FDCWD;
    }
    for _ in 0..SCRIPTS {
        if sys!(libc::SYS_faccessat, at, name, X_OK) < 0 {
            return Program::Absent;
        }
        let fd = sys!(
            libc::SYS_openat,
            at,
            name,
            libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK,
            0
        );
        if fd < 0 {
            return Program::Unreachable(Cause::Unreadable);
        }
        let mut head = [0u8; 256];
        let n = sys!(libc::SYS_pread64, fd, head.as_mut_ptr(), head.len(), 0);
        let found = if n < 0 {
            Program::Absent
        } else {
            judge(fd as i32, &head)
        };
        sys!(libc::SYS_close, fd);
        let Some(interpreter) = head.strip_prefix(b"#!") else {
            return found;
        };
        let start = interpreter
            .iter()
            .position(|b| !b" \t".contains(b))
            .unwrap_or(0);
        let rest = interpreter.get(start..).unwrap_or(&[]);
        let end = rest
            .iter()
            .position(|b| b" \t\n\0".contains(b))
            .unwrap_or(rest.len());
        line = [0u8; 256];
        for (to, from) in line.iter_mut().zip(rest.iter().take(end.min(255))) {
            *to = *from;
        }
        name = line.as_ptr() as usize;
        at = libc::AT_FDCWD;
    }
    let _ = line;
    Program::Reachable // too many scripts: exec says ELOOP
}

fn judge(fd: i32, head: &[u8; 256]) -> Program {
    if head.starts_with(b"#!") {
        return Program::Reachable; // its interpreter decides
    }
    if !head.starts_with(b"\x7fELF") {
        return Program::Reachable; // exec says ENOEXEC, and a shell may go on
    }
    if gains_privileges(fd) {
        return Program::Unreachable(Cause::Privileged);
    }
    if head.get(4) != Some(&2) {
        return Program::Unreachable(Cause::ForeignLibc); // 32 bits
    }
    match interpreter(fd, head) {
        None => Program::Unreachable(Cause::StaticProgram),
        Some(true) if sanitizer::is_first(fd, head) => Program::Unreachable(Cause::Sanitizer),
        Some(true) => Program::Reachable,
        Some(false) => Program::Unreachable(Cause::ForeignLibc),
    }
}

/// Whether ld.so will run in secure-execution mode (ld.so(8)), where it takes no library from
/// just anywhere.
fn gains_privileges(fd: i32) -> bool {
    // SAFETY: all zero is a valid stat.
    let mut st: libc::stat = unsafe { core::mem::zeroed() };
    sys!(libc::SYS_fstat, fd, &raw mut st);
    let (uid, euid) = (sys!(libc::SYS_getuid), sys!(libc::SYS_geteuid));
    let (gid, egid) = (sys!(libc::SYS_getgid), sys!(libc::SYS_getegid));
    let setuid = st.st_mode & libc::S_ISUID != 0 && st.st_uid as isize != uid;
    let both = libc::S_ISGID | libc::S_IXGRP;
    let setgid = st.st_mode & both == both && st.st_gid as isize != gid;
    let mut capability = [0u8; 32];
    let name = c"security.capability".as_ptr();
    let caps = uid != 0
        && sys!(
            libc::SYS_fgetxattr,
            fd,
            name,
            capability.as_mut_ptr(),
            capability.len()
        ) > 0;
    setuid || setgid || caps || uid != euid || gid != egid
}

/// Each program header (Elf64_Phdr: type and flags, offset, vaddr, paddr, filesz, memsz, align) until `f` has found
/// what it looks for.
pub fn find_header<R>(
    fd: i32,
    head: &[u8; 256],
    mut f: impl FnMut([u64; 7]) -> Option<R>,
) -> Option<R> {
    let number = |at: usize, len: usize| {
        head.get(at..at + len).map_or(0, |b| {
            b.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b))
        })
    };
    // Elf64_Ehdr: e_phoff at 32, e_phentsize at 54, e_phnum at 56.
    let (offset, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    for i in 0..count.min(128) {
        let mut header = [0u64; 7];
        let n = sys!(
            libc::SYS_pread64,
            fd,
            header.as_mut_ptr(),
            56,
            offset + i * size
        );
        if n != 56 {
            break;
        }
        let found = f(header);
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Whether PT_INTERP is glibc's. `None`: there is none.
fn interpreter(fd: i32, head: &[u8; 256]) -> Option<bool> {
    find_header(fd, head, |[kind, offset, _, _, len, ..]| {
        let mut name = [0u8; 64];
        (kind as u32 == PT_INTERP).then(|| {
            sys!(
                libc::SYS_pread64,
                fd,
                name.as_mut_ptr(),
                len.min(63),
                offset
            );
            name.windows(20).any(|w| w == b"ld-linux-x86-64.so.2")
        })
    })
}
