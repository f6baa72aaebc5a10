//! From a record of a thread's ring to an entry of the log.

mod signal;

use std::cell::Cell;

use std::sync::Arc;

use ringer_kernel::log::record::layer;
use ringer_kernel::log::{object, ring, Cause, Kind, Record};

use super::drain::{Raw, Who};
use super::entry::{Calls, End, Entry, ErrorNumber, Layer, Object, Op};
use super::flags;
use super::merge::Merged;
use super::mq;
use super::named;
use super::sysv;
use crate::arena::sockets;
use crate::sys::clock::Clock;

/// A thread as records of it are labelled.
struct Label {
    ring: u32,
    pid: u32,
    tid: u32,
    comm: Arc<str>,
}

pub struct Decoder {
    clock: Clock,
    labels: Vec<Label>,
    /// Entries that are no thread's record, but ringer's word about records.
    own: Cell<u64>,
}

impl Decoder {
    pub fn new(clock: Clock) -> Decoder {
        Decoder {
            clock,
            labels: Vec::new(),
            own: Cell::new(0),
        }
    }

    /// An id that no record has: there is no ring 0.
    pub fn own_id(&self) -> u64 {
        self.own.set(self.own.get() + 1);
        ring::record_id(0, self.own.get())
    }

    /// The threads that the drainer has met, in the order of [`Raw::who`].
    pub fn meet(&mut self, who: &Who) {
        let comm = crate::sys::comm_text(who.comm).into();
        self.labels.push(Label {
            ring: who.ring,
            pid: who.pid,
            tid: who.tid,
            comm,
        });
    }

    pub fn decode(&self, merged: &Merged) -> Entry {
        match merged {
            Merged::Record(raw) => self.record(raw),
            Merged::Late(raw) => Entry {
                late: true,
                ..self.record(raw)
            },
            Merged::Gap {
                object,
                missing,
                tsc,
            } => Entry {
                id: self.own_id(),
                t_ns: self.clock.since_start(*tsc),
                layer: Some(Layer::Own),
                op: Op::Lost,
                obj: Some(Object(*object)),
                count: Some(*missing),
                ..Entry::default()
            },
        }
    }

    fn record(&self, raw: &Raw) -> Entry {
        let r = &raw.record;
        let mut e = Entry {
            t_ns: self.clock.since_start(r.tsc),
            layer: match r.aux & !layer::BY_KERNEL {
                layer::HOOK => Some(Layer::Hook),
                layer::TRAP => Some(Layer::Trap),
                layer::OWN => Some(Layer::Own),
                _ => None,
            },
            fd: (r.fd >= 0).then_some(r.fd),
            cause: (r.cause != 0).then_some(r.cause),
            kernel: r.aux & layer::BY_KERNEL != 0,
            ..Entry::default()
        };
        if let Some(label) = self.labels.get(raw.who as usize) {
            e.id = match r.commit {
                0 => self.own_id(), // the drainer's
                n => ring::record_id(label.ring, n - 1),
            };
            e.pid = label.pid;
            e.tid = label.tid;
            e.comm = label.comm.clone();
        }
        if r.object != 0 {
            e.obj = Some(Object(r.object));
            e.seq = Some(r.seq);
        }
        let kind = Kind::from_raw(r.kind);
        match kind {
            Kind::Write
            | Kind::Read
            | Kind::WriteFailed
            | Kind::ReadFailed
            | Kind::Eof
            | Kind::KernelWrite
            | Kind::KernelRead => transfer(&mut e, r, kind),
            Kind::FifoOpening | Kind::FifoOpen => fifo(&mut e, r, kind, |t| self.clock.ns(t)),
            Kind::Block | Kind::Wake | Kind::Interrupted => self.wait(&mut e, r, kind),
            Kind::SocketPair
            | Kind::SocketConnect
            | Kind::SocketAccept
            | Kind::SocketSend
            | Kind::SocketRecv
            | Kind::SendFailed
            | Kind::RecvFailed
            | Kind::Shutdown
            | Kind::SetOption => socket(&mut e, r, kind),
            Kind::EventfdCreate | Kind::EventfdWrite | Kind::EventfdRead => {
                counter(&mut e, r, kind)
            }
            Kind::SigSend
            | Kind::SigSendFailed
            | Kind::SigAccept
            | Kind::SigHandler
            | Kind::SigReturn
            | Kind::SigMask
            | Kind::SigAction
            | Kind::SigWait
            | Kind::SigBounced
            | Kind::SigKilled => signal::decode(&mut e, r, kind, &self.clock),
            Kind::Start
            | Kind::Exit
            | Kind::Fork
            | Kind::Exec
            | Kind::ExecFailed
            | Kind::Layers
            | Kind::Reaped => process(&mut e, r, kind),
            _ if sysv::decode(&mut e, r, kind, |ticks| self.clock.ns(ticks)) => {}
            _ if named::is_named(kind) => named::decode(&mut e, r, kind, |t| self.clock.ns(t)),
            _ if mq::is_mq(kind) => mq::decode(&mut e, r, kind),
            _ => of_object(&mut e, r, kind),
        }
        let ticks = match kind {
            Kind::KernelRead | Kind::KernelWrite => r.b,
            Kind::Read | Kind::Write | Kind::Eof if e.kernel => took(r),
            Kind::ReadFailed | Kind::WriteFailed if e.kernel => took(r),
            _ => 0,
        };
        let slept = Some(self.clock.ns(ticks)).filter(|_| ticks != 0);
        e.slept_ns = slept.filter(|&ns| ns > named::BLOCKED_NS).or(e.slept_ns);
        if !has_ends(r.object) && !matches!(kind, Kind::Block) {
            let of_a_socket = r.object & 0xf000_0000 == object::SOCKET;
            if let Some(end) = e.end.take().filter(|_| of_a_socket && names_a_side(kind)) {
                e.side = Some(u8::from(end == End::Write));
            }
        }
        e
    }

    fn wait(&self, e: &mut Entry, r: &Record, kind: Kind) {
        if kind == Kind::Block && r.object & 0xf000_0000 == object::SOCKET {
            e.side = Some(r.c as u8 & 1);
        }
        match kind {
            Kind::Block => {
                e.op = Op::Block;
                e.end = Some(End::from_raw(r.a as u64));
            }
            Kind::Wake => {
                e.op = Op::Wake;
                e.slept_ns = Some(self.clock.ns(r.a as u64));
            }
            _ => {
                e.op = Op::Interrupted;
                e.yes = Some(r.a == 1);
            }
        }
    }
}

fn transfer(e: &mut Entry, r: &Record, kind: Kind) {
    let writes = matches!(kind, Kind::Write | Kind::WriteFailed | Kind::KernelWrite);
    e.op = if writes { Op::Write } else { Op::Read };
    e.end = Some(if writes { End::Write } else { End::Read });
    match kind {
        Kind::Write | Kind::Read => {
            let bytes = r.a as u64;
            e.ret = Some(r.a);
            e.bytes = Some(bytes);
            e.pos = Some([r.b, r.b.saturating_add(bytes)]);
            e.queued = Some(if e.kernel { r.c & 0xffff_ffff } else { r.c });
        }
        Kind::WriteFailed | Kind::ReadFailed => {
            e.ret = Some(-1);
            e.errno = Some(ErrorNumber(r.a as i32));
            e.bytes = (r.b != 0).then_some(r.b);
        }
        Kind::Eof => {
            e.ret = Some(0);
            e.bytes = Some(0);
            e.pos = Some([r.b, r.b]);
        }
        _ => {
            e.kernel = true;
            result(e, r.a);
            e.bytes = u64::try_from(r.a).ok();
        }
    }
}

/// open(2) of a FIFO.
fn fifo(e: &mut Entry, r: &Record, kind: Kind, ns: impl Fn(u64) -> u64) {
    if kind == Kind::FifoOpening {
        e.op = Op::FifoOpening;
        e.flags = Some(flags::open(r.a as u64));
        e.name = Some(named::text_of(r));
        return;
    }
    e.op = Op::FifoOpen;
    result(e, r.a);
    e.fd = None;
    e.flags = Some(flags::open(r.b));
    e.slept_ns = Some(ns(r.c)).filter(|&ns| ns > named::BLOCKED_NS);
    // It waited for nobody.
    e.cause = e.cause.filter(|_| e.slept_ns.is_some());
}

/// Time-stamp counter's ticks of a call that the kernel served on a pipe.
fn took(r: &Record) -> u64 {
    r.c >> 32 << layer::TICKS_SHIFT
}

/// Records that have an end of a pipe, or one of a pair of sockets.
fn names_a_side(kind: Kind) -> bool {
    matches!(kind, Kind::Adopt | Kind::Dup | Kind::Close)
}

/// Whether descriptors of this object are of one of two ends.
fn has_ends(object: u32) -> bool {
    matches!(object & 0xf000_0000, object::PIPE | object::FIFO)
}

/// The first sixteen bytes of a socket's name; an abstract one begins with `@`, as in /proc/net/unix.
fn socket_name(b: u64, c: u64) -> String {
    let bytes = (u128::from(b) | u128::from(c) << 64).to_le_bytes();
    let more = if bytes.ends_with(&[0]) { "" } else { "..." };
    let end = bytes.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
    let name = sockets::printable(bytes.get(..end).unwrap_or(&[]));
    format!("{name}{more}")
}

/// Pairs of sockets: each direction is a stream of its own.
fn socket(e: &mut Entry, r: &Record, kind: Kind) {
    let side = |raw: u64| Some(raw as u8 & 1);
    match kind {
        Kind::SocketPair => {
            e.op = Op::Socketpair;
            e.ret = Some(0);
            e.fds = Some([r.a as i32, r.b as i32]);
            e.flags = Some(flags::socket(r.c));
        }
        Kind::SocketConnect | Kind::SocketAccept => {
            let connects = kind == Kind::SocketConnect;
            e.op = if connects { Op::Connect } else { Op::Accept };
            e.fd = Some(r.a as i32);
            e.side = side(u64::from(!connects));
            e.name = Some(socket_name(r.b, r.c));
        }
        Kind::SocketSend | Kind::SocketRecv => {
            let sends = kind == Kind::SocketSend;
            e.op = if sends { Op::Write } else { Op::Read };
            e.ret = Some(r.a);
            e.bytes = Some(r.a as u64);
            if r.b != Record::UNKNOWN {
                e.pos = Some([r.b, r.b.saturating_add(r.a as u64)]);
                e.queued = Some(r.c >> 1);
            }
            e.side = side(r.c);
        }
        Kind::SendFailed | Kind::RecvFailed => {
            let sends = kind == Kind::SendFailed;
            e.op = if sends { Op::Write } else { Op::Read };
            e.side = side(r.c);
            match r.a {
                0 => e.ret = Some(0),
                errno => {
                    e.ret = Some(-1);
                    e.errno = Some(ErrorNumber(errno as i32));
                    e.bytes = (r.b != 0).then_some(r.b);
                }
            }
        }
        Kind::Shutdown => {
            e.op = Op::Shutdown;
            e.ret = Some(0);
            e.flags = Some(flags::shutdown(r.a));
            e.side = side(r.b);
        }
        _ => {
            e.op = Op::SetOption;
            e.ret = Some(0);
            e.option = Some((r.a, r.b));
            e.side = side(r.c);
        }
    }
}

/// eventfds: what was added or taken, and the counter.
fn counter(e: &mut Entry, r: &Record, kind: Kind) {
    match kind {
        Kind::EventfdCreate => {
            e.op = Op::Eventfd2;
            e.ret = Some(r.a);
            e.fd = None;
            e.count = Some(r.b);
            e.flags = Some(flags::eventfd2(r.c));
        }
        _ => {
            let writes = kind == Kind::EventfdWrite;
            e.op = if writes { Op::Write } else { Op::Read };
            e.ret = Some(8);
            e.bytes = Some(8);
            e.count = Some(r.a as u64);
            e.counter = Some([r.b, r.c]);
        }
    }
}

/// A raw result: -4095..=-1 is an error.
fn result(e: &mut Entry, ret: i64) {
    if (-4095..0).contains(&ret) {
        e.ret = Some(-1);
        e.errno = Some(ErrorNumber(-ret as i32));
    } else {
        e.ret = Some(ret);
    }
}

fn process(e: &mut Entry, r: &Record, kind: Kind) {
    match kind {
        Kind::Start => {
            e.op = Op::Start;
            e.who = Some(r.a as u32);
            e.yes = Some(r.b == 1);
        }
        Kind::Exit => {
            e.op = Op::Exit;
            e.status = Some(r.a);
        }
        Kind::Fork => {
            e.op = Op::Fork;
            result(e, r.a);
            e.who = u32::try_from(r.a).ok();
            e.flags = Some(flags::clone(r.b)).filter(|f| !f.is_empty());
        }
        Kind::Exec => {
            e.op = Op::Exec;
            e.yes = Some(r.a == 1);
            e.why = (r.a != 1).then(|| Cause::describe(r.b as u32).into());
        }
        Kind::ExecFailed => {
            e.op = Op::Exec;
            e.ret = Some(-1);
            e.errno = Some(ErrorNumber(r.a as i32));
        }
        Kind::Layers => {
            e.op = Op::Layers;
            // The supervisor speaks for a dead process: see `launch::watch`.
            e.who = e.fd.take().and_then(|pid| u32::try_from(pid).ok());
            e.calls = Some(Calls {
                hook: r.a as u64,
                trap: r.b,
                passed: r.c,
            });
        }
        _ => {
            e.op = Op::Reaped;
            e.who = Some(r.a as u32);
        }
    }
}

fn of_object(e: &mut Entry, r: &Record, kind: Kind) {
    let end = |raw: u64| Some(End::from_raw(raw));
    match kind {
        Kind::Create => {
            e.op = Op::Pipe2;
            e.ret = Some(0);
            e.fd = None;
            e.fds = Some([r.a as i32, r.b as i32]);
            e.flags = Some(flags::pipe2(r.c >> 32));
            e.slots = Some(r.c as u32);
        }
        Kind::Adopt => {
            e.op = Op::Adopt;
            e.end = end(r.a as u64);
        }
        Kind::Dup => {
            e.op = Op::Dup;
            e.ret = Some(r.a);
            e.end = end(r.b);
        }
        Kind::Close => {
            e.op = Op::Close;
            e.ret = Some(0);
            e.end = end(r.a as u64);
            e.left = Some(r.b);
        }
        Kind::Free => {
            e.op = Op::Free;
            match r.object & 0xf000_0000 {
                object::MQ => e.messages = Some(r.a as u64),
                _ => e.bytes = Some(r.a as u64),
            }
        }
        Kind::Demote => {
            e.op = Op::Demote;
            e.why = Some(Cause::describe(r.a as u32).into());
            e.bytes = Some(r.b);
        }
        Kind::Resize => {
            e.op = Op::Resize;
            e.slots = Some(r.a as u32);
        }
        Kind::Watch => e.op = Op::Watch,
        Kind::SetFlags => {
            e.op = Op::SetFlags;
            e.ret = Some(0);
            e.end = end(r.b);
            e.flags = Some(flags::status(r.a as u64 & !3 | (r.b & 3)));
        }
        Kind::Orphaned => {
            e.op = Op::Orphaned;
            e.who = None;
        }
        Kind::Lost => {
            e.op = Op::Lost;
            e.count = Some(r.a as u64);
        }
        _ => {
            e.op = Op::Unknown;
            e.raw = Some((r.kind, r.a, r.b, r.c));
        }
    }
}

#[cfg(test)]
mod tests;
