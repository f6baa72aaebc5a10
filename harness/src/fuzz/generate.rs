//! A seed becomes a program. The same seed is the same program, always.

mod by_object;
mod named;
mod sem;

use clap::ValueEnum;

use super::program::{Call, Place, Program, Reg, Step, What, ACTORS, REGISTERS};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Object {
    Pipe,
    Signal,
    Eventfd,
    Unix,
    Mq,
    Sysv,
    /// Unix sockets with names, options, descriptors in messages.
    Named,
    /// POSIX semaphores, with names and without
    Sem,
}

pub const ALL: [Object; 8] = [
    Object::Pipe,
    Object::Signal,
    Object::Eventfd,
    Object::Unix,
    Object::Mq,
    Object::Sysv,
    Object::Named,
    Object::Sem,
];

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 16) % n as u64) as usize
    }

    /// Once in `n`.
    fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Nothing,
    PipeR,
    PipeW,
    Eventfd,
    Socket,
    Mq,
    Msg,
    Sem,
    Listener,
    PosixSem,
}

const SIZES: [u32; 15] = [
    0, 1, 2, 7, 8, 9, 100, 1000, 4095, 4096, 4097, 8192, 65535, 65536, 65537,
];
const SIGNALS: [i32; 7] = [
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTERM,
    libc::SIGPIPE,
    35,
    36,
];

struct Maker<'a> {
    random: Random,
    objects: &'a [Object],
    /// What is in whose registers, if all goes well.
    kinds: [[Kind; REGISTERS]; ACTORS],
    there: [bool; ACTORS],
    /// The actor with which each one's process began.
    process: [usize; ACTORS],
    dead: [bool; ACTORS],
    /// Whether calls may wait.
    waits: bool,
    /// Whether there are threads.
    threads: bool,
    /// Few, so that they meet.
    signals: [i32; 3],
    steps: Vec<Step>,
}

pub fn program(seed: u64, objects: &[Object], length: usize) -> Program {
    let mut random = Random::new(seed);
    let mut maker = Maker {
        waits: random.rarely(2),
        threads: random.rarely(3),
        signals: [(); 3].map(|()| random.pick(&SIGNALS)),
        random,
        objects,
        kinds: [[Kind::Nothing; REGISTERS]; ACTORS],
        there: [true, false, false],
        process: [0; ACTORS],
        dead: [false; ACTORS],
        steps: Vec::new(),
    };
    // Who dies early shows little.
    for signal in SIGNALS {
        let what = if maker.random.rarely(4) {
            What::Ignore
        } else {
            What::Handler
        };
        let flags = maker.action_flags();
        maker.push(
            0,
            Call::Action {
                signal,
                what,
                flags,
                mask: vec![],
            },
        );
    }
    for object in objects {
        maker.make(0, *object);
    }
    while maker.steps.len() < length {
        maker.one();
    }
    Program {
        seed,
        steps: maker.steps,
    }
}

impl Maker<'_> {
    fn push(&mut self, who: usize, call: Call) {
        // Which thread gets a signal of its process, is left to chance.
        let call = match call {
            Call::Kill { whom, signal } | Call::Queue { whom, signal, .. } if self.threads => {
                Call::Tgkill { whom, signal }
            }
            Call::MqNotify { fd, .. } if self.threads => Call::MqNotify { fd, signal: 0 },
            other => other,
        };
        self.steps.push(Step {
            who: who as u8,
            call,
        });
    }

    fn one(&mut self) {
        let alive = self.alive();
        let who = self.random.pick(&alive);
        match self.random.below(100) {
            0..=3 => self.fork(who),
            4 if self.random.rarely(2) => self.kill(who),
            5 if self.random.rarely(2) => self.exec(who),
            4..=11 => {
                let object = self.random.pick(self.objects);
                self.make(who, object);
            }
            12..=29 => self.descriptor(who),
            _ => match self.random.pick(self.objects) {
                Object::Pipe => self.pipe(who),
                Object::Signal => self.signal(who),
                Object::Eventfd => self.eventfd(who),
                Object::Unix => self.socket(who),
                Object::Mq => self.mq(who),
                Object::Sysv => self.sysv(who),
                Object::Named => self.named(who),
                Object::Sem => self.sem(who),
            },
        }
    }

    /// A register that holds such a thing; now and then any.
    fn reg(&mut self, who: usize, wanted: &[Kind]) -> Reg {
        let fitting: Vec<Reg> = (0..REGISTERS as Reg)
            .filter(|r| wanted.contains(&self.kinds[who][usize::from(*r)]))
            .collect();
        if fitting.is_empty() || self.random.rarely(25) {
            return self.random.below(REGISTERS) as Reg;
        }
        self.random.pick(&fitting)
    }

    fn put(&mut self, who: usize, kind: Kind) -> Reg {
        let reg = self.random.below(REGISTERS);
        self.kinds[who][reg] = kind;
        reg as Reg
    }

    /// The flag that keeps a call from waiting; not always, if the program's may.
    fn nonblock(&mut self, flag: i32) -> i32 {
        if self.may_wait() {
            0
        } else {
            flag
        }
    }

    fn may_wait(&mut self) -> bool {
        self.waits && self.random.rarely(3)
    }

    /// Two registers next to each other.
    fn put_pair(&mut self, who: usize, first: Kind, second: Kind) -> (Reg, Reg) {
        let reg = self.put(who, first);
        let next = (reg + 1) % REGISTERS as Reg;
        self.kinds[who][usize::from(next)] = second;
        (reg, next)
    }

    fn len(&mut self) -> u32 {
        self.random.pick(&SIZES)
    }

    fn place(&mut self) -> Place {
        match self.random.below(24) {
            0 => Place::Null,
            1 => Place::Hole,
            2 => Place::Edge,
            _ => Place::Good,
        }
    }

    fn make(&mut self, who: usize, object: Object) {
        let cloexec = self.random.rarely(3);
        let waits = self.may_wait();
        let with = |nonblock, flag| {
            let nonblock = if waits { 0 } else { nonblock };
            if cloexec {
                nonblock | flag
            } else {
                nonblock
            }
        };
        let call = match object {
            Object::Pipe => {
                let direct = if self.random.rarely(5) {
                    libc::O_DIRECT
                } else {
                    0
                };
                let (r, w) = self.put_pair(who, Kind::PipeR, Kind::PipeW);
                Call::Pipe2 {
                    r,
                    w,
                    flags: with(libc::O_NONBLOCK, libc::O_CLOEXEC) | direct,
                }
            }
            Object::Eventfd => {
                let count = self.random.pick(&[0, 1, 5, u32::MAX]);
                let semaphore = if self.random.rarely(3) {
                    libc::EFD_SEMAPHORE
                } else {
                    0
                };
                let to = self.put(who, Kind::Eventfd);
                let flags = with(libc::EFD_NONBLOCK, libc::EFD_CLOEXEC) | semaphore;
                Call::Eventfd { to, count, flags }
            }
            Object::Unix => {
                let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET];
                let kind = self.random.pick(&kinds) | with(libc::SOCK_NONBLOCK, libc::SOCK_CLOEXEC);
                let (a, b) = self.put_pair(who, Kind::Socket, Kind::Socket);
                Call::Socketpair { a, b, kind }
            }
            Object::Mq => {
                let access =
                    self.random
                        .pick(&[libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_RDWR]);
                let how = self.random.pick(&[
                    libc::O_CREAT,
                    libc::O_CREAT,
                    libc::O_CREAT | libc::O_EXCL,
                    0,
                ]);
                Call::MqOpen {
                    to: self.put(who, Kind::Mq),
                    name: self.random.below(2) as u8,
                    flags: access | how | self.nonblock(libc::O_NONBLOCK),
                    most: self.random.pick(&[1, 2, 5, 10, 10, 0, -1]),
                    size: self.random.pick(&[1, 8, 100, 8192, 8192, 0]),
                }
            }
            Object::Sysv if self.random.rarely(2) => Call::Msgget {
                to: self.put(who, Kind::Msg),
            },
            Object::Sysv => {
                let count = self.random.pick(&[1, 2, 3, 3, 250, 0, -1]);
                Call::Semget {
                    to: self.put(who, Kind::Sem),
                    count,
                }
            }
            Object::Signal => return self.signal(who),
            Object::Named => return self.make_named(who),
            Object::Sem => return self.make_sem(who),
        };
        self.push(who, call);
    }

    fn alive(&self) -> Vec<usize> {
        (0..ACTORS)
            .filter(|a| self.there[*a] && !self.dead[*a])
            .collect()
    }

    /// Ends a process, be it the caller's own, unless it is the last.
    fn kill(&mut self, who: usize) {
        let whom = self.random.pick(&self.alive());
        let dies = |a: &usize| self.process[*a] == self.process[whom];
        if self.alive().iter().all(dies) {
            return;
        }
        let dead: Vec<usize> = (0..ACTORS).filter(dies).collect();
        dead.iter().for_each(|a| self.dead[*a] = self.there[*a]);
        let (whom, signal) = (whom as u8, libc::SIGKILL);
        self.push(who, Call::Kill { whom, signal });
    }

    /// Handlers do not outlive it: without others the next signal would be the end.
    fn exec(&mut self, who: usize) {
        use Kind::*;
        for _ in 0..self.random.below(3) {
            let fd = self.reg(who, &[PipeR, PipeW, Eventfd, Socket, Mq]);
            let (cmd, arg) = (libc::F_SETFD, self.random.below(2) as i32);
            self.push(who, Call::Fcntl { fd, cmd, arg });
        }
        for other in (0..ACTORS).filter(|other| *other != who) {
            self.dead[other] |= self.there[other] && self.process[other] == self.process[who];
        }
        self.push(who, Call::Exec);
        for signal in SIGNALS {
            let (what, flags, mask) = (What::Handler, self.action_flags(), vec![]);
            let is_left = self.random.rarely(8);
            if !is_left {
                self.push(
                    who,
                    Call::Action {
                        signal,
                        what,
                        flags,
                        mask,
                    },
                );
            }
        }
    }

    fn fork(&mut self, who: usize) {
        let Some(child) = (0..ACTORS).find(|a| !self.there[*a]) else {
            let child = self.random.below(ACTORS) as u8;
            return self.push(who, Call::Join { child });
        };
        self.there[child] = true;
        self.kinds[child] = self.kinds[who];
        let is_thread = self.threads && self.random.rarely(2);
        self.process[child] = if is_thread { self.process[who] } else { child };
        let child = child as u8;
        let call = match is_thread {
            true => Call::Thread { child },
            false => Call::Fork { child },
        };
        self.push(who, call);
    }

    fn descriptor(&mut self, who: usize) {
        use Kind::*;
        let any = [PipeR, PipeW, Eventfd, Socket, Mq, Listener];
        let fd = self.reg(who, &any);
        let kind = self.kinds[who][usize::from(fd)];
        let call = match self.random.below(10) {
            0 | 1 => Call::Close { fd },
            2 => Call::Dup {
                fd,
                to: self.put(who, kind),
            },
            3 => {
                let over = self.reg(who, &any);
                self.kinds[who][usize::from(over)] = kind;
                Call::Dup2 { fd, over }
            }
            4 => Call::Dup3 {
                fd,
                over: self.reg(who, &any),
                flags: self.random.pick(&[0, libc::O_CLOEXEC, libc::O_NONBLOCK]),
            },
            5 => Call::Fionread { fd },
            6 => {
                let events = [libc::POLLIN, libc::POLLOUT, libc::POLLIN | libc::POLLOUT, 0];
                let count = 1 + self.random.below(3);
                let one = |m: &mut Self| (m.reg(who, &any), m.random.pick(&events));
                Call::Poll {
                    fds: (0..count).map(|_| one(self)).collect(),
                    ms: if self.may_wait() { -1 } else { 0 },
                }
            }
            _ => {
                let (cmd, arg) = self.random.pick(&[
                    (libc::F_GETFL, 0),
                    (libc::F_GETFD, 0),
                    (libc::F_SETFD, 1),
                    (libc::F_SETFD, 0),
                    (libc::F_SETFL, libc::O_NONBLOCK),
                    (libc::F_SETFL, libc::O_NONBLOCK | libc::O_APPEND),
                    (libc::F_DUPFD, 10),
                    (libc::F_DUPFD_CLOEXEC, 3),
                    (libc::F_DUPFD, -1),
                    (libc::F_GETPIPE_SZ, 0),
                    (9999, 0),
                ]);
                // Who waits has read its flags already, or not.
                let cmd = match cmd {
                    libc::F_SETFL if self.waits => libc::F_GETFL,
                    other => other,
                };
                Call::Fcntl { fd, cmd, arg }
            }
        };
        self.push(who, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_program() {
        assert_eq!(program(5, &ALL, 60), program(5, &ALL, 60));
        assert_ne!(program(5, &ALL, 60), program(6, &ALL, 60));
        assert_eq!(
            Random::new(0).next(),
            0xe220_a839_7b1d_cdaf,
            "as published for SplitMix64"
        );
    }

    #[test]
    fn some_programs_wait_and_some_do_not() {
        let waits = |seed| {
            let steps = program(seed, &ALL, 80).steps;
            steps.iter().any(|step| {
                matches!(step.call, Call::Pipe2 { flags, .. } if flags & libc::O_NONBLOCK == 0)
            })
        };
        let waiting = (0..300).filter(|seed| waits(*seed)).count();
        assert!((50..250).contains(&waiting), "{waiting}");
    }
}
