//! Packet mode: pipes whose write end has O_DIRECT. See pipe(2) O_DIRECT.

mod model;

use model::{compare, Menu};
use ringer_support::prelude::*;

fn packet_pipe() -> Pipe {
    pipe2(O_DIRECT | O_NONBLOCK).unwrap()
}

both_worlds!(each_write_is_a_packet_and_each_read_takes_one, {
    let p = packet_pipe();
    for packet in [&b"one"[..], b"two", b"three"] {
        assert_eq!(write(&p.w, packet), Ok(packet.len()));
    }
    assert_eq!(bytes_waiting(&p.r), Ok(11));
    assert_eq!(read_n(&p.r, 100), Ok(b"one".to_vec()));
    assert_eq!(bytes_waiting(&p.r), Ok(8));
    assert_eq!(read_n(&p.r, 100_000), Ok(b"two".to_vec()));
    assert_eq!(read_n(&p.r, 5), Ok(b"three".to_vec()));
    assert_eq!(read_n(&p.r, 5), Err(EAGAIN));
});

both_worlds!(a_short_read_throws_the_rest_of_its_packet_away, {
    let p = packet_pipe();
    write_all(&p.w, b"abcdef");
    write_all(&p.w, b"ghi");
    assert_eq!(read_n(&p.r, 2), Ok(b"ab".to_vec()));
    assert_eq!(bytes_waiting(&p.r), Ok(3));
    assert_eq!(read_n(&p.r, 100), Ok(b"ghi".to_vec()));
});

both_worlds!(a_zero_length_read_takes_no_packet, {
    let p = packet_pipe();
    write_all(&p.w, b"abc");
    assert_eq!(read(&p.r, &mut []), Ok(0));
    assert_eq!(bytes_waiting(&p.r), Ok(3));
    assert_eq!(read_n(&p.r, 9), Ok(b"abc".to_vec()));
});

both_worlds!(a_zero_length_write_is_no_packet, {
    let p = packet_pipe();
    assert_eq!(write(&p.w, b""), Ok(0));
    assert_eq!(read_n(&p.r, 9), Err(EAGAIN));
});

both_worlds!(writes_of_more_than_a_page_become_several_packets, {
    let p = packet_pipe();
    assert_eq!(write(&p.w, &stream(0, 10_000)), Ok(10_000));
    assert!(read_n(&p.r, 100_000).unwrap() == stream(0, PAGE));
    assert!(read_n(&p.r, 100).unwrap() == stream(PAGE, 100));
    assert!(read_n(&p.r, 100_000).unwrap() == stream(2 * PAGE, 10_000 - 2 * PAGE));
    assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
    // The boundary is the page, not a byte more.
    assert_eq!(write(&p.w, &stream(0, PAGE)), Ok(PAGE));
    assert_eq!(write(&p.w, &stream(0, PAGE + 1)), Ok(PAGE + 1));
    let lengths: Vec<usize> = (0..3).map(|_| read_n(&p.r, 9999).unwrap().len()).collect();
    assert_eq!(lengths, [PAGE, PAGE, 1]);
});

both_worlds!(sixteen_packets_fill_a_pipe_however_small, {
    let p = packet_pipe();
    for i in 0..16u8 {
        assert_eq!(write(&p.w, &[i]), Ok(1));
    }
    assert_eq!(write(&p.w, b"x"), Err(EAGAIN));
    assert_eq!(poll_now(&p.w), 0);
    assert_eq!(read_n(&p.r, 100), Ok(vec![0]));
    assert_eq!(write(&p.w, &stream(0, PAGE)), Ok(PAGE));
    for i in 1..16u8 {
        assert_eq!(read_n(&p.r, 100), Ok(vec![i]));
    }
});

both_worlds!(a_large_write_makes_as_many_packets_as_fit, {
    let p = packet_pipe();
    for _ in 0..14 {
        write_all(&p.w, b"x");
    }
    assert_eq!(write(&p.w, &stream(0, 10_000)), Ok(2 * PAGE));
    for _ in 0..14 {
        assert_eq!(read_n(&p.r, 100), Ok(b"x".to_vec()));
    }
    assert!(read_n(&p.r, 9999).unwrap() == stream(0, PAGE));
});

both_worlds!(vectors_are_gathered_into_one_packet, {
    let p = packet_pipe();
    assert_eq!(writev_slices(&p.w, &[b"a", b"", b"bc", b"def"]), Ok(6));
    assert_eq!(read_n(&p.r, 100), Ok(b"abcdef".to_vec()));
    let memory = Cliff::unmapped(1);
    write_all(&p.w, b"ghij");
    write_all(&p.w, b"k");
    assert_eq!(
        readv(&p.r, &[memory.inside(0, 2), memory.inside(10, 9)]),
        Ok(4)
    );
    assert_eq!(
        (memory.get(0, 2), memory.get(10, 2)),
        (b"gh".to_vec(), b"ij".to_vec())
    );
    assert_eq!(read_n(&p.r, 100), Ok(b"k".to_vec()));
});

both_worlds!(the_flag_may_be_set_and_cleared_by_f_setfl, {
    let p = nonblocking_pipe();
    write_all(&p.w, b"stream ");
    set_status_flags(&p.w, O_NONBLOCK | O_DIRECT).unwrap();
    assert_eq!(status_flags(&p.w), O_WRONLY | O_NONBLOCK | O_DIRECT);
    // Still merges with what is no packet.
    write_all(&p.w, b"merged ");
    assert_eq!(read_n(&p.r, 100), Ok(b"stream merged ".to_vec()));
    write_all(&p.w, b"packet");
    write_all(&p.w, b"packet");
    set_status_flags(&p.w, O_NONBLOCK).unwrap();
    // Does not merge with a packet.
    write_all(&p.w, b"plain ");
    write_all(&p.w, b"again");
    assert_eq!(read_n(&p.r, 100), Ok(b"packet".to_vec()));
    assert_eq!(read_n(&p.r, 3), Ok(b"pac".to_vec()));
    assert_eq!(read_n(&p.r, 100), Ok(b"plain again".to_vec()));
});

both_worlds!(a_read_takes_stream_bytes_and_the_packet_behind_them, {
    let p = nonblocking_pipe();
    write_all(&p.w, &stream(0, PAGE));
    set_status_flags(&p.w, O_NONBLOCK | O_DIRECT).unwrap();
    write_all(&p.w, b"first");
    write_all(&p.w, b"second");
    assert!(read_n(&p.r, 10_000).unwrap() == [&stream(0, PAGE)[..], b"first"].concat());
    write_all(&p.w, b"third");
    // In part, too: and then the rest of the packet is lost.
    assert_eq!(read_n(&p.r, 2), Ok(b"se".to_vec()));
    assert_eq!(read_n(&p.r, 100), Ok(b"third".to_vec()));
});

both_worlds!(the_readers_flag_means_nothing, {
    let p = nonblocking_pipe();
    set_status_flags(&p.r, O_NONBLOCK | O_DIRECT).unwrap();
    write_all(&p.w, b"no");
    write_all(&p.w, b"packets");
    assert_eq!(read_n(&p.r, 100), Ok(b"nopackets".to_vec()));
});

both_worlds!(the_flag_belongs_to_one_description_of_the_write_end, {
    let p = packet_pipe();
    let stream_end = reopen(&p.w, O_WRONLY | O_NONBLOCK).unwrap();
    write_all(&stream_end, b"stream");
    write_all(&p.w, b"+merged");
    write_all(&stream_end, b"+more");
    assert_eq!(read_n(&p.r, 100), Ok(b"stream+merged+more".to_vec()));
    write_all(&p.w, b"packet");
    write_all(&stream_end, b"stream");
    assert_eq!(read_n(&p.r, 100), Ok(b"packet".to_vec()));
    assert_eq!(read_n(&p.r, 100), Ok(b"stream".to_vec()));
});

both_worlds!(blocked_readers_get_a_packet_each, {
    let p = pipe2(O_DIRECT).unwrap();
    let s = Shared::new();
    let children = [0, 1, 2].map(|i| {
        let child = fork_run(|| {
            s.set(i, 1);
            assert_eq!(read_n(&p.r, 100).map(|packet| packet.len()), Ok(10 + i));
        });
        s.wait_for(i, 1);
        child.sleeping();
        child
    });
    for (i, child) in children.into_iter().enumerate() {
        write_all(&p.w, &stream(0, 10 + i));
        child.succeeds();
    }
});

both_worlds!(packets_survive_the_writer_and_end_of_file_follows, {
    let Pipe { r, w } = packet_pipe();
    fork_run(|| {
        write_all(&w, b"one");
        write_all(&w, b"two");
    })
    .succeeds();
    drop(w);
    assert_eq!(read_n(&r, 9), Ok(b"one".to_vec()));
    assert_eq!(read_n(&r, 9), Ok(b"two".to_vec()));
    assert_eq!(read_n(&r, 9), Ok(vec![]));
});

both_worlds!(
    packets_are_as_the_model_says_over_random_sequences,
    timeout = 60,
    {
        for seed in 0..400 {
            compare(
                10_000 + seed,
                120,
                Menu {
                    packets: true,
                    resizes: false,
                },
            );
        }
    }
);

both_worlds!(packets_are_as_the_model_says_with_resizes, timeout = 60, {
    for seed in 0..200 {
        compare(
            20_000 + seed,
            150,
            Menu {
                packets: true,
                resizes: true,
            },
        );
    }
});
