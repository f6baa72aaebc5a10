/* vectors PART: the vector and floating-point registers while signals come. */
#include "check.h"
#include <immintrin.h>

static volatile int ran;
static volatile double result;

__attribute__((target("avx"))) static void spoil_avx(void) {
    __m256d all = _mm256_set1_pd(-1.5);
    __asm__ volatile("vmovapd %0, %%ymm0\n vmovapd %0, %%ymm1\n vmovapd %0, %%ymm7\n vmovapd %0, %%ymm15\n"
                     "vzeroupper\n" ::"x"(all) : "xmm0", "xmm1", "xmm7", "xmm15");
}

static void spoil(int number, siginfo_t *info, void *context) {
    double x = ran;
    for (int i = 0; i < 20; i++)
        x = x * 1.0001 + 3.5;
    result = x;
    long double y = 1;
    for (int i = 0; i < 8; i++)
        y = y * 3 + result;
    result = (double)y;
    __asm__ volatile("pxor %%xmm0, %%xmm0\n pxor %%xmm3, %%xmm3\n pxor %%xmm8, %%xmm8\n pxor %%xmm15, %%xmm15\n" :
                     : : "xmm0", "xmm3", "xmm8", "xmm15");
    if (__builtin_cpu_supports("avx"))
        spoil_avx();
    ran++;
    (void)number, (void)info, (void)context;
}

static void storm(long microseconds) {
    handle(SIGALRM, 0, spoil);
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &every, NULL);
}

static void sse(void) {
    storm(100);
    while (ran < 2000) {
        uint64_t a[2] = {0x1111, 0x2222}, b[2] = {0x3333, 0x4444}, o[8];
        __asm__ volatile("movdqu (%0), %%xmm0\n movdqu (%1), %%xmm3\n movdqu (%0), %%xmm8\n movdqu (%1), %%xmm15\n"
                         "mov $20000, %%rcx\n 1: dec %%rcx\n jnz 1b\n"
                         "movdqu %%xmm0, (%2)\n movdqu %%xmm3, 16(%2)\n movdqu %%xmm8, 32(%2)\n movdqu %%xmm15, 48(%2)\n"
                         :
                         : "r"(a), "r"(b), "r"(o)
                         : "rcx", "xmm0", "xmm3", "xmm8", "xmm15", "cc", "memory");
        CHECK(!memcmp(o, a, 16) && !memcmp(o + 2, b, 16) && !memcmp(o + 4, a, 16) && !memcmp(o + 6, b, 16));
    }
}

__attribute__((target("avx"))) static void avx_round(void) {
    uint64_t a[4] = {1, 2, 3, 0xdeadbeef}, b[4] = {5, 6, 7, 0xcafe}, o[16];
    __asm__ volatile("vmovdqu (%0), %%ymm0\n vmovdqu (%1), %%ymm1\n vmovdqu (%0), %%ymm7\n vmovdqu (%1), %%ymm15\n"
                     "mov $20000, %%rcx\n 1: dec %%rcx\n jnz 1b\n"
                     "vmovdqu %%ymm0, (%2)\n vmovdqu %%ymm1, 32(%2)\n vmovdqu %%ymm7, 64(%2)\n vmovdqu %%ymm15, 96(%2)\n"
                     "vzeroupper\n"
                     :
                     : "r"(a), "r"(b), "r"(o)
                     : "rcx", "xmm0", "xmm1", "xmm7", "xmm15", "cc", "memory");
    CHECK(!memcmp(o, a, 32) && !memcmp(o + 4, b, 32) && !memcmp(o + 8, a, 32) && !memcmp(o + 12, b, 32));
}

static void avx(void) {
    if (!__builtin_cpu_supports("avx"))
        return;
    storm(100);
    while (ran < 2000)
        avx_round();
}

/* In calls that deliver to the thread itself, too. */
__attribute__((target("avx"))) static void avx_across_a_syscall(void) {
    uint64_t a[4] = {1, 2, 3, 0xdeadbeef}, o[4];
    long pid = getpid(), done;
    __asm__ volatile("vmovdqu (%3), %%ymm5\n syscall\n vmovdqu %%ymm5, (%4)\n vzeroupper\n"
                     : "=a"(done)
                     : "a"(SYS_kill), "D"(pid), "r"(a), "r"(o), "S"(SIGALRM)
                     : "rcx", "r11", "xmm5", "memory");
    EQUAL(done, 0);
    CHECK(!memcmp(o, a, 32));
}

static void avx_and_kill(void) {
    handle(SIGALRM, 0, spoil);
    for (int i = 1; i <= 1000 && __builtin_cpu_supports("avx"); i++) {
        avx_across_a_syscall();
        EQUAL(ran, i);
    }
}

static void x87(void) {
    storm(100);
    while (ran < 1000) {
        long double sum = 1;
        for (int i = 0; i < 10000; i++)
            sum = sum / 2 + 1;
        CHECK(sum > 1.999L && sum <= 2.0L);
    }
}

static unsigned short x87_word(void) {
    unsigned short word;
    __asm__ volatile("fnstcw %0" : "=m"(word));
    return word;
}

static void look_at_control(int number, siginfo_t *info, void *context) {
    /* A handler begins with the words that a program begins with. */
    EQUAL(_mm_getcsr(), 0x1f80);
    EQUAL(x87_word(), 0x37f);
    _mm_setcsr(0x1f80 | 0x2000);
    ran++;
    (void)number, (void)info, (void)context;
}

/* Control words are restored after the handler. */
static void control_words(void) {
    unsigned short to_zero = 0xf7f;
    handle(SIGUSR1, 0, look_at_control);
    raise(SIGUSR1);
    EQUAL(_mm_getcsr(), 0x1f80);
    _mm_setcsr(0x1f80 | 0x4000);
    __asm__ volatile("fldcw %0" ::"m"(to_zero));
    raise(SIGUSR1);
    EQUAL(_mm_getcsr(), 0x1f80 | 0x4000);
    EQUAL(x87_word(), 0xf7f);
    EQUAL(ran, 2);
}

static const struct part parts[] = {
    {"sse", sse},
    {"avx", avx},
    {"avx_and_kill", avx_and_kill},
    {"x87", x87},
    {"control_words", control_words},
};
PARTS(parts)
