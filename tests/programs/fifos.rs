//! What scripts and programs do with FIFOs.

use crate::case::{bash, dash, python};
use crate::emulated::Pipes;

#[test]
fn mkfifo_with_background_jobs() {
    bash(
        "mkfifo a b; cat a > out & seq 5000 > a; wait; md5sum < out
        tr a-z A-Z < a > b & cat b & echo shout > a; wait
        (exec 3<> a; echo to myself >&3; read -r x <&3; echo \"$x\")
        exec 4<> a; for i in 1 2 3; do echo $i > a & done; wait; head -c 6 <&4 | sort; exec 4>&-
        ls -l a | cut -c1; rm a b",
    )
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn a_coprocess_over_two_fifos() {
    bash(
        r#"mkfifo up down; (while read -r x; do echo $((x * x)); done < up > down) &
        exec 3> up 4< down; for i in 3 4 500; do echo $i >&3; read -r y <&4; echo $y; done
        exec 3>&-; cat <&4; wait; rm up down; coproc C { cat up 2>&1 | head -c 0; }; wait; echo done"#,
    )
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn process_substitution_both_ways() {
    bash(
        "seq 300 | tee >(wc -l > n) >(md5sum > m) > /dev/null; sleep 0.3; cat n m
        cat < <(echo by redirection); cat /dev/stdin < <(echo by name)
        mkfifo f; cat <(cat f) & echo through both > f; wait; paste <(seq 3) /dev/stdin < <(seq 4 6)",
    )
    .pipes(Pipes::Any)
    .check();
}

/// (dash says "Killed" or not, as it meets the child's end in wait or before, also natively.)
#[test]
fn a_server_that_reads_requests_in_dash() {
    dash(
        "mkfifo req ans; (while read -r line; do [ \"$line\" = stop ] && break; echo \"<$line>\" > ans; done < req) &
        exec 9> req; for w in one two three; do echo $w >&9; cat ans; done; echo stop >&9; wait
        cat ans & sleep 0.2; { kill -9 $!; wait $!; } 2> /dev/null; echo $?; (echo last > ans) & cat ans; wait",
    )
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn python_opens_fifos_without_waiting() {
    python(
        "import os, select, errno
os.mkfifo('f')
try: os.open('f', os.O_WRONLY | os.O_NONBLOCK)
except OSError as e: print(errno.errorcode[e.errno])
r = os.open('f', os.O_RDONLY | os.O_NONBLOCK)
if os.fork() == 0:
    with open('f', 'w') as w: w.write('from the child')
    os._exit(0)
p = select.poll(); p.register(r, select.POLLIN)
got = b''
while not got: p.poll(); got = os.read(r, 100)
print(got, os.wait()[1])
os.unlink('f')",
    )
    .pipes(Pipes::Any)
    .check();
}
