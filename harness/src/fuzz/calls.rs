//! One call, through libc's own names as every program makes it.

use std::ffi::CString;
use std::sync::atomic::Ordering::*;

use super::page::{Gave, Page};
use super::program::{Call, Place, Reg, ACTORS, REGISTERS};
use super::signals;

pub const MSG: u32 = 1;
pub const SEM: u32 = 2;
pub const NAMES: u8 = 3;
pub const BUFFER: usize = 1 << 18;

/// What a message queue says of itself, see mq_overview(7), ends with a process id. It may be read in pieces.
fn forget_pid(text: &mut Vec<u8>) {
    const PID: usize = "123456\n".len();
    let is_word = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"_: \n".contains(b);
    if text.len() <= 80 && text.ends_with(b"\n") && text.iter().all(is_word) {
        text.truncate(text.len().saturating_sub(PID));
    }
}

/// What buffers are filled with.
static PATTERN: [u8; BUFFER] = {
    let mut bytes = [0; BUFFER];
    let mut i = 0;
    while i < BUFFER {
        bytes[i] = (i * 7 + i / 251) as u8;
        i += 1;
    }
    bytes
};

// SAFETY: its buffer is its own, and mapped for good.
unsafe impl Send for Actor {}

/// An actor: what a fork copies, and a thread begins with.
#[derive(Clone)]
pub struct Actor {
    pub page: &'static Page,
    pub me: u8,
    pub registers: [i32; REGISTERS],
    /// Ids of queues, and of sets of semaphores: what has another kind's number is nothing.
    pub ids: [[i32; REGISTERS]; 2],
    /// Addresses of semaphores that have names. Each register's was opened once more.
    pub sems: [usize; REGISTERS],
    /// It has asked for one by its name.
    pub has_sems: bool,
    /// Memory with none behind it.
    pub buffer: *mut u8,
    /// What names begin with.
    pub prefix: i32,
    /// The highest descriptor that it was given.
    pub highest: i32,
    /// It has opened a queue by its name.
    pub has_named: bool,
}

impl Actor {
    pub fn new(page: &'static Page, buffer: *mut u8) -> Actor {
        Actor {
            page,
            me: 0,
            registers: [-1; REGISTERS],
            ids: [[-1; REGISTERS]; 2],
            sems: [0; REGISTERS],
            has_sems: false,
            buffer,
            // SAFETY: cannot fail.
            prefix: unsafe { libc::getpgrp() },
            highest: 2,
            has_named: false,
        }
    }

    /// A thread's, with the same in its registers; but it opens semaphores for itself.
    pub fn for_thread(&self, me: u8) -> Option<Actor> {
        let buffer = super::exec::new_buffer()?;
        Some(Actor {
            me,
            buffer,
            sems: [0; REGISTERS],
            ..self.clone()
        })
    }

    fn fd(&self, reg: Reg) -> i32 {
        self.registers[usize::from(reg) % REGISTERS]
    }

    fn set(&mut self, reg: Reg, value: i32) {
        self.registers[usize::from(reg) % REGISTERS] = value;
        self.highest = self.highest.max(value);
    }

    fn at(&self, place: Place, len: u32) -> *mut libc::c_void {
        let len = (len as usize).min(BUFFER);
        let inside = match place {
            Place::Good => 0,
            Place::Edge => BUFFER - len / 2,
            Place::Null => return std::ptr::null_mut(),
            Place::Hole => BUFFER + 64,
        };
        self.buffer.wrapping_add(inside).cast()
    }

    /// Bytes that can be told from those of other steps.
    fn fill(&self, step: usize, len: usize, at: Place) {
        let plus = (step * 31) as u8;
        for (i, byte) in PATTERN.iter().take(len).enumerate() {
            // SAFETY: within the buffer.
            unsafe { self.buffer.add(i).write(byte.wrapping_add(plus)) };
        }
        // The last bytes of the buffer.
        let at_edge = if at == Place::Edge { len / 2 } else { 0 };
        for i in 0..at_edge.min(BUFFER) {
            // SAFETY: within the buffer.
            unsafe { self.buffer.add(BUFFER - 1 - i).write((step + i) as u8) };
        }
    }

    /// The buffer, with bytes of this step in it.
    pub fn filled(&self, step: usize, len: u32) -> *mut libc::c_void {
        self.fill(step, len as usize, Place::Good);
        self.at(Place::Good, len)
    }

    fn name(&self, name: u8) -> CString {
        CString::new(format!("/ringer-fuzz-{}-{}", self.prefix, name % NAMES)).unwrap_or_default()
    }

    fn vectors(&self, lens: &[u32]) -> Vec<libc::iovec> {
        let mut from = 0;
        let mut vector = |len: &u32| {
            let len = (*len as usize).min(BUFFER - from);
            let base = self.buffer.wrapping_add(from).cast();
            from += len;
            libc::iovec {
                iov_base: base,
                iov_len: len,
            }
        };
        lens.iter().map(&mut vector).collect()
    }

    fn pid(&self, who: u8) -> i32 {
        self.page.pids[usize::from(who) % ACTORS].load(Acquire)
    }

    /// Does it and notes what it gave.
    pub fn step(&mut self, step: usize, call: &Call) {
        let mut out = Vec::with_capacity(4096);
        signals::clear_errno();
        let value = self.call(step, call, &mut out);
        let errno = if value == -1 { signals::errno() } else { 0 };
        self.page.gave(
            step,
            Gave {
                value,
                errno,
                data: &out,
            },
        );
    }

    /// What it returns; what it gave besides goes to `out`.
    pub fn call(&mut self, step: usize, call: &Call, out: &mut Vec<u8>) -> i64 {
        match call {
            Call::Read { fd, len, at } => {
                // SAFETY: room for that many, or an address that the kernel is to refuse.
                let n = unsafe { libc::read(self.fd(*fd), self.at(*at, *len), *len as usize) };
                let n = self.took(n, *at, *len, out);
                forget_pid(out);
                n
            }
            Call::Write { fd, len, at } => {
                self.fill(step, *len as usize, *at);
                // SAFETY: as above.
                unsafe { libc::write(self.fd(*fd), self.at(*at, *len), *len as usize) as i64 }
            }
            Call::Recv { fd, len, flags, at } => {
                let (fd, to) = (self.fd(*fd), self.at(*at, *len));
                // SAFETY: as above.
                let n = unsafe { libc::recv(fd, to, *len as usize, *flags) };
                self.took(n, *at, *len, out)
            }
            Call::Send { fd, len, flags, at } => {
                self.fill(step, *len as usize, *at);
                let (fd, from) = (self.fd(*fd), self.at(*at, *len));
                // SAFETY: as above.
                unsafe { libc::send(fd, from, *len as usize, *flags) as i64 }
            }
            Call::Readv { fd, lens } => {
                let v = self.vectors(lens);
                // SAFETY: as many vectors as there are, all inside the buffer.
                let n = unsafe { libc::readv(self.fd(*fd), v.as_ptr(), v.len() as i32) };
                self.took(n, Place::Good, 0, out)
            }
            Call::Writev { fd, lens } => {
                self.fill(step, lens.iter().map(|l| *l as usize).sum(), Place::Good);
                let v = self.vectors(lens);
                // SAFETY: as many vectors as there are, all inside the buffer.
                unsafe { libc::writev(self.fd(*fd), v.as_ptr(), v.len() as i32) as i64 }
            }
            Call::Add { fd, value } => {
                // SAFETY: eight bytes.
                unsafe { libc::write(self.fd(*fd), (value as *const u64).cast(), 8) as i64 }
            }
            Call::Pipe2 { r, w, flags } => {
                let mut fds = [-1; 2];
                // SAFETY: room for two.
                let ret = unsafe { libc::pipe2(fds.as_mut_ptr(), *flags) };
                self.pair(ret, *r, *w, fds, out)
            }
            Call::Socketpair { a, b, kind } => {
                let mut fds = [-1; 2];
                // SAFETY: room for two.
                let ret = unsafe { libc::socketpair(libc::AF_UNIX, *kind, 0, fds.as_mut_ptr()) };
                self.pair(ret, *a, *b, fds, out)
            }
            Call::MqSend {
                fd,
                len,
                priority,
                at,
            } => {
                self.fill(step, *len as usize, *at);
                let (fd, from) = (self.fd(*fd), self.at(*at, *len));
                // SAFETY: as above.
                unsafe { libc::mq_send(fd, from.cast(), *len as usize, *priority).into() }
            }
            Call::MqReceive { fd, len, at } => {
                let mut priority = 0;
                let (fd, to) = (self.fd(*fd), self.at(*at, *len));
                // SAFETY: as above.
                let n = unsafe { libc::mq_receive(fd, to.cast(), *len as usize, &mut priority) };
                if n >= 0 {
                    out.extend(priority.to_le_bytes());
                }
                self.took(n, *at, *len, out)
            }
            Call::Msgsnd {
                id,
                kind,
                len,
                flags,
            } => {
                self.fill(step, *len as usize + 8, Place::Good);
                // SAFETY: the buffer is aligned and begins with a type.
                unsafe { self.buffer.cast::<i64>().write(*kind) };
                let (id, from) = (self.id(MSG, *id), self.buffer.cast());
                // SAFETY: the type and as many bytes.
                unsafe { libc::msgsnd(id, from, *len as usize, *flags).into() }
            }
            Call::Msgrcv {
                id,
                kind,
                len,
                flags,
            } => {
                let (id, to) = (self.id(MSG, *id), self.buffer.cast());
                // SAFETY: room for a type and as many bytes.
                let n = unsafe { libc::msgrcv(id, to, *len as usize, *kind, *flags) };
                let all = if n >= 0 { n + 8 } else { n };
                self.took(all, Place::Good, 0, out);
                n as i64
            }
            Call::Action { .. }
            | Call::Mask { .. }
            | Call::Pending
            | Call::Suspend { .. }
            | Call::Take { .. } => signals::call(self.page, call, out),
            Call::Tgkill { whom, signal } => match self.pid(*whom) {
                0 => 0,
                // As pthread_kill(3) does for the caller itself.
                // SAFETY: a number.
                _ if usize::from(*whom) % ACTORS == usize::from(self.me) => unsafe {
                    libc::raise(*signal).into()
                },
                // SAFETY: numbers; a process of this program.
                pid if pid != std::process::id() as i32 => unsafe {
                    libc::kill(pid, *signal).into()
                },
                pid => {
                    let tid = self.page.tids[usize::from(*whom) % ACTORS].load(Acquire);
                    // SAFETY: numbers; a thread of this program.
                    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, *signal) }
                }
            },
            Call::Kill { whom, signal } => match self.pid(*whom) {
                0 => 0,
                // SAFETY: numbers; a process of this program.
                pid => unsafe { libc::kill(pid, *signal).into() },
            },
            Call::Queue {
                whom,
                signal,
                value,
            } => match self.pid(*whom) {
                0 => 0,
                pid => {
                    let value = libc::sigval {
                        sival_ptr: *value as usize as *mut _,
                    };
                    // SAFETY: numbers; a process of this program.
                    unsafe { libc::sigqueue(pid, *signal, value).into() }
                }
            },
            // SAFETY: a number.
            Call::Raise { signal } => unsafe { libc::raise(*signal).into() },
            Call::Join { child } => {
                let mut status = 0;
                let pid = self.pid(*child);
                if pid == 0 {
                    return 0;
                }
                // SAFETY: room for a status.
                let ret = unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) };
                if ret > 0 {
                    out.extend(status.to_le_bytes());
                    return 1;
                }
                ret.into()
            }
            Call::Fork { child } => self.fork(*child),
            Call::Socket { .. }
            | Call::Bind { .. }
            | Call::Listen { .. }
            | Call::Connect { .. }
            | Call::Accept { .. }
            | Call::Setsockopt { .. }
            | Call::Getsockopt { .. }
            | Call::Outq { .. }
            | Call::SendTo { .. }
            | Call::Pass { .. }
            | Call::Obtain { .. } => super::calls_named::call(self, step, call, out),
            Call::SemInit { .. }
            | Call::SemOpen { .. }
            | Call::SemClose { .. }
            | Call::SemUnlink { .. }
            | Call::SemPost { .. }
            | Call::SemWait { .. }
            | Call::SemValue { .. } => super::calls_sem::call(self, call, out),
            other => super::calls_fd::call(self, other, out),
        }
    }

    /// Notes the bytes that came.
    fn took(&self, n: isize, at: Place, len: u32, out: &mut Vec<u8>) -> i64 {
        if n > 0 && matches!(at, Place::Good | Place::Edge) {
            let from: *const u8 = self.at(at, len).cast();
            let most = if at == Place::Edge {
                len as usize / 2
            } else {
                BUFFER
            };
            // SAFETY: the kernel has put as many there; none behind the buffer's end.
            out.extend(unsafe { std::slice::from_raw_parts(from, (n as usize).min(most)) });
            without_pid(out);
        }
        n as i64
    }

    fn pair(&mut self, ret: i32, a: Reg, b: Reg, fds: [i32; 2], out: &mut Vec<u8>) -> i64 {
        if ret == 0 {
            self.set(a, fds[0]);
            self.set(b, fds[1]);
            out.extend([fds[0] as u8, fds[1] as u8]);
        }
        ret.into()
    }

    /// A new descriptor goes into a register.
    pub fn keep(&mut self, to: Reg, fd: i32) -> i64 {
        if fd >= 0 {
            self.set(to, fd);
        }
        fd.into()
    }

    /// A new id goes into a register; its number is nobody's business.
    pub fn keep_id(&mut self, kind: u32, to: Reg, id: i32) -> i64 {
        if id < 0 {
            return id.into();
        }
        self.page.made(kind, id);
        self.ids[kind as usize % 2][usize::from(to) % REGISTERS] = id;
        0
    }

    pub fn id(&self, kind: u32, reg: Reg) -> i32 {
        self.ids[kind as usize % 2][usize::from(reg) % REGISTERS]
    }

    pub fn number(&self, reg: Reg) -> i32 {
        self.fd(reg)
    }

    pub fn queue_name(&self, name: u8) -> CString {
        self.name(name)
    }

    fn fork(&mut self, child: u8) -> i64 {
        let at = usize::from(child) % ACTORS;
        if self.pid(child) != 0 {
            return 0;
        }
        // SAFETY: this process has one thread, so its memory is whole in the child.
        match unsafe { libc::fork() } {
            0 => {
                self.me = at as u8;
                signals::i_am(self.me);
                // Its first turn is yet to come: the parent notes what the fork gave.
                super::exec::IS_NEW.store(true, Relaxed);
                0
            }
            -1 => -1,
            pid => {
                self.page.tids[at].store(pid, Release);
                self.page.pids[at].store(pid, Release);
                0
            }
        }
    }
}

/// What is read from a message queue's descriptor ends with the pid of who is to be notified, which is another
/// one in each world. (ipc/mqueue.c mqueue_read_file)
fn without_pid(text: &mut [u8]) {
    const LAST: &[u8] = b"NOTIFY_PID:";
    if let Some(at) = text.windows(LAST.len()).position(|w| w == LAST) {
        text[at + LAST.len()..].fill(b'#');
    }
}
