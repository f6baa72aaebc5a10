//! A pipe with everything that a call on it needs.

use ringer_kernel::abi::SysResult;
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::{self, demote, slot};
use ringer_kernel::sys::{pipe_read, pipe_write, Blocking};

use super::model::Model;
use super::pattern;
use super::{Dst, FakeKernel, FakeTwin, Me, PipePair, Src, World};

#[derive(Clone, Copy)]
pub struct Kit {
    pub world: World,
    /// Who made the pipe.
    pub me: Me,
    pub pair: PipePair,
    pub kernel: &'static FakeKernel,
    pub twin: FakeTwin,
}

impl Kit {
    pub fn new(world: World, slots: u32) -> Kit {
        let me = world.enter();
        let pair = world.pipe(&me, slots);
        let kernel = Box::leak(Box::new(FakeKernel::new(64)));
        Kit {
            world,
            me,
            pair,
            kernel,
            twin: FakeTwin::new(),
        }
    }

    pub fn write_as(
        &self,
        me: &Me,
        data: &[u8],
        kind: slot::Kind,
        blocking: Blocking,
    ) -> SysResult {
        let (k, e, mut src) = (self.world.ctx(me), &self.pair.write, Src::new(data));
        pipe_write(&k, e, &self.twin, blocking, kind, &mut src, data.len()).result()
    }

    pub fn write(&self, me: &Me, data: &[u8], blocking: Blocking) -> SysResult {
        self.write_as(me, data, slot::Kind::Stream, blocking)
    }

    pub fn read(&self, me: &Me, want: usize, blocking: Blocking) -> SysResult<Vec<u8>> {
        let mut buf = vec![0; want];
        let (k, e, mut dst) = (self.world.ctx(me), &self.pair.read, Dst::new(&mut buf));
        let n = pipe_read(&k, e, &self.twin, blocking, &mut dst, want)?;
        buf.truncate(n);
        Ok(buf)
    }

    pub fn resize(&self, me: &Me, slots: u32) -> SysResult<()> {
        pipe::set_size(&self.world.ctx(me), self.pair.pipe, slots)
    }

    pub fn queued(&self, me: &Me) -> SysResult {
        pipe::queued_bytes(&self.world.ctx(me), self.pair.pipe)
    }

    pub fn demote(&self, me: &Me) -> SysResult<u64> {
        demote::demote(
            &self.world.ctx(me),
            self.pair.pipe,
            self.kernel,
            Cause::IoUring,
        )
    }

    /// Fills the pipe and a model alike: sizes of writes, negative for packets; then a read.
    pub fn prepare(&self, slots: usize, writes: &[isize], read: usize) -> Model {
        let mut model = Model::new(slots);
        for &n in writes {
            let data = pattern::bytes(model.written, n.unsigned_abs());
            model.packets = n < 0;
            let kind = if n < 0 {
                slot::Kind::Packet
            } else {
                slot::Kind::Stream
            };
            assert_eq!(
                self.write_as(&self.me, data, kind, Blocking::No),
                Ok(data.len())
            );
            assert_eq!(model.write(data, None), Ok(data.len()));
        }
        model.packets = false;
        if read > 0 {
            assert_eq!(
                self.read(&self.me, read, Blocking::No).ok(),
                model.read(read, None).ok()
            );
        }
        model
    }

    /// Everything that can be read now.
    pub fn drain(&self, me: &Me) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok(mut got) = self.read(me, 100_000, Blocking::No) {
            if got.is_empty() {
                break;
            }
            all.append(&mut got);
        }
        all
    }
}
