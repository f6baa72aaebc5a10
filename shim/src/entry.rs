//! The `Entry` token: "this thread is inside the shim". While it lives, signals are only noted.
//!
//! Whatever takes a lock of the arena is reached through [`Ctx`](ringer_kernel::pipe::Ctx), and a
//! `Ctx` is only made from an `Entry`: so no handler of the program ever runs inside a lock.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::sync::atomic::{compiler_fence, Ordering};

use ringer_kernel::log::{layer, Log};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::sync::lock_word::OwnerId;
use ringer_kernel::task::{Process, Task};

use crate::attach;
use crate::host::Shim;
use crate::signal;
use crate::tls::{tls, Tls};

static HOST: Shim = Shim;

/// Not `Send`: it is about this thread.
pub struct Entry {
    pub tls: &'static Tls,
    _not_send: PhantomData<*const ()>,
}

/// What a call came to.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The kernel's convention: -errno or the result.
    Done(isize),
    /// A noted signal ended it: EINTR or once more, as the handler's SA_RESTART says.
    Restart,
    /// None of ringer's business (any more): the real call, outside the shim.
    Pass,
}

impl Verdict {
    pub fn errno(errno: i32) -> Verdict {
        Verdict::Done(-(errno as isize))
    }
}

/// What was delivered on the way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivered {
    Nothing,
    /// A handler ran; whether its action has SA_RESTART.
    Handler {
        restart: bool,
    },
}

impl Entry {
    #[inline(always)]
    pub fn enter() -> Entry {
        let tls = tls();
        tls.depth.set(tls.depth.get() + 1);
        compiler_fence(Ordering::SeqCst);
        Entry {
            tls,
            _not_send: PhantomData,
        }
    }

    /// A trap, which has counted already, and leaves by its end: see edge.rs.
    pub fn of_trap(tls: &'static Tls) -> ManuallyDrop<Entry> {
        ManuallyDrop::new(Entry {
            tls,
            _not_send: PhantomData,
        })
    }

    /// Leaves the shim; a noted signal is delivered now.
    #[inline(always)]
    pub fn leave(self) -> Delivered {
        let tls = self.tls;
        core::mem::forget(self);
        compiler_fence(Ordering::SeqCst);
        let depth = tls.depth.get() - 1;
        tls.depth.set(depth);
        compiler_fence(Ordering::SeqCst);
        if depth == 0 && tls.noted() != 0 {
            return signal::deliver_noted(tls);
        }
        Delivered::Nothing
    }

    /// This thread's name in lock words; registers it at its first need. `None`: not attached,
    /// or no slot.
    #[inline(always)]
    pub fn owner(&self) -> Option<OwnerId> {
        match self.tls.owner_id() {
            Some(owner) => Some(owner),
            None => attach::register_thread(self),
        }
    }

    /// The context of a call on descriptor `fd`.
    #[inline(always)]
    pub fn ctx(&self, fd: i32) -> Option<Ctx<'static, Shim>> {
        let me = self.owner()?;
        let arena = attach::arena()?;
        let log = Log {
            ring: self.tls.writer(),
            fd,
            layer: self.tls.layer.get() as u16,
        };
        Some(Ctx {
            arena,
            host: &HOST,
            me,
            log,
        })
    }

    pub fn process(&self) -> Option<&'static Process> {
        attach::process(self.tls)
    }

    #[inline(always)]
    pub fn task(&self) -> Option<&'static Task> {
        // SAFETY: null, or this thread's slot in the arena, which stays mapped.
        unsafe { self.tls.task.get().as_ref() }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let depth = self.tls.depth.get() - 1;
        self.tls.depth.set(depth);
        if depth == 0 && self.tls.noted() != 0 {
            signal::deliver_noted(self.tls);
        }
    }
}

/// Runs a call from layer I to its end: again and again while signals restart it. `None`: the
/// real call is to be made.
#[inline(always)]
pub fn run(mut call: impl FnMut(&Entry) -> Verdict) -> Option<isize> {
    loop {
        match once(&mut call) {
            Verdict::Done(ret) => return Some(ret),
            Verdict::Pass => return None,
            Verdict::Restart => {}
        }
    }
}

/// One attempt of a call from layer I, in and out of the shim. `Restart`: make it once more.
#[inline(always)]
pub fn once(call: impl FnOnce(&Entry) -> Verdict) -> Verdict {
    let entry = Entry::enter();
    entry.tls.layer.set(u32::from(layer::HOOK));
    let verdict = call(&entry);
    let delivered = entry.leave();
    if verdict == Verdict::Restart {
        return restarts(delivered);
    }
    verdict
}

/// What a signal makes of a call that it ended.
#[cold]
fn restarts(delivered: Delivered) -> Verdict {
    match delivered {
        Delivered::Handler { restart: false } => Verdict::errno(libc::EINTR),
        Delivered::Handler { restart: true } => Verdict::Restart,
        Delivered::Nothing => {
            crate::hooks::test_cancel();
            Verdict::Restart
        }
    }
}
