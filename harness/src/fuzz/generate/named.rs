//! Unix sockets with names: made step by step, as a server and its client do it.

use super::super::calls_named::NAMES;
use super::super::program::Call;
use super::{Kind, Maker};

const TYPES: [i32; 3] = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET];
const SETTABLE: [(i32, &[i32]); 5] = [
    (libc::SO_PASSCRED, &[0, 1, 1]),
    (libc::SO_SNDBUF, &[0, 4608, 20_000]),
    (libc::SO_RCVBUF, &[0, 20_000]),
    (libc::SO_PEEK_OFF, &[-1, 0, 5]),
    (libc::SO_RCVLOWAT, &[1, 10]),
];
const GETTABLE: [i32; 6] = [
    libc::SO_ERROR,
    libc::SO_TYPE,
    libc::SO_ACCEPTCONN,
    libc::SO_PASSCRED,
    libc::SO_SNDBUF,
    libc::SO_DOMAIN,
];

impl Maker<'_> {
    fn a_name(&mut self) -> u8 {
        self.random.below(usize::from(NAMES)) as u8
    }

    fn new_socket(&mut self, who: usize, kind: i32, as_what: Kind) -> u8 {
        let nonblock = self.nonblock(libc::SOCK_NONBLOCK);
        let to = self.put(who, as_what);
        let kind = kind | nonblock;
        self.push(who, Call::Socket { to, kind });
        to
    }

    /// One that listens, with a client or two; or two sockets of which one sends to the other.
    pub(super) fn make_named(&mut self, who: usize) {
        let (kind, name) = (self.random.pick(&TYPES), self.a_name());
        let fd = self.new_socket(who, kind, Kind::Listener);
        self.push(who, Call::Bind { fd, name });
        if kind == libc::SOCK_DGRAM {
            self.kinds[who][usize::from(fd)] = Kind::Socket;
        } else {
            let backlog = self.random.pick(&[0, 1, 5, 128]);
            self.push(who, Call::Listen { fd, backlog });
        }
        for _ in 0..1 + self.random.below(2) {
            let client = self.new_socket(who, kind, Kind::Socket);
            self.push(who, Call::Connect { fd: client, name });
        }
    }

    pub(super) fn named(&mut self, who: usize) {
        let any = [Kind::Socket, Kind::Listener];
        let (fd, name) = (self.reg(who, &any), self.a_name());
        let call = match self.random.below(30) {
            0 => Call::Bind { fd, name },
            1 => Call::Connect { fd, name },
            2 => Call::Listen { fd, backlog: 1 },
            3..=6 => Call::Accept {
                fd: self.reg(who, &[Kind::Listener]),
                to: self.put(who, Kind::Socket),
                flags: self.random.pick(&[
                    libc::SOCK_NONBLOCK,
                    libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                ]),
            },
            7 => {
                let (option, values) = self.random.pick(&SETTABLE);
                let value = self.random.pick(values);
                Call::Setsockopt { fd, option, value }
            }
            8 => Call::Getsockopt {
                fd,
                option: self.random.pick(&GETTABLE),
            },
            9 => Call::Outq { fd },
            10 | 11 => Call::SendTo {
                fd: self.reg(who, &[Kind::Socket]),
                len: self.len(),
                flags: self.random.pick(&[0, libc::MSG_DONTWAIT]),
                name,
            },
            12..=14 => Call::Pass {
                fd: self.reg(who, &[Kind::Socket]),
                len: self.random.pick(&[1, 1, 100, 0, 5000]),
                flags: self.random.pick(&[0, libc::MSG_DONTWAIT]),
                what: self.reg(who, &[Kind::PipeR, Kind::PipeW, Kind::Eventfd]),
            },
            15..=18 => Call::Obtain {
                fd: self.reg(who, &[Kind::Socket]),
                len: self.len(),
                flags: self.random.pick(&[
                    0,
                    0,
                    libc::MSG_CMSG_CLOEXEC,
                    libc::MSG_PEEK,
                    libc::MSG_TRUNC,
                    libc::MSG_WAITALL,
                    libc::MSG_DONTWAIT,
                ]),
                room: self.random.pick(&[128, 128, 128, 16, 0]),
                to: self.put(who, Kind::Nothing),
            },
            _ => return self.socket(who),
        };
        self.push(who, call);
    }
}
