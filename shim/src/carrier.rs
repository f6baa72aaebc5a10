//! The real socket of who connected, as long as nobody is known to have accepted the connection: it
//! carries what is sent. See ringer-kernel's `unix::pending`.

use ringer_kernel::abi::Errno;
use ringer_kernel::host::Twin;
use ringer_kernel::sys::RealSocket;

use crate::gate::sys;
use crate::peer;
use crate::twin::SocketTwin;

const POLLIN: i16 = 1;

impl SocketTwin<'_> {
    /// Its number, or that of what was kept for the call. -1: closed.
    fn number(&self) -> i32 {
        match self.is_open() {
            true => self.fd,
            false => crate::linger::stand_in().unwrap_or(-1),
        }
    }
}

impl RealSocket for SocketTwin<'_> {
    fn send_now(&self, pieces: [(*mut u8, usize); 2]) -> Result<(), Errno> {
        let whole: usize = pieces.iter().map(|p| p.1).sum();
        match peer::send_now(self.number(), pieces) {
            n if n == whole as isize => Ok(()),
            // One record is one buffer, which the kernel takes as a whole.
            n if n >= 0 => Err(Errno::EIO),
            n => Err(Errno::from_ret(n).unwrap_or(Errno::EIO)),
        }
    }

    fn charged(&self) -> Option<u64> {
        peer::charged(self.number())
    }

    fn is_readable(&self) -> bool {
        let mut p = libc::pollfd {
            fd: self.number(),
            events: POLLIN,
            revents: 0,
        };
        sys!(libc::SYS_poll, &raw mut p, 1, 0) != 0
    }
}
