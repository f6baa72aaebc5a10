//! A message queue with everything that a call on it needs.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use ringer_kernel::abi::{Errno, SysResult};
use ringer_kernel::mqueue::limits::{Cred, Limits};
use ringer_kernel::mqueue::name::{self, Made, Wish};
use ringer_kernel::mqueue::notify::Notice;
use ringer_kernel::mqueue::Handle;
use ringer_kernel::pipe::watch::Tokens;
use ringer_kernel::sys::mqueue::{mq_receive, mq_send, Caller};
use ringer_kernel::sys::Blocking;

use super::host::TestHost;
use super::{Dst, Me, Src, World};

/// A twin that only counts.
pub struct Twin(pub AtomicU32);

impl Tokens for Twin {
    fn add(&self, n: u32) -> u32 {
        self.0.fetch_add(n, SeqCst);
        n
    }
    fn take(&self, n: u32) -> u32 {
        self.0.fetch_sub(n, SeqCst);
        n
    }
    fn count(&self) -> Option<u32> {
        Some(self.0.load(SeqCst))
    }
    fn poke(&self) {}
}

/// A thread's deadline and scheduling priority.
pub struct Patience {
    pub left: Cell<u64>,
    pub rank: u32,
}

impl Patience {
    pub fn endless(rank: u32) -> Patience {
        Patience {
            left: Cell::new(u64::MAX),
            rank,
        }
    }

    pub fn none() -> Patience {
        Patience {
            left: Cell::new(0),
            rank: 120,
        }
    }
}

impl Caller for Patience {
    fn left(&self) -> u64 {
        self.left.get()
    }
    fn rank(&self) -> u32 {
        self.rank
    }
}

pub fn cred(uid: u32) -> Cred<'static> {
    Cred {
        uid,
        gid: uid,
        in_group: &|_| false,
        may_override: false,
        may_exceed: false,
        may_own: false,
    }
}

pub fn limits() -> Limits {
    Limits::default()
}

pub fn wish(name: &[u8], create: bool, attr: Option<(i64, i64)>) -> Wish<'_> {
    Wish {
        name,
        create,
        exclusive: false,
        access: 2,
        attr,
        limits: &limits,
        bytes_max: 819_200,
    }
}

pub fn made(_: u32) -> Result<Made, Errno> {
    Ok(Made {
        dev: 1,
        ino: 2,
        mode: 0o600,
    })
}

#[derive(Clone, Copy)]
pub struct Mq {
    pub world: World,
    pub me: Me,
    pub h: Handle,
    pub twin: &'static Twin,
}

impl Mq {
    pub fn new(world: World, maxmsg: i64, msgsize: i64) -> Mq {
        static NAMES: AtomicU64 = AtomicU64::new(0);
        let me = world.enter();
        let name = format!("q{}", NAMES.fetch_add(1, SeqCst));
        let wish = wish(name.as_bytes(), true, Some((maxmsg, msgsize)));
        let (h, _) = name::open(&world.ctx(&me), &wish, &cred(0), made).unwrap();
        Mq {
            world,
            me,
            h,
            twin: Box::leak(Box::new(Twin(AtomicU32::new(0)))),
        }
    }

    pub fn host(&self) -> &'static TestHost {
        self.world.host
    }

    pub fn send_with(
        &self,
        me: &Me,
        data: &[u8],
        prio: u32,
        blocking: Blocking,
        how: &Patience,
    ) -> SysResult<Option<Notice>> {
        let what = (data.len(), prio);
        let k = self.world.ctx(me);
        mq_send(
            &k,
            &self.h,
            self.twin,
            blocking,
            &mut Src::new(data),
            what,
            how,
        )
    }

    pub fn send(&self, me: &Me, data: &[u8], prio: u32) -> SysResult<()> {
        let how = Patience::endless(120);
        self.send_with(me, data, prio, Blocking::No, &how)
            .map(|_| ())
    }

    pub fn receive_with(
        &self,
        me: &Me,
        blocking: Blocking,
        how: &Patience,
    ) -> SysResult<(Vec<u8>, u32)> {
        let mut buf = vec![0; self.h.q.msgsize.load(Relaxed) as usize];
        let mut prio = [0u8; 4];
        let k = self.world.ctx(me);
        let (mut dst, mut to) = (Dst::new(&mut buf), Dst::new(&mut prio));
        let n = mq_receive(&k, &self.h, self.twin, blocking, &mut dst, &mut to, how)?;
        buf.truncate(n);
        Ok((buf, u32::from_ne_bytes(prio)))
    }

    pub fn receive(&self, me: &Me) -> SysResult<(Vec<u8>, u32)> {
        self.receive_with(me, Blocking::No, &Patience::endless(120))
    }

    /// Waits until so many threads are in line.
    pub fn lined_up(&self, n: u32) {
        while self.h.q.busy.load(SeqCst) != n {
            std::thread::yield_now();
        }
    }

    pub fn count(&self) -> u32 {
        self.h.q.count.load(SeqCst)
    }
}
