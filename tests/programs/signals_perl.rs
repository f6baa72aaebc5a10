//! perl(1): %SIG, kill, alarm, POSIX.

use crate::case::{perl, Case};
use crate::emulated::Pipes;

fn check(case: Case) {
    case.pipes(Pipes::Any).check();
}

#[test]
fn handlers() {
    check(perl(
        r#"$| = 1; for my $s (qw(HUP INT QUIT USR1 USR2 TERM CHLD WINCH ALRM NUM34 RTMAX)) {
            $SIG{$s} = sub { print "got $_[0]\n" }; kill $s, $$; delete $SIG{$s};
        }
        $SIG{USR1} = "IGNORE"; kill USR1 => $$; print "alive\n";
        { local $SIG{USR1} = sub { print "local\n" }; kill USR1 => $$; }
        kill USR1 => $$; print "ignored again\n";"#,
    ));
}

#[test]
fn alarm_and_eval() {
    check(perl(
        r#"$| = 1; for (1 .. 20) {
            eval { local $SIG{ALRM} = sub { die "alarm\n" }; Time::HiRes::ualarm(2000);
                select(undef, undef, undef, 100); 1 } and print "no"; print $@;
        }
        BEGIN { require Time::HiRes } my $n = 0; $SIG{ALRM} = sub { $n++ };
        Time::HiRes::ualarm(500, 500); 1 while $n < 50; Time::HiRes::ualarm(0); print "counted\n";"#,
    ));
}

#[test]
fn children() {
    check(perl(
        r#"$| = 1; my %done; $SIG{CHLD} = sub {
            while ((my $p = waitpid(-1, 1)) > 0) { $done{$p} = $? >> 8 } };
        my @p = map { my $c = $_; my $p = fork // die; if (!$p) { exit $c } $p } 1 .. 30;
        select(undef, undef, undef, 0.001) while keys %done < 30;
        print join(" ", map { $done{$_} } @p), "\n";
        $SIG{CHLD} = "IGNORE"; my $p = fork // die; exit 0 if !$p; print waitpid($p, 0), "\n";
        $SIG{CHLD} = "DEFAULT"; system("kill -TERM \$\$"); print $? & 127, "\n";"#,
    ));
}

#[test]
fn kill_right_after_fork() {
    check(perl(
        r#"for (1 .. 200) { my $p = fork // die; if (!$p) { sleep 100 while 1 }
            kill TERM => $p; waitpid $p, 0; print "$_: $?\n" if $? != 15; }
        my $n = 0; $SIG{USR1} = sub { exit 9 };
        for (1 .. 200) { my $p = fork // die; if (!$p) { 1 while 1 }
            kill USR1 => $p; waitpid $p, 0; $n++ if $? >> 8 == 9; } print "$n\n";"#,
    ));
}

#[test]
fn posix() {
    check(perl(
        r#"use POSIX ":signal_h"; $| = 1; my $set = POSIX::SigSet->new(SIGUSR1, SIGUSR2);
        my $old = POSIX::SigSet->new; $SIG{USR1} = sub { print "1\n" }; $SIG{USR2} = sub { print "2\n" };
        sigprocmask(SIG_BLOCK, $set, $old); kill USR1 => $$; kill USR2 => $$; kill USR1 => $$;
        my $pending = POSIX::SigSet->new; sigpending($pending);
        print join(",", map { $pending->ismember($_) } SIGUSR1, SIGUSR2, SIGHUP), "\n";
        sigsuspend(POSIX::SigSet->new(SIGUSR1)); print "suspended\n"; sigprocmask(SIG_SETMASK, $old);
        sigaction(SIGHUP, POSIX::SigAction->new(sub { print "hup\n" }, POSIX::SigSet->new, SA_RESETHAND));
        kill HUP => $$; if (!fork) { kill HUP => $$; exit 0 } wait; print $? & 127, "\n";"#,
    ));
}

#[test]
fn safe_signals_in_pipes() {
    check(perl(
        r#"$| = 1; my $n = 0; $SIG{USR1} = sub { $n++ }; pipe(my $r, my $w) or die; my $me = $$;
        my $p = fork // die;
        if (!$p) { close $r; for (1 .. 200) { kill USR1 => $me; syswrite $w, "x" x 1000 } exit 0 }
        close $w; my $sum = 0;
        while (1) { my $got = sysread($r, my $b, 777); next if !defined $got && $!{EINTR};
            last if !$got; $sum += $got; }
        waitpid $p, 0; print "$sum $?\n"; print $n > 0 ? "signals\n" : "none\n";"#,
    ));
}
