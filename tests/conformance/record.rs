//! Records that prove by themselves that they are whole, in order, and whose they are.

use ringer_support::prelude::*;

const HEADER: usize = 16;

/// The record number `sequence` of `writer`: its length depends on both.
pub fn record(writer: u32, sequence: u32, max: usize) -> Vec<u8> {
    let mut rng = Rng::new(u64::from(writer) << 32 | u64::from(sequence));
    let len = rng.within(HEADER, max);
    let mut bytes = Vec::with_capacity(len);
    for word in [writer, sequence, len as u32, writer ^ sequence ^ len as u32] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend(stream(sequence as usize, len - HEADER));
    bytes
}

/// Takes a stream apart into the records that went in.
#[derive(Default)]
pub struct Parser {
    rest: Vec<u8>,
    /// By writer: how many records came.
    pub counts: Vec<u32>,
}

impl Parser {
    /// Takes the next piece of the stream. Panics if a record is torn or out of order.
    pub fn push(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        let mut at = 0;
        while let Some(len) = self.whole_record(at) {
            at += len;
        }
        self.rest.drain(..at);
    }

    /// Whether the stream ended between two records.
    pub fn complete(&self) -> bool {
        self.rest.is_empty()
    }

    fn whole_record(&mut self, at: usize) -> Option<usize> {
        let bytes = &self.rest[at..];
        if bytes.len() < HEADER {
            return None;
        }
        let word = |i: usize| u32::from_ne_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap());
        let (writer, sequence, len) = (word(0), word(1), word(2) as usize);
        assert_eq!(
            word(3),
            writer ^ sequence ^ len as u32,
            "a torn record header"
        );
        if bytes.len() < len {
            return None;
        }
        let body_is_whole = bytes[HEADER..len] == stream(sequence as usize, len - HEADER);
        assert!(
            body_is_whole,
            "record {sequence} of writer {writer} is torn"
        );
        let writer = writer as usize;
        self.counts.resize(self.counts.len().max(writer + 1), 0);
        assert_eq!(
            sequence, self.counts[writer],
            "records of writer {writer} out of order"
        );
        self.counts[writer] += 1;
        Some(len)
    }
}
