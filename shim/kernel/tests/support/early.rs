//! A connection that nobody has accepted yet, with everything that a call on it needs.

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::Mutex;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::file::{self, role, FileRef, SocketFile};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::mode;
use ringer_kernel::unix::{self, pending, Append, New, Sent, Side};

use super::{Me, Src, World};

/// Who connected, by its pid.
pub const CONNECTOR: u32 = 77;

#[derive(Clone, Copy)]
pub struct Early {
    pub world: World,
    pub me: Me,
    pub slot: u32,
    pub a: SocketFile,
    /// What is in the real socket.
    pub real: &'static Mutex<Vec<Vec<u8>>>,
    ino: u64,
}

static NEXT_INO: AtomicU64 = AtomicU64::new(5000);

impl Early {
    pub fn new(world: World, kind: u32) -> Early {
        let me = world.enter();
        let k = world.ctx(&me);
        let ino = NEXT_INO.fetch_add(2, SeqCst);
        let new = New {
            kind,
            twins: [(9, ino), (0, 0)],
            mode: mode::PENDING,
            connector: CONNECTOR,
        };
        let slot = unix::create(&k, new).unwrap();
        let names = (role::SOCKET, SocketFile::object(slot, Side::A));
        let file = file::new_file_of(world.arena, me.owner, world.host, names, 0).unwrap();
        let Some(FileRef::Socket(a)) = FileRef::of(world.arena, file) else {
            panic!("a socket was made");
        };
        Early {
            world,
            me,
            slot,
            a,
            real: Box::leak(Box::default()),
            ino,
        }
    }

    pub fn send(&self, me: &Me, data: &[u8]) -> Result<Sent, SysError> {
        let (k, mut src) = (self.world.ctx(me), Src::new(data));
        let what = Append {
            side: Side::A,
            kind: self.a.pair.type_of(),
            len: data.len(),
        };
        pending::try_send(&k, self.a.pair, what, &mut src, |pieces| {
            let whole = pieces.iter().filter(|p| p.1 > 0).flat_map(|p| {
                // SAFETY: the contract of `real`.
                unsafe { std::slice::from_raw_parts(p.0, p.1) }.to_vec()
            });
            self.real.lock().unwrap().push(whole.collect());
            Ok(())
        })
    }

    /// As [`Early::send`], of a real socket that says this.
    pub fn send_to(&self, says: Errno) -> Result<Sent, SysError> {
        let (k, mut src) = (self.world.ctx(&self.me), Src::new(b"refused"));
        let what = Append {
            side: Side::A,
            kind: self.a.pair.type_of(),
            len: 7,
        };
        pending::try_send(&k, self.a.pair, what, &mut src, |_| Err(says))
    }

    fn empty(&self, most: u64) {
        let mut real = self.real.lock().unwrap();
        assert!(real.len() as u64 <= most);
        real.clear();
    }

    /// accept(2) alone.
    pub fn accept_from(&self, me: &Me, connector: u32) -> Result<SocketFile, SysError> {
        let a = pending::Accepted {
            fd: 5,
            twin: (9, self.ino + 1),
            peer: (9, self.ino),
            connector,
            sndbuf: 212_992,
            flags: 0,
        };
        let k = self.world.ctx(me);
        let file = pending::accept(&k, self.slot, self.a.pair, &a, |most| self.empty(most))?;
        match FileRef::of(self.world.arena, file) {
            Some(FileRef::Socket(b)) => Ok(b),
            _ => panic!("a socket was made"),
        }
    }

    /// accept(2), and then who accepted begins to receive.
    pub fn accept(&self, me: &Me) -> Result<SocketFile, SysError> {
        let b = self.accept_from(me, CONNECTOR)?;
        let k = self.world.ctx(me);
        pending::take_over(&k, self.a.pair, || None, |most| self.empty(most));
        Ok(b)
    }

    /// As [`Early::accept`], and what is in the real socket stays there.
    pub fn accept_keeping(&self, me: &Me) -> Result<SocketFile, SysError> {
        let b = self.accept_from(me, CONNECTOR)?;
        let k = self.world.ctx(me);
        let bytes = self
            .real
            .lock()
            .unwrap()
            .iter()
            .map(|m| m.len() as u64)
            .sum();
        pending::take_over(&k, self.a.pair, || Some(bytes), |_| unreachable!());
        Ok(b)
    }

    /// All of it was received.
    pub fn end(&self, me: &Me) {
        pending::end_early(&self.world.ctx(me), self.a.pair, |most| self.empty(most));
    }

    pub fn leave(&self, me: &Me) -> bool {
        pending::leave(&self.world.ctx(me), self.a.pair, Cause::Stranger)
    }

    pub fn pending(&self) -> u32 {
        self.world.arena.header().pairs_pending.load(SeqCst)
    }
}
