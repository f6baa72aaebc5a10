//! A pair of sockets with everything that a call on it needs.

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::Mutex;

use ringer_kernel::abi::{SysError, SysResult};
use ringer_kernel::file::{self, role, FileRef, SocketFile};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::mode;
use ringer_kernel::sys::{socket_recv, socket_send, Blocking, How};
use ringer_kernel::unix::demote::RealPair;
use ringer_kernel::unix::{self, cost, New, Side};

use super::{Dst, FakeTwin, Me, Src, World};

pub const STREAM: u32 = 1;
pub const DGRAM: u32 = 2;
pub const SEQPACKET: u32 = 5;

/// The real pair: what was sent from each side, and what was shut down.
#[derive(Default)]
pub struct FakePair {
    pub sent: [Mutex<Vec<Vec<u8>>>; 2],
    pub shut: Mutex<Vec<(u32, u32)>>,
    /// Takes no more than so many messages, if it is not 0.
    pub most: AtomicU64,
    pub stream: bool,
    /// What all that costs.
    pub cost: [AtomicU64; 2],
}

impl RealPair for FakePair {
    fn send(&self, side: Side, pieces: [(*mut u8, usize); 2]) -> bool {
        let mut sent = self.sent[side.bit() as usize].lock().unwrap();
        let most = self.most.load(SeqCst);
        if most != 0 && sent.len() as u64 >= most {
            return false;
        }
        let bytes = pieces.iter().filter(|p| p.1 > 0).flat_map(|p| {
            // SAFETY: the trait's contract.
            unsafe { std::slice::from_raw_parts(p.0, p.1) }.to_vec()
        });
        let bytes: Vec<u8> = bytes.collect();
        let cost = match self.stream {
            true => cost::of_stream(bytes.len()),
            false => cost::of_packet(bytes.len()),
        };
        self.cost[side.bit() as usize].fetch_add(u64::from(cost), SeqCst);
        sent.push(bytes);
        true
    }

    fn charged(&self, side: Side) -> Option<u64> {
        Some(self.cost[side.bit() as usize].load(SeqCst))
    }

    fn readable(&self, side: Side) -> Option<u64> {
        let sent = self.sent[side.other().bit() as usize].lock().unwrap();
        Some(sent.iter().map(|m| m.len() as u64).sum())
    }

    fn drop_bytes(&self, side: Side, n: u64) -> bool {
        let from = side.other().bit() as usize;
        let mut left = n as usize;
        while left > 0 {
            let first = self.sent[from].lock().unwrap()[0].len();
            if first > left {
                self.sent[from].lock().unwrap()[0].drain(..left);
                return true;
            }
            self.drop_record(side);
            left -= first;
        }
        true
    }

    fn drop_record(&self, side: Side) -> bool {
        let from = side.other().bit() as usize;
        let mut sent = self.sent[from].lock().unwrap();
        if sent.is_empty() {
            return false;
        }
        let bytes = sent.remove(0).len();
        let cost = match self.stream {
            true => cost::of_stream(bytes),
            false => cost::of_packet(bytes),
        };
        self.cost[from].fetch_sub(u64::from(cost), SeqCst);
        true
    }

    fn set_sndbuf(&self, _: Side, _: Option<u32>) {}

    fn shut_down(&self, side: Side, bits: u32) {
        self.shut.lock().unwrap().push((side.bit(), bits));
    }
}

#[derive(Clone, Copy)]
pub struct Sockets {
    pub world: World,
    pub me: Me,
    pub a: SocketFile,
    pub b: SocketFile,
    pub real: &'static FakePair,
    pub twin: FakeTwin,
}

static NEXT_INO: AtomicU64 = AtomicU64::new(100);

impl Sockets {
    pub fn new(world: World, kind: u32) -> Sockets {
        let me = world.enter();
        let k = world.ctx(&me);
        let new = New {
            kind,
            twins: [0, 0].map(|_| (9, NEXT_INO.fetch_add(1, SeqCst))),
            mode: mode::RING,
            connector: 0,
        };
        let slot = unix::create(&k, new).unwrap();
        let open = |side| {
            let names = (role::SOCKET, SocketFile::object(slot, side));
            let file = file::new_file_of(world.arena, me.owner, world.host, names, 0).unwrap();
            match FileRef::of(world.arena, file) {
                Some(FileRef::Socket(s)) => s,
                _ => panic!("a socket was made"),
            }
        };
        let real = FakePair {
            stream: kind == STREAM,
            ..FakePair::default()
        };
        Sockets {
            world,
            me,
            a: open(Side::A),
            b: open(Side::B),
            real: Box::leak(Box::new(real)),
            twin: FakeTwin::new(),
        }
    }

    pub fn send(&self, me: &Me, from: &SocketFile, data: &[u8], blocking: Blocking) -> SysResult {
        let (k, mut src) = (self.world.ctx(me), Src::new(data));
        let sent = socket_send(&k, from, &self.twin, how(blocking), &mut src, data.len());
        match sent.end {
            Err(e) if sent.bytes == 0 => Err(e),
            _ => Ok(sent.bytes),
        }
    }

    pub fn recv(
        &self,
        me: &Me,
        at: &SocketFile,
        want: usize,
        blocking: Blocking,
    ) -> SysResult<Vec<u8>> {
        let mut buf = vec![0; want];
        let (k, mut dst) = (self.world.ctx(me), Dst::new(&mut buf));
        let got = socket_recv(&k, at, &self.twin, how(blocking), &mut dst, want)?;
        buf.truncate(got.bytes);
        Ok(buf)
    }

    pub fn demote(&self, me: &Me) -> Result<u64, SysError> {
        unix::demote::demote(&self.world.ctx(me), self.a.pair, self.real, Cause::Polled)
    }

    /// What the real pair was sent from side A.
    pub fn moved(&self) -> Vec<Vec<u8>> {
        self.real.sent[0].lock().unwrap().clone()
    }
}

fn how(blocking: Blocking) -> How {
    How {
        blocking,
        peek: false,
        all: false,
        waited_ns: 0,
    }
}
