/* edits PART: signals that come at any moment, also where a system call is taken up or left: the mask that a handler
   leaves in its frame is in force, and so is what a call has set. */
#include "check.h"

enum { ROUNDS = 8000, CHILDREN = 3000 };

static volatile unsigned long rounds;
static int ends[2];

static long raw(long nr, const void *a, const void *b, const void *c, long d) {
    long ret;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return ret;
}

static unsigned long raw_mask(void) {
    unsigned long mask;
    EQUAL(raw(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8), 0);
    return mask;
}

/* The program's own `syscall` instructions, each served in another way: not at all, by a pipe, and by the kernel, but
   looked at afterwards. */
static void pass(void) { raw(SYS_getppid, NULL, NULL, NULL, 0); }

static void serve(void) {
    char byte = 1;
    EQUAL(raw(SYS_write, (void *)(long)ends[1], &byte, (void *)1, 0), 1);
    EQUAL(raw(SYS_read, (void *)(long)ends[0], &byte, (void *)1, 0), 1);
}

static void open_null(void) {
    long fd = raw(SYS_open, "/dev/null", NULL, NULL, 0);
    CHECK(fd > 0);
    EQUAL(raw(SYS_close, (void *)fd, NULL, NULL, 0), 0);
}

static void fail_to_exec(void) {
    char *none[] = {NULL};
    EQUAL(raw(SYS_execve, "/nowhere", none, none, 0), -ENOENT);
    EQUAL(raw(SYS_execve, "/etc/passwd", none, none, 0), -EACCES);
}

static void call_by_name(void) {
    char byte = 1;
    EQUAL(write(ends[1], &byte, 1), 1);
    EQUAL(read(ends[0], &byte, 1), 1);
}

static void nothing(void) {}

/* --- handlers that edit --- */

/* Every second one blocks SIGUSR1, the others open it again. */
static void toggle(int number, siginfo_t *info, void *context) {
    sigset_t *mask = &((ucontext_t *)context)->uc_sigmask;
    if (++rounds & 1)
        sigaddset(mask, SIGUSR1);
    else
        sigdelset(mask, SIGUSR1);
    (void)number, (void)info;
}

static unsigned long toggled(unsigned long times) { return times & 1 ? BIT(SIGUSR1) : 0; }

static void every(long us) {
    struct itimerval often = {{0, us}, {0, us}};
    EQUAL(setitimer(ITIMER_REAL, &often, NULL), 0);
}

static void begin(int number, void (*handler)(int, siginfo_t *, void *)) {
    EQUAL(pipe(ends), 0);
    handle(number, SA_RESTART, handler);
    if (number == SIGALRM)
        every(37);
}

static void edit_upon(void (*call)(void)) {
    unsigned long looks = 0;
    begin(SIGALRM, toggle);
    while (rounds < ROUNDS) {
        call();
        unsigned long before = rounds, mask = raw_mask();
        if (rounds == before) {
            EQUAL(mask, toggled(before));
            looks++;
        }
    }
    every(0);
    CHECK(looks > 100);
}

static void upon_no_call(void) { edit_upon(nothing); }
static void upon_what_is_passed_on(void) { edit_upon(pass); }
static void upon_what_is_served(void) { edit_upon(serve); }
static void upon_open(void) { edit_upon(open_null); }
static void upon_exec_that_fails(void) { edit_upon(fail_to_exec); }
static void upon_calls_by_name(void) { edit_upon(call_by_name); }

/* SIGCHLD comes wherever fork has got to by the time the child has ended. */
static void upon_forks(void) {
    begin(SIGCHLD, toggle);
    for (unsigned long i = 1; i <= CHILDREN; i++) {
        pid_t child = fork();
        if (!child)
            _exit(0);
        exits_with(child, 0);
        EQUAL(rounds, i);
        EQUAL(raw_mask(), toggled(i));
    }
}

/* --- handlers that edit nothing --- */

static void only_count(int number, siginfo_t *info, void *context) {
    rounds++;
    (void)number, (void)info, (void)context;
}

/* What the program sets stays. */
static void upon_a_change_of_the_mask(void) {
    begin(SIGALRM, only_count);
    for (unsigned long i = 0; rounds < ROUNDS; i++) {
        unsigned long mask = i & 1 ? BIT(SIGUSR1) : BIT(SIGUSR2) | BIT(SIGHUP);
        EQUAL(raw(SYS_rt_sigprocmask, (void *)SIG_SETMASK, &mask, NULL, 8), 0);
        EQUAL(raw_mask(), mask);
    }
    every(0);
}

static volatile int is_open;

static void only_if_open(int number, siginfo_t *info, void *context) {
    CHECK(is_open);
    only_count(number, info, context);
}

/* What is blocked does not come, whatever the program does meanwhile; and it comes when it is opened. */
static void never_while_blocked(void) {
    void (*const calls[])(void) = {serve, pass, open_null, fail_to_exec, call_by_name};
    sigset_t alarm = set_of(SIGALRM);
    is_open = 1;
    begin(SIGALRM, only_if_open);
    for (unsigned i = 0; rounds < ROUNDS / 4; i++) {
        EQUAL(sigprocmask(SIG_BLOCK, &alarm, NULL), 0);
        is_open = 0;
        calls[i % 5]();
        calls[i / 5 % 5]();
        CHECK(raw_mask() == BIT(SIGALRM));
        is_open = 1;
        EQUAL(sigprocmask(SIG_UNBLOCK, &alarm, NULL), 0);
    }
    every(0);
}

static const struct part parts[] = {
    {"upon_no_call", upon_no_call},
    {"upon_what_is_passed_on", upon_what_is_passed_on},
    {"upon_what_is_served", upon_what_is_served},
    {"upon_open", upon_open},
    {"upon_exec_that_fails", upon_exec_that_fails},
    {"upon_calls_by_name", upon_calls_by_name},
    {"upon_forks", upon_forks},
    {"upon_a_change_of_the_mask", upon_a_change_of_the_mask},
    {"never_while_blocked", never_while_blocked},
};
PARTS(parts)
