//! Sizes that the kernel's ABI fixes on x86-64.

/// Bytes in a page, and so in a pipe's slot. (arch/x86/include/asm/page_types.h)
pub const PAGE_SIZE: usize = 4096;

/// Writes of at most this many bytes are atomic. (limits.h; pipe(7), "PIPE_BUF")
pub const PIPE_BUF: usize = 4096;

/// Slots of a new pipe: 64 KiB. (include/linux/pipe_fs_i.h PIPE_DEF_BUFFERS)
pub const PIPE_DEF_BUFFERS: u32 = 16;

/// The most bytes that one read or write moves. (include/linux/fs.h MAX_RW_COUNT)
pub const MAX_RW_COUNT: usize = 0x7fff_f000;

/// Longest vector of readv(2) and writev(2). (include/uapi/linux/uio.h UIO_MAXIOV)
pub const IOV_MAX: usize = 1024;
