//! Unix sockets that this process has made and that are known by one number only: nobody else has them,
//! no other number is theirs, and no epoll set watches them. Only such a socket's connection may move to
//! the arena, for a number that ringer does not know of would be left with the kernel's.
//!
//! A table from numbers to inodes. Whatever makes a second way to a socket takes it out; who finds
//! another inode under the number than the table says knows that it was closed.

use core::sync::atomic::{AtomicU32, Ordering::*};

use crate::adopt;

const NUMBERS: usize = 1024;

static TABLE: [AtomicU32; NUMBERS] = [const { AtomicU32::new(0) }; NUMBERS];
/// Numbers in the table that are not 0, or more.
static ANY: AtomicU32 = AtomicU32::new(0);

fn at(fd: i32) -> Option<&'static AtomicU32> {
    TABLE.get(usize::try_from(fd).ok()?)
}

/// socket(2) has made a Unix socket.
pub fn made(fd: i32) {
    let Some((at, (_, ino, _))) = at(fd).zip(adopt::identity(fd)) else {
        return;
    };
    // A socket's inode number has 32 bits. (fs/inode.c get_next_ino)
    if at.swap(ino as u32, Relaxed) == 0 {
        ANY.fetch_add(1, Relaxed);
    }
}

/// There may be a second way to this one.
#[inline(always)]
pub fn forget(fd: i32) {
    if ANY.load(Relaxed) != 0 {
        let _ = take(fd);
    }
}

/// There may be a second way to any.
#[inline(always)]
pub fn forget_all() {
    if ANY.load(Relaxed) != 0 {
        (0..NUMBERS as i32).for_each(|fd| {
            let _ = take(fd);
        });
    }
}

/// Whether it may be in.
#[inline(always)]
pub fn is_in(fd: i32) -> bool {
    at(fd).is_some_and(|at| at.load(Relaxed) != 0)
}

/// Takes it out. `true`: it was in, and is still the same socket.
#[must_use]
pub fn take(fd: i32) -> bool {
    let Some(at) = at(fd).filter(|at| at.load(Relaxed) != 0) else {
        return false;
    };
    let was = at.swap(0, Relaxed);
    if was != 0 {
        ANY.fetch_sub(1, Relaxed);
    }
    was != 0 && adopt::identity(fd).is_some_and(|(_, ino, _)| ino == u64::from(was))
}
