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

/// An actor: what a fork copies.
pub struct Actor {
    pub page: &'static Page,
    pub me: u8,
    pub registers: [i32; REGISTERS],
    /// Ids of queues, and of sets of semaphores: what has another kind's number is nothing.
    pub ids: [[i32; REGISTERS]; 2],
    /// Memory with none behind it.
    pub buffer: *mut u8,
    /// What names begin with.
    pub prefix: i32,
}

impl Actor {
    fn fd(&self, reg: Reg) -> i32 {
        self.registers[usize::from(reg) % REGISTERS]
    }

    fn set(&mut self, reg: Reg, value: i32) {
        self.registers[usize::from(reg) % REGISTERS] = value;
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
    fn fill(&self, step: usize, len: usize) {
        for i in 0..len.min(BUFFER) {
            // SAFETY: within the buffer.
            unsafe {
                self.buffer
                    .add(i)
                    .write((step * 31 + i * 7 + i / 251) as u8)
            };
        }
        // For Edge: the last bytes are as good.
        for i in 0..(len / 2).min(BUFFER) {
            // SAFETY: within the buffer.
            unsafe { self.buffer.add(BUFFER - 1 - i).write((step + i) as u8) };
        }
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

    fn call(&mut self, step: usize, call: &Call, out: &mut Vec<u8>) -> i64 {
        match call {
            Call::Read { fd, len, at } => {
                // SAFETY: room for that many, or an address that the kernel is to refuse.
                let n = unsafe { libc::read(self.fd(*fd), self.at(*at, *len), *len as usize) };
                self.took(n, *at, *len, out)
            }
            Call::Write { fd, len, at } => {
                self.fill(step, *len as usize);
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
                self.fill(step, *len as usize);
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
                self.fill(step, lens.iter().map(|l| *l as usize).sum());
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
                self.fill(step, *len as usize);
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
                self.fill(step, *len as usize + 8);
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
            Call::Action { .. } | Call::Mask { .. } | Call::Pending | Call::Take { .. } => {
                signals::call(self.page, call, out)
            }
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
                self.page.pids[at].store(pid, Release);
                0
            }
        }
    }
}
