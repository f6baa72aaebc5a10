//! What exec'ed programs and those who stay behind do with their pipes: the same scenes for programs
//! that a shim can enter (exec.rs), and for programs that it can not (demotion.rs).

use ringer_support::prelude::*;
pub use ringer_support::puppet::{Outsider, Scene};

/// Runs the scenes in both worlds, as tests of their names.
macro_rules! scenes {
    ($module:ident, $how:ident: $($name:ident)*) => {
        mod $module {
            use ringer_support::both_worlds;
            $(both_worlds!($name, {
                use $crate::scenes::{Outsider, Scene};
                if let Some(scene) = Scene::new(Outsider::$how) {
                    $crate::scenes::$name(&scene);
                }
            });)*
        }
    };
    ($module:ident, $how:ident) => {
        scenes! { $module, $how:
            it_reads_what_was_waiting_and_what_comes_later
            it_writes_behind_what_was_waiting
            it_wakes_a_reader_that_was_blocked_before
            it_makes_room_for_a_writer_that_was_blocked_before
            it_finds_a_full_pipe_full
            it_finds_buffers_that_are_used_in_part
            it_finds_a_large_pipe_large_and_full
            it_finds_a_small_pipe_small
            it_reads_packets_as_packets
            it_exits_and_leaves_end_of_file_and_epipe
            it_sees_end_of_file_and_epipe
            it_is_killed_and_leaves_end_of_file
            the_others_go_on_after_it
            it_filters_between_others
            it_waits_in_poll_and_others_poll_it
            a_brother_reads_what_it_writes
            it_finds_what_it_wrote_before_its_exec
            it_has_not_what_was_closed_on_exec
            it_reopens_what_it_holds
            it_comes_again_and_again
        }
    };
}
pub(crate) use scenes;

/// Data from before, during and after the exec.
pub fn it_reads_what_was_waiting_and_what_comes_later(scene: &Scene) {
    let (p, s) = (pipe(), scene.s);
    let r = p.r.number();
    write_all(&p.w, &stream(0, 10_000));
    let orders =
        format!("waiting:{r}:10000 want:{r}:0:10000 set:0:1 want:{r}:10000:5000 set:0:2 eof:{r}");
    let child = scene.start(&[&p.w], &orders);
    s.wait_for(0, 1);
    write_all(&p.w, &stream(10_000, 5000));
    s.wait_for(0, 2);
    drop(p.w);
    child.succeeds();
    assert_eq!(read_n(&p.r, 1), Ok(vec![]));
}

pub fn it_writes_behind_what_was_waiting(scene: &Scene) {
    let (p, s) = (pipe(), scene.s);
    let w = p.w.number();
    write_all(&p.w, b"first ");
    let child = scene.start(
        &[&p.r],
        &format!("write:{w}:second set:0:1 until:0:2 write:{w}:fourth"),
    );
    s.wait_for(0, 1);
    write_all(&p.w, b" third ");
    s.set(0, 2);
    child.succeeds();
    assert_eq!(read_n(&p.r, 99), Ok(b"first second third fourth".to_vec()));
}

pub fn it_wakes_a_reader_that_was_blocked_before(scene: &Scene) {
    let (p, s) = (pipe(), scene.s);
    let w = p.w.number();
    let reader = fork_run(|| {
        close(&p.w).unwrap();
        s.set(0, 1);
        assert_eq!(read_n(&p.r, 99), Ok(b"wake".to_vec()));
        assert_eq!(read_n(&p.r, 99), Ok(vec![]));
    });
    s.wait_for(0, 1);
    reader.sleeping();
    let child = scene.start(&[&p.r], &format!("set:1:1 until:1:2 write:{w}:wake"));
    s.wait_for(1, 1);
    reader.sleeping();
    s.set(1, 2);
    drop(p.w);
    child.succeeds();
    reader.succeeds();
}

pub fn it_makes_room_for_a_writer_that_was_blocked_before(scene: &Scene) {
    let (p, s) = (pipe(), scene.s);
    let r = p.r.number();
    let writer = fork_run(|| {
        close(&p.r).unwrap();
        s.set(0, 1);
        assert_eq!(write(&p.w, &stream(0, 150_000)), Ok(150_000));
    });
    s.wait_for(0, 1);
    writer.sleeping();
    let orders = format!("set:1:1 until:1:2 want:{r}:0:150000 eof:{r}");
    let child = scene.start(&[&p.w], &orders);
    s.wait_for(1, 1);
    drop(p);
    s.set(1, 2);
    child.succeeds();
    writer.succeeds();
}

pub fn it_finds_a_full_pipe_full(scene: &Scene) {
    let p = nonblocking_pipe();
    let r = p.r.number();
    fill(&p.w);
    let orders = format!("waiting:{r}:65536 want:{r}:0:65536 again:{r} nonblock:{r}:1");
    scene.start(&[], &orders).succeeds();
    assert_eq!(write(&p.w, &stream(0, 100_000)), Ok(CAPACITY));
}

pub fn it_finds_buffers_that_are_used_in_part(scene: &Scene) {
    let p = nonblocking_pipe();
    let r = p.r.number();
    for i in 0..16 {
        write_all(&p.w, &stream(i * 2049, 2049));
    }
    assert!(read_n(&p.r, 5000).unwrap() == stream(0, 5000));
    let left = 16 * 2049 - 5000;
    scene
        .start(
            &[],
            &format!("waiting:{r}:{left} want:{r}:5000:{left} again:{r}"),
        )
        .succeeds();
}

pub fn it_finds_a_large_pipe_large_and_full(scene: &Scene) {
    let p = nonblocking_pipe();
    let r = p.r.number();
    set_pipe_size(&p.w, 1 << 20).unwrap();
    assert_eq!(write(&p.w, &stream(0, 1 << 20)), Ok(1 << 20));
    scene
        .start(
            &[],
            &format!("size:{r}:1048576 want:{r}:0:1048576 again:{r}"),
        )
        .succeeds();
}

pub fn it_finds_a_small_pipe_small(scene: &Scene) {
    let p = nonblocking_pipe();
    let r = p.r.number();
    set_pipe_size(&p.w, PAGE).unwrap();
    fill(&p.w);
    scene
        .start(&[], &format!("size:{r}:4096 want:{r}:0:4096 again:{r}"))
        .succeeds();
    assert_eq!(write(&p.w, &stream(0, 10_000)), Ok(PAGE));
}

pub fn it_reads_packets_as_packets(scene: &Scene) {
    let p = pipe2(O_DIRECT | O_NONBLOCK).unwrap();
    let (r, w) = (p.r.number(), p.w.number());
    for packet in [&b"one"[..], b"two", b"three"] {
        write_all(&p.w, packet);
    }
    let orders =
        format!("read:{r}:one read:{r}:two read:{r}:three again:{r} write:{w}:four write:{w}:five");
    scene.start(&[], &orders).succeeds();
    assert_eq!(read_n(&p.r, 99), Ok(b"four".to_vec()));
    assert_eq!(read_n(&p.r, 2), Ok(b"fi".to_vec()));
    assert_eq!(read_n(&p.r, 99), Err(EAGAIN));
}

pub fn it_exits_and_leaves_end_of_file_and_epipe(scene: &Scene) {
    signal::ignore(SIGPIPE);
    let (p, q, s) = (pipe(), pipe(), scene.s);
    let orders = format!(
        "read:{}:hello set:0:1 write:{}:bye",
        p.r.number(),
        q.w.number()
    );
    let child = scene.start(&[&p.w, &q.r], &orders);
    drop((p.r, q.w));
    write_all(&p.w, b"hello");
    s.wait_for(0, 1);
    assert_eq!(read_n(&q.r, 9), Ok(b"bye".to_vec()));
    assert_eq!(read_n(&q.r, 9), Ok(vec![]));
    child.succeeds();
    assert_eq!(write(&p.w, b"x"), Err(EPIPE));
}

pub fn it_sees_end_of_file_and_epipe(scene: &Scene) {
    let (p, q, s) = (pipe(), pipe(), scene.s);
    let orders = format!(
        "set:0:1 eof:{} until:0:2 epipe:{}",
        p.r.number(),
        q.w.number()
    );
    let child = scene.start(&[&p.w, &q.r], &orders);
    s.wait_for(0, 1);
    child.sleeping();
    drop(p);
    drop(q);
    s.set(0, 2);
    child.succeeds();
}

pub fn it_is_killed_and_leaves_end_of_file(scene: &Scene) {
    let (p, s) = (pipe(), scene.s);
    let orders = format!("write:{}:last set:0:1 until:0:2", p.w.number());
    let child = scene.start(&[&p.r], &orders);
    drop(p.w);
    s.wait_for(0, 1);
    child.kill_9();
    assert_eq!(read_to_end(&p.r), b"last");
}

/// When it is gone, the others use the pipe as before.
pub fn the_others_go_on_after_it(scene: &Scene) {
    let p = pipe();
    let orders = format!("read:{}:a write:{}:b", p.r.number(), p.w.number());
    write_all(&p.w, b"a");
    scene.start(&[], &orders).succeeds();
    assert_eq!(read_n(&p.r, 9), Ok(b"b".to_vec()));
    let Pipe { r, w } = p;
    let writer = fork_run(move || {
        for i in 0..300 {
            assert_eq!(write(&w, &stream(i * 3333, 3333)), Ok(3333));
        }
    });
    assert!(read_to_end(&r) == stream(0, 300 * 3333));
    writer.succeeds();
}

pub fn it_filters_between_others(scene: &Scene) {
    const TOTAL: usize = 2_000_000;
    let (p, q) = (pipe(), pipe());
    let orders = format!("copy:{}:{}", p.r.number(), q.w.number());
    let child = scene.start(&[&p.w, &q.r], &orders);
    drop((p.r, q.w));
    let (r, w) = (q.r, p.w);
    let writer = fork_run(move || write_all(&w, &stream(0, TOTAL)));
    assert!(read_to_end(&r) == stream(0, TOTAL));
    writer.succeeds();
    child.succeeds();
}

pub fn it_waits_in_poll_and_others_poll_it(scene: &Scene) {
    let (p, q, s) = (pipe(), pipe(), scene.s);
    let (r, w) = (p.r.number(), q.w.number());
    let epoll = Epoll::new();
    epoll.add(&q.r, EPOLLIN | EPOLLET);
    let orders =
        format!("set:0:1 poll:{r}:1:1 read:{r}:ping write:{w}:pong until:0:2 write:{w}:more");
    let child = scene.start(&[&p.w, &q.r], &orders);
    s.wait_for(0, 1);
    child.sleeping();
    write_all(&p.w, b"ping");
    assert_eq!(poll_until(&q.r, POLLIN), POLLIN);
    assert_eq!(epoll.wait(-1).map(|e| e[0].0), Ok(EPOLLIN));
    assert_eq!(epoll.now(), 0);
    s.set(0, 2);
    assert_eq!(epoll.wait(-1).map(|e| e[0].0), Ok(EPOLLIN));
    assert_eq!(read_exactly(&q.r, 8), b"pongmore");
    child.succeeds();
}

/// A third process, forked before, shares the pipe with it.
pub fn a_brother_reads_what_it_writes(scene: &Scene) {
    let (p, s) = (pipe(), scene.s);
    write_all(&p.w, &stream(0, 20_000));
    let brother = fork_run(|| {
        close(&p.w).unwrap();
        s.wait_for(0, 1);
        assert!(read_exactly(&p.r, 20_000) == stream(0, 20_000));
        assert!(read_to_end(&p.r) == stream(20_000, 300_000));
    });
    let orders = format!("set:0:1 give:{}:20000:300000", p.w.number());
    let child = scene.start(&[&p.r], &orders);
    drop(p);
    child.succeeds();
    brother.succeeds();
}

/// The process writes to its own pipe, and becomes a program that reads it.
pub fn it_finds_what_it_wrote_before_its_exec(scene: &Scene) {
    let child = fork_run(|| {
        let p = pipe();
        let (r, w) = (p.r.number(), p.w.number());
        write_all(&p.w, b"own-words");
        scene.exec(&format!(
            "read:{r}:own-words write:{w}:again read:{r}:again close:{w} eof:{r}"
        ));
    });
    child.succeeds();
}

pub fn it_has_not_what_was_closed_on_exec(scene: &Scene) {
    let (p, q) = (pipe2(O_CLOEXEC).unwrap(), pipe());
    fcntl(&q.r, F_SETFD, 1).unwrap();
    write_all(&p.w, b"kept");
    let numbers = [&p.r, &p.w, &q.r]
        .map(|fd| format!("closed:{} ", fd.number()))
        .concat();
    let child = scene.start(&[], &format!("{numbers} open:{}", q.w.number()));
    child.succeeds();
    assert_eq!(read_n(&p.r, 9), Ok(b"kept".to_vec()));
}

pub fn it_reopens_what_it_holds(scene: &Scene) {
    if !scene.may_reopen() {
        return;
    }
    let p = pipe();
    let (r, w) = (p.r.number(), p.w.number());
    write_all(&p.w, b"waiting");
    let orders = format!(
        "reopen:{r}:0:40 read:40:waiting reopen:{w}:1:41 close:{w} write:41:answer reopen:{r}:1:42 write:42:!"
    );
    scene.start(&[], &orders).succeeds();
    assert_eq!(read_n(&p.r, 99), Ok(b"answer!".to_vec()));
}

/// Many programs, one after the other, on one pipe.
pub fn it_comes_again_and_again(scene: &Scene) {
    let p = pipe();
    let (r, w) = (p.r.number(), p.w.number());
    for i in 0..10 {
        write_all(&p.w, format!("to-{i}").as_bytes());
        scene
            .start(&[], &format!("read:{r}:to-{i} write:{w}:from-{i}"))
            .succeeds();
        assert_eq!(read_n(&p.r, 99), Ok(format!("from-{i}").into_bytes()));
    }
}
