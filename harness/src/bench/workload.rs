//! The worker's half: what a program does, through libc's own names.
//!
//! Nothing here knows in which world it runs. Each prints nanoseconds for one operation.

use std::io;
use std::time::Instant;

use super::crowd;
use super::queue;
use super::signal;
use crate::error::{Error, Result};
use crate::sys::process;
use crate::ui;

/// Runs workload `name` and prints its figure.
pub fn run(name: &str, iterations: u64) -> Result<()> {
    let n = iterations.max(1);
    let ns = match name {
        "write+read" => write_read(n),
        "eventfd" => eventfd(n),
        "socket-write+read" => socket_write_read(n),
        "socket-send+recv" => socket_send_recv(n),
        "socket-stream" => stream_over(n, 64, sockets(libc::SOCK_STREAM)),
        "unix-stream" => stream_over(n, 64, connection()),
        "socket-pingpong" => {
            ping_pong_over(n, sockets(libc::SOCK_STREAM), sockets(libc::SOCK_STREAM))
        }
        "pingpong" => ping_pong(n),
        "mq" => queue::send_receive(n),
        "sem" => queue::post_wait(n),
        "mq-stream" => queue::stream(n),
        "mq-pingpong" => queue::ping_pong(n),
        "file" => file(n, false),
        "file-armed" => file(n, true),
        "start" => start(n),
        "rights" => crowd::rights(n),
        "epoll" => crowd::epoll(n),
        "hackbench" => crowd::hackbench(n),
        _ if name.starts_with("sysv-") => super::workload_sysv::run(name, n),
        _ => match name
            .strip_prefix("stream-")
            .and_then(|size| size.parse().ok())
        {
            Some(size) => stream(n, size),
            None => {
                signal::run(name, n).unwrap_or_else(|| Err(io::Error::other("no such workload")))
            }
        },
    };
    let ns = ns.map_err(|why| Error::Bench {
        what: name.into(),
        why: crate::sys::error_text(&why),
    })?;
    ui::print(&format!("{:.3}\n", ns as f64 / n as f64))
}

pub(super) fn check(ret: isize) -> io::Result<usize> {
    usize::try_from(ret).map_err(|_| io::Error::last_os_error())
}

pub(super) fn pipe() -> io::Result<[i32; 2]> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe(fds.as_mut_ptr()) } as isize)?;
    Ok(fds)
}

#[inline(always)]
pub(super) fn write(fd: i32, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: as many bytes as there are.
    check(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

#[inline(always)]
pub(super) fn read(fd: i32, bytes: &mut [u8]) -> io::Result<usize> {
    // SAFETY: room for as many bytes as it is long.
    check(unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) })
}

pub(super) fn close(fd: i32) {
    // SAFETY: a number; nobody uses it afterwards.
    unsafe { libc::close(fd) };
}

/// A child that runs `f`; ends with 0 if that went well.
pub(super) fn child(f: impl FnOnce() -> io::Result<()>) -> io::Result<i32> {
    // SAFETY: this process has one thread, so its memory is whole in the child.
    unsafe { process::fork(|| i32::from(f().is_err())) }
}

pub(super) fn join(pid: i32) -> io::Result<()> {
    match process::wait_for_end(pid)? {
        process::State::Exited { status: 0 } => Ok(()),
        end => Err(io::Error::other(format!("the child ended with {end:?}"))),
    }
}

pub(super) fn elapsed(since: Instant) -> u128 {
    since.elapsed().as_nanos()
}

/// One thread: 8 bytes in, 8 bytes out.
fn write_read(n: u64) -> io::Result<u128> {
    let [r, w] = pipe()?;
    write_read_over(n, r, w)
}

fn write_read_over(n: u64, r: i32, w: i32) -> io::Result<u128> {
    let mut bytes = [7u8; 8];
    for _ in 0..1000 {
        write(w, &bytes)?;
        read(r, &mut bytes)?;
    }
    let start = Instant::now();
    for _ in 0..n {
        write(w, &bytes)?;
        read(r, &mut bytes)?;
    }
    Ok(elapsed(start))
}

pub(super) fn sockets(kind: i32) -> io::Result<[i32; 2]> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) } as isize)?;
    Ok(fds)
}

/// Who accepted, and who connected to a name of this process's own.
fn connection() -> io::Result<[i32; 2]> {
    // SAFETY: all zero is an address.
    let mut name: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    name.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let text = format!("\0ringer-bench-{}", std::process::id());
    for (to, from) in name.sun_path.iter_mut().zip(text.bytes()) {
        *to = from as libc::c_char;
    }
    let len = (size_of::<libc::sa_family_t>() + text.len()) as libc::socklen_t;
    let at = (&raw const name).cast();
    // SAFETY: numbers.
    let socket = || check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) } as isize);
    let (server, client) = (socket()? as i32, socket()? as i32);
    // SAFETY: an address of this length.
    check(unsafe { libc::bind(server, at, len) } as isize)?;
    // SAFETY: numbers.
    check(unsafe { libc::listen(server, 1) } as isize)?;
    // SAFETY: an address of this length.
    check(unsafe { libc::connect(client, at, len) } as isize)?;
    let nowhere = std::ptr::null_mut();
    // SAFETY: no address is wanted.
    let accepted = check(unsafe { libc::accept(server, nowhere, nowhere.cast()) } as isize)?;
    close(server);
    Ok([accepted as i32, client])
}

/// One thread: 8 bytes through a stream.
fn socket_write_read(n: u64) -> io::Result<u128> {
    let [a, b] = sockets(libc::SOCK_STREAM)?;
    write_read_over(n, b, a)
}

/// One thread: a datagram of 64 bytes.
fn socket_send_recv(n: u64) -> io::Result<u128> {
    let [a, b] = sockets(libc::SOCK_DGRAM)?;
    let mut bytes = [7u8; 64];
    let mut round = || -> io::Result<()> {
        // SAFETY: as many bytes as there are.
        check(unsafe { libc::send(a, bytes.as_ptr().cast(), bytes.len(), 0) })?;
        // SAFETY: room for as many.
        check(unsafe { libc::recv(b, bytes.as_mut_ptr().cast(), bytes.len(), 0) })?;
        Ok(())
    };
    (0..1000).try_for_each(|_| round())?;
    let start = Instant::now();
    (0..n).try_for_each(|_| round())?;
    Ok(elapsed(start))
}

/// One thread: adds 1 to a counter and takes it.
fn eventfd(n: u64) -> io::Result<u128> {
    // SAFETY: numbers.
    let fd = unsafe { libc::eventfd(0, 0) };
    check(fd as isize)?;
    let mut one = 1u64.to_ne_bytes();
    let mut round = || -> io::Result<()> {
        write(fd, &one)?;
        read(fd, &mut one)?;
        Ok(())
    };
    (0..1000).try_for_each(|_| round())?;
    let start = Instant::now();
    (0..n).try_for_each(|_| round())?;
    Ok(elapsed(start))
}

/// A process writes pieces of `size` bytes, another reads such pieces until the end.
fn stream(n: u64, size: usize) -> io::Result<u128> {
    stream_over(n, size, pipe())
}

fn stream_over(n: u64, size: usize, ends: io::Result<[i32; 2]>) -> io::Result<u128> {
    let [r, w] = ends?;
    let [ready_r, ready_w] = pipe()?;
    let mut bytes = vec![7u8; size];
    let reader = child(|| {
        close(w);
        let mut bytes = vec![0u8; size];
        write(ready_w, b"!")?;
        let mut total = 0u64;
        loop {
            match read(r, &mut bytes)? {
                0 => break,
                n => total += n as u64,
            }
        }
        if total == n * size as u64 {
            Ok(())
        } else {
            Err(io::Error::other("bytes are missing"))
        }
    })?;
    close(r);
    read(ready_r, &mut bytes[..1])?;
    let start = Instant::now();
    for _ in 0..n {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let done = write(w, rest)?;
            rest = rest.get(done..).unwrap_or_default();
        }
    }
    close(w);
    join(reader)?;
    Ok(elapsed(start))
}

/// Two processes pass one byte to and fro; the figure is for the round trip.
fn ping_pong(n: u64) -> io::Result<u128> {
    ping_pong_over(n, pipe(), pipe())
}

fn ping_pong_over(
    n: u64,
    there: io::Result<[i32; 2]>,
    back: io::Result<[i32; 2]>,
) -> io::Result<u128> {
    const WARM: u64 = 200;
    let [there_r, there_w] = there?;
    let [back_r, back_w] = back?;
    let mut byte = [7u8];
    let echo = child(|| {
        let mut byte = [0u8];
        close(there_w);
        close(back_r);
        while read(there_r, &mut byte)? == 1 {
            write(back_w, &byte)?;
        }
        Ok(())
    })?;
    close(there_r);
    close(back_w);
    let mut round = || -> io::Result<()> {
        write(there_w, &byte)?;
        read(back_r, &mut byte)?;
        Ok(())
    };
    (0..WARM).try_for_each(|_| round())?;
    let start = Instant::now();
    (0..n).try_for_each(|_| round())?;
    let ns = elapsed(start);
    close(there_w);
    join(echo)?;
    Ok(ns)
}

/// Reads an ordinary file, 64 bytes a call; `armed`: while an emulated pipe is open.
fn file(n: u64, armed: bool) -> io::Result<u128> {
    const LENGTH: usize = 1 << 20;
    const PIECE: usize = 64;
    let dir = crate::session::name::DIRECTORY;
    // SAFETY: a NUL-terminated path.
    let fd = unsafe {
        libc::open(
            format!("{dir}\0").as_ptr().cast(),
            libc::O_TMPFILE | libc::O_RDWR,
            0o600,
        )
    };
    check(fd as isize)?;
    write(fd, &vec![7u8; LENGTH])?;
    if armed {
        let [_, w] = pipe()?;
        write(w, b"x")?;
    }
    let mut bytes = [0u8; PIECE];
    let start = Instant::now();
    for i in 0..n {
        if i % (LENGTH / PIECE) as u64 == 0 {
            // SAFETY: numbers.
            unsafe { libc::lseek(fd, 0, libc::SEEK_SET) };
        }
        if read(fd, &mut bytes)? != PIECE {
            return Err(io::Error::other("the file is too short"));
        }
    }
    Ok(elapsed(start))
}

/// Starts /bin/true and waits for it.
fn start(n: u64) -> io::Result<u128> {
    let start = Instant::now();
    for _ in 0..n {
        // SAFETY: this process has one thread; the child does nothing but exec.
        let pid = unsafe {
            process::fork(|| {
                let args = [c"/bin/true".as_ptr(), std::ptr::null()];
                libc::execv(c"/bin/true".as_ptr(), args.as_ptr());
                127
            })
        }?;
        join(pid)?;
    }
    Ok(elapsed(start))
}
