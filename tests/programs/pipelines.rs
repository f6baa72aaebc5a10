//! Pipelines of ordinary tools, as shells start them.

use crate::case::{bash, dash, same_as_native};

/// Ten stages, every one of them busy.
const TEN_STAGES: &str = r"
    seq 1 20000 | sed 's/$/ x/' | awk '{ print $1 * 3 }' | grep -v 77 | sort -n | uniq |
        tr 0-4 a-e | rev | cut -c 1-5 | sha256sum
";

#[test]
fn ten_stages_in_bash() {
    bash(TEN_STAGES).needs(&["rev"]).check();
}

#[test]
fn ten_stages_in_dash() {
    dash(TEN_STAGES).needs(&["rev"]).check();
}

#[test]
fn ten_stages_of_cat() {
    same_as_native("seq 300000 | cat | cat | cat | cat | cat | cat | cat | cat | tail -n 1");
}

#[test]
fn a_hundred_megabytes() {
    same_as_native("yes | head -c 100M | md5sum");
}

#[test]
fn a_hundred_megabytes_in_dash() {
    dash("yes abcdefghi | head -c 100M | cksum").check();
}

#[test]
fn sort_and_head() {
    same_as_native("seq 1000 | sort -rn | head -n 3");
}

#[test]
fn sort_of_a_million_shuffled_lines() {
    same_as_native("seq 1000000 | shuf --random-source=<(yes) | sort -n | md5sum");
}

#[test]
fn sort_compresses_its_temporary_files() {
    same_as_native(
        "seq 200000 | shuf --random-source=<(yes) |
            sort -n -S 1M --compress-program=gzip | md5sum",
    );
}

#[test]
fn tar_and_gzip_of_the_tree() {
    same_as_native(r#"cd "$TREE" && tar c . | gzip -n | sha256sum"#);
}

#[test]
fn tar_to_tar() {
    same_as_native(
        r#"mkdir copy && tar cC "$TREE" . | tar xpC copy && diff -r "$TREE" copy && echo same"#,
    );
}

#[test]
fn find_and_parallel_xargs() {
    same_as_native(r#"cd "$TREE" && find . -type f -print0 | xargs -0 -n 20 -P 4 wc -c | sort"#);
}

#[test]
fn xargs_with_many_short_jobs() {
    same_as_native("seq 200 | xargs -n 5 -P 8 echo | tr ' ' '\\n' | sort -n | md5sum");
}

#[test]
fn xargs_tells_of_failures() {
    same_as_native(
        "seq 9 | xargs -n 1 -P 3 sh -c 'exit $(($0 % 2))'; echo $?
        seq 9 | xargs -n 1 sh -c 'cat; test $0 != 3 || exit 255'; echo $?",
    );
}

#[test]
fn grep_through_the_tree() {
    same_as_native(
        r#"cd "$TREE" && find . -name '*.c' -print0 | xargs -0 grep -n 'pipe(' | sort | md5sum"#,
    );
}

#[test]
fn gzip_there_and_back() {
    same_as_native(
        "seq 500000 > file; cat file | gzip | gunzip | cmp - file && echo same
        < file gzip -c | gzip -dc | md5sum",
    );
}

#[test]
fn xz_and_bzip2_there_and_back() {
    bash("seq 100000 | xz -0 -T2 | xz -d | md5sum; seq 100000 | bzip2 | bzip2 -d | md5sum")
        .needs(&["xz", "bzip2"])
        .check();
}

#[test]
fn dd_byte_by_byte() {
    same_as_native(
        "seq 3000 | dd bs=1 count=5000 status=none | dd bs=7 status=none | md5sum
        seq 9999 | dd bs=1 skip=100 count=10 status=none | od -c",
    );
}

#[test]
fn dd_reblocks() {
    same_as_native(
        "yes | head -c 1000000 | dd ibs=100 obs=65536 status=none | md5sum
        yes | dd bs=64K count=40 iflag=fullblock status=none | wc -c
        head -c 3000000 /dev/zero | dd bs=1M iflag=fullblock of=out status=none; wc -c < out",
    );
}

#[test]
fn timeout_bounds_a_stage() {
    same_as_native(
        "timeout 30 yes | head -c 1M | wc -c
        timeout 0.2 sleep 100 | cat; echo ${PIPESTATUS[*]}
        (for t in 0.2 2 20; do timeout -s INT $t cat > said; s=$?; [ -s said ] && break; done
            touch over; cat said; echo $s) < <(echo early; until [ -e over ]; do sleep 0.1; done)",
    );
}

#[test]
fn a_late_writer() {
    same_as_native("(sleep 0.2; echo late) | cat; (echo a; sleep 0.1; echo b) | (cat; echo eof)");
}

#[test]
fn devices_at_the_start() {
    same_as_native(
        "head -c 10 /dev/zero | od
        head -c 300000 /dev/zero | tr '\\0' a | wc -c
        cat /dev/null | wc -c
        seq 5 | cat - /dev/null | tac",
    );
}

#[test]
fn tee_to_processes() {
    same_as_native(
        "{ seq 100000 | tee >(wc -l) >(md5sum) >(tail -n 1) > /dev/null; } | sort
        seq 100 | tee one two | cat > three; cmp one three && cmp two three && echo same",
    );
}

#[test]
fn tee_outlives_a_reader() {
    same_as_native(
        "{ seq 100000 | tee -p >(head -n 1 > /dev/null) | md5sum; } 2>&1
        seq 100000 | tee --output-error=exit-nopipe /dev/null | tail -n 1",
    );
}

#[test]
fn split_filters() {
    same_as_native("seq 10000 | split -l 1000 --filter='md5sum | cut -c 1-8'; ls");
}

#[test]
fn the_first_reader_leaves() {
    same_as_native(
        "yes | head -n 1; echo ${PIPESTATUS[*]}
        seq 1000000 | sed 3q | cat; echo ${PIPESTATUS[*]}
        cat /dev/zero | true; echo ${PIPESTATUS[*]}",
    );
}

#[test]
fn two_readers_share_one_pipe() {
    same_as_native(
        "seq 1000 | { head -c 0; read a; read b; echo $a $b; cat | md5sum; }
        yes | head -c 200000 | { cat & cat & wait; } | wc -c",
    );
}

#[test]
fn many_writers_of_one_pipe() {
    same_as_native(
        "for i in 1 2 3 4 5 6; do
            (for n in {1..300}; do echo \"$i $n some text that makes the line longer\"; done) &
        done | sort -k 1,1n -k 2,2n | md5sum
        wait",
    );
}

#[test]
fn fifos() {
    use crate::emulated::Pipes;
    bash(
        "mkfifo a b
        seq 50000 > a & sort -rn < a > b & md5sum < b
        wait; (exec 3<> a; echo kept >&3; read x <&3; echo $x)",
    )
    .pipes(Pipes::Any)
    .check();
}
