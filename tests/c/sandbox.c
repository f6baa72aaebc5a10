/* A process that allows itself a few system calls only, with a pipe, an eventfd and a socket in its hands. See
   seccomp(2). */
#include "check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define ALLOW(call)                                          \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1),   \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

/* Of these not even the return from a signal handler is allowed. */
static struct sock_filter few[] = {NUMBER, ALLOW(read), ALLOW(write), ALLOW(exit_group), KILL};
static struct sock_filter with_handlers[] = {
    NUMBER, ALLOW(read), ALLOW(write), ALLOW(exit_group), ALLOW(rt_sigreturn), KILL,
};
/* Nothing that anybody needs is forbidden. */
static struct sock_filter harmless[] = {
    NUMBER,
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_personality, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

#define PROGRAM(filter) ((struct sock_fprog){sizeof filter / sizeof *filter, filter})

static void by_prctl(struct sock_fprog program) {
    EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void by_syscall(struct sock_fprog program) {
    EQUAL(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), 0);
}

static void by_instruction(struct sock_fprog program) {
    long ret = SYS_prctl;
    register long none asm("r10") = 0;
    register long more asm("r8") = 0;
    asm volatile("syscall"
                 : "+a"(ret)
                 : "D"(PR_SET_SECCOMP), "S"(SECCOMP_MODE_FILTER), "d"(&program), "r"(none), "r"(more)
                 : "rcx", "r11", "memory");
    EQUAL(ret, 0);
}

static int to[2], from[2], pair[2], event;
static volatile sig_atomic_t came;

static void count(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    came++;
}

static void make(void) {
    EQUAL(pipe(to), 0);
    EQUAL(pipe(from), 0);
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    EQUAL(event = eventfd(5, 0), event);
    EQUAL(write(to[1], "before", 6), 6);
    EQUAL(write(pair[1], "pair", 4), 4);
}

/* In the sandbox: everything is there, and comes, and goes. */
static void serve(void) {
    char text[16];
    uint64_t n;
    ssize_t got;
    CHECK(read(to[0], text, 6) == 6 && !memcmp(text, "before", 6));
    CHECK(read(pair[0], text, 4) == 4 && !memcmp(text, "pair", 4));
    CHECK(read(event, &n, sizeof n) == 8 && n == 5);
    CHECK(write(pair[0], "ready", 5) == 5);
    while ((got = read(to[0], text, sizeof text)) > 0)
        CHECK(write(from[1], text, (size_t)got) == got);
}

/* From outside: it answers until its input ends. */
static void use(pid_t pid, int status) {
    char text[16];
    close(to[0]);
    close(from[1]);
    EQUAL(read(pair[1], text, 5), 5);
    for (int i = 0; i < 100; i++) {
        EQUAL(write(to[1], &i, sizeof i), sizeof i);
        int back;
        EQUAL(read(from[0], &back, sizeof back), sizeof back);
        EQUAL(back, i);
    }
    close(to[1]);
    EQUAL(read(from[0], text, 1), 0);
    exits_with(pid, status);
}

static void sandboxed(void (*install)(struct sock_fprog), struct sock_fprog program) {
    make();
    pid_t pid = fork();
    if (pid == 0) {
        close(to[1]);
        close(from[0]);
        EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        install(program);
        serve();
        _exit(4);
    }
    use(pid, 4);
}

static void a_few_calls_by_prctl(void) { sandboxed(by_prctl, PROGRAM(few)); }
static void a_few_calls_by_syscall(void) { sandboxed(by_syscall, PROGRAM(few)); }
static void a_few_calls_by_instruction(void) { sandboxed(by_instruction, PROGRAM(few)); }
static void harmless_filter(void) { sandboxed(by_prctl, PROGRAM(harmless)); }

/* Nothing but read, write, exit and sigreturn. */
static void strict(void) {
    make();
    pid_t pid = fork();
    if (pid == 0) {
        close(to[1]);
        close(from[0]);
        EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), 0);
        serve();
        syscall(SYS_exit, 4);
    }
    use(pid, 4);
}

/* What was installed before is called, and what was pending and blocked stays so. */
static void handlers_go_on(void) {
    make();
    handle(SIGUSR1, SA_RESTART, count);
    handle(SIGSEGV, 0, count);
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t set = set_of(SIGUSR2);
        sigaddset(&set, SIGSEGV);
        close(to[1]);
        close(from[0]);
        EQUAL(sigprocmask(SIG_BLOCK, &set, NULL), 0);
        EQUAL(raise(SIGUSR2), 0); /* its default would kill */
        EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        by_prctl(PROGRAM(with_handlers));
        serve();
        _exit(came);
    }
    char text[16];
    EQUAL(read(pair[1], text, 5), 5);
    for (char i = 1; i <= 20; i++) {
        EQUAL(kill(pid, SIGUSR1), 0);
        EQUAL(kill(pid, SIGSEGV), 0);
        EQUAL(write(to[1], &i, 1), 1);
        EQUAL(read(from[0], text, 1), 1);
    }
    close(to[0]);
    close(to[1]);
    int status;
    EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    EQUAL(WEXITSTATUS(status), 20);
}

/* The first call that is forbidden kills, and the others see that. */
static void is_killed(void) {
    make();
    pid_t pid = fork();
    if (pid == 0) {
        close(to[1]);
        EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        by_prctl(PROGRAM(few));
        serve();
        getppid();
        _exit(0);
    }
    close(from[1]);
    close(to[1]);
    char text[16];
    EQUAL(read(pair[1], text, 5), 5);
    EQUAL(read(from[0], text, 1), 0);
    int status;
    EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    EQUAL(WTERMSIG(status), SIGSYS);
}

/* Before anything else was done; what is made then is the kernel's. */
static void first_of_all(void) {
    int p[2];
    char text[4];
    pid_t pid = fork();
    if (pid == 0) {
        EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        struct sock_filter with_pipes[] = {NUMBER, ALLOW(pipe), ALLOW(pipe2), ALLOW(read), ALLOW(write),
                                           ALLOW(exit_group), KILL};
        by_prctl(PROGRAM(with_pipes));
        CHECK(pipe(p) == 0);
        CHECK(write(p[1], "own", 3) == 3);
        CHECK(read(p[0], text, sizeof text) == 3);
        exit(6);
    }
    exits_with(pid, 6);
}

/* The kernel refuses what is no filter, and nothing has changed. */
static void refused(void) {
    make();
    struct sock_filter none[] = {{0xffff, 0, 0, 0}, KILL};
    struct sock_fprog program = PROGRAM(none), empty = {0, none};
    EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), -1);
    EQUAL(errno, EINVAL);
    EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &empty), -1);
    EQUAL(errno, EINVAL);
    EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (void *)8), -1);
    EQUAL(errno, EFAULT);
    close(to[1]);
    serve();
}

/* The memory ends in the middle of the filter, and of what tells of it. */
static void torn(void) {
    char *page = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    EQUAL(munmap(page + 4096, 4096), 0);
    struct sock_filter *half = (struct sock_filter *)(page + 4096) - 2;
    memcpy(half, few, 2 * sizeof *half);
    EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){4, half}), -1);
    EQUAL(errno, EFAULT);
    EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, page + 4096 - 8), -1);
    EQUAL(errno, EFAULT);
}

/* What the kernel says of this thread's masks: blocked, and pending for it. */
static unsigned long status_of(const char *what) {
    static __thread char text[4096];
    int fd = open("/proc/thread-self/status", O_RDONLY);
    CHECK(fd >= 0);
    ssize_t got = read(fd, text, sizeof text - 1);
    CHECK(got > 0);
    text[got] = 0;
    close(fd);
    char *line = strstr(text, what);
    CHECK(line);
    return strtoul(line + strlen(what), NULL, 16);
}

static void *blocks_faults(void *expected) {
    sigset_t set = set_of(SIGSEGV);
    EQUAL(mask_now(), (unsigned long)expected);
    EQUAL(status_of("SigBlk:\t"), (unsigned long)expected);
    sigaddset(&set, SIGSYS);
    EQUAL(pthread_sigmask(SIG_SETMASK, &set, NULL), 0);
    EQUAL(status_of("SigBlk:\t"), BIT(SIGSEGV) | BIT(SIGSYS));
    EQUAL(pthread_kill(pthread_self(), SIGSEGV), 0);
    EQUAL(status_of("SigPnd:\t"), BIT(SIGSEGV));
    unsigned long word = BIT(SIGBUS) | BIT(SIGSEGV);
    EQUAL(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &word, NULL, 8), 0);
    EQUAL(status_of("SigBlk:\t"), word);
    return NULL;
}

/* One that forbids little begins threads: their masks are the kernel's. */
static void with_threads(void) {
    static struct sock_filter no_splice[] = {
        NUMBER,
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_splice, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    pthread_t thread;
    sigset_t set = set_of(SIGBUS);
    make();
    handle(SIGSEGV, 0, count);
    EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    by_prctl(PROGRAM(no_splice));
    for (int i = 0; i < 2; i++) {
        EQUAL(pthread_sigmask(i ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL), 0);
        EQUAL(pthread_create(&thread, NULL, blocks_faults, (void *)(i ? BIT(SIGBUS) : 0)), 0);
        EQUAL(pthread_join(thread, NULL), 0);
    }
    blocks_faults((void *)BIT(SIGBUS));
    EQUAL(came, 0);
}

static const struct part parts[] = {
    {"a_few_calls_by_prctl", a_few_calls_by_prctl},
    {"a_few_calls_by_syscall", a_few_calls_by_syscall},
    {"a_few_calls_by_instruction", a_few_calls_by_instruction},
    {"strict", strict},
    {"harmless_filter", harmless_filter},
    {"handlers_go_on", handlers_go_on},
    {"is_killed", is_killed},
    {"first_of_all", first_of_all},
    {"refused", refused},
    {"torn", torn},
    {"with_threads", with_threads},
};

PARTS(parts)
