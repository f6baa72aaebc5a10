//! Linux's ring of pipe buffers as a page of code, to compare the real thing with.
//! See fs/pipe.c: `anon_pipe_write`, `anon_pipe_read`, `pipe_set_size` (Linux 6.x).

use ringer_support::prelude::*;
use std::collections::VecDeque;

/// `struct pipe_buffer`. Its bytes are `start..start + len` of the test stream.
struct Buffer {
    start: usize,
    len: usize,
    /// Where in its page the bytes begin: what was read from it does not come back.
    offset: usize,
    /// PIPE_BUF_FLAG_PACKET; without it, PIPE_BUF_FLAG_CAN_MERGE.
    packet: bool,
}

pub struct Ring {
    buffers: VecDeque<Buffer>,
    max_usage: usize,
    /// Bytes ever written: the place in the test stream where the next write begins.
    pub written: usize,
    /// O_DIRECT on the write end.
    pub packetized: bool,
}

impl Ring {
    pub fn new() -> Ring {
        Ring {
            buffers: VecDeque::new(),
            max_usage: 16,
            written: 0,
            packetized: false,
        }
    }

    /// A nonblocking write(2) of `total` bytes of the test stream.
    pub fn write(&mut self, total: usize) -> Sys {
        let start = self.written;
        let mut left = total;
        // "If it wasn't empty we try to merge new data into the last buffer."
        let chars = total % PAGE;
        if let Some(last) = self.buffers.back_mut() {
            if chars > 0 && !last.packet && last.offset + last.len + chars <= PAGE {
                last.len += chars;
                left -= chars;
            }
        }
        while left > 0 && self.buffers.len() < self.max_usage {
            let len = left.min(PAGE);
            let start = start + total - left;
            self.buffers.push_back(Buffer {
                start,
                len,
                offset: 0,
                packet: self.packetized,
            });
            left -= len;
        }
        self.written += total - left;
        match total - left {
            0 if total > 0 => Err(EAGAIN),
            n => Ok(n),
        }
    }

    /// A nonblocking read(2): the extents of the test stream that it returns.
    pub fn read(&mut self, mut total: usize) -> Result<Vec<(usize, usize)>, i32> {
        let mut got = Vec::new();
        while total > 0 {
            let Some(first) = self.buffers.front_mut() else {
                return if got.is_empty() { Err(EAGAIN) } else { Ok(got) };
            };
            let chars = first.len.min(total);
            got.push((first.start, chars));
            first.start += chars;
            first.offset += chars;
            first.len -= chars;
            total -= chars;
            if first.packet {
                // The rest of a packet is lost, and a read ends with it.
                (first.len, total) = (0, 0);
            }
            if first.len == 0 {
                self.buffers.pop_front();
            }
        }
        Ok(got)
    }

    /// F_SETPIPE_SZ of at most pipe-max-size.
    pub fn resize(&mut self, size: usize) -> Sys {
        let slots = size.div_ceil(PAGE).max(1).next_power_of_two();
        if slots < self.buffers.len() {
            return Err(EBUSY);
        }
        self.max_usage = slots;
        Ok(slots * PAGE)
    }

    /// FIONREAD.
    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(|b| b.len).sum()
    }

    pub fn is_full(&self) -> bool {
        self.buffers.len() >= self.max_usage
    }
}

/// What a random sequence may contain.
#[derive(Clone, Copy)]
pub struct Menu {
    pub packets: bool,
    pub resizes: bool,
}

/// Runs a random sequence on a real pipe and on the model, and compares after every step.
pub fn compare(seed: u64, steps: usize, menu: Menu) {
    const EDGES: [usize; 12] = [
        0, 1, 2, 4095, 4096, 4097, 8191, 8192, 8193, 65535, 65536, 65537,
    ];
    let mut rng = Rng::new(seed);
    let (p, mut model) = (nonblocking_pipe(), Ring::new());
    // Some sequences keep the pipe rather full, some rather empty.
    let bias = rng.within(3, 7);
    let sizes = rng.pick(&[64, 4096, 5000, 20_000, 140_000]);
    for step in 0..steps {
        let at = || format!("seed {seed}, step {step}");
        let size = match rng.below(4) {
            0 => rng.pick(&EDGES),
            1 => rng.within(1, 16) * PAGE / 4,
            _ => rng.within(1, sizes),
        };
        match rng.below(24) {
            0 if menu.packets => {
                model.packetized = !model.packetized;
                let direct = if model.packetized { O_DIRECT } else { 0 };
                set_status_flags(&p.w, O_NONBLOCK | direct).unwrap();
            }
            1 if menu.resizes => {
                let size = rng.within(0, 40) * PAGE / 2 + rng.below(2);
                assert_eq!(
                    set_pipe_size(&p.r, size),
                    model.resize(size),
                    "resize, {}",
                    at()
                );
            }
            n if n % 10 < bias => {
                let data = stream(model.written, size);
                assert_eq!(
                    write(&p.w, &data),
                    model.write(size),
                    "write {size}, {}",
                    at()
                );
            }
            _ => {
                let expected = model.read(size);
                let expected =
                    expected.map(|e| e.iter().flat_map(|(at, len)| stream(*at, *len)).collect());
                // Not assert_eq: nobody wants to see 65536 bytes twice.
                let found: Result<Vec<u8>, i32> = read_n(&p.r, size);
                let lengths = (
                    found.as_ref().map(Vec::len),
                    expected.as_ref().map(Vec::len),
                );
                assert!(found == expected, "read {size}: {lengths:?}, {}", at());
            }
        }
        assert_eq!(bytes_waiting(&p.r), Ok(model.bytes()), "FIONREAD, {}", at());
        let (r, w) = (poll_now(&p.r) & POLLIN != 0, poll_now(&p.w) & POLLOUT != 0);
        assert_eq!(
            (r, w),
            (model.bytes() > 0, !model.is_full()),
            "poll, {}",
            at()
        );
    }
}
