//! Pipes that get into hands which no shim can guide: static and set-user-ID programs, and programs
//! whose LD_PRELOAD was emptied. They read what was waiting, and everybody goes on.
//! For descriptors that are passed or used by io_uring see passed.rs.

mod scenes;

use ringer_support::prelude::*;
use scenes::scenes;

scenes!(static_program, Static);
scenes!(set_user_id_program, SetUserId);
scenes!(emptied_preload, EmptyPreload);

both_worlds!(static_and_other_programs_share_a_pipe, timeout = 60, {
    let (p, q, s) = (pipe(), pipe(), Shared::new());
    let children: Vec<Child> = [Linkage::Static, Linkage::Dynamic, Linkage::Static]
        .map(|linkage| {
            fork_run(|| {
                close(&p.w).unwrap();
                close(&q.r).unwrap();
                s.bump(0);
                let copy = format!("copy:{}:{}", p.r.number(), q.w.number());
                exec(&program("puppet", linkage), &[&copy]);
            })
        })
        .into();
    let Pipe { r, w: q_w } = q;
    let Pipe { r: p_r, w } = p;
    drop((p_r, q_w));
    s.wait_for(0, 3);
    let writer = fork_run(move || write_all(&w, &[7; 1_000_000]));
    assert!(read_to_end(&r) == vec![7; 1_000_000]);
    writer.succeeds();
    all_succeed(children);
});

both_worlds!(
    an_exec_in_the_midst_of_a_transfer_loses_nothing,
    timeout = 60,
    {
        for round in 0..20 {
            let (p, s) = (pipe(), Shared::new());
            let Pipe { r, w } = p;
            let holder = fork_run(|| {
                s.wait_for(0, 20_000 * (round % 5) + 1);
                exec(&program("puppet", Linkage::Static), &["open:1"]);
            });
            let writer = fork_run(|| {
                close(&r).unwrap();
                let (mut rng, mut at) = (Rng::new(round), 0);
                while at < 1_000_000 {
                    let n = rng.within(1, 10_000).min(1_000_000 - at);
                    assert_eq!(write(&w, &stream(at, n)), Ok(n));
                    at += n;
                    s.set(0, at as u64);
                }
            });
            drop(w);
            let (mut rng, mut at) = (Rng::new(round + 100), 0);
            loop {
                let got = read_n(&r, rng.within(1, 20_000)).unwrap();
                if got.is_empty() {
                    break;
                }
                assert!(got == stream(at, got.len()), "round {round}, at {at}");
                at += got.len();
            }
            assert_eq!(at, 1_000_000);
            writer.succeeds();
            holder.succeeds();
        }
    }
);
