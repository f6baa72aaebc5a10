/* envoy WORD..: a program that sends, hears and dies of signals as it is told; also linked statically,
   so that no shim is in it. Numbers are decimal.

   send PID NUMBER COUNT   sigqueue, with the values 0, 1, ..
   kill PID NUMBER         kill
   hear FD NUMBER COUNT    maps FD; word 0 is 1 when it is ready, word 1 how many have come, their
                           values from word 8 on; exits after COUNT
   die NUMBER              raises it
   exit CODE
   sleep                   until a signal ends it
   state KEY=VALUE..       compares what it was given by exec: blocked, pending, ignored, caught (sums of
                           bits, in hex), alarm (1 if one is running), take (a value to be dequeued) */
#include "check.h"
#include <sys/mman.h>

static volatile uint64_t *page;

static void note(int number, siginfo_t *info, void *context) {
    uint64_t n = page[1];
    if (n < 500)
        page[8 + n] = (uint64_t)(uintptr_t)info->si_value.sival_ptr;
    page[1] = n + 1;
    (void)number, (void)context;
}

static void hear(int fd, int number, uint64_t count) {
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(page != MAP_FAILED);
    sigset_t set = set_of(number), none = set_of(0);
    sigprocmask(SIG_BLOCK, &set, NULL);
    handle(number, 0, note);
    page[0] = 1;
    while (page[1] < count)
        sigsuspend(&none);
}

static void send_all(pid_t pid, int number, int count) {
    for (int i = 0; i < count; i++) {
        union sigval value = {.sival_ptr = (void *)(uintptr_t)i};
        while (sigqueue(pid, number, value) == -1) {
            EQUAL(errno, EAGAIN);
            usleep(100);
        }
    }
}

static unsigned long by_handler(int ignored) {
    unsigned long sum = 0;
    for (int i = 1; i <= 64; i++) {
        struct sigaction a;
        if (i == 32 || i == 33 || sigaction(i, NULL, &a))
            continue;
        if (ignored ? a.sa_handler == SIG_IGN : a.sa_handler != SIG_IGN && a.sa_handler != SIG_DFL)
            sum |= BIT(i);
    }
    return sum;
}

static unsigned long pending_now(void) {
    sigset_t set;
    unsigned long word;
    sigpending(&set);
    memcpy(&word, &set, sizeof word);
    return word;
}

static void state(const char *key, unsigned long value) {
    if (!strcmp(key, "blocked"))
        EQUAL(mask_now(), value);
    else if (!strcmp(key, "pending"))
        EQUAL(pending_now(), value);
    else if (!strcmp(key, "ignored"))
        EQUAL(by_handler(1), value);
    else if (!strcmp(key, "caught"))
        EQUAL(by_handler(0), value);
    else if (!strcmp(key, "alarm"))
        EQUAL(alarm(0) != 0, value);
    else if (!strcmp(key, "take")) {
        sigset_t all;
        siginfo_t info;
        struct timespec none = {0, 0};
        sigfillset(&all);
        CHECK(sigtimedwait(&all, &info, &none) > 0);
        EQUAL(info.si_value.sival_ptr, value);
        EQUAL(info.si_code, SI_QUEUE);
    } else
        CHECK(!"a known key");
}

int main(int argc, char **argv) {
    CHECK(argc >= 2);
    int a = argc > 2 ? atoi(argv[2]) : 0, b = argc > 3 ? atoi(argv[3]) : 0, c = argc > 4 ? atoi(argv[4]) : 0;
    if (!strcmp(argv[1], "send"))
        send_all(a, b, c);
    else if (!strcmp(argv[1], "kill"))
        EQUAL(kill(a, b), 0);
    else if (!strcmp(argv[1], "hear"))
        hear(a, b, c);
    else if (!strcmp(argv[1], "die"))
        raise(a);
    else if (!strcmp(argv[1], "exit"))
        return a;
    else if (!strcmp(argv[1], "sleep"))
        for (;;)
            pause();
    else if (!strcmp(argv[1], "state"))
        for (int i = 2; i < argc; i++) {
            char *value = strchr(argv[i], '=');
            CHECK(value != NULL);
            *value++ = 0;
            state(argv[i], strtoul(value, NULL, 16));
        }
    else
        CHECK(!"a known word");
    return 0;
}
