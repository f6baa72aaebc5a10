//! Two containers that share one session: PID namespaces of their own, with one /dev/shm.

use crate::ringer::{native, native_only, run};
use crate::session::Name;
use ringer_support::build;
use std::process::Command;

/// `$BOX COMMAND` runs it in a container, `$RUN COMMAND` by `ringer run --session NAME`, or as it is.
const PRELUDE: &str = r#"
BOX="unshare --mount --pid --fork --kill-child --mount-proc"
if [ -n "$RINGER" ]; then RUN="$RINGER run --session $NAME --"; else RUN=; fi
until_there() { for i in $(seq 1000); do [ -e "$1" ] && return; sleep 0.01; done; echo "no $1"; exit 9; }
"#;

/// Whether this machine lets us make containers.
fn has_containers() -> bool {
    let flags = ["--mount", "--pid", "--fork", "--mount-proc", "true"];
    let may = Command::new("unshare").args(flags).output();
    let may = may.is_ok_and(|o| o.status.success());
    if !may {
        eprintln!("skipped: no namespaces here");
    }
    may
}

/// What the script prints.
fn output(topic: &str, script: &str) -> String {
    let name = Name::new(topic);
    let mut command = native(&["bash", "-c", &format!("{PRELUDE}{script}")]);
    if !native_only() {
        command.env("RINGER", build::ringer());
    }
    command.env("NAME", name.text());
    command.env("KEY", std::process::id().to_string());
    let ended = run(command);
    assert_eq!(ended.status, 0, "{}{}", ended.stdout(), ended.stderr());
    assert_eq!(ended.stderr(), "");
    ended.stdout()
}

#[test]
fn messages_go_from_one_container_to_the_other() {
    if !has_containers() {
        return;
    }
    let script = r#"
$BOX $RUN perl -e 'my $q = msgget($ENV{KEY} | 1 << 24, 01600); open F, ">there"; close F;
    for (1 .. 100) { msgrcv($q, my $m, 100, 0, 0) or die $!; print unpack("x8 a*", $m); }
    msgctl($q, 0, 0); print "\n"' &
until_there there
$BOX $RUN perl -e 'my $q = msgget($ENV{KEY} | 1 << 24, 0); for (1 .. 100) {
    select undef, undef, undef, 0.02 if $_ % 20 == 0;
    msgsnd($q, pack("l! a*", 1, $_ % 10), 0) or die $!; }'
wait
"#;
    assert_eq!(
        output("containers-msg", script).trim(),
        "1234567890".repeat(10)
    );
}

#[test]
fn what_a_container_holds_is_its_own_until_it_is_killed() {
    if !has_containers() {
        return;
    }
    let script = r#"
$BOX $RUN perl -e 'my $s = semget($ENV{KEY} | 2 << 24, 1, 01600); semctl($s, 0, 16, 1);
    semop($s, pack("s3", 0, -1, 010000)) or die $!; open F, ">there"; close F; sleep 1000' &
holder=$!
until_there there
# Who forks looks for the dead; the numbers of the other container are none of its own.
$BOX $RUN perl -e 'my $s = semget($ENV{KEY} | 2 << 24, 0, 0);
    for (1 .. 40) { if (!fork) { exit } wait }
    print semop($s, pack("s3", 0, -1, 04000)) ? "taken away\n" : "held\n"'
$BOX $RUN perl -e 'my $s = semget($ENV{KEY} | 2 << 24, 0, 0);
    semop($s, pack("s3", 0, -1, 010000)) or die $!; print "free\n"; semctl($s, 0, 0, 0)' &
waiter=$!
sleep 0.3
echo waiting
{ kill -9 $holder; wait $holder; } 2>/dev/null
wait $waiter
"#;
    assert_eq!(output("containers-undo", script), "held\nwaiting\nfree\n");
}

#[test]
fn a_signal_goes_to_nobody_in_another_container() {
    if !has_containers() {
        return;
    }
    // It blocks the signal, and holds a pipe: so a process of its session would leave it in the arena.
    let script = r#"
$BOX $RUN perl -MPOSIX -e 'for (1 .. 20) { if (!fork) { exit } wait } if (fork) { wait; exit }
    pipe(R, W); syswrite W, "x"; sysread R, my $x, 1; my $set = POSIX::SigSet->new(SIGUSR1);
    sigprocmask(SIG_BLOCK, $set); open F, ">number.new"; print F $$; close F;
    rename "number.new", "number"; select undef, undef, undef, 0.01 until -e "sent";
    my $p = POSIX::SigSet->new; sigpending($p); print $p->ismember(SIGUSR1) ? "came\n" : "nothing\n"' &
until_there number
$BOX $RUN perl -e '$| = 1; pipe(R, W); syswrite W, "x"; sysread R, my $x, 1;
    print kill(USR1 => shift) ? "sent\n" : "$!\n"; open F, ">sent"' $(cat number)
wait
"#;
    assert_eq!(
        output("containers-kill", script),
        "No such process\nnothing\n"
    );
}

/// A program that goes into a container of its own, with what it holds.
#[test]
fn what_is_open_goes_along_into_a_container() {
    if !has_containers() {
        return;
    }
    let script = r#"
$RUN perl -MSocket -e '$^F = 100; pipe(R, W); socketpair(A, B, AF_UNIX, SOCK_STREAM, 0);
    syswrite A, "before"; syscall(272, 0x20000000) == 0 or die $!;
    my $child = fork;
    if (!$child) {
        close R; sysread B, my $x, 6; syswrite W, "$$ $x"; syswrite B, "back";
        if (!fork) { exec "sh", "-c", "echo \\ from \$\$ >&" . fileno W } sleep 1000 }
    close W; close B; sysread R, my $x, 8; sysread A, my $y, 4; my $z = <R>; print "$x $y$z";
    kill KILL => $child; wait; print sysread(R, $x, 1) == 0 ? "end of file\n" : "not yet\n"'
"#;
    let told = output("containers-fork", script);
    assert_eq!(told, "1 before back from 2\nend of file\n");
}

#[test]
fn nobody_removes_the_session_of_another_container() {
    if native_only() || !has_containers() {
        return;
    }
    let script = r#"
$BOX $RINGER run -- sh -c 'basename $RINGER_SESSION >name; touch there; until [ -e seen ]; do sleep 0.01; done' &
until_there there
$BOX $RINGER run -- true
[ -e /dev/shm/$(cat name) ] && echo kept
touch seen
wait
[ -e /dev/shm/$(cat name) ] || echo gone
"#;
    assert_eq!(output("containers-left", script), "kept\ngone\n");
}
