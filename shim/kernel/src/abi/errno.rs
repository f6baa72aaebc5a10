//! Error numbers that the guest may see, and the restarts that it may not. See errno(3), signal(7).

use core::fmt;
use core::num::NonZeroU16;

/// A Linux error number, 1..=4095. See errno(3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Errno(NonZeroU16);

macro_rules! errnos {
    ($($name:ident = $n:literal),* $(,)?) => {
        impl Errno {
            $(pub const $name: Errno = match NonZeroU16::new($n) {
                Some(n) => Errno(n),
                None => Errno(NonZeroU16::MIN),
            };)*

            /// `EAGAIN` and so on; `None` for a number that has no name here.
            pub fn name(self) -> Option<&'static str> {
                match self.0.get() {
                    $($n => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

// include/uapi/asm-generic/errno-base.h and errno.h
errnos! {
    EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, ENOEXEC = 8,
    EBADF = 9, ECHILD = 10, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EFAULT = 14, ENOTBLK = 15,
    EBUSY = 16, EEXIST = 17, EXDEV = 18, ENODEV = 19, ENOTDIR = 20, EISDIR = 21, EINVAL = 22,
    ENFILE = 23, EMFILE = 24, ENOTTY = 25, ETXTBSY = 26, EFBIG = 27, ENOSPC = 28, ESPIPE = 29,
    EROFS = 30, EMLINK = 31, EPIPE = 32, EDOM = 33, ERANGE = 34, EDEADLK = 35, ENAMETOOLONG = 36,
    ENOLCK = 37, ENOSYS = 38, ENOTEMPTY = 39, ELOOP = 40, ENODATA = 61, ETIME = 62, EPROTO = 71,
    EOVERFLOW = 75, EILSEQ = 84, ENOTSOCK = 88, EMSGSIZE = 90, EOPNOTSUPP = 95, ENOBUFS = 105,
    ETIMEDOUT = 110, ECANCELED = 125, EOWNERDEAD = 130,
    ENOMSG = 42, EIDRM = 43,
    ECONNRESET = 104, ENOTCONN = 107, ECONNREFUSED = 111,
}

impl Errno {
    /// The number, 1..=4095.
    pub fn get(self) -> i32 {
        i32::from(self.0.get())
    }

    /// From what a system call left in `rax`: -4095..=-1 is an error, anything else is not.
    pub fn from_ret(ret: isize) -> Option<Errno> {
        if (-4095..0).contains(&ret) {
            u16::try_from(-ret)
                .ok()
                .and_then(NonZeroU16::new)
                .map(Errno)
        } else {
            None
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

/// How an interrupted call resumes. See signal(7), "Interruption of system calls".
///
/// Linux encodes these as errnos 512..=516. Here they are a different type, so that
/// ERESTARTSYS can not reach user space by accident.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// ERESTARTSYS: restart if the handler has SA_RESTART, else EINTR.
    Sys,
}

/// Why a call has no result yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SysError {
    Errno(Errno),
    Restart(Restart),
    /// The object went to the kernel meanwhile: make the same call on its twin.
    Demoted,
}

pub type SysResult<T = usize> = Result<T, SysError>;

impl From<Errno> for SysError {
    fn from(e: Errno) -> Self {
        SysError::Errno(e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_minus_4095_to_minus_1_is_an_error() {
        assert_eq!(Errno::from_ret(-11), Some(Errno::EAGAIN));
        assert_eq!(Errno::from_ret(0), None);
        assert_eq!(Errno::from_ret(-4096), None);
        assert_eq!(Errno::from_ret(isize::MIN), None);
    }

    #[test]
    fn names_are_linuxs() {
        assert_eq!(Errno::EPIPE.name(), Some("EPIPE"));
        assert_eq!(Errno::EPIPE.get(), 32);
    }
}
