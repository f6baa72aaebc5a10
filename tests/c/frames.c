/* frames PART: what handlers see and change in their frames. */
#include "check.h"
#include <sys/mman.h>
#include <ucontext.h>

static volatile int ran, in_order;
static volatile long seen;

static void block(int number) {
    sigset_t set = set_of(number);
    EQUAL(sigprocmask(SIG_BLOCK, &set, NULL), 0);
}

/* --- registers --- */

static void set_rax(int number, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    u->uc_mcontext.gregs[REG_RAX] = 4242;
    ran++;
    (void)number, (void)info;
}

/* A result of a call that is edited is what the call returns. */
static void edit_rax(void) {
    long pid = getpid(), result;
    handle(SIGUSR1, 0, set_rax);
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_kill), "D"(pid), "S"(SIGUSR1) : "rcx", "r11", "memory");
    EQUAL(ran, 1);
    EQUAL(result, 4242);
}

static void skip_ud2(int number, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    CHECK(number == SIGILL && info->si_code == ILL_ILLOPN);
    EQUAL(info->si_addr, u->uc_mcontext.gregs[REG_RIP]);
    u->uc_mcontext.gregs[REG_RIP] += 2;
    ran++;
}

/* RIP past the instruction that faulted. */
static void edit_rip(void) {
    handle(SIGILL, 0, skip_ud2);
    for (int i = 1; i <= 100; i++) {
        __asm__ volatile("ud2");
        EQUAL(ran, i);
    }
}

static void spoil_r15(int number, siginfo_t *info, void *context) {
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_R15] ^= 1;
    ran++;
    (void)number, (void)info;
}

/* A register that calls keep, and that nobody uses, in a signal by kill(3) to oneself. */
static void edit_r15(void) {
    int (*volatile const by)(pid_t, int) = kill;
    handle(SIGUSR1, 0, spoil_r15);
    for (int i = 1; i <= 100; i++) {
        long result;
        __asm__ volatile("mov %%rsp, %%rbx\n sub $128, %%rsp\n and $-16, %%rsp\n call *%1\n mov %%rbx, %%rsp\n"
                         : "=a"(result)
                         : "r"(by), "D"((long)getpid()), "S"((long)SIGUSR1)
                         : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r15", "memory", "cc");
        EQUAL(result, 0);
        EQUAL(ran, i);
    }
    EQUAL(mask_now(), 0);
}

static sigjmp_buf away;

static void landing(void) { siglongjmp(away, 7); }

static void go_elsewhere(int number, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    r[REG_RSP] = ((r[REG_RSP] - 128) & -16) - 8; /* as behind a call */
    r[REG_RIP] = (greg_t)landing;
    ran++;
    (void)number, (void)info;
}

/* RIP to a function, which leaves by longjmp. */
static void edit_rip_to_elsewhere(void) {
    handle(SIGUSR1, 0, go_elsewhere);
    for (volatile int i = 1; i <= 100; i++) {
        if (sigsetjmp(away, 1) == 0) {
            kill(getpid(), SIGUSR1);
            CHECK(!"here");
        }
        EQUAL(ran, i);
        EQUAL(mask_now(), 0);
    }
}

static void set_all(int number, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    for (int i = REG_R8; i <= REG_R15; i++)
        r[i] = 1000 + i;
    r[REG_RBX] = 77;
    r[REG_RDX] = 78;
    r[REG_RIP] += 2;
    r[REG_EFL] |= 1; /* carry */
    ran++;
    (void)number, (void)info;
}

/* All general registers, and the flags. */
static void edit_all(void) {
    long r[8], rbx, rdx;
    unsigned char carry;
    handle(SIGILL, 0, set_all);
    register long r8 __asm__("r8") = 0, r9 __asm__("r9") = 0, r10 __asm__("r10") = 0;
    __asm__ volatile("clc\n ud2\n setc %0\n mov %%r12, %5\n mov %%r15, %6\n"
                     : "=m"(carry), "+r"(r8), "+r"(r9), "+r"(r10), "=b"(rbx), "=m"(r[4]), "=m"(r[7]),
                       "=d"(rdx)
                     :
                     : "r11", "r12", "r13", "r14", "r15", "cc", "memory");
    EQUAL(r8, 1000 + REG_R8);
    EQUAL(r9, 1000 + REG_R9);
    EQUAL(r10, 1000 + REG_R10);
    EQUAL(r[4], 1000 + REG_R12);
    EQUAL(r[7], 1000 + REG_R15);
    EQUAL(rbx, 77);
    EQUAL(rdx, 78);
    EQUAL(carry, 1);
}

static void clobber(int number, siginfo_t *info, void *context) {
    __asm__ volatile("xor %%eax, %%eax\n cmp $1, %%eax\n" ::: "rax", "rbx", "rcx", "rdx", "rsi", "rdi",
                     "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc");
    ran++;
    (void)number, (void)info, (void)context;
}

/* A handler that uses every register leaves none of them changed, in a loop without calls. */
static void keep_all(void) {
    handle(SIGALRM, 0, clobber);
    struct itimerval every = {{0, 200}, {0, 200}};
    setitimer(ITIMER_REAL, &every, NULL);
    long bad = 0;
    while (ran < 300) {
        __asm__ volatile("mov $1, %%r8\n mov $2, %%r9\n mov $3, %%r12\n mov $4, %%r15\n mov $5, %%rsi\n"
                         "mov $100000, %%rcx\n 1: dec %%rcx\n jnz 1b\n"
                         "add %%r9, %%r8\n add %%r12, %%r8\n add %%r15, %%r8\n add %%rsi, %%r8\n"
                         "sub $15, %%r8\n or %%r8, %0\n"
                         : "+r"(bad)
                         :
                         : "r8", "r9", "r12", "r15", "rsi", "rcx", "cc");
    }
    EQUAL(bad, 0);
}

static void red_zone_handler(int number, siginfo_t *info, void *context) {
    volatile char big[4096];
    memset((char *)big, 0xEE, sizeof big);
    ran++;
    (void)number, (void)info, (void)context;
}

/* The 128 bytes below the stack pointer are the interrupted function's. */
static void red_zone(void) {
    handle(SIGALRM, 0, red_zone_handler);
    struct itimerval every = {{0, 200}, {0, 200}};
    setitimer(ITIMER_REAL, &every, NULL);
    long sum = 0;
    while (ran < 300) {
        long word;
        __asm__ volatile("movq $12345, -120(%%rsp)\n mov $50000, %%rcx\n 1: dec %%rcx\n jnz 1b\n"
                         "movq -120(%%rsp), %0\n"
                         : "=r"(word)
                         :
                         : "rcx", "cc", "memory");
        sum |= word ^ 12345;
    }
    EQUAL(sum, 0);
}

static void look_at_registers(int number, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    seen = r[REG_R12];
    CHECK((long)&number < r[REG_RSP]);
    CHECK(r[REG_RIP] != 0);
    ran++;
    (void)info;
}

/* The registers of the interrupted code are in the frame. */
static void see_registers(void) {
    handle(SIGUSR1, 0, look_at_registers);
    long pid = getpid(), result;
    register long r12 __asm__("r12") = 0x123456789abc;
    __asm__ volatile("syscall" : "=a"(result), "+r"(r12) : "a"(SYS_kill), "D"(pid), "S"(SIGUSR1) : "rcx", "r11", "memory");
    EQUAL(result, 0);
    EQUAL(ran, 1);
    EQUAL(seen, 0x123456789abc);
}

static void look_at_direction(int number, siginfo_t *info, void *context) {
    unsigned long flags;
    __asm__ volatile("pushfq\n popq %0" : "=r"(flags));
    EQUAL(flags & 0x400, 0);
    EQUAL(((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] & 0x400, 0x400);
    ran++;
    (void)number, (void)info;
}

/* The handler begins with the direction flag clear, and its caller gets it back. */
static void direction_flag(void) {
    long pid = getpid(), result;
    unsigned long flags;
    handle(SIGUSR1, 0, look_at_direction);
    __asm__ volatile("std\n syscall\n pushfq\n popq %1\n cld"
                     : "=a"(result), "=r"(flags)
                     : "a"(SYS_kill), "D"(pid), "S"(SIGUSR1)
                     : "rcx", "r11", "memory", "cc");
    EQUAL(result, 0);
    EQUAL(ran, 1);
    EQUAL(flags & 0x400, 0x400);
}

extern char after_kill[], at_wait[], after_pause[];

static void look_behind_the_call(int number, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    EQUAL(r[REG_RIP], after_kill);
    EQUAL(r[REG_RCX], after_kill);
    EQUAL(r[REG_RAX], 0);
    EQUAL(r[REG_RSI], SIGUSR1);
    ran++;
    (void)number, (void)info;
}

/* A call that sends a signal is over when its handler runs. */
static void rip_is_behind_the_call(void) {
    long pid = getpid(), result;
    handle(SIGUSR1, 0, look_behind_the_call);
    for (int i = 1; i <= 100; i++) {
        __asm__ volatile("syscall\nafter_kill:" : "=a"(result) : "a"(SYS_kill), "D"(pid), "S"(SIGUSR1) : "rcx", "r11", "memory");
        EQUAL(result, 0);
        EQUAL(ran, i);
    }
}

static void look_at_restart(int number, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (r[REG_RIP] == (greg_t)at_wait) { /* else it came before the call, or after it */
        EQUAL(r[REG_RAX], SYS_wait4);
        ran++;
    }
    (void)number, (void)info;
}

/* One that is to be restarted has not been made. */
static void rip_is_at_a_restarted_call(void) {
    handle(SIGALRM, SA_RESTART, look_at_restart);
    struct itimerval every = {{0, 10000}, {0, 10000}};
    setitimer(ITIMER_REAL, &every, NULL);
    while (ran == 0) {
        pid_t pid = fork();
        if (pid == 0) {
            usleep(100000);
            _exit(3);
        }
        int status;
        long result;
        register long r10 __asm__("r10") = 0;
        __asm__ volatile("at_wait: syscall"
                         : "=a"(result)
                         : "a"(SYS_wait4), "D"((long)pid), "S"(&status), "d"(0L), "r"(r10)
                         : "rcx", "r11", "memory");
        EQUAL(result, pid);
        EQUAL(WEXITSTATUS(status), 3);
    }
}

static void look_at_interrupted(int number, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (r[REG_RIP] == (greg_t)after_pause) { /* else it came before the call */
        EQUAL(r[REG_RAX], -EINTR);
        ran++;
    }
    (void)number, (void)info;
}

/* One that was interrupted has its result. */
static void rip_is_behind_an_interrupted_call(void) {
    handle(SIGALRM, SA_RESTART, look_at_interrupted);
    struct itimerval every = {{0, 20000}, {0, 20000}};
    setitimer(ITIMER_REAL, &every, NULL);
    long result;
    __asm__ volatile("syscall\nafter_pause:" : "=a"(result) : "a"(SYS_pause) : "rcx", "r11", "memory");
    EQUAL(result, -EINTR);
    CHECK(ran > 0);
}

static long raw(long nr, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

static int null_fd;
static char bytes[4096];

static void calls(int number, siginfo_t *info, void *context) {
    EQUAL(raw(SYS_write, null_fd, (long)bytes, 77), 77);
    EQUAL(raw(SYS_getppid, 0, 0, 0), getppid());
    ran++;
    (void)number, (void)info, (void)context;
}

/* Each call has its own result, whatever calls the handlers make that come between. */
static void calls_in_calls(void) {
    null_fd = open("/dev/null", O_WRONLY);
    handle(SIGALRM, SA_RESTART | SA_NODEFER, calls);
    handle(SIGPROF, 0, calls);
    struct itimerval every = {{0, 150}, {0, 150}};
    setitimer(ITIMER_REAL, &every, NULL);
    struct itimerval other = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_PROF, &other, NULL);
    for (long i = 0; ran < 2000; i++) {
        EQUAL(raw(SYS_write, null_fd, (long)bytes, i % 4096), i % 4096);
        if (i % 64 == 0) {
            int before = ran;
            EQUAL(raw(SYS_kill, getpid(), SIGALRM, 0), 0);
            CHECK(ran > before);
        }
    }
}

/* --- the mask in the frame --- */

static void edit_saved(int number, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    sigdelset(&u->uc_sigmask, SIGHUP);
    sigaddset(&u->uc_sigmask, SIGTERM);
    sigaddset(&u->uc_sigmask, SIGKILL);
    ran++;
    (void)number, (void)info;
}

/* The mask that the handler leaves in the frame is the mask after it. */
static void edit_mask(void) {
    handle(SIGUSR1, 0, edit_saved);
    block(SIGHUP);
    raise(SIGUSR1);
    EQUAL(mask_now(), BIT(SIGTERM));
}

static void count(int number, siginfo_t *info, void *context) {
    in_order = in_order * 10 + (number == SIGUSR1 ? 1 : 2);
    ran++;
    (void)info, (void)context;
}

static void open_usr2(int number, siginfo_t *info, void *context) {
    sigdelset(&((ucontext_t *)context)->uc_sigmask, SIGUSR2);
    count(number, info, context);
    EQUAL(in_order, 1);
}

/* What the edited mask lets in comes when the handler returns, before anything else runs. */
static void edit_mask_with_pending(void) {
    handle(SIGUSR1, 0, open_usr2);
    handle(SIGUSR2, 0, count);
    block(SIGUSR2);
    raise(SIGUSR2);
    EQUAL(ran, 0);
    raise(SIGUSR1);
    EQUAL(in_order, 12);
    EQUAL(mask_now(), 0);
}

static void edit_in_suspend(int number, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    CHECK(sigismember(&u->uc_sigmask, SIGUSR1) == 1);
    sigaddset(&u->uc_sigmask, SIGTERM);
    ran++;
    (void)number, (void)info;
}

/* Of sigsuspend it is the mask from before the call that is in the frame, and may be edited. */
static void edit_mask_in_sigsuspend(void) {
    handle(SIGUSR1, 0, edit_in_suspend);
    block(SIGUSR1);
    raise(SIGUSR1);
    sigset_t none = set_of(0);
    EQUAL(sigsuspend(&none), -1);
    EQUAL(errno, EINTR);
    EQUAL(mask_now(), BIT(SIGUSR1) | BIT(SIGTERM));
}

/* --- errno --- */

static void spoil_errno(int number, siginfo_t *info, void *context) {
    EQUAL(errno, 33);
    errno = 99;
    (void)number, (void)info, (void)context;
}

/* errno is one variable: delivery does not touch it, and the handler's change stays. */
static void keep_errno(void) {
    handle(SIGUSR1, 0, spoil_errno);
    errno = 33;
    raise(SIGUSR1);
    EQUAL(errno, 99);
}

/* --- what a frame says --- */

static void look(int number, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    EQUAL(info->si_signo, number);
    EQUAL(u->uc_stack.ss_size, 0);
    EQUAL(u->uc_link, 0);
    CHECK((((uintptr_t)__builtin_frame_address(0)) & 15) == 0);
    CHECK(u->uc_mcontext.fpregs != NULL);
    ran++;
}

static void frame_says(void) {
    handle(SIGUSR1, 0, look);
    for (int i = 0; i < 8; i++) {
        char room[16 * i + 1]; /* the stack is aligned anew each time */
        memset(room, 1, sizeof room);
        __asm__ volatile("" ::"r"(room) : "memory");
        raise(SIGUSR1);
    }
    EQUAL(ran, 8);
}

static void plain(int number) {
    EQUAL(number, SIGUSR1);
    ran++;
}

/* A handler of one argument. */
static void one_argument(void) {
    struct sigaction a = {.sa_handler = plain};
    sigaction(SIGUSR1, &a, NULL);
    raise(SIGUSR1);
    EQUAL(ran, 1);
}

static const struct part parts[] = {
    {"edit_rax", edit_rax},
    {"edit_rip", edit_rip},
    {"edit_r15", edit_r15},
    {"edit_rip_to_elsewhere", edit_rip_to_elsewhere},
    {"edit_all", edit_all},
    {"keep_all", keep_all},
    {"red_zone", red_zone},
    {"see_registers", see_registers},
    {"direction_flag", direction_flag},
    {"rip_is_behind_the_call", rip_is_behind_the_call},
    {"rip_is_at_a_restarted_call", rip_is_at_a_restarted_call},
    {"rip_is_behind_an_interrupted_call", rip_is_behind_an_interrupted_call},
    {"calls_in_calls", calls_in_calls},
    {"edit_mask", edit_mask},
    {"edit_mask_with_pending", edit_mask_with_pending},
    {"edit_mask_in_sigsuspend", edit_mask_in_sigsuspend},
    {"keep_errno", keep_errno},
    {"frame_says", frame_says},
    {"one_argument", one_argument},
};
PARTS(parts)
