//! Semaphores and shared memory by name. See sem_overview(7), shm_overview(7).

mod memory;
mod semaphores;
mod unnamed;

use std::ffi::CString;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use ringer_support::prelude::getpid;

/// A name that nobody else uses, of `len` bytes or as short as it comes.
fn name(len: usize) -> CString {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, SeqCst);
    let text = format!("/ringer-test-{}-{n}", getpid());
    let rest = (len + 1).saturating_sub(text.len());
    CString::new(text + &"x".repeat(rest)).unwrap()
}
