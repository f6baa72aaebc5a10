//! System V IPC: semget(2), semop(2), semctl(2), msgget(2) .. shmctl(2).

use crate::child::getpid;
use crate::{check, Sys};
use libc::{c_int, key_t, sembuf, timespec};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::Duration;

pub const GETPID: c_int = 11;
pub const GETVAL: c_int = 12;
pub const GETALL: c_int = 13;
pub const GETNCNT: c_int = 14;
pub const GETZCNT: c_int = 15;
pub const SETVAL: c_int = 16;
pub const SETALL: c_int = 17;
pub const SEM_STAT: c_int = 18;
pub const SEM_INFO: c_int = 19;
pub const SEM_STAT_ANY: c_int = 20;
pub const SEM_UNDO: i16 = 0x1000;
pub const NOWAIT: i16 = libc::IPC_NOWAIT as i16;
pub const NEW: c_int = libc::IPC_CREAT | libc::IPC_EXCL;

/// A key that no other test uses at the same time.
pub fn key() -> key_t {
    static NEXT: AtomicI32 = AtomicI32::new(0);
    0x5200_0000 | (getpid() & 0x1f_ffff) << 3 | (NEXT.fetch_add(1, SeqCst) & 7)
}

/// One operation.
pub fn op(num: u16, op: i16) -> sembuf {
    sembuf {
        sem_num: num,
        sem_op: op,
        sem_flg: 0,
    }
}

/// One with flags.
pub fn op_with(num: u16, op: i16, flags: i16) -> sembuf {
    sembuf {
        sem_num: num,
        sem_op: op,
        sem_flg: flags,
    }
}

pub fn semget(key: key_t, nsems: c_int, flags: c_int) -> Result<c_int, i32> {
    // SAFETY: numbers.
    check(unsafe { libc::semget(key, nsems, flags) }).map(|id| id as c_int)
}

pub fn semop(id: c_int, ops: &[sembuf]) -> Sys {
    // SAFETY: as many operations as there are.
    check(unsafe { libc::semop(id, ops.as_ptr().cast_mut(), ops.len()) })
}

mod real {
    extern "C" {
        pub fn semtimedop(
            id: libc::c_int,
            ops: *mut libc::sembuf,
            n: usize,
            timeout: *const libc::timespec,
        ) -> libc::c_int;
    }
}

/// With any addresses.
pub fn semtimedop_raw(id: c_int, ops: usize, n: usize, timeout: usize) -> Sys {
    // SAFETY: the caller's pointers are good, or are meant not to be.
    check(unsafe { real::semtimedop(id, ops as *mut sembuf, n, timeout as *const timespec) })
}

pub fn semtimedop(id: c_int, ops: &[sembuf], timeout: Duration) -> Sys {
    let t = timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    semtimedop_raw(id, ops.as_ptr() as usize, ops.len(), &raw const t as usize)
}

/// With any fourth argument.
pub fn semctl(id: c_int, num: c_int, command: c_int, arg: usize) -> Sys {
    // SAFETY: the caller's pointers are good, or are meant not to be.
    check(unsafe { libc::semctl(id, num, command, arg) })
}

pub fn sem_stat(id: c_int) -> Result<libc::semid_ds, i32> {
    // SAFETY: all zero bits are a valid semid_ds.
    let mut ds: libc::semid_ds = unsafe { std::mem::zeroed() };
    semctl(id, 0, libc::IPC_STAT, &raw mut ds as usize).map(|_| ds)
}

/// A set that goes when the test is over.
#[derive(Debug)]
pub struct Sems {
    pub id: c_int,
    maker: i32,
}

impl Sems {
    pub fn new(nsems: c_int) -> Sems {
        Sems::adopt(semget(libc::IPC_PRIVATE, nsems, 0o600).expect("semget"))
    }

    /// Made with this key.
    pub fn with_key(key: key_t, nsems: c_int, mode: c_int) -> Sems {
        Sems::adopt(semget(key, nsems, NEW | mode).expect("semget"))
    }

    pub fn adopt(id: c_int) -> Sems {
        let maker = getpid();
        Sems { id, maker }
    }

    pub fn op(&self, ops: &[sembuf]) -> Sys {
        semop(self.id, ops)
    }

    pub fn get(&self, num: c_int) -> i32 {
        semctl(self.id, num, GETVAL, 0).expect("GETVAL") as i32
    }

    pub fn set(&self, num: c_int, value: c_int) {
        semctl(self.id, num, SETVAL, value as usize).expect("SETVAL");
    }

    pub fn all(&self) -> Vec<u16> {
        let n = sem_stat(self.id).expect("IPC_STAT").sem_nsems;
        let mut values = vec![0u16; n as usize];
        semctl(self.id, 0, GETALL, values.as_mut_ptr() as usize).expect("GETALL");
        values
    }

    pub fn set_all(&self, values: &[u16]) -> Sys {
        semctl(self.id, 0, SETALL, values.as_ptr() as usize)
    }

    pub fn ncnt(&self, num: c_int) -> usize {
        semctl(self.id, num, GETNCNT, 0).expect("GETNCNT")
    }

    pub fn zcnt(&self, num: c_int) -> usize {
        semctl(self.id, num, GETZCNT, 0).expect("GETZCNT")
    }

    pub fn pid(&self, num: c_int) -> i32 {
        semctl(self.id, num, GETPID, 0).expect("GETPID") as i32
    }

    pub fn remove(&self) -> Sys {
        semctl(self.id, 0, libc::IPC_RMID, 0)
    }
}

impl Drop for Sems {
    fn drop(&mut self) {
        if getpid() == self.maker {
            let _ = self.remove();
        }
    }
}

pub const MSG_STAT: c_int = 11;
pub const MSG_INFO: c_int = 12;
pub const MSG_STAT_ANY: c_int = 13;
pub const MSG_NOERROR: c_int = 0o10000;
pub const MSG_EXCEPT: c_int = 0o20000;
pub const MSG_COPY: c_int = 0o40000;

pub fn msgget(key: key_t, flags: c_int) -> Result<c_int, i32> {
    // SAFETY: numbers.
    check(unsafe { libc::msgget(key, flags) }).map(|id| id as c_int)
}

/// With any address.
pub fn msgsnd_raw(id: c_int, at: usize, len: usize, flags: c_int) -> Sys {
    // SAFETY: the caller's pointers are good, or are meant not to be.
    check(unsafe { libc::msgsnd(id, at as *const libc::c_void, len, flags) })
}

/// With any address.
pub fn msgrcv_raw(id: c_int, at: usize, len: usize, mtype: i64, flags: c_int) -> Sys {
    // SAFETY: as in `msgsnd_raw`.
    check(unsafe { libc::msgrcv(id, at as *mut libc::c_void, len, mtype, flags) } as i64)
}

pub fn msgctl(id: c_int, command: c_int, arg: usize) -> Sys {
    // SAFETY: as in `msgsnd_raw`.
    check(unsafe { libc::msgctl(id, command, arg as *mut libc::msqid_ds) })
}

pub fn msg_stat(id: c_int) -> Result<libc::msqid_ds, i32> {
    // SAFETY: all zero bits are a valid msqid_ds.
    let mut ds: libc::msqid_ds = unsafe { std::mem::zeroed() };
    msgctl(id, libc::IPC_STAT, &raw mut ds as usize).map(|_| ds)
}

/// A queue that goes when the test is over.
#[derive(Debug)]
pub struct Queue {
    pub id: c_int,
    maker: i32,
}

impl Queue {
    pub fn new() -> Queue {
        Queue::adopt(msgget(libc::IPC_PRIVATE, 0o600).expect("msgget"))
    }

    pub fn with_key(key: key_t, mode: c_int) -> Queue {
        Queue::adopt(msgget(key, NEW | mode).expect("msgget"))
    }

    pub fn adopt(id: c_int) -> Queue {
        let maker = getpid();
        Queue { id, maker }
    }

    pub fn send(&self, mtype: i64, text: &[u8], flags: c_int) -> Sys {
        let message = [&mtype.to_ne_bytes(), text].concat();
        msgsnd_raw(self.id, message.as_ptr() as usize, text.len(), flags)
    }

    /// A message of `mtype` into `room` bytes.
    pub fn receive(&self, room: usize, mtype: i64, flags: c_int) -> Result<(i64, Vec<u8>), i32> {
        let mut message = vec![0u8; 8 + room];
        let at = message.as_mut_ptr() as usize;
        let len = msgrcv_raw(self.id, at, room, mtype, flags)?;
        let mtype = i64::from_ne_bytes(message[..8].try_into().expect("8 bytes"));
        Ok((mtype, message[8..8 + len].to_vec()))
    }

    /// How many messages are in it.
    pub fn len(&self) -> u64 {
        msg_stat(self.id).expect("IPC_STAT").msg_qnum
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes what IPC_SET may change.
    pub fn change(&self, f: impl FnOnce(&mut libc::msqid_ds)) -> Sys {
        let mut ds = msg_stat(self.id).expect("IPC_STAT");
        f(&mut ds);
        msgctl(self.id, libc::IPC_SET, &raw mut ds as usize)
    }

    pub fn remove(&self) -> Sys {
        msgctl(self.id, libc::IPC_RMID, 0)
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue::new()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if getpid() == self.maker {
            let _ = self.remove();
        }
    }
}

pub const SHM_LOCK: c_int = 11;
pub const SHM_UNLOCK: c_int = 12;
pub const SHM_STAT: c_int = 13;
pub const SHM_INFO: c_int = 14;
pub const SHM_STAT_ANY: c_int = 15;
pub const SHM_DEST: u32 = 0o1000;
pub const SHM_LOCKED: u32 = 0o2000;

pub fn shmget(key: key_t, size: usize, flags: c_int) -> Result<c_int, i32> {
    // SAFETY: numbers.
    check(unsafe { libc::shmget(key, size, flags) }).map(|id| id as c_int)
}

/// Where it is now.
pub fn shmat(id: c_int, at: usize, flags: c_int) -> Sys {
    // SAFETY: the caller's address is free, or is meant not to be.
    check(unsafe { libc::shmat(id, at as *const libc::c_void, flags) } as i64)
}

pub fn shmdt(at: usize) -> Sys {
    // SAFETY: nobody uses what is there any more.
    check(unsafe { libc::shmdt(at as *const libc::c_void) })
}

pub fn shmctl(id: c_int, command: c_int, arg: usize) -> Sys {
    // SAFETY: the caller's pointers are good, or are meant not to be.
    check(unsafe { libc::shmctl(id, command, arg as *mut libc::shmid_ds) })
}

pub fn shm_stat(id: c_int) -> Result<libc::shmid_ds, i32> {
    // SAFETY: all zero bits are a valid shmid_ds.
    let mut ds: libc::shmid_ds = unsafe { std::mem::zeroed() };
    shmctl(id, libc::IPC_STAT, &raw mut ds as usize).map(|_| ds)
}

/// A segment that goes when the test is over.
#[derive(Debug)]
pub struct Segment {
    pub id: c_int,
    maker: i32,
}

impl Segment {
    pub fn new(size: usize) -> Segment {
        Segment::adopt(shmget(libc::IPC_PRIVATE, size, 0o600).expect("shmget"))
    }

    pub fn with_key(key: key_t, size: usize, mode: c_int) -> Segment {
        Segment::adopt(shmget(key, size, NEW | mode).expect("shmget"))
    }

    pub fn adopt(id: c_int) -> Segment {
        let maker = getpid();
        Segment { id, maker }
    }

    pub fn attach(&self) -> usize {
        shmat(self.id, 0, 0).expect("shmat")
    }

    pub fn nattch(&self) -> u64 {
        shm_stat(self.id).expect("IPC_STAT").shm_nattch
    }

    pub fn change(&self, f: impl FnOnce(&mut libc::shmid_ds)) -> Sys {
        let mut ds = shm_stat(self.id).expect("IPC_STAT");
        f(&mut ds);
        shmctl(self.id, libc::IPC_SET, &raw mut ds as usize)
    }

    pub fn remove(&self) -> Sys {
        shmctl(self.id, libc::IPC_RMID, 0)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if getpid() == self.maker {
            let _ = self.remove();
        }
    }
}

/// The byte at an address of a segment that is attached.
pub fn peek(at: usize) -> u8 {
    // SAFETY: attached, as the caller says.
    unsafe { (at as *const u8).read_volatile() }
}

/// Changes it.
pub fn poke(at: usize, value: u8) {
    // SAFETY: attached for writing, as the caller says.
    unsafe { (at as *mut u8).write_volatile(value) };
}
