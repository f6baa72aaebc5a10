//! The two variables that carry a session: LD_PRELOAD and RINGER_SESSION.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*};

pub const SESSION: &[u8] = b"RINGER_SESSION=";
pub const PRELOAD: &[u8] = b"LD_PRELOAD=";
/// What tells our library among those that are preloaded.
pub const LIBRARY: &[u8] = b"libringer";

/// `RINGER_SESSION=...` and `LD_PRELOAD=...`, NUL-terminated, as new programs are to have them.
static SESSION_ENTRY: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static SESSION_LEN: AtomicUsize = AtomicUsize::new(0);
static PRELOAD_ENTRY: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static PRELOAD_LEN: AtomicUsize = AtomicUsize::new(0);

extern "C" {
    static mut environ: *mut *mut u8;
}

/// Bytes of a NUL-terminated string.
///
/// # Safety
///
/// `s` points to one, and it does not change while the result is used.
pub unsafe fn bytes_of<'a>(s: *const u8) -> &'a [u8] {
    // SAFETY: the caller's.
    unsafe { core::ffi::CStr::from_ptr(s.cast()) }.to_bytes()
}

/// The process's own environment, as libc has it.
pub fn own() -> *mut *mut u8 {
    // SAFETY: libc's variable; reading the pointer is what every getenv does.
    unsafe { environ }
}

/// The entry that starts with `key` ("NAME=") in the process's own environment.
pub fn find(key: &[u8]) -> Option<&'static [u8]> {
    let mut at = own();
    if at.is_null() {
        return None;
    }
    loop {
        // SAFETY: environ is a NULL-terminated array of strings.
        let entry = unsafe { *at };
        if entry.is_null() {
            return None;
        }
        // SAFETY: as above; before main nobody changes it.
        let bytes = unsafe { bytes_of(entry) };
        if bytes.starts_with(key) {
            return Some(bytes);
        }
        // SAFETY: not at the NULL yet.
        at = unsafe { at.add(1) };
    }
}

/// Remembers `LD_PRELOAD=...` as it was when the process began.
pub fn remember_preload() {
    if let Some(entry) = find(PRELOAD) {
        keep(entry, &PRELOAD_ENTRY, &PRELOAD_LEN);
    }
}

/// Remembers the session for new programs: `path` without a NUL.
pub fn remember_session(path: &[u8]) {
    let mut entry = [0u8; 512];
    let len = SESSION.len() + path.len();
    if let (Some(key), true) = (entry.get_mut(..SESSION.len()), len < 512) {
        key.copy_from_slice(SESSION);
    }
    if let Some(value) = entry.get_mut(SESSION.len()..len) {
        value.copy_from_slice(path);
        keep(
            entry.get(..len).unwrap_or(&[]),
            &SESSION_ENTRY,
            &SESSION_LEN,
        );
    }
}

/// A copy in a mapping of its own: the program may overwrite its environment.
fn keep(entry: &[u8], at: &AtomicPtr<u8>, len: &AtomicUsize) {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let page = crate::gate::sys!(libc::SYS_mmap, 0, entry.len() + 1, prot, flags, -1isize, 0);
    if page < 0 {
        return;
    }
    let page = page as *mut u8;
    // SAFETY: a fresh mapping of at least `entry.len() + 1` zero bytes.
    unsafe { core::ptr::copy_nonoverlapping(entry.as_ptr(), page, entry.len()) };
    len.store(entry.len(), Relaxed);
    at.store(page, Release);
}

fn kept(at: &AtomicPtr<u8>, len: &AtomicUsize) -> Option<&'static [u8]> {
    let p = at.load(Acquire);
    if p.is_null() {
        return None;
    }
    // SAFETY: made by `keep`, which never unmaps or changes it.
    Some(unsafe { core::slice::from_raw_parts(p, len.load(Relaxed)) })
}

/// `LD_PRELOAD=...` for new programs, NUL-terminated behind its last byte.
pub fn preload_entry() -> Option<&'static [u8]> {
    kept(&PRELOAD_ENTRY, &PRELOAD_LEN)
}

pub fn session_entry() -> Option<&'static [u8]> {
    kept(&SESSION_ENTRY, &SESSION_LEN)
}

pub fn session_path() -> Option<&'static [u8]> {
    session_entry()?.get(SESSION.len()..)
}

/// Makes RINGER_SESSION empty in our own environment: children do not complain once more.
pub fn silence() {
    match find(SESSION) {
        Some(entry) if entry.len() > SESSION.len() => {
            let value = entry.as_ptr().wrapping_add(SESSION.len()).cast_mut();
            // SAFETY: a byte of our own environment string.
            unsafe { value.write(0) };
        }
        Some(_) => {}
        None => {
            // SAFETY: a NUL-terminated "NAME=value" that lives for ever and that nobody writes to
            // (it is the empty value already); we run before main.
            unsafe { libc::putenv(c"RINGER_SESSION=".as_ptr().cast_mut()) };
        }
    }
}
