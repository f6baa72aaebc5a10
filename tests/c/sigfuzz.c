/* sigfuzz SEED STEPS WITHOUT: does random things with signals in one thread, and says what came of them. What
   it says depends on nothing else: so two worlds can be compared.

   WITHOUT has the letters of what is left out: f editing the saved mask in the frame, p pipes and
   signalfds, s stacks, t signals of faults, c children, k KILL and STOP in sets, - nothing.

   It never lets a signal kill the first process; its children may die, and their status is told. */
#include "check.h"
#include <sys/signalfd.h>
#include <ucontext.h>

static const int numbers[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGFPE, SIGILL, SIGTRAP,
                              SIGCHLD, SIGWINCH, SIGURG, SIGIO, SIGXCPU, SIGPIPE, 34, 35, 36, 50, 63, 64};
#define NUMBERS (sizeof numbers / sizeof *numbers)

static uint64_t state;
static int mortal, depth, budget, jump_armed, sfd = -1;
static sigjmp_buf out;
static char alternate[65536];
static const char *left_out;

static int without(char what) { return strchr(left_out, what) != NULL; }

static unsigned below(unsigned n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33) % n;
}

static int any(void) {
    int n = numbers[below(NUMBERS)];
    return without('t') && (n == SIGFPE || n == SIGILL || n == SIGTRAP) ? SIGUSR1 : n;
}

static int harmless(int n) { return n == SIGCHLD || n == SIGWINCH || n == SIGURG; }

static sigset_t some(void) {
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = below(6); i > 0; i--)
        sigaddset(&set, any());
    if (below(20) == 0)
        sigfillset(&set);
    if (without('k')) {
        sigdelset(&set, SIGKILL);
        sigdelset(&set, SIGSTOP);
    }
    return set;
}

static unsigned long word(const sigset_t *set) {
    unsigned long w;
    memcpy(&w, set, sizeof w);
    return w;
}

static unsigned long pending_now(void) {
    sigset_t set;
    sigpending(&set);
    return word(&set);
}

static void send(void);
static void change_mask(void);
static void change_action(int n);

static void tell_info(const siginfo_t *i) {
    dprintf(1, " code %d errno %d", i->si_code, i->si_errno);
    if (i->si_code == SI_QUEUE || i->si_code < -9)
        dprintf(1, " value %lx", (long)i->si_value.sival_ptr);
    if (i->si_signo == SIGCHLD && i->si_code > 0)
        dprintf(1, " status %d", i->si_status);
    else
        dprintf(1, " from %s", i->si_pid == getpid() ? "me" : i->si_pid == 0 ? "nobody" : "another");
}

static void handler(int n, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    char here;
    int before = errno;
    depth++;
    dprintf(1, "  [%d] handler %d:", depth, n);
    tell_info(info);
    dprintf(1, " blocked %lx saved %lx stack %d\n", mask_now(), word(&u->uc_sigmask),
            &here >= alternate && &here < alternate + sizeof alternate);
    if (budget > 0) {
        budget--;
        switch (below(12)) {
        case 0:
        case 1: send(); break;
        case 2: change_mask(); break;
        case 3: change_action(any()); break;
        case 4:
            if (!without('f'))
                sigaddset(&u->uc_sigmask, any());
            break;
        case 5:
            if (!without('f'))
                memset(&u->uc_sigmask, 0, 8);
            break;
        case 6: dprintf(1, "  pending %lx\n", pending_now()); break;
        case 7:
            if (jump_armed && below(2) == 0) {
                dprintf(1, "  jumps\n");
                siglongjmp(out, depth);
            }
            break;
        case 8: {
            stack_t s;
            if (without('s'))
                break;
            sigaltstack(NULL, &s);
            dprintf(1, "  stack flags %x\n", s.ss_flags);
            break;
        }
        default: break;
        }
    }
    dprintf(1, "  [%d] end of %d, blocked %lx\n", depth, n, mask_now());
    depth--;
    errno = before;
}

static void change_action(int n) {
    struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO}, old;
    a.sa_mask = some();
    if (below(4) == 0)
        a.sa_flags |= SA_NODEFER;
    if (below(3) == 0)
        a.sa_flags |= SA_ONSTACK;
    if (below(3) == 0)
        a.sa_flags |= SA_RESTART;
    if (mortal && below(4) == 0)
        a.sa_flags |= SA_RESETHAND;
    switch (below(8)) {
    case 0: a.sa_handler = SIG_IGN; break;
    case 1:
        if (mortal || harmless(n))
            a.sa_handler = SIG_DFL;
        break;
    default: break;
    }
    if (a.sa_handler == SIG_IGN || a.sa_handler == SIG_DFL)
        a.sa_flags &= ~SA_SIGINFO;
    int done = sigaction(n, &a, &old);
    dprintf(1, "sigaction %d to %d: %d, was %d flags %x mask %lx\n", n,
            a.sa_handler == SIG_IGN ? 1 : a.sa_handler == SIG_DFL ? 0 : 2, done,
            old.sa_handler == SIG_IGN ? 1 : old.sa_handler == SIG_DFL ? 0 : 2, old.sa_flags, word(&old.sa_mask));
}

static void change_mask(void) {
    sigset_t set = some(), old;
    int how = (int)below(3);
    unsigned long was;
    dprintf(1, "mask %d %lx\n", how, word(&set));
    EQUAL(sigprocmask(how, &set, &old), 0);
    was = word(&old);
    dprintf(1, "  was %lx is %lx pending %lx\n", was, mask_now(), pending_now());
}

static void send(void) {
    int n = any(), how = (int)below(8), done = 0;
    union sigval value = {.sival_ptr = (void *)(uintptr_t)below(1000)};
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_code = -20;
    info.si_value = value;
    dprintf(1, "send %d by %d\n", n, how);
    switch (how) {
    case 0:
    case 1: done = kill(getpid(), n); break;
    case 2: done = raise(n); break;
    case 3: done = sigqueue(getpid(), n, value); break;
    case 4: done = pthread_kill(pthread_self(), n); break;
    case 5: done = pthread_sigqueue(pthread_self(), n, value); break;
    case 6: done = (int)syscall(SYS_rt_sigqueueinfo, getpid(), n, &info); break;
    case 7: done = (int)syscall(SYS_tgkill, getpid(), gettid(), n); break;
    }
    dprintf(1, "  sent: %d, pending %lx\n", done, pending_now());
}

static void take(void) {
    sigset_t set = some();
    struct timespec none = {0, 0};
    siginfo_t info;
    memset(&info, 0, sizeof info);
    int n = sigtimedwait(&set, &info, &none);
    dprintf(1, "take %lx: %d", word(&set), n < 0 ? -errno : n);
    if (n > 0)
        tell_info(&info);
    dprintf(1, " left %lx\n", pending_now());
}

static void suspend(void) {
    sigset_t set = some();
    /* Only if something will end it. */
    unsigned long open = pending_now() & ~word(&set);
    for (unsigned i = 0; i < NUMBERS; i++) {
        struct sigaction a;
        sigaction(numbers[i], NULL, &a);
        if (a.sa_handler == SIG_IGN || a.sa_handler == SIG_DFL)
            open &= ~BIT(numbers[i]);
    }
    if (!open)
        return;
    dprintf(1, "suspend %lx\n", word(&set));
    int done = sigsuspend(&set);
    dprintf(1, "  suspended: %d %d, blocked %lx\n", done, errno, mask_now());
}

static void poll_with_mask(void) {
    sigset_t set = some();
    struct timespec none = {0, 0};
    dprintf(1, "ppoll %lx\n", word(&set));
    int done = ppoll(NULL, 0, &none, &set);
    dprintf(1, "  ppoll: %d, blocked %lx pending %lx\n", done, mask_now(), pending_now());
}

static void by_descriptor(void) {
    struct signalfd_siginfo got[3];
    if (sfd < 0 || below(3) == 0) {
        sigset_t set = some();
        sfd = signalfd(sfd, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        dprintf(1, "signalfd %lx\n", word(&set));
    }
    struct pollfd p = {sfd, POLLIN, 0};
    int ready = poll(&p, 1, 0);
    ssize_t n = read(sfd, got, sizeof got);
    dprintf(1, "signalfd ready %d: %zd %d", ready, n, n < 0 ? errno : 0);
    for (ssize_t i = 0; i < n / (ssize_t)sizeof *got; i++)
        dprintf(1, " %d/%d/%d", got[i].ssi_signo, got[i].ssi_code, got[i].ssi_int);
    dprintf(1, " left %lx\n", pending_now());
}

static void stack(void) {
    stack_t s = {.ss_sp = alternate, .ss_size = sizeof alternate}, old = {0};
    switch (below(4)) {
    case 0: s.ss_flags = SS_DISABLE; break;
    case 1: s.ss_size = 1000; break;
    }
    int done = sigaltstack(&s, &old);
    dprintf(1, "sigaltstack %d: %d %d, was %x\n", s.ss_flags, done, done ? errno : 0, old.ss_flags);
}

static void broken_pipe(void) {
    int p[2];
    EQUAL(pipe(p), 0);
    close(p[0]);
    ssize_t n = write(p[1], "x", 1);
    dprintf(1, "write: %zd %d, pending %lx\n", n, errno, pending_now());
    close(p[1]);
}

static void steps(int n);

static void child(void) {
    int status, life = (int)below(15);
    dprintf(1, "fork\n");
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct sigaction a = {.sa_handler = SIG_DFL};
        mortal = 1;
        if (below(2))
            sigaction(any(), &a, NULL);
        dprintf(1, "  child: blocked %lx pending %lx\n", mask_now(), pending_now());
        steps(life);
        _exit((int)below(100));
    }
    /* Its death is told where it is told, so SIGCHLD waits until it is over. */
    sigset_t chld = set_of(SIGCHLD), old;
    pid_t done;
    while ((done = waitpid(pid, &status, 0)) < 0 && errno == EINTR) {
    }
    if (done < 0) { /* SIGCHLD is ignored */
        EQUAL(errno, ECHILD);
        status = 0xabcd00;
    }
    sigprocmask(SIG_BLOCK, &chld, &old);
    dprintf(1, "  child's end: %x\n", status & ~0x80);
    sigprocmask(SIG_SETMASK, &old, NULL);
    (void)below(100);
}

static void step(void) {
    switch (below(22)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
    case 5: send(); break;
    case 6:
    case 7:
    case 8:
    case 9: change_mask(); break;
    case 10:
    case 11:
    case 12: change_action(any()); break;
    case 13: take(); break;
    case 14: take(); break;
    case 15: suspend(); break;
    case 16: poll_with_mask(); break;
    case 17:
        if (!without('p'))
            by_descriptor();
        break;
    case 18:
        if (!without('s'))
            stack();
        break;
    case 19:
        if (!without('p'))
            broken_pipe();
        break;
    case 20:
        if (!without('c') && mortal == 0 && below(3) == 0)
            child();
        break;
    default: dprintf(1, "blocked %lx pending %lx\n", mask_now(), pending_now()); break;
    }
}

static void steps(int n) {
    for (volatile int i = 0; i < n; i++) {
        depth = 0;
        budget = 6;
        int jumped = sigsetjmp(out, 1);
        jump_armed = 1;
        if (!jumped) {
            dprintf(1, "%d: ", i);
            step();
        } else
            dprintf(1, "  out of [%d], blocked %lx pending %lx\n", jumped, mask_now(), pending_now());
        jump_armed = 0;
    }
}

int main(int argc, char **argv) {
    struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    CHECK(argc == 4);
    left_out = argv[3];
    state = strtoull(argv[1], NULL, 10) * 2654435761u + 12345;
    sigset_t chld = set_of(SIGCHLD);
    sigprocmask(SIG_SETMASK, &chld, NULL);
    for (unsigned i = 0; i < NUMBERS; i++)
        EQUAL(sigaction(numbers[i], &a, NULL), 0);
    steps(atoi(argv[2]));
    return 0;
}
