/* A program that does with its inherited descriptors what its arguments say, one after the other, and
 * exits with 0 if everything went as said:
 *
 *   read:FD:TEXT    one read(2) gives TEXT             write:FD:TEXT   one write(2) takes TEXT
 *   want:FD:AT:LEN  the test stream from AT on comes   give:FD:AT:LEN  write it
 *   eof:FD          read(2) gives 0                    again:FD        read(2) gives EAGAIN
 *   epipe:FD        write(2) gives EPIPE               copy:FD:FD      until end of file
 *   open:FD  closed:FD  close:FD  nonblock:FD:0|1      size:FD:BYTES   F_GETPIPE_SZ
 *   waiting:FD:BYTES  FIONREAD                         secure:0        it runs set-user-ID
 *   poll:FD:EVENTS:REVENTS  (wait for ever)            reopen:FD:FLAGS:NEW  through /proc/self/fd
 *   recv:SOCK:NEW   a descriptor by SCM_RIGHTS         send:SOCK:FD    the same way back
 *   page:FD         map the page of words that the tests share
 *   set:WORD:VALUE  until:WORD:VALUE                   and wait for each other there
 */
#include "check.h"
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { PERIOD = 65521 };
static unsigned char bytes[PERIOD];
static _Atomic uint64_t *page;

/* The same stream as in support/rng.rs. */
static void make_stream(void) {
    uint64_t x = 0x9E3779B97F4A7C15u | 1;
    for (int i = 0; i < PERIOD; i++) {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        bytes[i] = (unsigned char)((x * 0x2545F4914F6CDD1Du) >> 24);
    }
}

static void want(int fd, long at, long len) {
    static unsigned char buf[50000];
    while (len > 0) {
        ssize_t n = read(fd, buf, len < (long)sizeof buf ? (size_t)len : sizeof buf);
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++)
            EQUAL(buf[i], bytes[(at + i) % PERIOD]);
        at += n;
        len -= n;
    }
}

static void give(int fd, long at, long len) {
    static unsigned char buf[100000];
    while (len > 0) {
        long n = len < (long)sizeof buf ? len : (long)sizeof buf;
        for (long i = 0; i < n; i++)
            buf[i] = bytes[(at + i) % PERIOD];
        EQUAL(write(fd, buf, (size_t)n), n);
        at += n;
        len -= n;
    }
}

static void copy(int from, int to) {
    char buf[5000];
    ssize_t n;
    while ((n = read(from, buf, sizeof buf)) > 0)
        EQUAL(write(to, buf, (size_t)n), n);
    EQUAL(n, 0);
}

union control {
    char space[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

static void receive_descriptor(int sock, int as) {
    union control control;
    char byte;
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
                       .msg_controllen = sizeof control};
    EQUAL(recvmsg(sock, &m, 0), 1);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    CHECK(c != NULL && c->cmsg_type == SCM_RIGHTS);
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    EQUAL(dup2(fd, as), as);
    if (fd != as)
        EQUAL(close(fd), 0);
}

static void send_descriptor(int sock, int fd) {
    union control control = {{0}};
    char byte = '!';
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    EQUAL(sendmsg(sock, &m, 0), 1);
}

static void obey(const char *verb, int fd, const char *rest) {
    char buf[70000], path[64];
    long a = rest ? strtol(rest, NULL, 0) : 0;
    const char *colon = rest ? strchr(rest, ':') : NULL;
    long b = colon ? strtol(colon + 1, NULL, 0) : 0;
#define IS(name) (strcmp(verb, name) == 0)
    if (IS("read")) {
        EQUAL(read(fd, buf, sizeof buf), strlen(rest));
        CHECK(memcmp(buf, rest, strlen(rest)) == 0);
    } else if (IS("write")) {
        EQUAL(write(fd, rest, strlen(rest)), strlen(rest));
    } else if (IS("want")) {
        want(fd, a, b);
    } else if (IS("give")) {
        give(fd, a, b);
    } else if (IS("eof")) {
        EQUAL(read(fd, buf, 1), 0);
    } else if (IS("again")) {
        EQUAL(read(fd, buf, 1), -1);
        EQUAL(errno, EAGAIN);
    } else if (IS("epipe")) {
        signal(SIGPIPE, SIG_IGN);
        EQUAL(write(fd, "x", 1), -1);
        EQUAL(errno, EPIPE);
    } else if (IS("copy")) {
        copy(fd, (int)a);
    } else if (IS("open")) {
        CHECK(fcntl(fd, F_GETFD) >= 0);
    } else if (IS("closed")) {
        EQUAL(fcntl(fd, F_GETFD), -1);
        EQUAL(errno, EBADF);
    } else if (IS("close")) {
        EQUAL(close(fd), 0);
    } else if (IS("nonblock")) {
        EQUAL((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, a);
    } else if (IS("size")) {
        EQUAL(fcntl(fd, F_GETPIPE_SZ), a);
    } else if (IS("waiting")) {
        int n = -1;
        EQUAL(ioctl(fd, FIONREAD, &n), 0);
        EQUAL(n, a);
    } else if (IS("secure")) {
        CHECK(getauxval(AT_SECURE));
    } else if (IS("poll")) {
        struct pollfd p = {fd, (short)a, 0};
        EQUAL(poll(&p, 1, -1), 1);
        EQUAL(p.revents, b);
    } else if (IS("reopen")) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int opened = open(path, (int)a);
        CHECK(opened >= 0);
        EQUAL(dup2(opened, (int)b), b);
    } else if (IS("recv")) {
        receive_descriptor(fd, (int)a);
    } else if (IS("send")) {
        send_descriptor(fd, (int)a);
    } else if (IS("page")) {
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(page != MAP_FAILED);
    } else if (IS("set")) {
        page[fd] = (uint64_t)a;
    } else if (IS("until")) {
        /* Ever longer: many who wait for long take the processors from nobody. */
        struct timespec moment = {0, 100000};
        while (page[fd] < (uint64_t)a) {
            nanosleep(&moment, NULL);
            if (moment.tv_nsec < 50000000)
                moment.tv_nsec += moment.tv_nsec / 4;
        }
    } else {
        CHECK(!"a known word");
    }
}

int main(int argc, char **argv) {
    make_stream();
    for (int i = 1; i < argc; i++) {
        char *number = strchr(argv[i], ':');
        CHECK(number != NULL);
        *number++ = 0;
        char *rest = strchr(number, ':');
        if (rest)
            *rest++ = 0;
        obey(argv[i], atoi(number), rest);
    }
    return 0;
}
