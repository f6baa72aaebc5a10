/* altstack PART: the alternate stack. See sigaltstack(2). */
#include "check.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
#define SIZE 65536
static char one[SIZE], two[SIZE];
static volatile int ran;

static int on(const char *stack, const void *at) {
    return (const char *)at >= stack && (const char *)at < stack + SIZE;
}

static void use(char *stack, int flags) {
    stack_t s = {.ss_sp = stack, .ss_size = SIZE, .ss_flags = flags};
    EQUAL(sigaltstack(&s, NULL), 0);
}

static stack_t now(void) {
    stack_t s;
    EQUAL(sigaltstack(NULL, &s), 0);
    return s;
}

static int refused(void *sp, size_t size, int flags) {
    stack_t s = {.ss_sp = sp, .ss_size = size, .ss_flags = flags};
    return sigaltstack(&s, NULL) == -1 ? errno : 0;
}

static void read_back(void) {
    EQUAL(now().ss_flags, SS_DISABLE);
    use(one, 0);
    stack_t s = now();
    CHECK(s.ss_sp == one && s.ss_size == SIZE && s.ss_flags == 0);
    stack_t next = {.ss_sp = two, .ss_size = SIZE}, old;
    EQUAL(sigaltstack(&next, &old), 0);
    CHECK(old.ss_sp == one);
    use(two, SS_AUTODISARM);
    EQUAL(now().ss_flags, (int)SS_AUTODISARM);
    use(two, SS_ONSTACK); /* taken as 0 */
    EQUAL(now().ss_flags & ~SS_ONSTACK, 0);
    use(NULL, SS_DISABLE);
    s = now();
    CHECK(s.ss_flags == SS_DISABLE && s.ss_sp == NULL && s.ss_size == 0);
}

static void errors(void) {
    EQUAL(refused(one, SIZE, 0x1000), EINVAL);
    EQUAL(refused(one, SIZE, 3), EINVAL);
    EQUAL(refused(one, 2047, 0), ENOMEM);
    EQUAL(refused(one, 0, 0), ENOMEM);
    EQUAL(refused(one, 0, SS_DISABLE), 0);
    EQUAL(syscall(SYS_sigaltstack, 8, NULL), -1);
    EQUAL(errno, EFAULT);
    EQUAL(syscall(SYS_sigaltstack, NULL, 8), -1);
    EQUAL(errno, EFAULT);
    EQUAL(now().ss_flags, SS_DISABLE);
}

static void where(int number, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    CHECK(on(one, &u) && on(one, info) && on(one, context));
    EQUAL(now().ss_flags, SS_ONSTACK);
    CHECK(u->uc_stack.ss_sp == one && u->uc_stack.ss_size == SIZE && u->uc_stack.ss_flags == 0);
    /* It may not be changed while it is in use. */
    EQUAL(refused(two, SIZE, 0), EPERM);
    EQUAL(refused(NULL, 0, SS_DISABLE), EPERM);
    ran++;
    (void)number;
}

static void handler_is_on_it(void) {
    use(one, 0);
    handle(SIGUSR1, SA_ONSTACK, where);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR1);
    EQUAL(ran, 2);
    EQUAL(now().ss_flags, 0);
}

static void not_there(int number, siginfo_t *info, void *context) {
    CHECK(!on(one, &number) && !on(one, info) && !on(one, context));
    EQUAL(now().ss_flags, 0);
    ran++;
}

static void without_the_flag_it_is_not_used(void) {
    use(one, 0);
    handle(SIGUSR1, 0, not_there);
    raise(SIGUSR1);
    EQUAL(ran, 1);
}

static void elsewhere(int number, siginfo_t *info, void *context) {
    EQUAL(now().ss_flags, SS_DISABLE);
    /* In the frame it is the flags as they were set: never. */
    EQUAL(((ucontext_t *)context)->uc_stack.ss_flags, 0);
    EQUAL(((ucontext_t *)context)->uc_stack.ss_size, 0);
    ran++;
    (void)number, (void)info;
}

static void flag_without_a_stack(void) {
    handle(SIGUSR1, SA_ONSTACK, elsewhere);
    raise(SIGUSR1);
    EQUAL(ran, 1);
}

static char *outer;

static void inner(int number, siginfo_t *info, void *context) {
    CHECK(on(one, &number) && (char *)&number < outer);
    EQUAL(now().ss_flags, SS_ONSTACK);
    /* The stack in the frame is the one that was set, in use already. */
    CHECK(((ucontext_t *)context)->uc_stack.ss_sp == one);
    ran++;
    (void)info;
}

static void outer_handler(int number, siginfo_t *info, void *context) {
    outer = (char *)&number;
    EQUAL(now().ss_flags, SS_ONSTACK);
    raise(SIGUSR2);
    EQUAL(ran, 1);
    EQUAL(now().ss_flags, SS_ONSTACK);
    (void)info, (void)context;
}

static void nested_handlers_share_it(void) {
    use(one, 0);
    handle(SIGUSR1, SA_ONSTACK, outer_handler);
    handle(SIGUSR2, SA_ONSTACK, inner);
    raise(SIGUSR1);
    EQUAL(ran, 1);
    ran = 0;
    handle(SIGUSR2, 0, inner); /* without the flag it goes on where it is */
    raise(SIGUSR1);
    EQUAL(ran, 1);
    EQUAL(now().ss_flags, 0);
}

static void on_two(int number, siginfo_t *info, void *context) {
    CHECK(on(two, &number));
    ran++;
    (void)info, (void)context;
}

static void disarmed(int number, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    CHECK(on(one, &number));
    EQUAL(now().ss_flags, SS_DISABLE);
    CHECK(u->uc_stack.ss_sp == one && u->uc_stack.ss_flags == (int)SS_AUTODISARM);
    /* So another may be set, and is used by handlers above this one. */
    use(two, 0);
    raise(SIGUSR2);
    EQUAL(ran, 1);
    (void)info;
}

static void autodisarm(void) {
    use(one, SS_AUTODISARM);
    handle(SIGUSR1, SA_ONSTACK, disarmed);
    handle(SIGUSR2, SA_ONSTACK, on_two);
    raise(SIGUSR1);
    EQUAL(ran, 1);
    stack_t s = now();
    CHECK(s.ss_sp == one && s.ss_flags == (int)SS_AUTODISARM);
}

static void edit_the_stack(int number, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    u->uc_stack.ss_sp = two;
    ran++;
    (void)number, (void)info;
}

/* uc_stack is what sigreturn sets. */
static void edited_in_the_frame(void) {
    use(one, 0);
    handle(SIGUSR1, 0, edit_the_stack);
    raise(SIGUSR1);
    CHECK(now().ss_sp == two);
}

static void *in_thread(void *arg) {
    EQUAL(now().ss_flags, SS_DISABLE);
    use(two, 0);
    handle(SIGUSR2, SA_ONSTACK, on_two);
    pthread_kill(pthread_self(), SIGUSR2);
    EQUAL(ran, 1);
    return arg;
}

static void each_thread_has_its_own(void) {
    pthread_t t;
    use(one, 0);
    EQUAL(pthread_create(&t, NULL, in_thread, NULL), 0);
    pthread_join(t, NULL);
    CHECK(now().ss_sp == one);
}

static void a_child_has_it(void) {
    use(one, 0);
    handle(SIGUSR1, SA_ONSTACK, where);
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGUSR1);
        _exit(ran == 1 && now().ss_sp == one ? 0 : 1);
    }
    exits_with(pid, 0);
}

/* --- overflow --- */

static sigjmp_buf out;

static void overflowed(int number, siginfo_t *info, void *context) {
    CHECK(on(one, &number));
    EQUAL(info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR, 1);
    ran++;
    siglongjmp(out, 1);
    (void)context;
}

static int deeper(volatile char *above, int n) {
    volatile char page[4096];
    page[0] = above[0];
    return n < 0 ? 0 : deeper(page, n + 1) + page[0];
}

static void overflow(void) {
    struct rlimit small = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_STACK, &small);
    use(one, 0);
    handle(SIGSEGV, SA_ONSTACK, overflowed);
    for (int i = 1; i <= 5; i++) {
        if (!sigsetjmp(out, 1))
            deeper((volatile char *)"", 0);
        EQUAL(ran, i);
        EQUAL(now().ss_flags, 0);
        EQUAL(mask_now(), 0);
    }
}

static void *overflow_in_thread(void *arg) {
    use(one, 0);
    if (!sigsetjmp(out, 1))
        deeper((volatile char *)"", 0);
    EQUAL(ran, 1);
    return arg;
}

static void overflow_of_a_thread(void) {
    pthread_t t;
    handle(SIGSEGV, SA_ONSTACK, overflowed);
    EQUAL(pthread_create(&t, NULL, overflow_in_thread, NULL), 0);
    pthread_join(t, NULL);
    EQUAL(ran, 1);
}

/* Without room for a frame the signal kills. */
static void overflow_without_it(void) {
    struct rlimit none = {0, 0}, small = {1 << 20, 1 << 20};
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &none);
        setrlimit(RLIMIT_STACK, &small);
        handle(SIGSEGV, 0, overflowed);
        deeper((volatile char *)"", 0);
        _exit(0);
    }
    int status;
    EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static long raw(long nr, const void *a, const void *b) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return result;
}

static void nothing(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
}

/* A stack that was given up is not written to any more: the thread may free it. Also if all signals
 * are to be handled on it, as in Go. */
static void given_up(void) {
    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP)
            handle(number, SA_ONSTACK, nothing);
    stack_t on = {.ss_sp = one, .ss_size = SIZE}, off = {.ss_flags = SS_DISABLE}, now;
    EQUAL(raw(SYS_sigaltstack, &on, NULL), 0);
    EQUAL(raw(SYS_kill, (void *)(long)getpid(), (void *)SIGUSR1), 0);
    EQUAL(raw(SYS_sigaltstack, &off, &now), 0);
    CHECK(now.ss_sp == one && now.ss_flags == 0);
    EQUAL(raw(SYS_sigaltstack, NULL, &now), 0);
    EQUAL(now.ss_flags, SS_DISABLE);
    memset(one, 0x55, SIZE);
    EQUAL(raw(SYS_kill, (void *)(long)getpid(), (void *)SIGUSR1), 0);
    raw(SYS_getppid, NULL, NULL);
    for (int i = 0; i < SIZE; i++)
        EQUAL(one[i], 0x55);
}

static const struct part parts[] = {
    {"given_up", given_up},
    {"read_back", read_back},
    {"errors", errors},
    {"handler_is_on_it", handler_is_on_it},
    {"without_the_flag_it_is_not_used", without_the_flag_it_is_not_used},
    {"flag_without_a_stack", flag_without_a_stack},
    {"nested_handlers_share_it", nested_handlers_share_it},
    {"autodisarm", autodisarm},
    {"edited_in_the_frame", edited_in_the_frame},
    {"each_thread_has_its_own", each_thread_has_its_own},
    {"a_child_has_it", a_child_has_it},
    {"overflow", overflow},
    {"overflow_of_a_thread", overflow_of_a_thread},
    {"overflow_without_it", overflow_without_it},
};
PARTS(parts)
