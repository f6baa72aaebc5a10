//! Streams of records that several writers mix in one pipe, and the judge of what came out.

use super::pattern::{self, Rng};

/// Writes of at most this many bytes may not be torn apart (pipe(7), PIPE_BUF).
const ATOMIC: usize = 4096;

/// All that one writer will write. The two top bits of each byte say who wrote it.
pub struct Stream {
    pub bytes: Vec<u8>,
    /// Lengths of the records, in order.
    pub records: Vec<usize>,
}

impl Stream {
    pub fn new(writer: usize, total: usize, longest: usize) -> Stream {
        assert!(writer < 4);
        let mut rng = Rng::new(writer as u64 + 77);
        let (mut records, mut sum) = (Vec::new(), 0);
        while sum < total {
            let n = 1 + match rng.below(8) {
                0 => rng.below(8),
                1 => rng.below(64),
                _ => rng.below(longest as u64),
            } as usize;
            records.push(n.min(longest));
            sum += n.min(longest);
        }
        let mut bytes = Vec::with_capacity(sum);
        while bytes.len() < sum {
            let n = (sum - bytes.len()).min(100_000);
            let from = pattern::bytes(bytes.len() as u64 * 3 + writer as u64, n);
            bytes.extend(from.iter().map(|b| (writer as u8) << 6 | b & 0x3f));
        }
        Stream { bytes, records }
    }
}

/// How far a writer's stream has been seen.
#[derive(Default, Clone)]
struct Seen {
    bytes: usize,
    record: usize,
    in_record: usize,
}

/// Checks that `mixed` is all of the first `counts[w]` bytes of each stream, in order, with no
/// atomic record torn apart.
pub fn judge(streams: &[Stream], mixed: &[u8]) -> Result<Vec<usize>, String> {
    let mut seen = vec![Seen::default(); streams.len()];
    let mut at = 0;
    while at < mixed.len() {
        let w = (mixed[at] >> 6) as usize;
        let (stream, s) = streams
            .get(w)
            .zip(seen.get_mut(w))
            .ok_or_else(|| format!("byte {at}: no writer {w}"))?;
        let record = *stream
            .records
            .get(s.record)
            .ok_or_else(|| format!("byte {at}: too much of {w}"))?;
        let left = record - s.in_record;
        let run = match record {
            0..=ATOMIC => left.min(mixed.len() - at),
            _ => mixed[at..]
                .iter()
                .take(left)
                .take_while(|b| (**b >> 6) as usize == w)
                .count(),
        };
        if mixed[at..at + run] != stream.bytes[s.bytes..s.bytes + run] {
            return Err(format!(
                "byte {at}: record {} of writer {w} ({record} bytes) is torn or wrong",
                s.record
            ));
        }
        s.bytes += run;
        s.in_record += run;
        if s.in_record == record {
            s.record += 1;
            s.in_record = 0;
        }
        at += run;
    }
    Ok(seen.into_iter().map(|s| s.bytes).collect())
}

/// Puts chunks in the order of their stream positions: none may be missing, none be there twice.
pub fn assemble(mut chunks: Vec<(u64, Vec<u8>)>) -> Result<Vec<u8>, String> {
    chunks.sort_by_key(|c| c.0);
    let mut all = Vec::new();
    for (pos, bytes) in chunks {
        if pos != all.len() as u64 {
            return Err(format!("position {pos} follows {}", all.len()));
        }
        all.extend(bytes);
    }
    Ok(all)
}
