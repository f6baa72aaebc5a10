//! What a message costs its sender. Linux charges a socket's SO_SNDBUF with the memory that its
//! messages take until they are read; nothing else limits a pair. Measured on Linux 6.18; see
//! net/unix/af_unix.c, net/core/sock.c `sock_alloc_send_pskb`.
//!
//! Pure numbers.

use crate::planted::{planted, Bug};

const PAGE: usize = 4096;
/// struct sk_buff.
const SKB: usize = 256;
/// struct skb_shared_info, behind the linear part.
const SHARED_INFO: usize = 320;
/// SKB_MAX_HEAD(0): the longest linear part in one page.
const MAX_HEAD: usize = PAGE - SHARED_INFO;
/// SKB_MAX_ALLOC: that in four pages.
const MAX_ALLOC: usize = 4 * PAGE - SHARED_INFO;
/// UNIX_SKB_FRAGS_SZ.
const STREAM_PAGES: usize = 8 * PAGE;
/// MAX_SKB_FRAGS.
const MAX_PAGES: usize = 17;

/// SO_SNDBUF of a new socket: net.core.wmem_default.
pub const DEFAULT_SNDBUF: u32 = 212_992;
/// Above this the kernel serves: the queue of such a socket may not fit into a block of the heap.
pub const MAX_SNDBUF: u32 = 1 << 20;

/// The longest piece of a stream that is one buffer.
#[inline(always)]
pub fn stream_piece(left: usize, sndbuf: u32) -> usize {
    // "Keep two messages in the pipe so it schedules better"
    let half = (sndbuf as usize / 2).saturating_sub(64).max(1);
    left.min(half).min(MAX_HEAD + STREAM_PAGES)
}

/// A head that holds the linear part, and whole pages.
#[inline(always)]
fn cost(linear: usize, pages: usize) -> u32 {
    let head = linear.next_multiple_of(64) + SHARED_INFO;
    let head = head.max(512).next_power_of_two();
    (SKB + head + pages) as u32
}

/// One piece of a stream: what does not fit into the head of one page goes into pages, in front.
#[inline(always)]
pub fn of_stream(len: usize) -> u32 {
    let pages = len.saturating_sub(MAX_HEAD).next_multiple_of(PAGE);
    cost(len.saturating_sub(pages), pages)
}

/// A datagram or packet, which is one buffer always.
#[inline(always)]
pub fn of_packet(len: usize) -> u32 {
    let pages = len
        .saturating_sub(MAX_ALLOC)
        .min(MAX_PAGES * PAGE)
        .next_multiple_of(PAGE);
    cost(len.saturating_sub(pages), pages)
}

/// Longer messages are EMSGSIZE.
pub fn longest_packet(sndbuf: u32) -> usize {
    (sndbuf as usize).saturating_sub(32)
}

/// Whether one more buffer goes out.
#[inline(always)]
pub fn has_room(charged: u64, sndbuf: u32) -> bool {
    charged < u64::from(sndbuf) + 4096 * u64::from(planted(Bug::UnixOneMore))
}

/// Whether it is worth telling somebody who waits for room: `unix_writable`. (The one is the
/// socket's own.)
#[inline(always)]
pub fn is_writable(charged: u64, sndbuf: u32) -> bool {
    (charged + 1) * 4 <= u64::from(sndbuf)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// How many messages of `len` bytes a new socket takes.
    fn fits(cost: u32) -> u32 {
        DEFAULT_SNDBUF.div_ceil(cost)
    }

    #[test]
    fn as_many_messages_fit_as_were_counted_in_linux() {
        for (len, n) in [
            (1, 278),
            (192, 278),
            (193, 167),
            (704, 167),
            (705, 93),
            (1728, 93),
        ] {
            assert_eq!(fits(of_stream(len)), n, "stream {len}");
            assert_eq!(fits(of_packet(len)), n, "packet {len}");
        }
        assert_eq!((fits(of_stream(4096)), fits(of_packet(4096))), (44, 26));
    }

    #[test]
    fn streams_are_cut_and_packets_are_not() {
        assert_eq!(stream_piece(1 << 20, DEFAULT_SNDBUF), 36_544);
        assert_eq!(stream_piece(1 << 20, 4608), 2240);
        assert_eq!(stream_piece(100, 4608), 100);
        assert_eq!(longest_packet(DEFAULT_SNDBUF), 212_960);
    }

    #[test]
    fn each_costs_what_siocoutq_said_in_linux() {
        for (len, stream, packet) in [
            (1, 768, 768),
            (192, 768, 768),
            (193, 1280, 1280),
            (1729, 4352, 4352),
            (3776, 4352, 4352),
            (3777, 4864, 8448),
            (4096, 4864, 8448),
            (7872, 8448, 8448),
            (7873, 8960, 16_640),
            (10_000, 12_544, 16_640),
            (16_064, 16_640, 16_640),
            (16_065, 17_152, 20_736),
            (20_161, 21_248, 24_832),
            (30_000, 30_976, 33_024),
            (36_544, 37_120, 37_120),
        ] {
            assert_eq!((of_stream(len), of_packet(len)), (stream, packet), "{len}");
        }
        assert_eq!(of_packet(85_696), 86_272);
        assert_eq!(of_packet(85_697), 102_656);
        assert_eq!(of_packet(212_960), 332_032);
        assert_eq!(of_packet(0), 768);
    }

    #[test]
    fn room_comes_with_the_last_byte_and_is_told_at_a_quarter() {
        assert!(has_room(212_991, DEFAULT_SNDBUF) && !has_room(212_992, DEFAULT_SNDBUF));
        assert!(is_writable(53_247, DEFAULT_SNDBUF) && !is_writable(53_248, DEFAULT_SNDBUF));
    }
}
