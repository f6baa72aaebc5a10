//! Linux's numbers: errnos, flags and limits, spelled as the headers spell them.

pub mod errno;
pub mod limits;

pub use errno::{Errno, Restart, SysError, SysResult};
