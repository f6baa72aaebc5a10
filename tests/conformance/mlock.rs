//! mlockall(2): the program's memory is locked, and no more than that is made.

use ringer_support::prelude::*;

/// How many of these pages are in memory.
fn resident(at: *mut c_void, pages: usize) -> usize {
    let mut seen = vec![0u8; pages];
    // SAFETY: a mapping of ours, and a byte for each page.
    let done = unsafe { libc::mincore(at, pages * PAGE, seen.as_mut_ptr()) };
    assert_eq!(done, 0);
    seen.iter().filter(|s| **s & 1 != 0).count()
}

fn mapping(pages: usize) -> *mut c_void {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), pages * PAGE, prot, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    at
}

/// A number of kB in /proc/self/status.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn mlockall(flags: c_int) -> Sys {
    // SAFETY: touches no memory that anybody could see.
    ringer_support::check(unsafe { libc::mlockall(flags) })
}

both_worlds!(current_memory_is_made_and_future_memory_too, {
    if !is_root() {
        return;
    }
    for armed in [false, true] {
        let _pipe = armed.then(pipe);
        let before = mapping(64);
        assert_eq!(mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE), Ok(0));
        let after = mapping(64);
        assert_eq!((resident(before, 64), resident(after, 64)), (64, 64));
        assert!(status("RssShmem") < 64 * 1024, "{} kB", status("RssShmem"));
        // SAFETY: no argument.
        assert_eq!(unsafe { libc::munlockall() }, 0);
        assert_eq!(status("VmLck"), 0);
        assert_eq!(resident(mapping(64), 64), 0);
    }
});

both_worlds!(one_half_of_it, {
    if !is_root() {
        return;
    }
    let before = mapping(64);
    assert_eq!(mlockall(libc::MCL_FUTURE), Ok(0));
    assert_eq!((resident(before, 64), resident(mapping(64), 64)), (0, 64));
    // SAFETY: no argument.
    unsafe { libc::munlockall() };
    assert_eq!(mlockall(libc::MCL_CURRENT), Ok(0));
    assert_eq!((resident(before, 64), resident(mapping(64), 64)), (64, 0));
});

both_worlds!(bad_flags, {
    assert_eq!(mlockall(0), Err(EINVAL));
    assert_eq!(mlockall(64), Err(EINVAL));
});
