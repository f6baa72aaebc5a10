//! What shells do with pipes apart from pipelines.

use crate::case::{bash, dash, same_as_native};
use crate::emulated::Pipes;

#[test]
fn command_substitution() {
    same_as_native(
        r#"echo "$(echo a $(echo b $(echo c $(echo d))))"
        x=$(seq 20000); echo ${#x}; y=$(false); echo $? "<$y>"; z=$(printf 'a\n\n\n'); echo "<$z>"
        echo `echo one \`echo two\`` $(exit 3); echo $?"#,
    );
}

#[test]
fn command_substitution_in_dash() {
    dash(
        r#"echo "$(echo a $(echo b $(echo c)))"; x=$(seq 20000); echo ${#x}
        y=$(sh -c 'kill -9 $$'); echo $? "<$y>""#,
    )
    .check();
}

#[test]
fn process_substitution() {
    same_as_native(
        "diff <(seq 10) <(seq 2 11); paste <(seq 3) <(seq 4 6) <(seq 7 9)
        cat <(echo one) <(echo two) | tac; comm -12 <(seq 1 3 100 | sort) <(seq 1 5 100 | sort)
        while read -r a; do b=$a; done < <(seq 1000); echo $b",
    );
}

#[test]
fn here_documents_of_all_sizes() {
    // bash takes a pipe for those that fit into one, a file for the others.
    bash(
        r#"tr a-z A-Z <<< "a here string"
        cat <<END
a here document
END
        big=$(seq 30000); md5sum <<< "$big"; for n in 4095 4096 65535 65536 65537; do
            printf -v s "%${n}s" x; wc -c <<< "$s"
        done"#,
    )
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn coprocesses() {
    same_as_native(
        r#"coproc { while read -r x; do echo $((x * 2)); done; }
        for i in 1 2 30; do echo $i >&${COPROC[1]}; read -r y <&${COPROC[0]}; echo $y; done
        pid=$COPROC_PID; exec {COPROC[1]}>&-; wait $pid; echo "ended with $?"
        coproc UP { tr a-z A-Z; }; exec 5<&${UP[0]}; echo shout >&${UP[1]}
        exec {UP[1]}>&-; cat <&5"#,
    );
}

#[test]
fn while_read_loops() {
    same_as_native(
        r#"seq 3000 | while read -r n; do [ $((n % 500)) = 0 ] && echo $n; done
        printf 'a b\nc d\nno newline' | while read -r x y || [ -n "$x" ]; do echo "$y,$x"; done
        printf 'a\0b\0c\0' | while read -r -d '' x; do echo "<$x>"; done"#,
    );
}

#[test]
fn while_read_loops_in_dash() {
    dash(
        r#"seq 3000 | while read n; do [ $((n % 500)) = 0 ] && echo $n; done
        seq 5 | { read a; read b; echo "$a $b"; cat; }"#,
    )
    .check();
}

#[test]
fn read_with_a_time_limit() {
    // `3<>` opens a pipe in both directions, which ringer leaves to the kernel.
    bash(
        r#"exec 3<> <(:); read -r -t 0.1 x <&3; echo "$? <$x>"; read -t 0 <&3; echo $?
        echo x >&3; read -t 0 <&3; echo $?; read -r -t 30 x <&3; echo "$? <$x>"
        { echo in time; } | { read -r -t 30 x; echo "$? <$x>"; }
        printf 'abcdef' | { read -r -n 2 x; read -r -N 3 y; echo "$x $y"; }"#,
    )
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn statuses_of_a_pipeline() {
    same_as_native(
        r#"true | false | (exit 5) | sh -c 'kill -TERM $$'; echo "${PIPESTATUS[*]}"
        false | true; echo $?; ! false | true; echo $?
        set -o pipefail; false | true; echo $?; (exit 7) | (exit 8) | true; echo $?
        yes | head -n 1 > /dev/null; echo $?"#,
    );
}

#[test]
fn sigpipe_ignored() {
    same_as_native(
        r"trap '' PIPE; yes | head -n 1; echo ${PIPESTATUS[*]}
        (while echo x; do :; done; echo $? >&2) 2> said | head -n 1; sort -u said
        trap - PIPE; yes | head -n 1; echo ${PIPESTATUS[*]}",
    );
}

#[test]
fn sigpipe_caught() {
    same_as_native(
        r"(trap 'echo caught >&2; exit 9' PIPE; while :; do echo x; done) 2> said | head -n 1
        echo ${PIPESTATUS[*]}; grep -c caught said",
    );
}

#[test]
fn background_jobs() {
    same_as_native(
        r"for i in 1 2 3; do (seq $((i * 10000)) | tail -n 1 > out$i; exit $i) & pids+=($!); done
        for p in ${pids[*]}; do wait $p; echo $?; done; cat out1 out2 out3
        sleep 100 & p=$!; kill $p; wait $p; echo $?
        (exit 4) & wait -n; echo $?",
    );
}

#[test]
fn job_control_without_a_terminal() {
    same_as_native(
        r#"set -m; { echo started; read -r x; echo "got $x"; } < <(sleep 0.1; echo data) & wait $!
        sleep 100 | cat & kill -STOP %%; wait %% 2> /dev/null; echo $?
        kill -CONT %%; kill %%; wait %% 2> /dev/null; echo $?"#,
    );
}

#[test]
fn redirections_of_descriptors() {
    same_as_native(
        r"{ echo out; echo err >&2; } 2>&1 | sort; { echo out; echo err >&2; } |& sort -r
        { { echo one; echo two >&3; } | tr a-z A-Z; } 3>&1 | sort
        exec 7< <(seq 3); read -r a <&7; read -r b <&7; echo $a $b; exec 7<&-
        exec {fd}> >(tr a-z A-Z > up); echo text >&$fd; exec {fd}>&-; wait $!; cat up",
    );
}

#[test]
fn arrays_from_pipes() {
    same_as_native(
        r#"mapfile -t lines < <(seq 5000); echo ${#lines[@]} "${lines[4999]}"
        shopt -s lastpipe; seq 10 | mapfile -t ten; echo "${ten[*]}"; echo 5 | read -r x; echo $x
        readarray -d '' -t names < <(printf 'x\0y z\0'); declare -p names"#,
    );
}

#[test]
fn subshells_inherit_pipes() {
    same_as_native(
        "(echo a; (echo b; (echo c; sh -c 'echo d')))  | cat -n
        seq 4 | (read x; (read x; (read x; cat; echo $x))); (exec seq 3) | (exec cat)",
    );
}

#[test]
fn exec_replaces_the_shell() {
    same_as_native("exec sh -c 'seq 5 | exec sh -c \"exec cat -n\"'");
}

#[test]
fn standard_descriptors_closed() {
    same_as_native(
        "(echo x | cat) <&-; (seq 3 | tail -n 1) 2>&-
        { echo lost; } >&- 2> /dev/null; echo $?
        (exec <&-; echo y | { cat; echo z; } | cat)",
    );
}

#[test]
fn dev_stdin_and_dev_stdout() {
    same_as_native(
        "seq 3 | cat /dev/stdin; echo via | tee /dev/stdout | sort; seq 9 | wc -l < /dev/stdin
        echo err 2>&1 > /dev/stderr 2> /dev/null | cat; seq 5 | grep -c . /dev/fd/0",
    );
}

#[test]
fn a_script_read_from_a_pipe() {
    same_as_native(
        r#"printf 'echo one\nread x\ndata for read\necho "<$x>"\nseq 3 | cat\n' | bash
        printf 'echo one\nseq 3 | cat\n' | dash; echo 'for i in 1 2; do echo $i; done' | bash -s"#,
    );
}

#[test]
fn a_hundred_pipes_in_one_shell() {
    same_as_native(
        r#"for i in {70..190}; do eval "exec $i< <(echo pipe $i)"; done
        for i in {190..70}; do read -r x <&$i; echo "$x"; done | md5sum"#,
    );
}

#[test]
fn an_exit_trap_writes_into_a_pipe() {
    same_as_native(
        r#"(trap 'echo at exit' EXIT; echo before) | cat
        (trap 'echo TERM; exit 3' TERM; kill -TERM $BASHPID; echo not reached) | cat
        echo ${PIPESTATUS[*]}"#,
    );
}
