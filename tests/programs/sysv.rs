//! Programs that use System V IPC.

use crate::case::{bash, perl};
use crate::emulated::Pipes;

#[test]
fn perl_semaphores() {
    perl(
        r#"use IPC::SysV qw(IPC_PRIVATE IPC_CREAT S_IRUSR S_IWUSR SEM_UNDO IPC_NOWAIT);
        use IPC::Semaphore; $| = 1;
        my $s = IPC::Semaphore->new(IPC_PRIVATE, 3, S_IRUSR | S_IWUSR | IPC_CREAT) or die;
        $s->setall(0, 1, 2); print join(",", $s->getall), "\n";
        my $pid = fork // die;
        if (!$pid) { $s->op(0, -2, SEM_UNDO, 1, 0, 0); print "served\n"; exit 0 }
        select undef, undef, undef, 0.01 until $s->getncnt(0) == 1;
        $s->op(0, 2, 0); select undef, undef, undef, 0.01 until $s->getzcnt(1) == 1;
        print join(",", $s->getall), "\n"; $s->op(1, -1, 0); waitpid $pid, 0; print "$?\n";
        print join(",", $s->getall), "\n"; print $s->op(1, -1, IPC_NOWAIT) ? "" : "$!\n";
        $s->remove; print defined $s->getall ? "there\n" : "gone: $!\n";"#,
    )
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn perl_messages() {
    perl(
        r#"use IPC::SysV qw(IPC_PRIVATE S_IRUSR S_IWUSR IPC_NOWAIT); use IPC::Msg; $| = 1;
        my $q = IPC::Msg->new(IPC_PRIVATE, S_IRUSR | S_IWUSR) or die;
        my $pid = fork // die;
        if (!$pid) { for (1 .. 300) { $q->snd($_ % 3 + 1, "message $_") or die } exit 0 }
        my ($n, $buf) = (0, ""); for (1 .. 300) { $n += $q->rcv($buf, 64, -3) }
        waitpid $pid, 0; print "$n ", $q->stat->qnum, " $?\n";
        print $q->rcv($buf, 64, 0, IPC_NOWAIT) // "none: $!", "\n"; $q->remove;"#,
    )
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn perl_shared_memory() {
    perl(
        r#"use IPC::SysV qw(IPC_PRIVATE IPC_RMID S_IRUSR S_IWUSR); $| = 1;
        my $id = shmget(IPC_PRIVATE, 5000, S_IRUSR | S_IWUSR) // die;
        my $pid = fork // die;
        if (!$pid) { shmwrite($id, "from the child", 100, 50) or die; exit 0 }
        waitpid $pid, 0; my $buf; shmread($id, $buf, 100, 14) or die; print "$buf $?\n";
        shmctl($id, IPC_RMID, 0) or die; print shmread($id, $buf, 0, 1) ? "there" : "gone: $!", "\n";"#,
    )
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn ipcmk_ipcs_and_ipcrm() {
    bash(
        r#"q=$(ipcmk -Q | tr -dc 0-9); s=$(ipcmk -S 3 | tr -dc 0-9); m=$(ipcmk -M 5000 -p 600 | tr -dc 0-9)
        ipcs -q -i $q | grep -E 'mode=|qnum'; ipcs -s -i $s | tail -n 5; ipcs -m -i $m | grep -o 'bytes=5000'
        ipcs -q | grep -c " $q "; ipcs -m | awk -v m=$m '$2 == m { print $4, $5, $6 }'
        ipcrm -q $q -s $s -m $m; echo $?; ipcrm -q $q 2>/dev/null; echo $?"#,
    )
    .needs(&["ipcmk", "ipcs", "ipcrm"])
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn stress_ng_verifies() {
    bash(
        r#"for s in msg sem-sysv shm-sysv; do
            n=300; [ $s = shm-sysv ] && n=8
            stress-ng --verify --$s 2 --$s-ops $n --timeout 30 >$s.log 2>&1; echo $s $?
        done"#,
    )
    .needs(&["stress-ng"])
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn svsematest_ends_well() {
    bash(
        r#"loops=20; [ "$LONG" ] && loops=50000
        for options in "" "-t 2 -d 20" "-f" "-S"; do
            svsematest $options -l $loops -i 200 >log 2>&1; echo "$options $?"
        done"#,
    )
    .needs(&["svsematest"])
    .pipes(Pipes::Any)
    .check();
}
