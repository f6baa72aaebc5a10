//! Mapping an arena file.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use ringer_kernel::arena::Arena;

use super::Access;

/// Maps the first `len` bytes of the file, which must be that long. Never unmapped: what borrows
/// from an arena lives as long as the process.
pub fn map(file: BorrowedFd<'_>, len: usize, access: Access) -> io::Result<Arena> {
    let sharing = match access {
        Access::Member => libc::MAP_SHARED,
        // Others' stores are seen, ours are not: a copy is made of a page that we write to.
        Access::Look => libc::MAP_PRIVATE | libc::MAP_NORESERVE,
    };
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice; no memory of ours changes.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            protection,
            sharing,
            file.as_raw_fd(),
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: page-aligned, readable, writable, never unmapped, `len` bytes of a file that the
    // caller found to be that long.
    Ok(unsafe { Arena::from_mapping(base.cast(), len) })
}
