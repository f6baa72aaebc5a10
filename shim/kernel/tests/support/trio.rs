//! Three pipes at once: ringer's, the running kernel's and the model's.

use std::sync::atomic::Ordering::*;
use std::sync::OnceLock;

use proptest::prelude::*;
use ringer_kernel::abi::SysError;
use ringer_kernel::file::End;
use ringer_kernel::pipe::watch::{self, Side};
use ringer_kernel::pipe::{self, slot};
use ringer_kernel::sys::{pipe_read, pipe_write, Blocking};

use super::model::{Model, Outcome};
use super::real::RealPipe;
use super::world::filled;
use super::{
    pattern, Dst, FakeKernel, FakeTwin, Me, Others, PipePair, Sleeps, Src, TestHost, World,
};

/// One call.
#[derive(Clone, Debug)]
pub enum Op {
    Write { len: usize, bad: Option<usize> },
    Read { want: usize, bad: Option<usize> },
    Packets(bool),
    Resize { log2: u32 },
    CloseReader,
    CloseWriter,
}

/// One world for all cases: so pipes, blocks and descriptions are used again and again.
pub fn world() -> &'static (World, Me) {
    static WORLD: OnceLock<(World, Me)> = OnceLock::new();
    WORLD.get_or_init(|| {
        let world = World::new(TestHost::new(Sleeps::ForEver, Others::Live));
        let me = world.enter();
        (world, me)
    })
}

/// The three pipes, and what has been said to each.
pub struct Trio {
    pub model: Model,
    real: RealPipe,
    pub pair: PipePair,
    reader_gone: FakeTwin,
    writer_gone: FakeTwin,
    pub kind: slot::Kind,
    /// The twin's tokens, if the pipe is polled.
    kernel: Option<&'static FakeKernel>,
}

impl Trio {
    pub fn new(log2: u32) -> Trio {
        Trio::with_twin(log2, FakeTwin::new(), FakeTwin::new())
    }

    /// A pipe whose readiness is watched.
    pub fn polled(log2: u32) -> Trio {
        let (world, me) = world();
        let kernel: &'static FakeKernel = Box::leak(Box::new(FakeKernel::new(1 << log2)));
        let mut trio = Trio::with_twin(log2, FakeTwin::on(kernel), FakeTwin::on(kernel));
        trio.kernel = Some(kernel);
        watch::watch(&world.ctx(me), trio.pair.pipe, kernel, 0);
        trio
    }

    fn with_twin(log2: u32, reader_gone: FakeTwin, writer_gone: FakeTwin) -> Trio {
        let (world, me) = world();
        Trio {
            model: Model::new(1 << log2),
            real: RealPipe::new(1 << log2),
            pair: world.pipe(me, 1 << log2),
            reader_gone,
            writer_gone,
            kind: slot::Kind::Stream,
            kernel: None,
        }
    }

    pub fn ringer_write(&self, data: &[u8], bad: Option<usize>) -> Outcome<usize> {
        let (world, me) = world();
        let mut src = Src::faulting(data, bad);
        let written = pipe_write(
            &world.ctx(me),
            &self.pair.write,
            &self.reader_gone,
            Blocking::No,
            self.kind,
            &mut src,
            data.len(),
        );
        written.result().map_err(errno)
    }

    pub fn ringer_read(&self, want: usize, bad: Option<usize>) -> Outcome<Vec<u8>> {
        let (world, me) = world();
        let mut out = vec![0; want];
        let mut dst = Dst::faulting(&mut out, bad);
        let (k, twin) = (world.ctx(me), &self.writer_gone);
        let n =
            pipe_read(&k, &self.pair.read, twin, Blocking::No, &mut dst, want).map_err(errno)?;
        out.truncate(n);
        Ok(out)
    }

    pub fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let (world, me) = world();
        match *op {
            Op::Write { len, bad } => {
                let data = pattern::bytes(self.model.written, len);
                let expected = self.model.write(data, bad);
                prop_assert_eq!(self.real.write(data, bad), expected, "the kernel's write");
                prop_assert_eq!(self.ringer_write(data, bad), expected, "ringer's write");
            }
            Op::Read { want, bad } => {
                let expected = self.model.read(want, bad);
                prop_assert!(self.real.read(want, bad) == expected, "the kernel's read");
                prop_assert!(self.ringer_read(want, bad) == expected, "ringer's read");
            }
            Op::Packets(on) => {
                self.model.packets = on;
                self.real.set_packets(on);
                self.kind = if on {
                    slot::Kind::Packet
                } else {
                    slot::Kind::Stream
                };
            }
            Op::Resize { log2 } => {
                let expected = self.model.resize(1 << log2);
                prop_assert_eq!(self.real.resize(1 << log2), expected);
                let got = pipe::set_size(&world.ctx(me), self.pair.pipe, 1 << log2);
                prop_assert_eq!(got.map_err(errno), expected, "ringer's F_SETPIPE_SZ");
                if let (Ok(()), Some(kernel)) = (expected, self.kernel) {
                    kernel.resize(1 << log2); // as the shim does
                    watch::reconcile(
                        &world.ctx(me),
                        watch::known(self.pair.pipe),
                        kernel,
                        Side::Both,
                    );
                }
            }
            Op::CloseReader => {
                self.model.reader_open = false;
                self.real.close_reader();
                self.pair.pipe.forget_witness(End::Read);
                self.reader_gone.hang_up();
            }
            Op::CloseWriter => {
                self.model.writer_open = false;
                self.real.close_writer();
                self.pair.pipe.forget_witness(End::Write);
                self.writer_gone.hang_up();
            }
        }
        self.compare()
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let (world, me) = world();
        let p = self.pair.pipe;
        let queued = self.model.queued();
        if self.model.reader_open {
            prop_assert_eq!(self.real.queued(), queued, "the kernel's FIONREAD");
        }
        let got = pipe::queued_bytes(&world.ctx(me), p).map_err(errno);
        prop_assert_eq!(got, Ok(queued), "ringer's FIONREAD");
        prop_assert_eq!(filled(p) as usize, self.model.filled(), "slots");
        prop_assert_eq!(
            p.written.load(Relaxed),
            self.model.written,
            "position written"
        );
        prop_assert_eq!(p.read.load(Relaxed), self.model.read, "position read");
        prop_assert_eq!(p.wlock.word.load(Relaxed) | p.rlock.word.load(Relaxed), 0);
        if let (Some(kernel), true, true) =
            (self.kernel, self.model.reader_open, self.model.writer_open)
        {
            let expected = self.model.readiness();
            prop_assert_eq!(self.real.readiness(), expected, "the kernel's poll");
            prop_assert_eq!(kernel.readiness(), expected, "the twin's poll");
        }
        Ok(())
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        let (world, me) = world();
        world.free(me, &self.pair);
    }
}

fn errno(e: SysError) -> i32 {
    match e {
        SysError::Errno(e) => e.get(),
        other => panic!("{other:?}"),
    }
}
