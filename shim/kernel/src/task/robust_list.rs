//! The list by which the kernel knows a thread's slot, to mark it when the thread dies: see `Task`.
//! See get_robust_list(2); Linux v6.18 kernel/futex/core.c `exit_robust_list`.

use super::Task;
use crate::sync::atomic::Ordering::*;

/// struct robust_list_head.
#[repr(C)]
pub struct Head {
    next: usize,
    futex_offset: isize,
    pending: usize,
}

/// Distance from the link to the futex word in glibc's pthread_mutex_t and in our [`Task`].
const FUTEX_OFFSET: isize = -32;

/// Puts the slot into the list of thread `tid`, if that has glibc's shape. Else its life word stays 0.
///
/// # Safety
///
/// `head` is null, or what the calling thread has registered; nobody changes the list meanwhile.
pub unsafe fn link(head: *mut Head, task: &'static Task, tid: u32) {
    if head.is_null() {
        return;
    }
    let link = &task.next as *const _ as usize;
    debug_assert_eq!(link - core::ptr::from_ref(task) as usize, 32);
    // SAFETY: the caller's word.
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
