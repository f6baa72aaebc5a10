//! What is done with an object of each kind.

use super::super::program::{Call, What, ACTORS};
use super::{Kind, Maker};

impl Maker<'_> {
    fn lens(&mut self) -> Vec<u32> {
        let count = self.random.below(5);
        (0..count).map(|_| self.len()).collect()
    }

    pub(super) fn pipe(&mut self, who: usize) {
        let r = self.reg(who, &[Kind::PipeR]);
        let w = self.reg(who, &[Kind::PipeW]);
        let (len, at) = (self.len(), self.place());
        let call = match self.random.below(14) {
            0..=4 => Call::Write { fd: w, len, at },
            5..=9 => Call::Read { fd: r, len, at },
            10 => Call::Writev {
                fd: w,
                lens: self.lens(),
            },
            11 => Call::Readv {
                fd: r,
                lens: self.lens(),
            },
            12 => {
                let arg = self
                    .random
                    .pick(&[0, 1, 4096, 4097, 8192, 65536, 131_072, -1]);
                Call::Fcntl {
                    fd: w,
                    cmd: libc::F_SETPIPE_SZ,
                    arg,
                }
            }
            _ if self.waits => Call::Fionread { fd: r },
            _ => {
                let direct = self.random.pick(&[0, libc::O_DIRECT]);
                let arg = libc::O_NONBLOCK | direct;
                Call::Fcntl {
                    fd: w,
                    cmd: libc::F_SETFL,
                    arg,
                }
            }
        };
        self.push(who, call);
    }

    pub(super) fn eventfd(&mut self, who: usize) {
        let fd = self.reg(who, &[Kind::Eventfd]);
        let at = self.place();
        let call = match self.random.below(10) {
            0..=4 => {
                let values = [0, 1, 2, 1 << 32, u64::MAX - 1, u64::MAX, u64::MAX - 2];
                Call::Add {
                    fd,
                    value: self.random.pick(&values),
                }
            }
            5..=8 => Call::Read {
                fd,
                len: self.random.pick(&[8, 8, 8, 7, 9, 0, 16]),
                at,
            },
            _ => Call::Write {
                fd,
                len: self.random.pick(&[8, 7, 9, 0]),
                at,
            },
        };
        self.push(who, call);
    }

    pub(super) fn socket(&mut self, who: usize) {
        let fd = self.reg(who, &[Kind::Socket]);
        let (len, at) = (self.len(), self.place());
        let call = match self.random.below(14) {
            0..=2 => {
                let flags =
                    self.random
                        .pick(&[0, libc::MSG_NOSIGNAL, libc::MSG_DONTWAIT, libc::MSG_EOR]);
                Call::Send { fd, len, flags, at }
            }
            3..=5 => {
                let flags = self.random.pick(&[
                    0,
                    libc::MSG_PEEK,
                    libc::MSG_TRUNC,
                    libc::MSG_DONTWAIT,
                    libc::MSG_PEEK | libc::MSG_TRUNC,
                ]);
                Call::Recv { fd, len, flags, at }
            }
            6 | 7 => Call::Write { fd, len, at },
            8 | 9 => Call::Read { fd, len, at },
            10 => Call::Writev {
                fd,
                lens: self.lens(),
            },
            11 => Call::Readv {
                fd,
                lens: self.lens(),
            },
            12 => Call::Shutdown {
                fd,
                how: self.random.pick(&[0, 1, 2, 3]),
            },
            _ => Call::Fionread { fd },
        };
        self.push(who, call);
    }

    pub(super) fn mq(&mut self, who: usize) {
        let fd = self.reg(who, &[Kind::Mq]);
        let at = self.place();
        let len = self.random.pick(&[0, 1, 8, 9, 100, 8192, 8193]);
        let call = match self.random.below(10) {
            0..=3 => Call::MqSend {
                fd,
                len,
                priority: self.random.pick(&[0, 1, 5, 32767, 32768]),
                at,
            },
            4..=7 => Call::MqReceive {
                fd,
                len: self.random.pick(&[8192, 8192, 8193, 8, 0]),
                at,
            },
            8 if self.random.rarely(2) => Call::MqAttr { fd },
            8 => Call::MqNotify {
                fd,
                signal: self.random.pick(&[0, 10, 12, 35]),
            },
            _ => Call::MqUnlink {
                name: self.random.below(2) as u8,
            },
        };
        self.push(who, call);
    }

    pub(super) fn sysv(&mut self, who: usize) {
        let (msg, sem) = (self.reg(who, &[Kind::Msg]), self.reg(who, &[Kind::Sem]));
        let kind = self.random.pick(&[1, 2, 3, 7, 0, -1]);
        let len = self.random.pick(&[0, 1, 8, 100, 8192, 8193]);
        let nowait = self.nonblock(libc::IPC_NOWAIT);
        let call = match self.random.below(16) {
            0..=3 => Call::Msgsnd {
                id: msg,
                kind,
                len,
                flags: nowait,
            },
            4..=7 => {
                let kind = self.random.pick(&[0, 1, 2, -2, -9, 3]);
                let more =
                    self.random
                        .pick(&[0, 0, libc::MSG_NOERROR, libc::MSG_EXCEPT, libc::MSG_COPY]);
                Call::Msgrcv {
                    id: msg,
                    kind,
                    len,
                    flags: nowait | more,
                }
            }
            8 => Call::Msgcount { id: msg },
            9 if self.random.rarely(4) => Call::Msgrm { id: msg },
            9..=12 => {
                let count = 1 + self.random.below(3);
                let op = |m: &mut Self| {
                    let undo = if m.random.rarely(4) {
                        libc::SEM_UNDO
                    } else {
                        0
                    };
                    let num = m.random.pick(&[0, 0, 1, 2, 250]);
                    (
                        num,
                        m.random.pick(&[0, 1, -1, 2, -2, 32767]),
                        (nowait | undo) as i16,
                    )
                };
                Call::Semop {
                    id: sem,
                    ops: (0..count).map(|_| op(self)).collect(),
                }
            }
            _ => {
                let cmds = [
                    libc::SETVAL,
                    libc::SETVAL,
                    libc::GETVAL,
                    libc::GETVAL,
                    libc::GETNCNT,
                    libc::GETZCNT,
                ];
                let cmd = if self.random.rarely(30) {
                    libc::IPC_RMID
                } else {
                    self.random.pick(&cmds)
                };
                let value = self.random.pick(&[0, 1, 3, 32767, 32768, -1]);
                Call::Semctl {
                    id: sem,
                    num: self.random.pick(&[0, 0, 1, 2, -1, 250]),
                    cmd,
                    value,
                }
            }
        };
        self.push(who, call);
    }

    pub(super) fn action_flags(&mut self) -> i32 {
        self.random
            .pick(&[0, 0, libc::SA_RESTART, libc::SA_NODEFER, libc::SA_RESTART])
    }

    fn set(&mut self) -> Vec<i32> {
        let (count, signals) = (self.random.below(4), self.signals);
        (0..count).map(|_| self.random.pick(&signals)).collect()
    }

    pub(super) fn signal(&mut self, who: usize) {
        let there: Vec<usize> = (0..ACTORS).filter(|a| self.there[*a]).collect();
        let whom = self.random.pick(&there) as u8;
        let signals = self.signals;
        let signal = self.random.pick(&signals);
        let call = match self.random.below(20) {
            0..=3 => Call::Kill { whom, signal },
            4..=6 => Call::Queue {
                whom,
                signal,
                value: self.random.below(100) as i32,
            },
            7 => Call::Raise { signal },
            8 => Call::Tgkill { whom, signal },
            9..=13 => {
                let how = [libc::SIG_BLOCK, libc::SIG_UNBLOCK, libc::SIG_SETMASK];
                Call::Mask {
                    how: self.random.pick(&how),
                    set: self.set(),
                }
            }
            14 | 15 => Call::Pending,
            16 | 17 => Call::Take {
                set: self.set(),
                waits: self.may_wait(),
            },
            18 if self.waits && self.random.rarely(2) => Call::Suspend { set: self.set() },
            18 => Call::Kill {
                whom,
                signal: self.random.pick(&[0, 65, -1]),
            },
            _ => {
                let what = self
                    .random
                    .pick(&[What::Handler, What::Handler, What::Ignore]);
                let (flags, mask) = (self.action_flags(), self.set());
                Call::Action {
                    signal,
                    what,
                    flags,
                    mask,
                }
            }
        };
        self.push(who, call);
    }
}
