//! Connections between Unix sockets, accepted and not.

use crate::fd::Fd;
use crate::unix::*;
use libc::{c_int, MSG_DONTWAIT, SOCK_SEQPACKET, SOCK_STREAM};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

pub const CONNECTED: [c_int; 2] = [SOCK_STREAM, SOCK_SEQPACKET];

pub fn server(kind: c_int, name: &Address) -> Fd {
    let fd = socket(kind);
    bind(&fd, name).unwrap();
    listen(&fd, 8).unwrap();
    fd
}

pub fn client(kind: c_int, name: &Address) -> Fd {
    let fd = socket(kind);
    connect(&fd, name).unwrap();
    fd
}

/// A server, and a client that is not accepted yet.
pub fn early(kind: c_int) -> (Fd, Fd) {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("connection-{}", MADE.fetch_add(1, SeqCst));
    let name = Address::abstract_name(&name);
    let s = server(kind, &name);
    let c = client(kind, &name);
    (s, c)
}

pub fn accepted(server: &Fd) -> Fd {
    accept(server, 0).unwrap().0
}

/// Who connected, and who accepted.
pub fn connection(kind: c_int) -> (Fd, Fd) {
    let (s, c) = early(kind);
    let a = accepted(&s);
    (c, a)
}

/// Bytes that tell where they are.
pub fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

/// Sends such messages until there is no room: how many that were.
pub fn fill_with(fd: &Fd, message: &[u8]) -> usize {
    let sends = || send(fd, message, MSG_DONTWAIT) == Ok(message.len());
    (0..).take_while(|_| sends()).count()
}
