//! An eventfd with everything that a call on it needs.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use ringer_kernel::abi::SysResult;
use ringer_kernel::eventfd::{self, demote::RealCounter, Mode, New};
use ringer_kernel::file::{self, role, EventfdFile, FileRef};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::mode;
use ringer_kernel::sys::{eventfd_read, eventfd_write, Blocking};

use super::{Dst, FakeTwin, Me, Src, World};

/// The real eventfd's counter.
#[derive(Default)]
pub struct FakeCounter {
    pub count: AtomicU64,
    /// Takes nothing.
    pub refuses: AtomicU32,
}

impl RealCounter for FakeCounter {
    fn has_count(&self) -> Option<bool> {
        Some(self.count.load(SeqCst) != 0)
    }

    fn add(&self, n: u64) -> bool {
        let takes = self.refuses.load(SeqCst) == 0;
        if takes {
            self.count.fetch_add(n, SeqCst);
        }
        takes
    }
}

#[derive(Clone, Copy)]
pub struct Counter {
    pub world: World,
    pub me: Me,
    pub file: EventfdFile,
    pub real: &'static FakeCounter,
    pub twin: FakeTwin,
}

static NEXT_TWIN: AtomicU32 = AtomicU32::new(1);

impl Counter {
    pub fn new(world: World, count: u64, how: Mode) -> Counter {
        let me = world.enter();
        let k = world.ctx(&me);
        let new = New {
            count,
            how,
            twin: NEXT_TWIN.fetch_add(1, SeqCst),
            mode: mode::RING,
        };
        let slot = eventfd::create(&k, new).unwrap();
        let names = (role::EVENTFD, slot);
        let file = file::new_file_of(world.arena, me.owner, world.host, names, 0).unwrap();
        let Some(FileRef::Eventfd(file)) = FileRef::of(world.arena, file) else {
            panic!("an eventfd was made");
        };
        Counter {
            world,
            me,
            file,
            real: Box::leak(Box::default()),
            twin: FakeTwin::new(),
        }
    }

    pub fn write(&self, me: &Me, add: u64, blocking: Blocking) -> SysResult {
        let bytes = add.to_ne_bytes();
        let (k, mut src) = (self.world.ctx(me), Src::new(&bytes));
        eventfd_write(&k, &self.file, &self.twin, blocking, &mut src, 8)
    }

    pub fn read(&self, me: &Me, blocking: Blocking) -> SysResult<u64> {
        let mut bytes = [0; 8];
        let (k, mut dst) = (self.world.ctx(me), Dst::new(&mut bytes));
        let n = eventfd_read(&k, &self.file, &self.twin, blocking, &mut dst, 8)?;
        assert_eq!(n, 8);
        Ok(u64::from_ne_bytes(bytes))
    }

    pub fn demote(&self, me: &Me) -> SysResult<u64> {
        let (k, e) = (self.world.ctx(me), self.file.eventfd);
        eventfd::demote::demote(&k, e, self.real, Cause::Polled)
    }
}
