/* jumps PART: out of handlers by longjmp and contexts; and vector registers under signals. */
#include "check.h"
#include <ucontext.h>

static sigjmp_buf out;
static jmp_buf plain_out;
static volatile int ran;

static void jump(int number, siginfo_t *info, void *context) {
    ran++;
    siglongjmp(out, number);
    (void)info, (void)context;
}

/* --- siglongjmp --- */

static void back_with_the_mask(void) {
    handle(SIGUSR1, 0, jump);
    sigset_t hup = set_of(SIGHUP);
    sigprocmask(SIG_SETMASK, &hup, NULL);
    for (int i = 1; i <= 100; i++) {
        if (!sigsetjmp(out, 1)) {
            raise(SIGUSR1);
            CHECK(!"here");
        }
        EQUAL(ran, i);
        EQUAL(mask_now(), BIT(SIGHUP));
    }
}

static void back_without_the_mask(void) {
    handle(SIGUSR1, 0, jump);
    if (!sigsetjmp(out, 0))
        raise(SIGUSR1);
    EQUAL(mask_now(), BIT(SIGUSR1));
    /* So it is blocked from now on. */
    raise(SIGUSR1);
    EQUAL(ran, 1);
    sigset_t none = set_of(0);
    if (!sigsetjmp(out, 0))
        sigprocmask(SIG_SETMASK, &none, NULL);
    EQUAL(ran, 2);
}

static void jump_plainly(int number, siginfo_t *info, void *context) {
    ran++;
    longjmp(plain_out, 1);
    (void)number, (void)info, (void)context;
}

static void longjmp_keeps_the_handlers_mask(void) {
    handle(SIGUSR1, 0, jump_plainly);
    if (!setjmp(plain_out))
        raise(SIGUSR1);
    EQUAL(mask_now(), BIT(SIGUSR1));
    handle(SIGUSR2, SA_NODEFER, jump_plainly);
    if (!setjmp(plain_out))
        raise(SIGUSR2);
    EQUAL(mask_now(), BIT(SIGUSR1));
    EQUAL(ran, 2);
}

/* What siglongjmp unblocks comes at once. */
static void count(int number, siginfo_t *info, void *context) {
    ran += 10;
    (void)number, (void)info, (void)context;
}

static void raise_and_jump(int number, siginfo_t *info, void *context) {
    raise(SIGUSR2);
    EQUAL(ran, 0);
    siglongjmp(out, 1);
    (void)number, (void)info, (void)context;
}

static void pending_comes_with_the_jump(void) {
    struct sigaction a = {.sa_sigaction = raise_and_jump, .sa_flags = SA_SIGINFO};
    a.sa_mask = set_of(SIGUSR2);
    sigaction(SIGUSR1, &a, NULL);
    handle(SIGUSR2, 0, count);
    if (!sigsetjmp(out, 1))
        raise(SIGUSR1);
    EQUAL(ran, 10);
    EQUAL(mask_now(), 0);
}

static void nested(int number, siginfo_t *info, void *context) {
    if (number == SIGUSR1)
        raise(SIGUSR2);
    siglongjmp(out, 1);
    (void)info, (void)context;
}

static void over_two_handlers(void) {
    handle(SIGUSR1, 0, nested);
    handle(SIGUSR2, 0, nested);
    for (int i = 0; i < 1000; i++) {
        if (!sigsetjmp(out, 1))
            raise(SIGUSR1);
        EQUAL(mask_now(), 0);
    }
}

static void out_of(int call) {
    int p[2];
    char byte;
    EQUAL(pipe(p), 0);
    struct itimerval soon = {{0, 0}, {0, 20000}};
    struct pollfd fd = {p[0], POLLIN, 0};
    struct timespec long_time = {1000, 0};
    sigset_t set = set_of(SIGUSR2), none = set_of(0);
    if (!sigsetjmp(out, 1)) {
        setitimer(ITIMER_REAL, &soon, NULL);
        switch (call) {
        case 0: read(p[0], &byte, 1); break;
        case 1: poll(&fd, 1, -1); break;
        case 2: nanosleep(&long_time, NULL); break;
        case 3: pause(); break;
        case 4: sigsuspend(&none); break;
        case 5: sigwaitinfo(&set, NULL); break;
        case 6: wait(NULL); break;
        case 7: ppoll(&fd, 1, NULL, &none); break;
        case 8:
            for (;;) {
            }
        }
        CHECK(!"here");
    }
    EQUAL(mask_now(), 0);
    /* All works as before. */
    EQUAL(write(p[1], "x", 1), 1);
    EQUAL(read(p[0], &byte, 1), 1);
    close(p[0]);
    close(p[1]);
}

static void out_of_blocking_calls(void) {
    handle(SIGALRM, SA_RESTART, jump);
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    for (int round = 0; round < 3; round++)
        for (int call = 0; call <= 8; call++)
            out_of(call);
    kill(child, SIGKILL);
    EQUAL(waitpid(child, NULL, 0), child);
    EQUAL(ran, 27);
}

static volatile long rounds;

/* Out of whatever the program is doing, thousands of times: nothing is left locked. */
static void a_storm_of_jumps(void) {
    int p[2];
    char bytes[300];
    struct itimerval every = {{0, 150}, {0, 150}};
    memset(bytes, 'x', sizeof bytes);
    EQUAL(pipe(p), 0);
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    fcntl(p[1], F_SETFL, O_NONBLOCK);
    handle(SIGALRM, SA_RESTART, jump);
    setitimer(ITIMER_REAL, &every, NULL);
    sigsetjmp(out, 1);
    while (ran < 3000) {
        struct pollfd fd = {p[0], POLLIN, 0};
        write(p[1], bytes, sizeof bytes);
        poll(&fd, 1, 0);
        read(p[0], bytes, sizeof bytes);
        raise(SIGURG);
        mask_now();
        rounds++;
    }
    memset(&every, 0, sizeof every);
    setitimer(ITIMER_REAL, &every, NULL);
    CHECK(rounds > 0);
    while (read(p[0], bytes, sizeof bytes) > 0) {
    }
    EQUAL(write(p[1], "end", 3), 3);
    EQUAL(read(p[0], bytes, 9), 3);
    EQUAL(mask_now(), 0);
}

/* --- contexts --- */

static ucontext_t main_context, other;
static char stack[65536];
static volatile int step;

static void coroutine(void) {
    EQUAL(mask_now(), BIT(SIGUSR1));
    step = 1;
    swapcontext(&other, &main_context);
    EQUAL(mask_now(), BIT(SIGUSR1) | BIT(SIGHUP));
    step = 2;
}

/* Each context has its mask. */
static void contexts_and_masks(void) {
    getcontext(&other);
    other.uc_stack.ss_sp = stack;
    other.uc_stack.ss_size = sizeof stack;
    other.uc_link = &main_context;
    sigaddset(&other.uc_sigmask, SIGUSR1);
    makecontext(&other, coroutine, 0);
    sigset_t term = set_of(SIGTERM);
    sigprocmask(SIG_SETMASK, &term, NULL);
    swapcontext(&main_context, &other);
    EQUAL(step, 1);
    EQUAL(mask_now(), BIT(SIGTERM));
    sigaddset(&other.uc_sigmask, SIGHUP);
    swapcontext(&main_context, &other);
    EQUAL(step, 2);
    EQUAL(mask_now(), BIT(SIGTERM));
}

static void out_by_setcontext(int number, siginfo_t *info, void *context) {
    EQUAL(mask_now(), BIT(SIGUSR1));
    step++;
    setcontext(&main_context);
    (void)number, (void)info, (void)context;
}

static void setcontext_out_of_a_handler(void) {
    handle(SIGUSR1, 0, out_by_setcontext);
    volatile int rounds = 0;
    getcontext(&main_context);
    EQUAL(mask_now(), 0);
    if (rounds++ < 100)
        raise(SIGUSR1);
    EQUAL(step, 100);
}

static void swap_to_main(int number, siginfo_t *info, void *context) {
    step++;
    swapcontext(&other, &main_context);
    step++;
    (void)number, (void)info, (void)context;
}

static void raise_in_it(void) {
    raise(SIGUSR1);
    step++;
}

/* Out of a handler on a coroutine's stack, and into it again: it returns later. */
static void swapcontext_out_of_a_handler_and_back(void) {
    handle(SIGUSR1, 0, swap_to_main);
    getcontext(&other);
    other.uc_stack.ss_sp = stack;
    other.uc_stack.ss_size = sizeof stack;
    other.uc_link = &main_context;
    makecontext(&other, raise_in_it, 0);
    swapcontext(&main_context, &other);
    EQUAL(step, 1);
    EQUAL(mask_now(), 0);
    swapcontext(&main_context, &other);
    EQUAL(step, 3);
    EQUAL(mask_now(), 0);
}

/* What a context's mask lets in comes with the switch. */
static void pending_comes_with_the_context(void) {
    handle(SIGUSR2, 0, count);
    volatile int first = 1;
    getcontext(&main_context);
    if (first) {
        first = 0;
        sigset_t two = set_of(SIGUSR2);
        sigprocmask(SIG_BLOCK, &two, NULL);
        raise(SIGUSR2);
        EQUAL(ran, 0);
        setcontext(&main_context);
    }
    EQUAL(ran, 10);
}

static const struct part parts[] = {
    {"back_with_the_mask", back_with_the_mask},
    {"back_without_the_mask", back_without_the_mask},
    {"longjmp_keeps_the_handlers_mask", longjmp_keeps_the_handlers_mask},
    {"pending_comes_with_the_jump", pending_comes_with_the_jump},
    {"over_two_handlers", over_two_handlers},
    {"out_of_blocking_calls", out_of_blocking_calls},
    {"a_storm_of_jumps", a_storm_of_jumps},
    {"contexts_and_masks", contexts_and_masks},
    {"setcontext_out_of_a_handler", setcontext_out_of_a_handler},
    {"swapcontext_out_of_a_handler_and_back", swapcontext_out_of_a_handler_and_back},
    {"pending_comes_with_the_context", pending_comes_with_the_context},
};
PARTS(parts)
