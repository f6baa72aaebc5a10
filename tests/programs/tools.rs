//! Programs that change how others run: environment, session, limits, signals.

use crate::case::{bash, same_as_native};
use crate::emulated::Pipes;

#[test]
fn env_clears_the_environment() {
    same_as_native(
        "seq 3 | env -i cat | wc -l; seq 1000 | env -i sh -c 'cat | tail -n 1' | cat
        echo x | env -i env -i sh -c 'env -i cat; echo $#'; echo y | env -u LD_PRELOAD cat | cat",
    );
}

#[test]
fn nohup() {
    same_as_native(
        "nohup sh -c 'seq 3' | cat; (trap '' HUP; sh -c 'kill -HUP $$; echo alive') | cat
        nohup sh -c 'kill -HUP $$; echo alive' | cat; echo ${PIPESTATUS[*]}",
    );
}

#[test]
fn setsid() {
    bash("seq 3 | setsid -w sort -rn | cat; setsid -w sh -c 'seq 5 | tail -n 1' | cat")
        .needs(&["setsid"])
        .check();
}

#[test]
fn nice_and_limits() {
    same_as_native(
        "seq 3 | nice -n 5 cat | tac; (ulimit -n 40; seq 100 | cat | tail -n 1)
        (ulimit -c 0; sh -c 'kill -ABRT $$') 2> /dev/null | cat; echo ${PIPESTATUS[0]}
        (ulimit -f 1; seq 100000 > big) 2> /dev/null; echo $?",
    );
}

#[test]
fn file_descriptors_run_out() {
    same_as_native(
        r"python3 -c '
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)); n = 0
try:
    while True: os.pipe(); n += 1
except OSError as e: print(n, e)
' | cat",
    );
}

#[test]
fn killed_in_a_pipeline() {
    same_as_native(
        r#"exec 2> /dev/null # bash names the dead with their process ids
        sh -c 'echo before; kill -KILL $$' | cat; echo ${PIPESTATUS[*]}
        seq 10 | sh -c 'kill -SEGV $$'; echo ${PIPESTATUS[1]}
        { echo first; kill -KILL $BASHPID; } | { read -r x; echo "$x"; read -r y; echo $?; }
        yes | { read -r x; echo $x; kill -KILL $BASHPID; }; echo ${PIPESTATUS[*]}"#,
    );
}

#[test]
fn stopped_and_continued_in_a_pipeline() {
    same_as_native(
        r#"(echo one; sh -c 'kill -STOP $$; echo two'; echo three) | cat & all=$!
        until p=$(pgrep -f 'kill -STOP' -s 0 -r T); do :; done; kill -CONT $p; wait $all"#,
    );
}

#[test]
fn parents_wait_for_pipes_not_for_processes() {
    same_as_native(
        "x=$( (sleep 0.1; echo late) & echo early ); echo $x
        x=$( sleep 100 > /dev/null 2>&1 & echo $! ); kill $x; echo done",
    );
}

#[test]
fn scripts_with_an_interpreter_line() {
    same_as_native(
        "printf '#!/bin/sh\\nsed s/^/A:/\\n' > a; printf '#!/usr/bin/env bash\\ntac\\n' > b
        chmod +x a b; seq 3 | ./a | ./b | ./a",
    );
}

#[test]
fn sockets_and_pipes_together() {
    bash(
        r#"python3 -c '
import os, socket, subprocess as s
a, b = socket.socketpair(); p = s.Popen(["cat"], stdin=s.PIPE, stdout=b); b.close()
p.stdin.write(b"through"); p.stdin.close(); print(a.recv(100), a.recv(1), p.wait())
r, w = os.pipe(); a, b = socket.socketpair(); socket.send_fds(a, [b"x"], [w]); os.close(w)
fd = socket.recv_fds(b, 1, 1)[1][0]; os.write(fd, b"by a passed descriptor"); os.close(fd)
print(os.read(r, 100), os.read(r, 1))' | cat"#,
    )
    .needs(&["python3"])
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn splice_tee_and_sendfile() {
    bash(
        r#"python3 -c '
import os
r, w = os.pipe(); q, x = os.pipe(); f = os.open("f", os.O_RDWR | os.O_CREAT)
os.write(f, b"0123456789" * 1000); os.lseek(f, 0, 0)
print(os.splice(f, w, 6000), os.splice(r, x, 5000), len(os.read(q, 9000)), len(os.read(r, 9000)))
print(os.sendfile(w, f, 0, 3000), len(os.read(r, 9000)))
os.write(w, b"abc"); o = os.open("o", os.O_RDWR | os.O_CREAT); print(os.splice(r, o, 100))
print(os.pread(o, 10, 0))' | cat"#,
    )
    .needs(&["python3"])
    .pipes(Pipes::Any)
    .check();
}

// What was made before is polled in a root without /proc, and what is made there.
#[test]
fn chroot_without_proc() {
    bash(
        r#"[ "$(id -u)" = 0 ] || { echo the end; exit; }
        for b in "$(command -v dash)" "$(command -v cat)" "$(command -v seq)" "$(command -v sort)"; do
            for f in "$b" $(ldd "$b" | grep -o '/[^ ]*'); do mkdir -p "root${f%/*}"; cp -L "$f" "root$f"; done
        done
        PATH=$PATH:/usr/sbin; dash=$(command -v dash)
        seq 1000 | chroot root "$dash" -c 'cat | sort -n | cat' | cksum
        chroot root "$dash" -c 'seq 3 | sort -r; trap "echo caught" USR1; kill -USR1 $$; echo $(seq 2 | cat)'
        /usr/bin/python3 -c '
import os, select, socket, subprocess, sys
r, w = os.pipe(); a, b = socket.socketpair()
if os.fork() == 0:
    os.chroot("root"); os.chdir("/")
    print(select.select([r], [], [], 9)[0] == [r], os.read(r, 9), select.select([b], [], [], 9)[0] == [b], b.recv(9))
    p, q = os.pipe(); print(select.select([p], [q], [], 0) == ([], [q], [])); os.write(q, b"x"); print(select.select([p], [], [], 0)[0] == [p])
    print(subprocess.run([sys.argv[1], "-c", "seq 3 | cat"], capture_output=True).stdout, flush=True); os._exit(7)
os.write(w, b"hello"); a.send(b"socket"); print(os.waitstatus_to_exitcode(os.wait()[1]))' "$dash"
        rm -r root"#,
    )
    .needs(&["dash", "/usr/bin/python3"])
    .pipes(Pipes::Any)
    .check();
}
