/* faults PART: signals that the processor raises. See sigaction(2) "The siginfo_t argument". */
#include "check.h"
#include <immintrin.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <ucontext.h>

static volatile int ran;
static sigjmp_buf out;
static siginfo_t got;
static volatile long rip;

static void jump(int number, siginfo_t *info, void *context) {
    ran++;
    got = *info;
    rip = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    siglongjmp(out, number);
}

#define FAULT(statement)                                                                   \
    do {                                                                                   \
        if (!sigsetjmp(out, 1)) {                                                          \
            statement;                                                                     \
            CHECK(!"no fault");                                                            \
        }                                                                                  \
    } while (0)

static char *page(int protection) {
    char *p = mmap(NULL, 8192, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

static void unmapped(void) {
    handle(SIGSEGV, 0, jump);
    char *p = page(PROT_NONE);
    munmap(p, 8192);
    for (int i = 0; i < 100; i++) {
        FAULT(*(volatile char *)(p + i) = 1);
        EQUAL(got.si_code, SEGV_MAPERR);
        CHECK(got.si_addr == p + i);
        EQUAL(got.si_errno, 0);
    }
    FAULT(*(volatile char *)0);
    CHECK(got.si_addr == NULL && got.si_code == SEGV_MAPERR);
    EQUAL(ran, 101);
}

static void protected(void) {
    handle(SIGSEGV, 0, jump);
    char *p = page(PROT_READ);
    FAULT(*(volatile char *)(p + 7) = 1);
    EQUAL(got.si_code, SEGV_ACCERR);
    CHECK(got.si_addr == p + 7);
    FAULT(((void (*)(void))p)());
    EQUAL(got.si_code, SEGV_ACCERR);
    CHECK(got.si_addr == p && rip == (long)p);
}

/* A general protection fault tells no address. */
static void not_canonical(void) {
    handle(SIGSEGV, 0, jump);
    FAULT(*(volatile char *)0x8000000000000000ul = 1);
    EQUAL(got.si_code, SI_KERNEL);
    CHECK(got.si_addr == NULL);
    FAULT(__asm__ volatile("hlt"));
    EQUAL(got.si_code, SI_KERNEL);
}

static void beyond_a_file(void) {
    handle(SIGBUS, 0, jump);
    int fd = memfd_create("short", 0);
    EQUAL(ftruncate(fd, 4096), 0);
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    p[4095] = 1;
    FAULT(*(volatile char *)(p + 5000) = 1);
    EQUAL(got.si_code, BUS_ADRERR);
    CHECK(got.si_addr == p + 5000);
    EQUAL(ftruncate(fd, 8192), 0);
    p[5000] = 1;
    EQUAL(ran, 1);
}

static void division(void) {
    handle(SIGFPE, 0, jump);
    volatile int zero = 0;
    FAULT(zero = 100 / zero);
    EQUAL(got.si_code, FPE_INTDIV);
    EQUAL(got.si_addr, rip);
    volatile float nought = 0, one = 1;
    FAULT({
        _mm_setcsr(_mm_getcsr() & ~_MM_MASK_DIV_ZERO);
        one = one / nought;
    });
    EQUAL(got.si_code, FPE_FLTDIV);
    EQUAL(got.si_addr, rip);
    EQUAL(ran, 2);
}

static void illegal(void) {
    handle(SIGILL, 0, jump);
    for (int i = 1; i <= 50; i++) {
        FAULT(__asm__ volatile("ud2"));
        EQUAL(got.si_code, ILL_ILLOPN);
        EQUAL(got.si_addr, rip);
        EQUAL(ran, i);
    }
}

static void count_trap(int number, siginfo_t *info, void *context) {
    got = *info;
    ran++;
    (void)number, (void)context;
}

static void breakpoint(void) {
    handle(SIGTRAP, 0, count_trap);
    for (int i = 1; i <= 50; i++) {
        __asm__ volatile("int3");
        EQUAL(ran, i);
        EQUAL(got.si_code, SI_KERNEL);
    }
}

static void count_step(int number, siginfo_t *info, void *context) {
    EQUAL(info->si_code, TRAP_TRACE);
    EQUAL(info->si_addr, ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]);
    ran++;
    (void)number;
}

/* The trap flag is off in the handler, and on again after it. */
static void single_steps(void) {
    handle(SIGTRAP, 0, count_step);
    __asm__ volatile("pushfq\n orq $0x100, (%%rsp)\n popfq\n nop\n nop\n nop\n nop\n"
                     "pushfq\n andq $~0x100, (%%rsp)\n popfq\n" ::: "cc", "memory");
    EQUAL(ran, 7);
}

static void by_seccomp(int number, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    EQUAL(number, SIGSYS);
    EQUAL(info->si_code, 1); /* SYS_SECCOMP */
    EQUAL(info->si_syscall, SYS_getpriority);
    EQUAL(info->si_arch, AUDIT_ARCH_X86_64);
    EQUAL(info->si_errno, 55);
    EQUAL(info->si_call_addr, u->uc_mcontext.gregs[REG_RIP]);
    u->uc_mcontext.gregs[REG_RAX] = 777;
    ran++;
}

static void seccomp_trap(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP | 55),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    handle(SIGSYS, 0, by_seccomp);
    EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
    EQUAL(syscall(SYS_getpriority, 0, 0), 777);
    EQUAL(ran, 1);
}

/* --- a handler that repairs what was wrong --- */

static char *barrier;

static void open_page(int number, siginfo_t *info, void *context) {
    CHECK(info->si_addr == barrier + 100 && info->si_code == SEGV_ACCERR);
    EQUAL(mprotect(barrier, 4096, PROT_READ | PROT_WRITE), 0);
    ran++;
    (void)number, (void)context;
}

static void repaired(void) {
    handle(SIGSEGV, 0, open_page);
    barrier = page(PROT_READ);
    for (int i = 1; i <= 1000; i++) {
        EQUAL(mprotect(barrier, 4096, PROT_READ), 0);
        ((volatile char *)barrier)[100] = (char)i;
        EQUAL(barrier[100], (char)i);
        EQUAL(ran, i);
    }
}

static void *fault_in_thread(void *arg) {
    char *own = page(PROT_READ);
    for (int i = 0; i < 200; i++) {
        int before = i;
        mprotect(own, 4096, PROT_READ);
        own[8] = (char)before;
        CHECK(own[8] == (char)before);
    }
    return arg;
}

static void open_any(int number, siginfo_t *info, void *context) {
    uintptr_t at = (uintptr_t)info->si_addr & ~4095ul;
    EQUAL(mprotect((void *)at, 4096, PROT_READ | PROT_WRITE), 0);
    (void)number, (void)context;
}

static void in_several_threads(void) {
    pthread_t t[4];
    handle(SIGSEGV, 0, open_any);
    for (int i = 0; i < 4; i++)
        EQUAL(pthread_create(&t[i], NULL, fault_in_thread, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

/* --- faults that can not be handled --- */

static void dies(int number, void (*how)(void)) {
    struct rlimit none = {0, 0};
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &none);
        how();
        _exit(0);
    }
    EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    EQUAL(WTERMSIG(status), number);
    CHECK(!WCOREDUMP(status));
}

static void segv(void) { *(volatile char *)16 = 1; }
static void ill(void) { __asm__ volatile("ud2"); }
static void fpe(void) {
    volatile int zero = 0;
    zero = 100 / zero;
}
static void trap(void) { __asm__ volatile("int3"); }
static void bus(void) {
    int fd = memfd_create("empty", 0);
    char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    *(volatile char *)p = 1;
}

static const struct {
    int number;
    void (*how)(void);
} faults[] = {{SIGSEGV, segv}, {SIGILL, ill}, {SIGFPE, fpe}, {SIGTRAP, trap}, {SIGBUS, bus}};

static int now;

static void by_default(void) {
    for (int i = 0; i < 5; i++)
        dies(faults[i].number, faults[i].how);
}

static void fault_ignored(void) {
    signal(faults[now].number, SIG_IGN);
    faults[now].how();
}

static void ignored(void) {
    for (now = 0; now < 5; now++)
        dies(faults[now].number, fault_ignored);
}

static void fault_blocked(void) {
    sigset_t set = set_of(faults[now].number);
    handle(faults[now].number, 0, count_trap);
    sigprocmask(SIG_BLOCK, &set, NULL);
    faults[now].how();
}

static void blocked(void) {
    for (now = 0; now < 5; now++)
        dies(faults[now].number, fault_blocked);
}

static void again(int number, siginfo_t *info, void *context) {
    for (int i = 0; i < 5; i++)
        if (faults[i].number == number)
            faults[i].how();
    (void)info, (void)context;
}

static void fault_twice(void) {
    handle(faults[now].number, 0, again);
    faults[now].how();
}

static void within_its_own_handler(void) {
    for (now = 0; now < 5; now++)
        dies(faults[now].number, fault_twice);
}

static void *fault_here(void *arg) {
    segv();
    return arg;
}

static void fault_elsewhere(void) {
    pthread_t t;
    pthread_create(&t, NULL, fault_here, NULL);
    pthread_join(t, NULL);
}

static void in_a_thread_kills_all(void) { dies(SIGSEGV, fault_elsewhere); }

/* --- the same signals, sent --- */

static void sent(void) {
    for (int i = 0; i < 5; i++) {
        handle(faults[i].number, 0, count_trap);
        kill(getpid(), faults[i].number);
        EQUAL(ran, i + 1);
        EQUAL(got.si_code, SI_USER);
        EQUAL(got.si_pid, getpid());
        union sigval value = {.sival_int = 4711};
        sigset_t set = set_of(faults[i].number);
        sigprocmask(SIG_BLOCK, &set, NULL);
        sigqueue(getpid(), faults[i].number, value);
        siginfo_t info;
        EQUAL(sigwaitinfo(&set, &info), faults[i].number);
        EQUAL(info.si_value.sival_int, 4711);
        EQUAL(ran, i + 1);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        signal(faults[i].number, SIG_IGN);
        kill(getpid(), faults[i].number);
        raise(faults[i].number);
        EQUAL(ran, i + 1);
    }
}

static const struct part parts[] = {
    {"unmapped", unmapped},
    {"protected", protected},
    {"not_canonical", not_canonical},
    {"beyond_a_file", beyond_a_file},
    {"division", division},
    {"illegal", illegal},
    {"breakpoint", breakpoint},
    {"single_steps", single_steps},
    {"seccomp_trap", seccomp_trap},
    {"repaired", repaired},
    {"in_several_threads", in_several_threads},
    {"by_default", by_default},
    {"ignored", ignored},
    {"blocked", blocked},
    {"within_its_own_handler", within_its_own_handler},
    {"in_a_thread_kills_all", in_a_thread_kills_all},
    {"sent", sent},
};
PARTS(parts)
