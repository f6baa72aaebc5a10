//! Descriptors that are passed on, many pipes at a time, many processes at a time: the worker's half. See
//! `workload`.

use std::io;
use std::mem::size_of;
use std::time::Instant;

use super::workload::{check, child, close, elapsed, join, pipe, read, sockets, write};

/// A message of one byte, with room for one descriptor.
#[repr(C)]
struct Message {
    header: libc::msghdr,
    part: libc::iovec,
    byte: u8,
    /// struct cmsghdr, and the descriptor.
    control: [u64; 3],
}

impl Message {
    fn new() -> Box<Message> {
        // SAFETY: all zero is valid for each of its fields.
        let mut m: Box<Message> = Box::new(unsafe { std::mem::zeroed() });
        m.part.iov_base = (&raw mut m.byte).cast();
        m.part.iov_len = 1;
        m.header.msg_iov = &raw mut m.part;
        m.header.msg_iovlen = 1;
        m.header.msg_control = m.control.as_mut_ptr().cast();
        m
    }

    fn send(&mut self, socket: i32, fd: i32) -> io::Result<()> {
        let kind = u64::from(libc::SCM_RIGHTS as u32) << 32 | u64::from(libc::SOL_SOCKET as u32);
        let length = size_of::<libc::cmsghdr>() + size_of::<i32>();
        self.control = [length as u64, kind, fd as u64];
        self.header.msg_controllen = size_of_val(&self.control);
        // SAFETY: a message whose parts live as long as it does.
        check(unsafe { libc::sendmsg(socket, &raw const self.header, 0) }).map(drop)
    }

    /// The descriptor that came.
    fn receive(&mut self, socket: i32) -> io::Result<i32> {
        self.header.msg_controllen = size_of_val(&self.control);
        // SAFETY: as above.
        let n = check(unsafe { libc::recvmsg(socket, &raw mut self.header, 0) })?;
        match (n, self.header.msg_controllen) {
            (1, 20..) => Ok(self.control[2] as i32),
            _ => Err(io::Error::other("a message without its descriptor")),
        }
    }
}

/// A process sends the same end of a pipe again and again; another receives and closes it.
pub fn rights(n: u64) -> io::Result<u128> {
    const WARM: u64 = 100;
    let [r, w] = pipe()?;
    let [a, b] = sockets(libc::SOCK_STREAM)?;
    let [ready_r, ready_w] = pipe()?;
    let receiver = child(|| {
        close(a);
        let mut message = Message::new();
        for i in 0..WARM + n {
            close(message.receive(b)?);
            if i + 1 == WARM {
                write(ready_w, b"!")?;
            }
        }
        let fd = message.receive(b)?;
        write(fd, b"whole").map(drop)
    })?;
    close(b);
    let mut message = Message::new();
    (0..WARM).try_for_each(|_| message.send(a, r))?;
    read(ready_r, &mut [0])?;
    let start = Instant::now();
    (0..n).try_for_each(|_| message.send(a, r))?;
    message.send(a, w)?;
    join(receiver)?;
    let ns = elapsed(start);
    let mut bytes = [0; 9];
    match read(r, &mut bytes)? {
        5 => Ok(ns),
        _ => Err(io::Error::other(
            "what was passed on is no end of this pipe",
        )),
    }
}

/// 100 pipes in an epoll, of which one after the other becomes readable, is told, and read.
pub fn epoll(n: u64) -> io::Result<u128> {
    const PIPES: u64 = 100;
    // SAFETY: a number.
    let epoll = unsafe { libc::epoll_create1(0) };
    check(epoll as isize)?;
    let mut pipes = Vec::new();
    for i in 0..PIPES {
        let [r, w] = pipe()?;
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: i,
        };
        // SAFETY: descriptors, and an event.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, r, &raw mut event) } as isize)?;
        pipes.push([r, w]);
    }
    let mut bytes = [7u8; 8];
    let mut round = |i: u64| -> io::Result<()> {
        let active = i * 37 % PIPES;
        let missing = || io::Error::other("epoll told of another pipe");
        let [_, w] = pipes.get(active as usize).ok_or_else(missing)?;
        write(*w, &bytes)?;
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for one event.
        let count = unsafe { libc::epoll_wait(epoll, &raw mut event, 1, -1) };
        check(count as isize)?;
        let told = event.u64;
        let [r, _] = pipes
            .get(told as usize)
            .filter(|_| told == active)
            .ok_or_else(missing)?;
        read(*r, &mut bytes).map(drop)
    };
    (0..1000).try_for_each(&mut round)?;
    let start = Instant::now();
    (0..n).try_for_each(&mut round)?;
    Ok(elapsed(start))
}

/// hackbench(8) with pipes: 10 groups, in each of which 20 processes send to 20 others. `n` times from each
/// to each.
pub fn hackbench(n: u64) -> io::Result<u128> {
    const GROUPS: usize = 10;
    const EACH: usize = 20;
    const BYTES: usize = 100;
    let [ready_r, ready_w] = pipe()?;
    let [go_r, go_w] = pipe()?;
    let begin = || -> io::Result<()> {
        write(ready_w, b"!")?;
        read(go_r, &mut [0]).map(drop)
    };
    let mut all = Vec::new();
    for _ in 0..GROUPS {
        let pipes: Vec<[i32; 2]> = (0..EACH).map(|_| pipe()).collect::<io::Result<_>>()?;
        for [r, w] in &pipes {
            all.push(child(|| {
                close(*w);
                begin()?;
                let mut left = n as usize * EACH * BYTES;
                while left > 0 {
                    match read(*r, &mut [0; BYTES])? {
                        0 => return Err(io::Error::other("bytes are missing")),
                        got => left -= got.min(left),
                    }
                }
                Ok(())
            })?);
        }
        for _ in 0..EACH {
            all.push(child(|| {
                begin()?;
                for _ in 0..n {
                    for [_, w] in &pipes {
                        write(*w, &[7; BYTES])?;
                    }
                }
                Ok(())
            })?);
        }
        pipes.into_iter().flatten().for_each(close);
    }
    for _ in 0..all.len() {
        read(ready_r, &mut [0])?;
    }
    let start = Instant::now();
    for _ in 0..all.len() {
        write(go_w, b"!")?;
    }
    all.into_iter().try_for_each(join)?;
    Ok(elapsed(start))
}
