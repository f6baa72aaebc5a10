//! Having the kernel itself mark a thread's slot when the thread dies.
//!
//! Each thread has a list of robust futexes, registered by glibc (set_robust_list(2)); when the
//! thread ends, by whatever death or by exec, the kernel sets FUTEX_OWNER_DIED in each word of the
//! list that holds its tid. (Linux v6.18 kernel/futex/core.c `exit_robust_list`.) The thread's
//! slot in the arena has the shape of a list element, so it is put into glibc's list, as a mutex
//! would be: glibc keeps its list doubly linked through the same fields, and never looks inside.

use core::sync::atomic::Ordering::*;

use ringer_kernel::task::Task;

use crate::gate::sys;

/// struct robust_list_head.
#[repr(C)]
struct Head {
    next: usize,
    futex_offset: isize,
    pending: usize,
}

/// Distance from the link to the futex word in glibc's pthread_mutex_t and in our [`Task`].
const FUTEX_OFFSET: isize = -32;

/// Puts the slot into the calling thread's list. Without a list of glibc's shape the word stays
/// 0: then a death is found out by asking /proc.
pub fn register(task: &'static Task, tid: u32) {
    let mut head: *mut Head = core::ptr::null_mut();
    let mut len = 0usize;
    let ret = sys!(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len);
    if ret < 0 || head.is_null() || len != core::mem::size_of::<Head>() {
        return;
    }
    let link = &task.next as *const _ as usize;
    debug_assert_eq!(link - core::ptr::from_ref(task) as usize, 32);
    // SAFETY: the head that glibc registered for this very thread, which only this thread changes;
    // signals are deferred, so nothing comes between.
    let Head {
        next: first,
        futex_offset,
        ..
    } = unsafe { head.read() };
    if futex_offset != FUTEX_OFFSET {
        return;
    }
    task.life.store(tid, Relaxed);
    task.next.store(first as u64, Relaxed);
    task.prev.store(head as u64, Relaxed);
    let head_address = head as usize;
    // `next` is the head's first field. The kernel may walk the list at any instruction: the new
    // element is whole before the head points to it.
    let head_next = head.cast::<usize>();
    // SAFETY: as above.
    unsafe { head_next.write_volatile(link) };
    if first & !1 != head_address {
        let prev = ((first & !1) as *mut usize).wrapping_sub(1);
        // SAFETY: an element of glibc's list: its `prev` is the word before its `next`.
        unsafe { prev.write_volatile(link) };
    }
}
