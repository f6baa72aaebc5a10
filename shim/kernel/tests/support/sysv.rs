//! System V calls as a thread of a test's session makes them.

use ringer_kernel::abi::SysResult;
use ringer_kernel::host::{UserRead, UserWrite};
use ringer_kernel::sysv::sem_step::Sembuf;
use ringer_kernel::sysv::{self, msg, msg_op, sem, sem_ctl, sem_op, Limits, Rights, Root, Who};
use ringer_kernel::task::{self, proc_state};

use super::{Me, World};

pub struct NoRights;

impl Rights for NoRights {
    fn in_group(&self, _: u32) -> bool {
        false
    }
    fn capable(&self, _: u32) -> bool {
        false
    }
}

static NO_RIGHTS: NoRights = NoRights;

/// Memory of a test that is read and written.
pub struct Memory {
    pub bytes: Vec<u8>,
    at: usize,
}

impl Memory {
    pub fn new(bytes: Vec<u8>) -> Memory {
        Memory { bytes, at: 0 }
    }
}

impl UserRead for Memory {
    fn copy_in(&mut self, dst: *mut u8, len: usize) -> bool {
        let Some(from) = self.bytes.get(self.at..self.at + len) else {
            return false;
        };
        // SAFETY: `dst` has room for `len` bytes, by the trait's contract.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), dst, len) };
        self.at += len;
        true
    }
    fn rewind(&mut self, to: usize) {
        self.at = to;
    }
    fn position(&self) -> usize {
        self.at
    }
}

impl UserWrite for Memory {
    fn copy_out(&mut self, src: *const u8, len: usize) -> bool {
        let Some(to) = self.bytes.get_mut(self.at..self.at + len) else {
            return false;
        };
        // SAFETY: `src` has `len` bytes, by the trait's contract.
        unsafe { std::ptr::copy_nonoverlapping(src, to.as_mut_ptr(), len) };
        self.at += len;
        true
    }
}

/// A process of the session, by its slot and generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    pub slot: u32,
    pub generation: u32,
    pub pid: u32,
}

#[derive(Clone, Copy)]
pub struct Sysv {
    pub world: World,
    pub root: &'static Root,
}

pub type Ops<'a> = &'a [(u16, i16, i16)];

impl Sysv {
    pub fn new(world: World) -> Sysv {
        let me = world.enter();
        let root = sysv::ensure(&world.ctx(&me), &Limits::default()).unwrap();
        Sysv { world, root }
    }

    pub fn process(&self, pid: u32) -> Process {
        let (arena, host) = (self.world.arena, self.world.host);
        let made = task::claim_process(arena, host, proc_state::LIVE, pid, 0, 0);
        let (slot, p) = made.unwrap();
        let generation = p.generation.load(std::sync::atomic::Ordering::SeqCst);
        Process {
            slot,
            generation,
            pid,
        }
    }

    fn who(p: Process) -> Who<'static> {
        Who {
            pid: p.pid,
            tid: p.pid,
            slot: p.slot,
            generation: p.generation,
            euid: 0,
            egid: 0,
            rights: &NO_RIGHTS,
        }
    }

    pub fn semget(&self, me: &Me, p: Process, key: i32, nsems: i32) -> SysResult {
        let k = self.world.ctx(me);
        sem::semget(&k, self.root, &Sysv::who(p), key, nsems, 0o1600)
    }

    pub fn semop(&self, me: &Me, p: Process, id: i32, ops: Ops<'_>) -> SysResult {
        let bytes = ops.iter().flat_map(|&(num, op, flags)| {
            let sop = Sembuf { num, op, flags };
            [
                sop.num.to_ne_bytes(),
                sop.op.to_ne_bytes(),
                sop.flags.to_ne_bytes(),
            ]
            .concat()
        });
        let mut user = Memory::new(bytes.collect());
        let k = self.world.ctx(me);
        let who = Sysv::who(p);
        sem_op::semtimedop(&k, self.root, &who, id, &mut user, ops.len(), || Ok(None))
    }

    pub fn semctl(
        &self,
        me: &Me,
        p: Process,
        id: i32,
        cmd: i32,
        arg: Vec<u8>,
    ) -> SysResult<Vec<u8>> {
        let mut user = Memory::new(arg);
        let k = self.world.ctx(me);
        let what = (0, &mut user);
        sem_ctl::semctl(&k, self.root, &Sysv::who(p), id, 0, cmd, what)?;
        Ok(user.bytes)
    }

    /// GETALL.
    pub fn values(&self, me: &Me, p: Process, id: i32, n: usize) -> Vec<u16> {
        let bytes = self.semctl(me, p, id, sem_ctl::GETALL, vec![0; n * 2]);
        let bytes = bytes.unwrap();
        let two = |b: &[u8]| u16::from_ne_bytes([b[0], b[1]]);
        bytes.chunks(2).map(two).collect()
    }

    pub fn set_values(&self, me: &Me, p: Process, id: i32, values: &[u16]) -> SysResult<()> {
        let bytes = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
        self.semctl(me, p, id, sem_ctl::SETALL, bytes).map(drop)
    }

    pub fn sem_remove(&self, me: &Me, id: i32) -> SysResult {
        sem::remove(&self.world.ctx(me), self.root, id, |_| Ok(()))
    }

    pub fn leave(&self, me: &Me, p: Process) {
        sysv::leave(&self.world.ctx(me), p.slot, p.generation);
    }

    pub fn msgget(&self, me: &Me, p: Process, key: i32) -> SysResult {
        msg::msgget(&self.world.ctx(me), self.root, &Sysv::who(p), key, 0o1600)
    }

    /// The process in a slot, by what the slot says.
    pub fn process_of(&self, slot: u32) -> Process {
        let p = task::process(self.world.arena, slot).unwrap();
        let load = |w: &ringer_kernel::sync::atomic::AtomicU32| {
            w.load(std::sync::atomic::Ordering::SeqCst)
        };
        Process {
            slot,
            generation: load(&p.generation),
            pid: load(&p.pid),
        }
    }

    pub fn send_nowait(&self, me: &Me, p: Process, id: i32, mtype: i64, text: &[u8]) -> SysResult {
        let k = self.world.ctx(me);
        let mut user = Memory::new(text.to_vec());
        let what = (mtype, text.len());
        let flags = ringer_kernel::sysv::perm::IPC_NOWAIT;
        msg_op::msgsnd(&k, self.root, &Sysv::who(p), id, &mut user, what, flags)
    }

    pub fn send(&self, me: &Me, p: Process, id: i32, mtype: i64, text: &[u8]) -> SysResult {
        let k = self.world.ctx(me);
        let mut user = Memory::new(text.to_vec());
        let what = (mtype, text.len());
        msg_op::msgsnd(&k, self.root, &Sysv::who(p), id, &mut user, what, 0)
    }

    pub fn receive(
        &self,
        me: &Me,
        p: Process,
        id: i32,
        mtype: i64,
        flags: i32,
    ) -> SysResult<Vec<u8>> {
        let k = self.world.ctx(me);
        let mut user = Memory::new(vec![0; 8 + 1000]);
        let what = (mtype, 1000);
        let n = msg_op::msgrcv(&k, self.root, &Sysv::who(p), id, &mut user, what, flags)?;
        Ok(user.bytes[8..8 + n].to_vec())
    }

    pub fn set(&self, id: i32) -> &'static sem::SemSet {
        self.root
            .sets
            .get(self.world.arena, id as u32 & 0x7fff)
            .unwrap()
    }

    pub fn queue(&self, id: i32) -> &'static msg::MsgQueue {
        self.root
            .queues
            .get(self.world.arena, id as u32 & 0x7fff)
            .unwrap()
    }
}
