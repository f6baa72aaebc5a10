//! Which writes the bytes of a read come from: stream positions meet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::entry::{Entry, Object, Op};

/// A read that takes from more writes than this names the first ones only.
const MAX_FROM: usize = 64;

struct Chunk {
    from: u64,
    to: u64,
    id: u64,
    writer: Arc<str>,
}

/// Bytes that a read took from one writer, by its command's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Share {
    pub writer: Arc<str>,
    pub bytes: u64,
}

/// What has been written and not yet read, for each pipe and each direction of a pair of sockets.
#[derive(Default)]
pub struct Flow {
    unread: HashMap<(Object, u8), VecDeque<Chunk>>,
}

impl Flow {
    /// Takes an entry in, in order. A read gets its `from`; whose bytes they are.
    pub fn follow(&mut self, e: &mut Entry) -> Vec<Share> {
        let mut shares = Vec::new();
        let Some(object) = e.obj else { return shares };
        // Of a pair of sockets, each direction by who sends there.
        let side = e.side.unwrap_or(0);
        let from = match e.op {
            Op::Read if e.side.is_some() => side ^ 1,
            _ => side,
        };
        match (e.op, e.pos) {
            (Op::Write, Some([begin, to])) if begin < to => {
                let chunk = Chunk {
                    from: begin,
                    to,
                    id: e.id,
                    writer: e.comm.clone(),
                };
                self.unread
                    .entry((object, from))
                    .or_default()
                    .push_back(chunk);
            }
            (Op::Read, Some([begin, to])) if begin < to => {
                let mut ids = Vec::new();
                if let Some(unread) = self.unread.get_mut(&(object, from)) {
                    take(unread, begin, to, &mut ids, &mut shares);
                }
                // A saved log knows already, and perhaps more: it may leave writes out.
                if e.from.is_empty() {
                    e.from = ids;
                }
            }
            (Op::Free | Op::Demote, _) => {
                self.unread.remove(&(object, 0));
                self.unread.remove(&(object, 1));
            }
            _ => {}
        }
        shares
    }
}

fn take(
    unread: &mut VecDeque<Chunk>,
    from: u64,
    to: u64,
    ids: &mut Vec<u64>,
    shares: &mut Vec<Share>,
) {
    while let Some(first) = unread.front() {
        if first.from >= to {
            return;
        }
        if first.to > from {
            if ids.len() < MAX_FROM {
                ids.push(first.id);
            }
            let bytes = first.to.min(to) - first.from.max(from);
            match shares.iter_mut().find(|s| s.writer == first.writer) {
                Some(share) => share.bytes += bytes,
                None => shares.push(Share {
                    writer: first.writer.clone(),
                    bytes,
                }),
            }
        }
        if first.to > to {
            return; // the rest of it is for the next read
        }
        unread.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(op: Op, id: u64, pos: [u64; 2]) -> Entry {
        Entry {
            id,
            op,
            obj: Some(Object(1)),
            pos: Some(pos),
            comm: "w".into(),
            ..Entry::default()
        }
    }

    #[test]
    fn a_read_names_the_writes_that_it_took_from() {
        let mut flow = Flow::default();
        for (id, pos) in [(1, [0, 8]), (2, [8, 16]), (3, [16, 24])] {
            flow.follow(&mut transfer(Op::Write, id, pos));
        }
        let mut read = |pos| {
            let mut e = transfer(Op::Read, 9, pos);
            flow.follow(&mut e);
            e.from
        };
        assert_eq!(read([0, 4]), [1]);
        assert_eq!(read([4, 12]), [1, 2]);
        assert_eq!(read([12, 24]), [2, 3]);
        assert!(read([24, 32]).is_empty());
    }

    #[test]
    fn every_byte_has_one_writer() {
        let mut flow = Flow::default();
        for id in 0..100 {
            let comm = if id % 2 == 0 { "even" } else { "odd" };
            let write = transfer(Op::Write, id, [id * 10, id * 10 + 10]);
            flow.follow(&mut Entry {
                comm: comm.into(),
                ..write
            });
        }
        let mut read = transfer(Op::Read, 200, [5, 1000]);
        let shares = flow.follow(&mut read);
        let share = |writer: &str, bytes| Share {
            writer: writer.into(),
            bytes,
        };
        assert_eq!(shares, [share("even", 495), share("odd", 500)]);
        assert_eq!(read.from.len(), MAX_FROM);
    }

    #[test]
    fn bytes_that_were_dropped_are_passed_over() {
        let mut flow = Flow::default();
        flow.follow(&mut transfer(Op::Write, 1, [0, 100]));
        flow.follow(&mut transfer(Op::Write, 2, [100, 200]));
        let mut e = transfer(Op::Read, 9, [100, 110]);
        flow.follow(&mut e);
        assert_eq!(e.from, [2]);
    }
}
