//! Programs without a shim receive what is on the way, and what comes.

use crate::*;
use ringer_support::rights::socketpair;

/// Has the program do this with that socket among its descriptors.
fn outsider(socket: &Fd, orders: &[&str]) -> Child {
    let orders: Vec<String> = orders
        .iter()
        .map(|o| o.replace("SOCK", &socket.number().to_string()))
        .collect();
    let orders: Vec<&str> = orders.iter().map(String::as_str).collect();
    fork_run(|| exec(&program("puppet", Linkage::Static), &orders))
}

cases!(to_a_program_without_shim, {
    "what was on the way before it began" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let (p, q) = (pipe(), pipe());
            write_all(&p.w, b"waiting");
            pass(&a, &[&p.r]);
            pass(&a, &[&q.w]);
            drop((p.r, q.w));
            let orders = ["recv:SOCK:50", "read:50:waiting", "read:50:later", "recv:SOCK:51", "write:51:mine"];
            let child = outsider(&b, &orders);
            wait_until(|| bytes_waiting(&p.w) == Ok(0));
            write_all(&p.w, b"later");
            assert_eq!(read_to_end(&q.r), b"mine");
            child.succeeds();
        }
    }
    "behind many bytes" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let p = pipe();
        write_all(&p.w, b"waiting");
        write_all(&a, &stream(0, 20_000));
        pass(&a, &[&p.r]);
        drop(p);
        outsider(&b, &["want:SOCK:0:20000", "recv:SOCK:50", "read:50:waiting", "eof:50"]).succeeds();
    }
    "in a socket that is on the way itself" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let (c, d) = socketpair(SOCK_STREAM);
        let p = pipe();
        write_all(&p.w, b"deep");
        pass(&c, &[&p.r]);
        pass(&a, &[&d]);
        drop((p, c, d));
        outsider(&b, &["recv:SOCK:50", "recv:50:51", "read:51:deep", "eof:51"]).succeeds();
    }
    "an eventfd with its count" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let e = eventfd(0);
        add(&e, u64::from_ne_bytes(*b"aaaaaaaa"));
        pass(&a, &[&e]);
        outsider(&b, &["recv:SOCK:50", "read:50:aaaaaaaa", "write:50:bbbbbbbb"]).succeeds();
        assert_eq!(count(&e), Ok(u64::from_ne_bytes(*b"bbbbbbbb")));
    }
    "more than it has numbers for" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let p = pipe();
        write_all(&p.w, b"many");
        let all = [p.r.number(); 200];
        assert_eq!(send_with(&a, b"!", &With::Rights(&all), 0), Ok(1));
        pass(&a, &[&p.r]);
        drop(p);
        limit_descriptors(60);
        let orders = ["read:SOCK:!", "recv:SOCK:50", "read:50:many", "eof:50"];
        outsider(&b, &orders).succeeds();
    }
    "sent afterwards" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let s = socketpair(SOCK_STREAM);
        let child = outsider(&b, &["recv:SOCK:50", "read:50:x", "recv:SOCK:51", "read:51:y", "read:51:z"]);
        let (p, q) = (pipe(), pipe());
        write_all(&p.w, b"x");
        write_all(&q.w, b"y");
        pass(&a, &[&p.r]);
        wait_until(|| bytes_waiting(&p.r) == Ok(0));
        pass(&a, &[&q.r]);
        drop(s);
        wait_until(|| bytes_waiting(&q.r) == Ok(0));
        write_all(&q.w, b"z");
        child.succeeds();
    }
    "it gives back what it got" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let p = pipe();
        write_all(&p.w, b"ab");
        pass(&a, &[&p.r]);
        drop(p.r);
        outsider(&b, &["recv:SOCK:50", "read:50:ab", "send:SOCK:50"]).succeeds();
        let r = take_one(&a);
        write_all(&p.w, b"c");
        assert_eq!(read_n(&r, 9), Ok(b"c".to_vec()));
    }
});
