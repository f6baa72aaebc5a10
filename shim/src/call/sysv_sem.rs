//! semget(2), semop(2), semctl(2).

use ringer_kernel::abi::Errno;
use ringer_kernel::sysv::{sem, sem_ctl, sem_op};

use crate::attach::now_ns;
use crate::entry::{Entry, Verdict};
use crate::user::{self, access_ok, Flat};

use super::sysv::{begin, limits, refresh, settle};

pub fn semget(entry: &Entry, key: i32, nsems: i32, flags: i32) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    refresh(c.root);
    settle(
        entry,
        (libc::SYS_semget, key),
        sem::semget(&c.k, c.root, &c.who, key, nsems, flags),
    )
}

/// semop(2), which has no timeout, and semtimedop(2).
#[inline(always)]
pub fn semtimedop(entry: &Entry, id: i32, sops: usize, nsops: usize, timeout: usize) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    let mut given = None;
    if timeout != 0 {
        given = user::fetch::<[i64; 2]>(timeout);
        if given.is_none() {
            return Verdict::errno(libc::EFAULT);
        }
    }
    let nsops = nsops as u32 as usize;
    if !access_ok(sops, nsops.min(1 << 20) * 6) {
        // In its turn: after the count is looked at.
        let too_many = nsops > c.root.semopm() as usize;
        let why = match nsops {
            _ if too_many => libc::E2BIG,
            0 => libc::EINVAL,
            _ => libc::EFAULT,
        };
        return Verdict::errno(why);
    }
    let nr = if timeout == 0 {
        libc::SYS_semop
    } else {
        libc::SYS_semtimedop
    };
    let mut deadline = None;
    loop {
        let patience = || match (given, deadline) {
            (_, Some(end)) => Ok(Some(now_ns().min(end).abs_diff(end))),
            (None, _) => Ok(None),
            (Some([sec, nsec]), _) if sec >= 0 && (0..1_000_000_000).contains(&nsec) => {
                let sec = sec as u64;
                let ns = sec
                    .saturating_mul(1_000_000_000)
                    .saturating_add(nsec as u64);
                deadline = Some(now_ns().saturating_add(ns));
                Ok(Some(ns))
            }
            _ => Err(Errno::EINVAL),
        };
        let mut user = Flat::new(sops);
        let done = sem_op::semtimedop(&c.k, c.root, &c.who, id, &mut user, nsops, patience);
        match settle(entry, (nr, id), done) {
            // A pthread_cancel(3): semop(2) is no cancellation point.
            Verdict::Restart => {}
            verdict => return verdict,
        }
    }
}

pub fn semctl(entry: &Entry, id: i32, num: i32, cmd: i32, arg: usize) -> Verdict {
    let Some(c) = begin(entry) else {
        return Verdict::Pass;
    };
    if matches!(cmd, sem_ctl::IPC_INFO | sem_ctl::SEM_INFO) {
        c.root.set_limits(&limits());
    }
    let mut user = Flat::new(arg);
    let user = (arg, &mut user);
    settle(
        entry,
        (libc::SYS_semctl, id),
        sem_ctl::semctl(&c.k, c.root, &c.who, id, num, cmd, user),
    )
}
