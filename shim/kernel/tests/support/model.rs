//! Linux's pipe as a plain data structure: an array of page buffers behind one mutex. Written
//! from pipe(7) and the kernel's behaviour (v6.18 fs/pipe.c), not from ringer's code.

use std::collections::VecDeque;

const PAGE: usize = 4096;

#[derive(Clone)]
struct Buf {
    page: Vec<u8>,
    off: usize,
    can_merge: bool,
    packet: bool,
}

impl Buf {
    fn len(&self) -> usize {
        self.page.len() - self.off
    }
}

#[derive(Clone)]
pub struct Model {
    bufs: VecDeque<Buf>,
    slots: usize,
    pub packets: bool,
    pub reader_open: bool,
    pub writer_open: bool,
    /// Stream positions: bytes that ever went in and came out (or were dropped with a packet).
    pub written: u64,
    pub read: u64,
}

pub type Outcome<T> = Result<T, i32>;

impl Model {
    pub fn new(slots: usize) -> Model {
        Model {
            bufs: VecDeque::new(),
            slots,
            packets: false,
            reader_open: true,
            writer_open: true,
            written: 0,
            read: 0,
        }
    }

    pub fn filled(&self) -> usize {
        self.bufs.len()
    }

    /// How many of `len` bytes a write would merge into the last buffer.
    pub fn merged(&self, len: usize) -> usize {
        let odd = len % PAGE;
        match self.bufs.back() {
            Some(last) if last.can_merge && last.page.len() + odd <= PAGE => odd,
            _ => 0,
        }
    }

    /// Bytes that were written by whatever way.
    pub fn append(&mut self, data: &[u8]) {
        for page in data.chunks(PAGE) {
            self.bufs.push_back(Buf {
                page: page.to_vec(),
                off: 0,
                can_merge: false,
                packet: false,
            });
        }
        self.written += data.len() as u64;
    }

    /// All that is queued.
    pub fn contents(&self) -> Vec<u8> {
        self.bufs
            .iter()
            .flat_map(|b| &b.page[b.off..])
            .copied()
            .collect()
    }

    /// poll(2): (readable, writable), while both ends are open.
    pub fn readiness(&self) -> (bool, bool) {
        (!self.bufs.is_empty(), self.bufs.len() < self.slots)
    }

    /// FIONREAD
    pub fn queued(&self) -> usize {
        self.bufs.iter().map(Buf::len).sum()
    }

    /// write(2) with O_NONBLOCK. The bytes from `bad` on can not be read.
    pub fn write(&mut self, data: &[u8], bad: Option<usize>) -> Outcome<usize> {
        let readable = bad.unwrap_or(data.len()).min(data.len());
        if data.is_empty() {
            return Ok(0);
        }
        if !self.reader_open {
            return Err(libc::EPIPE);
        }
        let mut done = 0;
        let odd = data.len() % PAGE;
        if let Some(last) = self.bufs.back_mut() {
            if odd > 0 && last.can_merge && last.page.len() + odd <= PAGE {
                if readable < odd {
                    return Err(libc::EFAULT);
                }
                last.page.extend_from_slice(&data[..odd]);
                done = odd;
            }
        }
        let mut error = None;
        while done < data.len() {
            if self.bufs.len() >= self.slots {
                error = Some(libc::EAGAIN);
                break;
            }
            let end = data.len().min(done + PAGE);
            if readable < end {
                error = Some(libc::EFAULT);
                break;
            }
            self.bufs.push_back(Buf {
                page: data[done..end].to_vec(),
                off: 0,
                can_merge: !self.packets,
                packet: self.packets,
            });
            done = end;
        }
        self.written += done as u64;
        match error {
            Some(errno) if done == 0 => Err(errno),
            _ => Ok(done),
        }
    }

    /// read(2) with O_NONBLOCK into a buffer of `want` bytes, of which those from `bad` on can
    /// not be written.
    pub fn read(&mut self, want: usize, bad: Option<usize>) -> Outcome<Vec<u8>> {
        let writable = bad.unwrap_or(want).min(want);
        let mut out = Vec::new();
        if want == 0 {
            return Ok(out);
        }
        while out.len() < want {
            let Some(first) = self.bufs.front_mut() else {
                break;
            };
            let n = first.len().min(want - out.len());
            if out.len() + n > writable {
                if out.is_empty() {
                    return Err(libc::EFAULT);
                }
                break;
            }
            out.extend_from_slice(&first.page[first.off..first.off + n]);
            first.off += n;
            let packet = first.packet;
            self.read += n as u64;
            if packet {
                self.read += first.len() as u64; // the rest of a packet is lost
            }
            if packet || first.len() == 0 {
                self.bufs.pop_front();
            }
            if packet {
                break;
            }
        }
        match out.is_empty() {
            true if self.writer_open => Err(libc::EAGAIN),
            _ => Ok(out),
        }
    }

    /// F_SETPIPE_SZ
    pub fn resize(&mut self, slots: usize) -> Outcome<()> {
        if slots < self.bufs.len() {
            return Err(libc::EBUSY);
        }
        self.slots = slots;
        Ok(())
    }
}
