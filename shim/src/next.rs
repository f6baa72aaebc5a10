//! libc's own functions, behind our hooks: dlsym(RTLD_NEXT), once.

use core::sync::atomic::{AtomicUsize, Ordering::*};

/// One function of the next library. Looked up at the first use, by whichever thread comes first:
/// all find the same.
pub struct Next {
    name: &'static core::ffi::CStr,
    at: AtomicUsize,
}

impl Next {
    pub const fn new(name: &'static core::ffi::CStr) -> Next {
        Next {
            name,
            at: AtomicUsize::new(0),
        }
    }

    /// Its address; that of a function that fails with ENOSYS if libc has none.
    #[inline(always)]
    pub fn get(&self) -> usize {
        match self.at.load(Relaxed) {
            0 => self.find(),
            at => at,
        }
    }

    #[cold]
    fn find(&self) -> usize {
        // SAFETY: a NUL-terminated name.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) } as usize;
        let at = if found == 0 {
            missing as *const () as usize
        } else {
            found
        };
        self.at.store(at, Relaxed);
        at
    }
}

/// Stands for a function that this libc does not have.
extern "C" fn missing() -> isize {
    set_errno(libc::ENOSYS);
    -1
}

pub fn set_errno(errno: i32) {
    // SAFETY: libc's own thread-local.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { *location = errno };
}

/// libc's convention from the kernel's.
#[inline(always)]
pub fn result(ret: isize) -> isize {
    if (-4095..0).contains(&ret) {
        set_errno(-ret as i32);
        return -1;
    }
    ret
}

/// Declares `real::NAME(..)`, libc's function behind the hook of the same name.
macro_rules! next {
    ($( fn $name:ident ( $($arg:ident : $t:ty),* $(,)? ) -> $r:ty; )*) => {
        pub mod real {
            #[allow(unused_imports)]
            use super::*;
            $(
                /// # Safety
                ///
                /// As libc's function of this name.
                #[inline(always)]
                pub unsafe fn $name($($arg: $t),*) -> $r {
                    const NAME: &core::ffi::CStr = match core::ffi::CStr::from_bytes_with_nul(
                        concat!(stringify!($name), "\0").as_bytes(),
                    ) {
                        Ok(name) => name,
                        Err(_) => c"",
                    };
                    static NEXT: $crate::next::Next = $crate::next::Next::new(NAME);
                    // SAFETY: libc's function of this name has this signature.
                    let f = unsafe {
                        core::mem::transmute::<usize, unsafe extern "C" fn($($t),*) -> $r>(NEXT.get())
                    };
                    // SAFETY: the caller's.
                    unsafe { f($($arg),*) }
                }
            )*
        }
    };
}
pub(crate) use next;
