//! read(2) and write(2) on a pipe. See pipe(7); Linux v6.18 fs/pipe.c.

use crate::abi::errno::{Errno, SysError, SysResult};
use crate::file::{End, PipeEnd};
use crate::host::{Host, Twin, UserRead, UserWrite};
use crate::log::Kind;
use crate::pipe::slot;
use crate::pipe::watch::{self, Known, Side, Tokens};
use crate::pipe::{try_read, try_write, Ctx, Ended, Pipe};
use crate::sync::atomic::Ordering::*;
use crate::sync::wait_queue::Waitable;
use crate::task::stops::Watch;
use crate::task::{self, Task};

/// O_NONBLOCK, as it counts for one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocking {
    Yes,
    No,
}

/// What a write came to. `bytes` were written in any case.
#[must_use]
pub struct Written {
    pub bytes: usize,
    /// Why it ended before all was written; `Ok` if all was.
    pub end: Result<(), SysError>,
}

impl Written {
    #[inline(always)]
    fn nothing(end: Result<(), SysError>) -> Written {
        Written { bytes: 0, end }
    }

    /// write(2)'s own result: a partial count wins over an error.
    pub fn result(&self) -> SysResult {
        match self.end {
            Err(e) if self.bytes == 0 => Err(e),
            _ => Ok(self.bytes),
        }
    }

    /// "If all file descriptors referring to the read end of a pipe have been closed, then a
    /// write(2) will cause a SIGPIPE signal" [pipe(7)] - after a partial write, too.
    pub fn raises_sigpipe(&self) -> bool {
        self.end == Err(SysError::Errno(Errno::EPIPE))
    }
}

/// read(2) on a pipe.
///
/// - R1 a write end: EBADF.
/// - R2 no bytes wanted: 0, whatever the state. [fs/pipe.c: "Null read succeeds"]
/// - R3 bytes there: as many as there are, at most `want`.
/// - R4 none there, no writer: 0. [pipe(7): "an attempt to read will see end-of-file"]
/// - R5 none there, a writer, O_NONBLOCK: EAGAIN.
/// - R6 else sleep; a signal ends it: EINTR or restart.
/// - R7 bad memory: EFAULT if nothing was read before; what was not delivered stays in the pipe.
#[inline(always)]
pub fn pipe_read<H: Host, T: Twin + Tokens, U: UserWrite>(
    k: &Ctx<'_, H>,
    e: &PipeEnd,
    twin: &T,
    blocking: Blocking,
    dst: &mut U,
    want: usize,
) -> SysResult {
    if e.end != End::Read {
        return Err(Errno::EBADF.into()); // R1
    }
    if want == 0 {
        return Ok(0); // R2
    }
    let known = testify(k, e, twin);
    // Mostly there is something.
    match try_read(k, e.pipe, dst, want) {
        Ok(step) if step.bytes > 0 => {
            mirror(k, known, twin, Side::Reader);
            return Ok(step.bytes); // R3
        }
        Ok(step) if step.ended == Ended::Fault => {
            return read_ends(k, e, Err(Errno::EFAULT.into()))
        } // R7
        Ok(_) => {}
        Err(err) => return Err(err),
    }
    read_slowly(k, e, twin, blocking, dst, want)
}

/// Nothing was there at the first look.
#[cold]
fn read_slowly<H: Host, T: Twin + Tokens, U: UserWrite>(
    k: &Ctx<'_, H>,
    e: &PipeEnd,
    twin: &T,
    blocking: Blocking,
    dst: &mut U,
    want: usize,
) -> SysResult {
    let mut call = Reading {
        k,
        p: e.pipe,
        twin,
        dst,
        want,
        wait: Wait::new(k, e),
    };
    let result = match call.attempt() {
        Ok(Some(n)) => Ok(n),
        Ok(None) if blocking == Blocking::No => Err(Errno::EAGAIN.into()), // R5
        Ok(None) => sleep(k, e, twin, &mut call),                          // R6
        Err(err) => Err(err),
    };
    read_ends(k, e, result)
}

fn read_ends<H: Host>(k: &Ctx<'_, H>, e: &PipeEnd, result: SysResult) -> SysResult {
    if k.log.is_on() {
        log_read_end(k, e.pipe, result);
    }
    result
}

fn log_read_end<H: Host>(k: &Ctx<'_, H>, p: &Pipe, result: SysResult) {
    match result {
        Err(SysError::Errno(errno)) => {
            k.log
                .pipe(p, Kind::ReadFailed, 0, (i64::from(errno.get()), 0, 0));
        }
        Ok(0) => {
            k.log.pipe(p, Kind::Eof, 0, (0, p.read.load(Relaxed), 0));
        }
        _ => {}
    }
}

/// write(2) on a pipe.
///
/// - W1 a read end: EBADF.
/// - W2 no bytes: 0, whatever the state. [fs/pipe.c: "Null write succeeds."]
/// - W3 no reader: EPIPE and SIGPIPE, before anything is written, and again before each piece.
/// - W4 room: as in `pipe::try_write`.
/// - W5 no room for all, O_NONBLOCK: what fitted, EAGAIN if nothing did.
/// - W6 else sleep until there is room for more; a signal ends it: the count so far, or EINTR or
///   restart if that is 0. A stop: the count so far, if that is not 0.
/// - W7 bad memory: the count so far, or EFAULT.
#[inline(always)]
pub fn pipe_write<H: Host, T: Twin + Tokens, U: UserRead>(
    k: &Ctx<'_, H>,
    e: &PipeEnd,
    twin: &T,
    blocking: Blocking,
    kind: slot::Kind,
    src: &mut U,
    len: usize,
) -> Written {
    if e.end != End::Write {
        return Written::nothing(Err(Errno::EBADF.into())); // W1
    }
    if len == 0 {
        return Written::nothing(Ok(())); // W2
    }
    let known = testify(k, e, twin);
    let mut left = len;
    let mut first = true;
    // Mostly there is a reader, and room.
    if e.pipe.surely_held(k.arena, End::Read) {
        match try_write(k, e.pipe, src, len, true, kind) {
            Ok(step) => {
                mirror(k, known, twin, stopped(step.bytes, left));
                left -= step.bytes;
                first = false;
                if left == 0 {
                    let end = Ok(());
                    return Written { bytes: len, end }; // W4
                }
                if step.ended == Ended::Fault {
                    return write_ends(k, e, len - left, Err(Errno::EFAULT.into()));
                    // W7
                }
            }
            Err(err) => return Written::nothing(Err(err)),
        }
    }
    write_slowly(k, e, twin, blocking, kind, src, (len, left, first))
}

/// The first look was not enough: `left` of `len` bytes remain; `first`: nothing was tried yet.
#[cold]
fn write_slowly<H: Host, T: Twin + Tokens, U: UserRead>(
    k: &Ctx<'_, H>,
    e: &PipeEnd,
    twin: &T,
    blocking: Blocking,
    kind: slot::Kind,
    src: &mut U,
    (len, left, first): (usize, usize, bool),
) -> Written {
    let mut call = Writing {
        k,
        p: e.pipe,
        twin,
        src,
        len,
        left,
        first,
        kind,
        wait: Wait::new(k, e),
        stops: Watch::begin(k),
    };
    let attempt = if first || blocking == Blocking::Yes {
        call.attempt()
    } else {
        Ok(None) // it has just been tried
    };
    let end = match attempt {
        Ok(Some(())) => Ok(()),
        Ok(None) if blocking == Blocking::No => Err(Errno::EAGAIN.into()), // W5
        Ok(None) => sleep(k, e, twin, &mut call),                          // W6
        Err(err) => Err(err),
    };
    let bytes = len - call.left;
    write_ends(k, e, bytes, end)
}

fn write_ends<H: Host>(
    k: &Ctx<'_, H>,
    e: &PipeEnd,
    bytes: usize,
    end: Result<(), SysError>,
) -> Written {
    if k.log.is_on() {
        if let Err(SysError::Errno(errno)) = end {
            k.log.pipe(
                e.pipe,
                Kind::WriteFailed,
                0,
                (i64::from(errno.get()), bytes as u64, 0),
            );
        }
    }
    Written { bytes, end }
}

/// "I use this end", and takes it back if the descriptor was closed meanwhile by another thread.
#[inline(always)]
fn testify<H: Host>(k: &Ctx<'_, H>, e: &PipeEnd, twin: &impl Twin) -> Known<'static> {
    if e.pipe.testify(e.end, k.me) && !twin.is_open() {
        e.pipe.forget_witness(e.end);
    }
    watch::known(e.pipe)
}

#[cold]
fn sleep<H: Host, W: Waitable>(
    k: &Ctx<'_, H>,
    e: &PipeEnd,
    twin: &impl Twin,
    call: &mut W,
) -> Result<W::Done, SysError> {
    let p = e.pipe;
    if !twin.hold() {
        twin.let_go();
        return Err(Errno::EBADF.into());
    }
    let (queue, peer) = match e.end {
        End::Read => (&p.rd_wait, &p.wlock.word),
        End::Write => (&p.wr_wait, &p.rlock.word),
    };
    let result = queue.wait_interruptible(peer, k, k.host.processors(), call);
    twin.let_go();
    result
}

/// How a writer mirrors a step that moved `bytes` of `left`.
#[inline(always)]
fn stopped(bytes: usize, left: usize) -> Side {
    if bytes < left {
        Side::WriterStopped
    } else {
        Side::Writer
    }
}

/// After every step, before a sleep above all: pollers see what changed, and that somebody tried.
#[inline(always)]
fn mirror<H: Host>(k: &Ctx<'_, H>, known: Known<'_>, twin: &impl Tokens, side: Side) {
    if known.0.watched.load(Acquire) != 0 {
        watch::reconcile(k, known, twin, side);
    }
}

struct Reading<'a, H: Host, T, U> {
    k: &'a Ctx<'a, H>,
    p: &'static Pipe,
    twin: &'a T,
    dst: &'a mut U,
    want: usize,
    wait: Wait<'a, H>,
}

impl<H: Host, T: Twin + Tokens, U: UserWrite> Waitable for Reading<'_, H, T, U> {
    type Done = usize;

    #[inline(always)]
    fn attempt(&mut self) -> Result<Option<usize>, SysError> {
        self.wait.same_pipe(self.p)?;
        if let Some(n) = self.take()? {
            return Ok(Some(n)); // R3
        }
        let held = !self.wait.doubt && self.p.surely_held(self.k.arena, End::Write);
        if held || !self.twin.peer_gone() {
            return Ok(None);
        }
        // The last writer may have written and closed since we looked.
        Ok(Some(self.take()?.unwrap_or(0))) // R4
    }

    fn looks_ready(&self) -> bool {
        !self.p.looks_empty() || !self.p.is_ring()
    }

    fn mark(&self) -> u64 {
        self.p.mark(self.k.arena, End::Read)
    }

    fn blocked(&mut self) {
        self.wait.begin(self.p, End::Read);
    }

    fn doubt(&mut self) {
        self.wait.doubt = true;
    }

    fn is_over(&mut self) -> bool {
        !self.p.is_ring() || self.wait.same_pipe(self.p).is_err() || self.twin.peer_gone()
    }

    fn woken(&mut self, cause: u64) {
        self.wait.finish(self.p, cause);
    }

    fn interrupted(&mut self) {
        self.wait.interrupted(self.p);
    }
}

impl<H: Host, T: Twin + Tokens, U: UserWrite> Reading<'_, H, T, U> {
    #[inline(always)]
    fn take(&mut self) -> Result<Option<usize>, SysError> {
        let step = try_read(self.k, self.p, self.dst, self.want)?;
        let known = (self.p, self.wait.generation);
        mirror(self.k, known, self.twin, Side::Reader);
        if step.bytes > 0 || step.ended == Ended::Packet {
            return Ok(Some(step.bytes));
        }
        if step.ended == Ended::Fault {
            return Err(Errno::EFAULT.into()); // R7
        }
        Ok(None)
    }
}

struct Writing<'a, H: Host, T, U> {
    k: &'a Ctx<'a, H>,
    p: &'static Pipe,
    twin: &'a T,
    src: &'a mut U,
    len: usize,
    left: usize,
    first: bool,
    kind: slot::Kind,
    wait: Wait<'a, H>,
    stops: Watch,
}

impl<H: Host, T: Twin + Tokens, U: UserRead> Waitable for Writing<'_, H, T, U> {
    type Done = ();

    #[inline(always)]
    fn attempt(&mut self) -> Result<Option<()>, SysError> {
        self.wait.same_pipe(self.p)?;
        let held = !self.wait.doubt && self.p.surely_held(self.k.arena, End::Read);
        if !held && self.twin.peer_gone() {
            return Err(Errno::EPIPE.into()); // W3
        }
        let step = try_write(self.k, self.p, self.src, self.left, self.first, self.kind)?; // W4
        let (known, side) = (
            (self.p, self.wait.generation),
            stopped(step.bytes, self.left),
        );
        mirror(self.k, known, self.twin, side);
        self.first = false;
        self.left -= step.bytes;
        if step.ended == Ended::Fault {
            return Err(Errno::EFAULT.into()); // W7
        }
        Ok((self.left == 0).then_some(()))
    }

    fn looks_ready(&self) -> bool {
        !self.p.looks_full() || !self.p.is_ring()
    }

    fn mark(&self) -> u64 {
        self.p.mark(self.k.arena, End::Write)
    }

    fn blocked(&mut self) {
        self.wait.begin(self.p, End::Write);
    }

    fn doubt(&mut self) {
        self.wait.doubt = true;
    }

    fn is_over(&mut self) -> bool {
        !self.p.is_ring() || self.wait.same_pipe(self.p).is_err() || self.twin.peer_gone()
    }

    fn woken(&mut self, cause: u64) {
        self.wait.finish(self.p, cause);
    }

    fn interrupted(&mut self) {
        self.wait.interrupted(self.p);
    }

    fn was_stopped(&mut self) -> bool {
        self.left < self.len && self.stops.is_over(self.k)
    }
}

/// What others are told of a wait: the thread's slot for `ringer ps`, the log for `ringer trace`.
struct Wait<'a, H: Host> {
    k: &'a Ctx<'a, H>,
    pipe_slot: u32,
    /// The pipe's, when the call began.
    generation: u32,
    /// The witness of the other end is not believed: ask the twin.
    doubt: bool,
    since: u64,
}

impl<'a, H: Host> Wait<'a, H> {
    #[inline(always)]
    fn new(k: &'a Ctx<'a, H>, e: &PipeEnd) -> Self {
        Wait {
            k,
            pipe_slot: e.pipe_slot(),
            generation: e.pipe.generation.load(Acquire),
            doubt: false,
            since: 0,
        }
    }

    /// Another thread may close the descriptor while this one sleeps, and the pipe's slot may be
    /// another pipe's by now. The kernel knows what the descriptor is.
    #[inline(always)]
    fn same_pipe(&self, p: &Pipe) -> Result<(), SysError> {
        match p.generation.load(Acquire) == self.generation {
            true => Ok(()),
            false => Err(SysError::Demoted),
        }
    }

    fn task(&self) -> Option<&'static Task> {
        task::task_of(self.k.arena, self.k.me)
    }

    fn begin(&mut self, p: &Pipe, end: End) {
        self.since = self.k.host.tsc();
        let (mark, end) = match end {
            End::Read => (0, 0),
            End::Write => (1 << 31, 1),
        };
        if let Some(task) = self.task() {
            task.waits_since.store(self.since, Relaxed);
            task.waits_for.store(self.pipe_slot | mark, Relaxed);
            Task::count(&task.sleeps);
        }
        self.k.log.pipe(p, Kind::Block, 0, (end, 0, 0));
    }

    fn finish(&mut self, p: &Pipe, cause: u64) {
        let ticks = self.k.host.tsc().saturating_sub(self.since);
        if let Some(task) = self.task() {
            task.waits_for.store(0, Relaxed);
            task.slept_tsc
                .store(task.slept_tsc.load(Relaxed).wrapping_add(ticks), Relaxed);
        }
        self.k.log.pipe(p, Kind::Wake, cause, (ticks as i64, 0, 0));
    }

    fn interrupted(&self, p: &Pipe) {
        let again = i64::from(self.k.host.restarts());
        self.k.log.pipe(p, Kind::Interrupted, 0, (again, 0, 0));
    }
}
