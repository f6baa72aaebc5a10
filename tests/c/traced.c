/* A process that lets itself be traced, and its tracer, which sees nothing but what both do. See ptrace(2). */
#include "check.h"
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

enum { EXECUTED = 7 };
static char self[4096];

/* The next stop of the child, by this signal: its status without that. */
static int stops(pid_t pid, int signal) {
    int status;
    EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFSTOPPED(status));
    EQUAL(WSTOPSIG(status), signal);
    return status >> 16;
}

static void goes_on(pid_t pid, int signal) { EQUAL(ptrace(PTRACE_CONT, pid, 0, signal), 0); }

static volatile sig_atomic_t came;
static void count(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    came++;
}

/* What a program does that is traced: calls, a pipe, a signal to itself, a child. */
static void ordinary_life(void) {
    int p[2];
    char text[8];
    handle(SIGUSR1, 0, count);
    EQUAL(pipe(p), 0);
    EQUAL(write(p[1], "within", 6), 6);
    EQUAL(read(p[0], text, sizeof text), 6);
    EQUAL(raise(SIGUSR1), 0);
    EQUAL(came, 1);
    pid_t child = fork();
    if (child == 0) {
        EQUAL(write(p[1], "child", 5), 5);
        _exit(3);
    }
    EQUAL(read(p[0], text, sizeof text), 5);
    exits_with(child, 3);
}

/* In a program of its own: what was inherited as number 3 and 4 is read and written. */
static void executed(void) {
    char text[16];
    EQUAL(read(3, text, sizeof text), 5);
    EQUAL(write(4, text, 5), 5);
    ordinary_life();
    _exit(EXECUTED);
}

/* Sees it through its ordinary life. */
static void follow(pid_t pid) {
    stops(pid, SIGUSR1);
    goes_on(pid, SIGUSR1);
    stops(pid, SIGCHLD);
    goes_on(pid, SIGCHLD);
    exits_with(pid, EXECUTED);
}

struct pipes {
    int to[2], from[2];
};

static struct pipes make(void) {
    struct pipes p;
    EQUAL(pipe2(p.to, O_CLOEXEC), 0);
    EQUAL(pipe2(p.from, O_CLOEXEC), 0);
    EQUAL(write(p.to[1], "hello", 5), 5);
    return p;
}

/* Descriptors that are neither 3 nor 4, so that dup2 may make these. */
static void become_executed(const struct pipes *p) {
    int in = fcntl(p->to[0], F_DUPFD, 50), out = fcntl(p->from[1], F_DUPFD, 50);
    dup2(in, 3);
    dup2(out, 4);
    execl(self, self, "executed", NULL);
    _exit(98);
}

static void is_followed_after_exec(pid_t pid, const struct pipes *p) {
    char text[16];
    CHECK(pid > 0);
    stops(pid, SIGTRAP);
    goes_on(pid, 0);
    follow(pid);
    EQUAL(read(p->from[0], text, sizeof text), 5);
    CHECK(!memcmp(text, "hello", 5));
}

/* As gdb starts a program: its parent is asleep until the exec. */
static void vfork_and_exec(void) {
    struct pipes p = make();
    pid_t pid = vfork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0))
            _exit(97);
        become_executed(&p);
    }
    is_followed_after_exec(pid, &p);
}

static void fork_and_exec(void) {
    struct pipes p = make();
    pid_t pid = fork();
    if (pid == 0) {
        EQUAL(ptrace(PTRACE_TRACEME, 0, 0, 0), 0);
        become_executed(&p);
    }
    is_followed_after_exec(pid, &p);
}

/* By number, with everything else by number, too. */
static void by_number(void) {
    struct pipes p = make();
    pid_t pid = (pid_t)syscall(SYS_fork);
    if (pid == 0) {
        EQUAL(syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0), 0);
        become_executed(&p);
    }
    is_followed_after_exec(pid, &p);
}

/* It holds a pipe, an eventfd and a socket, with something in each, and handlers and a mask. */
static void goes_on_without_exec(void) {
    int pair[2], p[2], e = eventfd(3, 0);
    char text[8];
    uint64_t n;
    EQUAL(pipe(p), 0);
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    EQUAL(write(p[1], "pipe", 4), 4);
    EQUAL(write(pair[1], "pair", 4), 4);
    handle(SIGUSR2, 0, count);
    handle(SIGSYS, 0, count);
    unsigned long before = mask_now();
    sigset_t set = set_of(SIGUSR2), old;
    sigaddset(&set, SIGSYS);
    sigaddset(&set, SIGRTMIN);
    EQUAL(sigprocmask(SIG_BLOCK, &set, &old), 0);
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGUSR2);
        raise(SIGSYS);
        EQUAL(ptrace(PTRACE_TRACEME, 0, 0, 0), 0);
        EQUAL(mask_now() & ~before, BIT(SIGUSR2) | BIT(SIGSYS) | BIT(SIGRTMIN));
        EQUAL(came, 0);
        raise(SIGSTOP);
        EQUAL(sigprocmask(SIG_SETMASK, &old, NULL), 0);
        EQUAL(came, 2);
        came = 0;
        EQUAL(read(p[0], text, sizeof text), 4);
        EQUAL(read(pair[0], text, sizeof text), 4);
        EQUAL(read(e, &n, sizeof n), 8);
        EQUAL(n, 3);
        EQUAL(write(pair[0], "back", 4), 4);
        ordinary_life();
        _exit(EXECUTED);
    }
    stops(pid, SIGSTOP);
    goes_on(pid, 0);
    for (int i = 0; i < 2; i++) {
        int status;
        EQUAL(waitpid(pid, &status, 0), pid);
        CHECK(WIFSTOPPED(status));
        CHECK(WSTOPSIG(status) == SIGUSR2 || WSTOPSIG(status) == SIGSYS);
        goes_on(pid, WSTOPSIG(status));
    }
    follow(pid);
    EQUAL(read(pair[1], text, sizeof text), 4);
    EQUAL(write(p[1], "more", 4), 4);
    EQUAL(read(p[0], text, sizeof text), 4);
}

/* The tracer is shown each child of the traced one, as gdb and strace -f are. */
static void its_children_are_traced(void) {
    struct pipes p = make();
    pid_t pid = fork();
    if (pid == 0) {
        EQUAL(ptrace(PTRACE_TRACEME, 0, 0, 0), 0);
        become_executed(&p);
    }
    stops(pid, SIGTRAP);
    EQUAL(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL), 0);
    goes_on(pid, 0);
    stops(pid, SIGUSR1);
    goes_on(pid, SIGUSR1);
    unsigned long child;
    EQUAL(stops(pid, SIGTRAP), PTRACE_EVENT_FORK);
    EQUAL(ptrace(PTRACE_GETEVENTMSG, pid, 0, &child), 0);
    stops((pid_t)child, SIGSTOP);
    goes_on((pid_t)child, 0);
    goes_on(pid, 0);
    exits_with((pid_t)child, 3);
    stops(pid, SIGCHLD);
    goes_on(pid, SIGCHLD);
    exits_with(pid, EXECUTED);
}

/* Its tracer lets it go; what it starts then is no longer traced, and talks to the tracer by what it inherited. */
static void is_let_go(void) {
    struct pipes p = make();
    char text[16];
    pid_t pid = fork();
    if (pid == 0) {
        EQUAL(ptrace(PTRACE_TRACEME, 0, 0, 0), 0);
        raise(SIGSTOP);
        pid_t next = fork();
        if (next == 0)
            become_executed(&p);
        exits_with(next, EXECUTED);
        _exit(5);
    }
    stops(pid, SIGSTOP);
    EQUAL(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
    EQUAL(read(p.from[0], text, sizeof text), 5);
    exits_with(pid, 5);
}

static const struct part parts[] = {
    {"executed", executed},
    {"vfork_and_exec", vfork_and_exec},
    {"fork_and_exec", fork_and_exec},
    {"by_number", by_number},
    {"goes_on_without_exec", goes_on_without_exec},
    {"its_children_are_traced", its_children_are_traced},
    {"is_let_go", is_let_go},
};

int main(int argc, char **argv) {
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    return run_part(parts, sizeof parts / sizeof *parts, argc, argv);
}
