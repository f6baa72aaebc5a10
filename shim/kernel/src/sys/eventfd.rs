//! read(2) and write(2) on an eventfd. See eventfd(2); Linux v6.18 fs/eventfd.c.

use super::wait::Wait;
use super::Blocking;
use crate::abi::errno::{Errno, SysError, SysResult};
use crate::eventfd::{self, counter, Eventfd};
use crate::file::EventfdFile;
use crate::host::{Host, Twin, UserRead, UserWrite};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;
use crate::sync::wait_queue::{WaitQueue, Waitable};
use crate::task::waits;

/// What a read and a write move.
pub const SIZE: usize = core::mem::size_of::<u64>();

/// read(2): EINVAL for a buffer below 8 bytes, before anything else; the counter, or 1 of a semaphore;
/// EAGAIN or sleep while it is 0. A bad buffer is EFAULT, and what was taken is lost, as in Linux.
#[inline(always)]
pub fn eventfd_read<H: Host, T: Twin, U: UserWrite>(
    k: &Ctx<'_, H>,
    f: &EventfdFile,
    twin: &T,
    blocking: Blocking,
    dst: &mut U,
    want: usize,
) -> SysResult {
    if want < SIZE {
        return failed(k, f, Kind::ReadFailed, Errno::EINVAL.into());
    }
    let taken = match eventfd::try_read(k, f.eventfd) {
        Ok(Some(taken)) => taken,
        Ok(None) if blocking == Blocking::No => {
            return failed(k, f, Kind::ReadFailed, Errno::EAGAIN.into())
        }
        Ok(None) => match sleep(k, f, twin, &f.eventfd.rd_wait, Call::Read) {
            Ok(taken) => taken,
            Err(e) => return failed(k, f, Kind::ReadFailed, e),
        },
        Err(e) => return Err(e),
    };
    if !dst.copy_out((&raw const taken).cast(), SIZE) {
        return failed(k, f, Kind::ReadFailed, Errno::EFAULT.into());
    }
    Ok(SIZE)
}

/// write(2): EINVAL unless it is of 8 bytes; EFAULT; EINVAL for 2^64-1; EAGAIN or sleep while the sum
/// would be above 2^64-2.
#[inline(always)]
pub fn eventfd_write<H: Host, T: Twin, U: UserRead>(
    k: &Ctx<'_, H>,
    f: &EventfdFile,
    twin: &T,
    blocking: Blocking,
    src: &mut U,
    len: usize,
) -> SysResult {
    let mut add = 0u64;
    if !lengths::of_write(len) {
        return failed(k, f, Kind::WriteFailed, Errno::EINVAL.into());
    }
    if !src.copy_in((&raw mut add).cast(), SIZE) {
        return failed(k, f, Kind::WriteFailed, Errno::EFAULT.into());
    }
    if let Err(e) = counter::check(add) {
        return failed(k, f, Kind::WriteFailed, e.into());
    }
    match eventfd::try_write(k, f.eventfd, add) {
        Ok(true) => Ok(SIZE),
        Ok(false) if blocking == Blocking::No => {
            failed(k, f, Kind::WriteFailed, Errno::EAGAIN.into())
        }
        Ok(false) => match sleep(k, f, twin, &f.eventfd.wr_wait, Call::Write(add)) {
            Ok(_) => Ok(SIZE),
            Err(e) => failed(k, f, Kind::WriteFailed, e),
        },
        Err(e) => Err(e),
    }
}

mod lengths {
    /// (fs/eventfd.c: `if (count != sizeof(ucnt)) return -EINVAL;`)
    #[inline(always)]
    pub fn of_write(len: usize) -> bool {
        len == super::SIZE
    }
}

#[cold]
fn failed<H: Host>(k: &Ctx<'_, H>, f: &EventfdFile, kind: Kind, e: SysError) -> SysResult {
    if let (true, SysError::Errno(errno)) = (k.log.is_on(), e) {
        let errno = i64::from(errno.get());
        k.log.about(f.eventfd, kind, 0, (errno, 0, 0));
    }
    Err(e)
}

#[derive(Clone, Copy)]
enum Call {
    Read,
    Write(u64),
}

#[cold]
fn sleep<H: Host, T: Twin>(
    k: &Ctx<'_, H>,
    f: &EventfdFile,
    twin: &T,
    queue: &WaitQueue,
    call: Call,
) -> Result<u64, SysError> {
    if !twin.hold() {
        twin.let_go();
        return Err(Errno::EBADF.into());
    }
    let e = f.eventfd;
    let generation = e.generation.load(Acquire);
    let mut w = Waiting {
        k,
        e,
        generation,
        call,
        wait: Wait::new(k, waits::EVENTFD | f.slot()),
    };
    let result = queue.wait_interruptible(&e.lock.word, k, k.host.processors(), &mut w);
    twin.let_go();
    result
}

struct Waiting<'a, H: Host> {
    k: &'a Ctx<'a, H>,
    e: &'static Eventfd,
    /// The eventfd's, when the call began: its slot may be another one's by now.
    generation: u32,
    call: Call,
    wait: Wait<'a, H>,
}

impl<H: Host> Waitable for Waiting<'_, H> {
    type Done = u64;

    fn attempt(&mut self) -> Result<Option<u64>, SysError> {
        if self.e.generation.load(Acquire) != self.generation {
            return Err(SysError::Demoted); // the kernel knows what the descriptor is
        }
        match self.call {
            Call::Read => eventfd::try_read(self.k, self.e),
            Call::Write(add) => Ok(eventfd::try_write(self.k, self.e, add)?.then_some(add)),
        }
    }

    fn looks_ready(&self) -> bool {
        let count = self.e.count.load(Acquire); // CLOSED is above 0, and has no room
        let ready = match self.call {
            Call::Read => count != 0,
            Call::Write(add) => counter::add(count, add).is_some(),
        };
        ready || !self.e.is_served()
    }

    fn mark(&self) -> u64 {
        self.e.count.load(Relaxed)
    }

    fn is_over(&mut self) -> bool {
        !self.e.is_served() || self.e.generation.load(Acquire) != self.generation
    }

    fn blocked(&mut self) {
        let writes = matches!(self.call, Call::Write(_));
        self.wait.begin(writes);
        let count = self.e.count.load(Relaxed);
        let abc = (i64::from(writes), count, 0);
        self.k.log.about(self.e, Kind::Block, 0, abc);
    }

    fn woken(&mut self, cause: u64) {
        let ticks = self.wait.finish();
        let abc = (ticks as i64, 0, 0);
        self.k.log.about(self.e, Kind::Wake, cause, abc);
    }

    fn interrupted(&mut self) {
        let again = i64::from(self.k.host.restarts());
        self.k
            .log
            .about(self.e, Kind::Interrupted, 0, (again, 0, 0));
    }
}
