//! Everything that can be polled, as things into which something is put and from which it is taken: for
//! tests of readiness that are the same for all.

use crate::child::getpid;
use crate::fd::{self, Fd};
use crate::fifo::Fifo;
use crate::{io, mq, rights, sig, signal, Sys};
use libc::{
    c_int, EAGAIN, EFD_NONBLOCK, EFD_SEMAPHORE, O_NONBLOCK, O_RDONLY, O_WRONLY, SFD_NONBLOCK,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Pipe,
    Fifo,
    Eventfd,
    Semaphore,
    Signalfd,
    Queue,
    Stream,
    Datagram,
    Seqpacket,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::Pipe,
        Kind::Fifo,
        Kind::Eventfd,
        Kind::Semaphore,
        Kind::Signalfd,
        Kind::Queue,
        Kind::Stream,
        Kind::Datagram,
        Kind::Seqpacket,
    ];

    /// Those that can be full.
    pub const WITH_ROOM: [Kind; 8] = [
        Kind::Pipe,
        Kind::Fifo,
        Kind::Eventfd,
        Kind::Semaphore,
        Kind::Queue,
        Kind::Stream,
        Kind::Datagram,
        Kind::Seqpacket,
    ];

    /// Whether F_SETFL O_ASYNC makes it send SIGIO.
    pub fn has_sigio(self) -> bool {
        let sockets = [Kind::Stream, Kind::Datagram, Kind::Seqpacket];
        matches!(self, Kind::Pipe | Kind::Fifo) || sockets.contains(&self)
    }
}

/// One thing. Neither end blocks.
pub struct Thing {
    pub kind: Kind,
    pub r: Fd,
    /// The other end; of what has only one, a duplicate.
    pub w: Fd,
    /// Whose signals a signalfd's reader gets.
    pub reader: libc::pid_t,
    _fifo: Option<Fifo>,
    _name: Option<mq::Name>,
}

/// The signal of a signalfd: each one that is sent is one more.
fn number() -> c_int {
    libc::SIGRTMIN() + 3
}

impl Thing {
    pub fn new(kind: Kind) -> Thing {
        let (mut fifo, mut name) = (None, None);
        let duplicated = |fd: Fd| {
            let w = fd::dup(&fd).expect("dup");
            (fd, w)
        };
        let (r, w) = match kind {
            Kind::Pipe => {
                let p = fd::nonblocking_pipe();
                (p.r, p.w)
            }
            Kind::Fifo => {
                let f = fifo.insert(Fifo::new());
                let r = f.open(O_RDONLY | O_NONBLOCK).expect("O_RDONLY");
                (r, f.open(O_WRONLY | O_NONBLOCK).expect("O_WRONLY"))
            }
            Kind::Eventfd => duplicated(eventfd(0)),
            Kind::Semaphore => duplicated(eventfd(EFD_SEMAPHORE)),
            Kind::Signalfd => {
                signal::block(&[number()]);
                duplicated(signal::signalfd(number(), SFD_NONBLOCK))
            }
            Kind::Queue => {
                let (n, r) = mq::queue_of(10, 8);
                let w = n.open(O_WRONLY | O_NONBLOCK).expect("mq_open");
                mq::setflags(&r, O_NONBLOCK.into()).expect("mq_setattr");
                name = Some(n);
                (r, w)
            }
            Kind::Stream => pair(libc::SOCK_STREAM),
            Kind::Datagram => pair(libc::SOCK_DGRAM),
            Kind::Seqpacket => pair(libc::SOCK_SEQPACKET),
        };
        Thing {
            kind,
            r,
            w,
            reader: getpid(),
            _fifo: fifo,
            _name: name,
        }
    }

    /// One more. EAGAIN: it is full.
    pub fn put(&self) -> Sys {
        match self.kind {
            Kind::Eventfd | Kind::Semaphore => io::write(&self.w, &1u64.to_ne_bytes()),
            Kind::Signalfd => sig::sigqueue(self.reader, number(), 0),
            Kind::Queue => mq::send(&self.w, b"x", 0),
            _ => io::write(&self.w, b"x"),
        }
    }

    /// One fewer; of an eventfd without semaphore all. How many there were. EAGAIN: none.
    pub fn take(&self) -> Sys<u64> {
        let mut word = [0; 8];
        match self.kind {
            Kind::Eventfd | Kind::Semaphore => {
                io::read(&self.r, &mut word).map(|_| u64::from_ne_bytes(word))
            }
            Kind::Signalfd => io::read(&self.r, &mut [0; 128]).map(|_| 1),
            Kind::Queue => mq::take(&self.r).map(|_| 1),
            _ => io::read(&self.r, &mut word[..1]).map(|n| n as u64),
        }
    }

    /// Until nothing more goes in.
    pub fn fill(&self) {
        match self.kind {
            Kind::Eventfd | Kind::Semaphore => {
                let most = (u64::MAX - 1).to_ne_bytes();
                io::write(&self.w, &most).expect("an empty one takes the most");
            }
            Kind::Pipe | Kind::Fifo | Kind::Stream => drop(io::fill(&self.w)),
            _ => while self.put().is_ok() {},
        }
    }

    /// Makes room in a full one: half of what is in it, at the least.
    pub fn make_room(&self) {
        match self.kind {
            Kind::Eventfd => drop(self.take().expect("a full one")),
            Kind::Semaphore => drop(self.take().expect("a full one")),
            Kind::Pipe | Kind::Fifo => drop(io::read_n(&self.r, 32 << 10).expect("a full one")),
            Kind::Stream => drop(io::drain(&self.r)),
            _ => while self.take() != Err(EAGAIN) {},
        }
    }
}

fn eventfd(flags: c_int) -> Fd {
    // SAFETY: numbers.
    Fd::own(crate::check(unsafe { libc::eventfd(0, EFD_NONBLOCK | flags) }).expect("eventfd"))
}

fn pair(kind: c_int) -> (Fd, Fd) {
    rights::socketpair(kind | libc::SOCK_NONBLOCK)
}
