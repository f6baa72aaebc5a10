//! A session between real processes: a memfd that each maps where it likes, and threads whose
//! death the kernel itself marks in the arena.

use std::sync::atomic::Ordering::*;

use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::task;

use super::host::TestHost;
use super::world::{Me, World};

/// A sparse file of the arena's size.
pub struct Memfd(i32);

impl Memfd {
    pub fn new() -> Memfd {
        // SAFETY: a C string.
        let fd = unsafe { libc::memfd_create(c"ringer-test".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0);
        // SAFETY: our own descriptor.
        let ret = unsafe { libc::ftruncate(fd, layout::ARENA_BYTES as i64) };
        assert_eq!(ret, 0);
        Memfd(fd)
    }

    /// Maps it once more, at another address.
    pub fn map(&self, host: TestHost) -> World {
        // SAFETY: a fresh mapping.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                layout::ARENA_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                self.0,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED);
        // SAFETY: never unmapped, page-aligned, of that length, a shared file's.
        let arena = unsafe { Arena::from_mapping(base.cast(), layout::ARENA_BYTES) };
        World::of(arena, host)
    }

    /// Makes the mapping of `world` inaccessible in this process.
    pub fn forbid(world: &World) {
        // SAFETY: the caller uses another mapping from now on.
        let ret = unsafe {
            let base = world.arena.base().cast_mut().cast();
            libc::mprotect(base, layout::ARENA_BYTES, libc::PROT_NONE)
        };
        assert_eq!(ret, 0);
    }
}

/// struct robust_list_head, uapi/linux/futex.h.
#[repr(C)]
struct RobustList {
    next: *const u8,
    futex_offset: isize,
    pending: *const u8,
}

/// Joins as the calling thread of a process of its own; when it dies, by whatever, the kernel
/// sets FUTEX_OWNER_DIED in its slot's `life`.
pub fn enter_for_real(world: &World) -> Me {
    let (pid, tid) = (std::process::id(), gettid());
    let (slot, owner) = task::claim_task(world.arena, world.host, 1, pid, tid, 0).unwrap();
    let task = task::task(world.arena, slot).unwrap();
    let link = std::ptr::from_ref(&task.next).cast::<u8>();
    let list = Box::leak(Box::new(RobustList {
        next: link,
        futex_offset: -32, // from `Task::next` to `Task::life`
        pending: std::ptr::null(),
    }));
    task.next.store(std::ptr::from_ref(list) as u64, Relaxed);
    task.life.store(tid, Release);
    // SAFETY: the list stays for ever; glibc's own is not used in this process.
    let ret = unsafe { libc::syscall(libc::SYS_set_robust_list, list, size_of::<RobustList>()) };
    assert_eq!(ret, 0);
    Me { owner, task, tid }
}

fn gettid() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// fork(2). The child runs `f` and ends; a panic ends it with status 101.
pub fn fork(f: impl FnOnce()) -> i32 {
    // SAFETY: the child has only this thread, takes no lock of std that another may have held,
    // and ends by _exit.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        // SAFETY: ends the process.
        unsafe { libc::_exit(if ended.is_ok() { 0 } else { 101 }) };
    }
    pid
}

/// Kills the child, unless it has ended. Its wait status.
pub fn kill_and_wait(pid: i32) -> i32 {
    // SAFETY: our own child, not waited for yet.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    wait(pid)
}

pub fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

/// A zeroed page that parent and children share, at one address.
pub fn shared_page<T>() -> &'static T {
    assert!(size_of::<T>() <= 4096);
    // SAFETY: a fresh mapping, never unmapped.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(page, libc::MAP_FAILED);
    // SAFETY: zeroed memory of that size; `T` is made of atomics, for which zero is a value.
    unsafe { &*page.cast::<T>() }
}
