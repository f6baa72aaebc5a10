//! Having the kernel itself mark a thread's slot when the thread dies.
//!
//! Each thread has a list of robust futexes, registered by glibc (set_robust_list(2)); when the
//! thread ends, by whatever death or by exec, the kernel sets FUTEX_OWNER_DIED in each word of the
//! list that holds its tid. (Linux v6.18 kernel/futex/core.c `exit_robust_list`.) The thread's
//! slot in the arena has the shape of a list element, so it is put into glibc's list, as a mutex
//! would be: glibc keeps its list doubly linked through the same fields, and never looks inside.

use ringer_kernel::task::robust_list::{self, Head};
use ringer_kernel::task::Task;

use crate::gate::sys;

/// Puts the slot into the calling thread's list. Without a list of glibc's shape the word stays
/// 0: then a death is found out by asking /proc.
pub fn register(task: &'static Task, tid: u32) {
    let mut head: *mut Head = core::ptr::null_mut();
    let mut len = 0usize;
    let ret = sys!(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len);
    if ret >= 0 && len == core::mem::size_of::<Head>() {
        // SAFETY: the head that glibc registered for this very thread, which only this thread changes;
        // signals are deferred, so nothing comes between.
        unsafe { robust_list::link(head, task, tid) };
    }
}
