//! What is sent along with messages goes on as it was: to children, through chains, when the sender is
//! gone; and to programs that no shim reaches. See unix(7) SCM_RIGHTS, cmsg(3).

mod child;
mod death;
mod lost;
mod many;
mod outside;
mod several;
mod way;

use libc::{SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
use ringer_support::prelude::*;
use ringer_support::unix::*;

pub const ALL_KINDS: [c_int; 3] = [SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM];
/// Room for any control data.
pub const ROOM: usize = 2048;

pub fn pass(through: &Fd, fds: &[&Fd]) {
    let numbers: Vec<c_int> = fds.iter().map(|fd| fd.number()).collect();
    assert_eq!(
        send_with(through, b"!", &With::Rights(&numbers), 0),
        Ok(1),
        "{numbers:?}"
    );
}

pub fn take(from: &Fd) -> Vec<Fd> {
    receive_with(from, 1, ROOM, 0).unwrap().rights
}

pub fn take_one(from: &Fd) -> Fd {
    let mut all = take(from);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

pub fn count(fd: impl Descriptor) -> Sys<u64> {
    let mut bytes = [0; 8];
    read(fd, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

pub fn add(fd: impl Descriptor, n: u64) {
    assert_eq!(write(fd, &n.to_ne_bytes()), Ok(8));
}
