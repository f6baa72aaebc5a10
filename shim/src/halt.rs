//! Sleeps that the kernel breaks off without a word: a stop and SIGCONT. (A freezer should look the same: not tried.)
//!
//! futex(2) ends with -ERESTARTSYS then, and since no handler is to run, the kernel sets the program counter back to
//! the `syscall` and makes the call again [kernel/signal.c, arch_do_signal_or_restart]. Other sleeps, which ringer's
//! stands for, are over by it [signal(7), Interruption by stop signals]. So the gate's futex wait is a restartable
//! sequence that ends right behind its `syscall`: a call that returns leaves it, and one that is to be made again is
//! found inside, and goes on at the abort label [kernel/rseq.c, rseq_ip_fixup; rseq(2)].
//!
//! In `eax` the abort finds what would have been called: futex (202), if the thread had not come to the call, and begins
//! again; restart_syscall (219), of a call with a timeout - each of ours has one - that is to be made again.
//!
//! The sequence is announced in the `struct rseq` that glibc 2.35 and later registers for each thread. Without one, or
//! in a Linux that does not look at sequences at the end of a system call, the sleep goes on as if nothing had been: that
//! it was stopped is then only known if a process of the session sent it, or if somebody looked
//! (`ringer_kernel::task::stops`).

use crate::tls::tls;
use core::sync::atomic::{AtomicIsize, AtomicU64, Ordering::*};

/// RSEQ_SIG of x86 [glibc, sysdeps/unix/sysv/linux/x86/bits/rseq.h].
pub const SIGNATURE: u32 = 0x5305_3053;

/// Offset of `rseq_cs` in struct rseq [linux/rseq.h].
const RSEQ_CS: isize = 8;

/// From the thread pointer to the thread's `rseq_cs`.
static OFFSET: AtomicIsize = AtomicIsize::new(NONE);
const NONE: isize = isize::MAX;

/// For all that can not announce theirs. Nobody reads it.
static UNANNOUNCED: AtomicU64 = AtomicU64::new(0);

/// Asks libc where it is: at each image of a program, and each time the same.
pub fn init() {
    let symbol = |name: &core::ffi::CStr| {
        // SAFETY: a NUL-terminated name.
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
    };
    let size = symbol(c"__rseq_size").cast::<u32>();
    let offset = symbol(c"__rseq_offset").cast::<isize>();
    if size.is_null() || offset.is_null() {
        return;
    }
    // SAFETY: glibc's `const unsigned int`, set before any constructor.
    let size = unsafe { *size };
    // SAFETY: its `const ptrdiff_t`, as well.
    let offset = unsafe { *offset };
    if size != 0 {
        OFFSET.store(offset + RSEQ_CS, Relaxed);
    }
}

/// Where this thread announces a sequence.
#[inline(always)]
pub fn critical() -> *mut u64 {
    let offset = OFFSET.load(Relaxed);
    if offset == NONE {
        return UNANNOUNCED.as_ptr();
    }
    let thread: usize;
    // SAFETY: the x86-64 psABI: the word at fs:0 is the thread pointer.
    unsafe {
        core::arch::asm!("mov {}, fs:0", out(reg) thread, options(nostack, readonly, preserves_flags));
    }
    thread.wrapping_add_signed(offset) as *mut u64
}

/// A sleep of this thread was broken off.
pub fn note() {
    let halts = &tls().halts;
    halts.set(halts.get().wrapping_add(1));
}

/// How often.
#[inline(always)]
pub fn count() -> u32 {
    tls().halts.get()
}
