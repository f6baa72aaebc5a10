//! Tools that filter, count and page text, and how they buffer it.

use crate::case::{bash, same_as_native};
use crate::emulated::Pipes;

#[test]
fn line_buffered_tools() {
    same_as_native(
        "(echo a; echo b; echo c) | grep --line-buffered -v b | sed -u s/c/d/ | cat
        seq 20 | sed -n '/5/,/8/p;9q' | tail -n 3",
    );
}

/// stdbuf(1) works by LD_PRELOAD itself.
#[test]
fn stdbuf_has_a_preload_of_its_own() {
    bash("seq 1000 | stdbuf -oL cut -c 1 | stdbuf -o0 -i0 uniq -c | sort -n | tail -n 2")
        .needs(&["stdbuf"])
        .check();
}

#[test]
fn tail_waits_for_the_end() {
    same_as_native(
        "seq 100000 | tail -n 2; seq 100000 | tail -c 10; seq 10 | tail -n +8
        (seq 3; sleep 0.1; seq 4 6) | tail -n 2",
    );
}

#[test]
fn tail_follows_a_process() {
    same_as_native(
        "echo start > f; (sleep 0.2; echo more >> f) & p=$!
        tail -f -s 0.05 --pid=$p -n +1 f | cat; wait",
    );
}

#[test]
fn joins_and_merges() {
    same_as_native(
        "join <(seq 1 2 50 | sort) <(seq 1 3 50 | sort); sort -m <(seq 1 2 9) <(seq 2 2 9)
        seq 12 | pr -3 -t -w 30; seq 6 | paste - - | nl; seq 8 | fmt -w 10 | fold -w 3",
    );
}

#[test]
fn binary_data() {
    same_as_native(
        r"for i in {0..255}; do printf \\x$(printf %x $i); done | od -An -tx1
        head -c 70000 /dev/zero | base64 -w 76 | base64 -d | cmp - <(head -c 70000 /dev/zero)
        echo ${PIPESTATUS[*]}",
    );
}

#[test]
fn sed_starts_commands() {
    same_as_native(
        "seq 5 | sed 'w copy' | sed -n '$='; cat copy
        seq 3 | sed 's/2/echo two | cat/e'; seq 2 | sed 'r /dev/stdin' /dev/null",
    );
}

#[test]
fn pagers_find_a_pipe() {
    bash("seq 100 | less | md5sum; seq 100 | more | md5sum")
        .needs(&["less", "more"])
        .check();
}

#[test]
fn lists_of_files() {
    same_as_native(
        r#"cd "$TREE" && ls -R | sort | md5sum
        find . -type f | sort | head -n 5 | xargs -I{} echo "<{}>"
        find . -name '*.md' -exec sh -c 'cat "$1" | wc -l' _ {} \; | sort -n | tail -n 1
        find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"#,
    );
}

#[test]
fn stat_of_a_pipe() {
    bash(
        "true | stat -Lc '%F %a %u %h %s %B' -
        echo x | stat -Lc '%F %a %s %h' /dev/stdin; echo x | test -p /dev/stdin; echo $?
        : | readlink /proc/self/fd/0 | cut -d: -f 1; : | find -L /dev/stdin -type p",
    )
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn the_descriptors_of_a_program_are_its_own() {
    bash("ls /proc/self/fd; : | ls /proc/self/fd | cat; exec 9< /dev/null; ls /proc/self/fd")
        .pipes(Pipes::Any)
        .check();
}
