//! perl(1): its ways to open a pipe.

use crate::case::{bash, perl};

#[test]
fn open_from_a_command() {
    perl(
        r#"open(my $f, "-|", "seq 1000") or die; my $s = 0; $s += $_ while <$f>; close $f;
        print "$s $?\n"; open($f, "-|", "sh", "-c", "echo one; exit 3") or die; print <$f>;
        close $f; print $? >> 8, "\n"; open($f, "seq 5 |") or die; print reverse <$f>;"#,
    )
    .check();
}

#[test]
fn open_to_a_command() {
    perl(
        r#"$| = 1; open(my $f, "|-", "sort -rn | tail -n 3") or die;
        print $f "$_\n" for 1 .. 5000; close $f; print "status $?\n";
        open($f, "| tr a-z A-Z") or die; print $f "text\n"; close $f;"#,
    )
    .check();
}

#[test]
fn open_forks() {
    perl(
        r#"$| = 1; my $pid = open(my $f, "-|") // die;
        if (!$pid) { print "from the child\n" x 3; exit 4 }
        print "got $_" while <$f>; close $f; print $? >> 8, "\n";
        $pid = open($f, "|-") // die;
        if (!$pid) { my @l = <STDIN>; print scalar(@l), "\n"; exit 0 }
        print $f "line\n" x 1000; close $f;"#,
    )
    .check();
}

#[test]
fn backticks() {
    perl(
        r#"$| = 1; my $x = `seq 100000 | md5sum`; print $x;
        my @l = `printf 'a\nb\nc'`; print scalar(@l), "\n"; `sh -c 'exit 7'`; print $? >> 8, "\n";
        print `cat /dev/null` eq "" ? "empty\n" : "not\n"; print qx{echo nested \$(echo deeper)};
        system("echo system | cat");"#,
    )
    .check();
}

#[test]
fn open2() {
    perl(
        r#"use IPC::Open2; my $pid = open2(my $out, my $in, "tr", "a-z", "A-Z");
        print $in "line $_\n" for 1 .. 50; close $in; my @l = <$out>; waitpid $pid, 0;
        print scalar(@l), " $l[49]", $?, "\n";"#,
    )
    .check();
}

#[test]
fn open3() {
    perl(
        r#"use IPC::Open3; use Symbol "gensym"; use IO::Select;
        my $pid = open3(my $in, my $out, my $err = gensym, "sh", "-c",
            "while read x; do echo out \$x; echo err \$x >&2; done; exit 6");
        print $in "$_\n" for 1 .. 200; close $in; my %text = ($out => "", $err => "");
        my $s = IO::Select->new($out, $err);
        while (my @ready = $s->can_read) { for my $f (@ready) { my $buf;
            sysread($f, $buf, 4096) ? ($text{$f} .= $buf) : $s->remove($f) } }
        waitpid $pid, 0;
        print length($text{$out}), " ", length($text{$err}), " ", $? >> 8, "\n";"#,
    )
    .check();
}

#[test]
fn pipe_and_select() {
    perl(
        r#"pipe(my $r, my $w) or die; my $pid = fork // die;
        if (!$pid) { close $r; syswrite $w, "x" x 100000; exit 0 } close $w;
        my ($n, $bits) = (0, ""); vec($bits, fileno $r, 1) = 1;
        while (select(my $ready = $bits, undef, undef, undef) > 0) {
            my $got = sysread $r, my $buf, 65536; last unless $got; $n += $got }
        waitpid $pid, 0; print "$n $?\n";"#,
    )
    .check();
}

#[test]
fn sigpipe() {
    perl(
        r#"$| = 1; $SIG{PIPE} = sub { print "caught $_[0]\n" };
        pipe(my $r, my $w) or die; close $r;
        print defined(syswrite $w, "x") ? "wrote\n" : $!{EPIPE} ? "EPIPE\n" : "$!\n";
        my $pid = open(my $f, "|-", "true") or die; waitpid $pid, 0; syswrite $f, "x";
        print $!{EPIPE} ? "EPIPE\n" : "$!\n";"#,
    )
    .check();
}

#[test]
fn one_liners() {
    bash(
        r#"seq 10000 | perl -ne 'print if $_ % 1000 == 0' | perl -pe 's/0+$//' |
            perl -lane '$s += $F[0]; END { print $s }'; seq 3 | perl -e 'print reverse <>'"#,
    )
    .needs(&["perl"])
    .check();
}
