//! Shells and what belongs to them, with signals: trap, wait, kill and jobs; timeout, nohup, setsid.

use crate::case::{self, Case};
use crate::emulated::Pipes;

/// Signals are the subject here: there may be pipes or not.
fn check(case: Case) {
    case.pipes(Pipes::Any).check();
}

/// Shells name the dead with their process ids, on stderr.
fn quiet(script: &str) -> String {
    format!("exec 2> said; ulimit -c 0; {script}")
}

fn bash(script: &str) -> Case {
    case::bash(&quiet(script))
}

fn dash(script: &str) -> Case {
    case::dash(&quiet(script))
}

/// The same for both shells.
fn both(script: &str) {
    check(bash(script));
    check(dash(script));
}

#[test]
fn traps_of_every_signal() {
    both(
        r#"for s in HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TERM CHLD TSTP TTIN \
            TTOU URG XCPU XFSZ VTALRM PROF WINCH IO SYS; do
            trap "echo got $s" $s; kill -$s $$; trap - $s
        done"#,
    );
}

#[test]
fn traps_of_real_time_signals() {
    check(bash(
        r#"for s in RTMIN RTMIN+1 RTMIN+15 RTMAX-14 RTMAX; do
            trap "echo got $s" $s; kill -s $s $$; kill -s $s $$; trap - $s
        done"#,
    ));
}

#[test]
fn statuses_of_the_dead() {
    check(bash(
        r#"exec 2> /dev/null; ulimit -c 0
        for n in {1..31} 34 50 64; do
            case $n in 17|18|19|20|21|22|23|28) continue;; esac
            bash -c "kill -$n \$\$"; echo "$n: $?"
        done"#,
    ));
}

#[test]
fn ignored_signals_are_inherited() {
    both(
        r#"trap '' TERM USR1; sh -c 'kill -TERM $$; kill -USR1 $$; echo alive'
        sh -c 'trap "echo no" TERM; kill -TERM $$; echo still ignored'
        trap - TERM; (trap 'echo caught' TERM; kill -TERM $$) & wait; echo $?"#,
    );
}

#[test]
fn subshells_reset_traps() {
    both(
        r#"trap 'echo parent' USR1; (sh -c 'kill -USR1 $PPID'; echo not reached) 2> /dev/null
        echo $?; kill -USR1 $$; x=$(kill -USR1 $$; echo in); echo "<$x>""#,
    );
}

#[test]
fn a_trap_while_a_command_runs_waits_for_it() {
    both(r#"trap 'echo trapped' USR1; sh -c "kill -USR1 $$; echo command"; echo after"#);
}

#[test]
fn wait_is_interrupted_by_a_trap() {
    // Sent again and again, for the first may come before there is anybody who waits.
    both(
        r#"trap 'n=1' USR1; sleep 100 & p=$!
        (while kill -USR1 $$; do sleep 0.01; done) & q=$!
        wait $p; s=$?; kill $q; until wait $q; [ $? = 143 ]; do :; done
        [ $s -gt 128 ] && echo interrupted $n; kill $p; wait $p; echo $?"#,
    );
}

#[test]
fn wait_for_many() {
    both(
        r#"p=; for i in 1 2 3 4 5 6 7 8 9; do (exit $i) & p="$p $!"; done
        for q in $p; do wait $q; echo $?; done; wait; echo $?
        sleep 100 & a=$!; sleep 100 & b=$!; kill -USR1 $b; kill -KILL $a
        wait $b; echo $?; wait $a; echo $?"#,
    );
}

#[test]
fn exit_traps() {
    both(
        r#"sh -c 'trap "echo bye" EXIT; trap "exit 3" TERM; kill -TERM $$; echo no'; echo $?
        sh -c 'trap "echo bye" EXIT; exec true'; echo $?
        sh -c 'trap "echo bye" EXIT INT; kill -INT $$; echo on'; echo $?"#,
    );
}

#[test]
fn chld_traps() {
    check(bash(
        r#"set -m; n=0; trap 'n=$((n + 1))' CHLD; for i in 1 2 3; do (exit $i); done
        (exit 9) & wait $!; echo $?; [ $n -ge 4 ] && echo "children told""#,
    ));
}

#[test]
fn jobs_stop_and_go_on() {
    check(bash(
        r#"set -m; exec 2> /dev/null
        sleep 100 & kill -STOP %1; wait %1; echo $?; jobs -s | grep -c Stopped
        kill -CONT %1; until jobs -r | grep -q Running; do :; done; kill %1; wait %1; echo $?
        sleep 100 & sleep 100 & kill %2 %3; wait %2; echo $?; wait %3; echo $?"#,
    ));
}

#[test]
fn kill_names_and_numbers() {
    both(
        r#"kill -l 9; kill -l 137; kill -0 $$; echo $?; kill -0 999999 2> /dev/null; echo $?
        sleep 100 & kill -s TERM $!; wait $!; echo $?; sleep 100 & kill -15 $!; wait $!; echo $?
        sleep 100 & kill -9 $!; wait $!; echo $?"#,
    );
}

#[test]
fn groups() {
    check(
        bash(
            r#"set -m; (sleep 100 & sleep 100 & wait) & p=$!
        until [ "$(pgrep -c -g $p sleep)" = 2 ]; do :; done
        kill -TERM -- -$p; wait $p; echo $?
        until ! pgrep -g $p > /dev/null; do :; done; echo nobody left"#,
        )
        .needs(&["pgrep"]),
    );
}

#[test]
fn kill_right_after_the_start() {
    both(
        r#"i=0; while [ $i -lt 100 ]; do sleep 100 & kill $!; wait $!; [ $? = 143 ] || echo $i: $?
        i=$((i + 1)); done; echo done"#,
    );
    both(
        r#"trap '' TERM; i=0; while [ $i -lt 50 ]; do (trap - INT; exec sleep 100) & kill -KILL $!
        wait $!; [ $? = 137 ] || echo $i: $?; i=$((i + 1)); done; echo done"#,
    );
}

#[test]
fn a_script_that_signals_itself_often() {
    both(
        r#"n=0; trap 'n=$((n + 1))' USR1; i=0
        while [ $i -lt 2000 ]; do kill -USR1 $$; i=$((i + 1)); done; echo $n"#,
    );
}

/// (bash forgets one of ten thousand traps, also natively: who waits in vain asks again.)
#[test]
fn signals_between_two_shells() {
    check(bash(
        r#"n=0; trap 'n=$((n + 1))' USR2
        bash -c 'trap "kill -USR2 $PPID" USR1; trap "exit 7" TERM; kill -USR2 $PPID
            while :; do :; done' & p=$!
        reached() {
            local looks=0
            while [ $n -lt $1 ]; do
                [ $((looks += 1)) -lt 300000 ] || { looks=0; kill -USR1 $p; }
            done
        }
        for i in {1..50}; do reached $i; kill -USR1 $p; done
        reached 51 # bash's wait, interrupted by a trap, may say -1
        kill -TERM $p; wait $p; s=$?
        while [ $s -gt 128 ]; do wait $p; s=$?; done; echo $s"#,
    ));
}

#[test]
fn timeout() {
    check(
        bash(
            r#"timeout 100 sh -c 'exit 5'; echo $?; timeout 0.05 sleep 100; echo $?
            timeout -s KILL 0.05 sleep 100; echo $?; timeout --preserve-status 0.05 sleep 100; echo $?
            for t in 0.05 0.5 5 20; do # until the trap is set in time
                timeout -k 0.05 $t sh -c 'trap "" TERM; while :; do sleep 0.01; done'; s=$?
                [ $s = 124 ] || break
            done; echo $s
            for t in 0.05 0.5 5 20; do
                told=$(timeout $t sh -c 'trap "echo told; exit 3" TERM; while :; do sleep 0.01; done'); s=$?
                [ "$told" ] && break
            done; echo $told $s
            timeout --foreground 0.05 sleep 100; echo $?; timeout 100 sh -c 'kill -TERM $PPID; sleep 100'
            echo $?"#,
        )
        .needs(&["timeout"]),
    );
}

#[test]
fn nohup_and_setsid() {
    check(
        bash(
            r#"nohup sh -c 'kill -HUP $$; echo alive' 2> /dev/null | cat
            setsid -w sh -c '[ "$(ps -o sid= -p $$ | tr -d " ")" = $$ ] && echo leads; exit 4'; echo $?
            setsid -w sh -c 'kill -TERM $$'; echo $?
            (trap '' HUP; exec sleep 100) &
            until grep -qs '^SigIgn:.*[13579bdf]$' /proc/$!/status; do :; done # it ignores SIGHUP
            kill -HUP $!; kill $!; wait $!; echo $?"#,
        )
        .needs(&["nohup", "setsid", "ps"]),
    );
}

#[test]
fn env_sets_signals() {
    check(bash(
        r#"env --ignore-signal=TERM sh -c 'kill -TERM $$; echo alive'
        (trap '' USR1; exec env --default-signal=USR1 sh -c 'kill -USR1 $$; echo no'); echo $?
        env --block-signal=USR2 sh -c 'kill -USR2 $$; echo blocked'
        env --block-signal=USR2 --list-signal-handling true 2>&1 | sort"#,
    ));
}
