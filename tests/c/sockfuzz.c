/* sockfuzz SEED STEPS WITHOUT: does random things with Unix sockets in one process, without waiting, and
   says what came of them. What it says depends on nothing else: so two worlds can be compared.

   WITHOUT has the letters of what is left out: n names (all sockets are pairs), r descriptors in
   messages, c credentials, o options, b sizes of buffers, p polling, f fork, - nothing. */
#include "check.h"
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <linux/sockios.h>

#define SOCKETS 8
#define NAMES 4

static uint64_t state;
static int fds[SOCKETS], kinds[SOCKETS];
static const char *left_out;
static unsigned char bytes[150000];
static unsigned sent;

static int without(char what) { return strchr(left_out, what) != NULL; }

static unsigned below(unsigned n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33) % n;
}

static unsigned sum(const unsigned char *b, size_t n) {
    unsigned s = 2166136261u;
    for (size_t i = 0; i < n; i++)
        s = (s ^ b[i]) * 16777619u;
    return s;
}

static int any(void) {
    for (int i = 0; i < 20; i++) {
        int s = (int)below(SOCKETS);
        if (fds[s] >= 0)
            return s;
    }
    return 0;
}

static size_t size(void) {
    switch (below(8)) {
    case 0: return 0;
    case 1: return 1;
    case 2: return below(100);
    case 3: return below(5000);
    case 4: return 4096 * (1 + below(4));
    case 5: return below(70000);
    case 6: return below(sizeof bytes);
    default: return below(2000);
    }
}

static socklen_t name(struct sockaddr_un *a, int i) {
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    int n = sprintf(a->sun_path + 1, "ringer-fuzz-%d-%d", getpid(), i);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

/* Which of the names it is. */
static int which(const struct sockaddr_un *a, socklen_t len) {
    struct sockaddr_un own;
    if (len <= sizeof(sa_family_t))
        return -1;
    for (int i = 0; i < NAMES; i++)
        if (name(&own, i) == len && !memcmp(&own, a, len))
            return i;
    return a->sun_path[0] ? 98 : 97; /* 97: by autobind */
}

static void tell(const char *what, int s, long r) { dprintf(1, "%s %d: %ld %d", what, s, r, r < 0 ? errno : 0); }

static void fill(size_t n) {
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(sent + i * 7);
    sent += 13;
}

static void pair(void) {
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    int a = -1, b = -1, p[2], type = types[below(3)];
    for (int i = 0; i < SOCKETS; i++)
        if (fds[i] < 0) {
            if (a < 0)
                a = i;
            else if (b < 0)
                b = i;
        }
    if (b < 0)
        return;
    EQUAL(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, p), 0);
    fds[a] = p[0], fds[b] = p[1];
    kinds[a] = kinds[b] = type;
    dprintf(1, "pair %d %d of %d\n", a, b, type);
}

static void lone(void) {
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < SOCKETS; i++)
        if (fds[i] < 0) {
            kinds[i] = types[below(3)];
            fds[i] = socket(AF_UNIX, kinds[i] | SOCK_NONBLOCK, 0);
            dprintf(1, "socket %d of %d\n", i, kinds[i]);
            return;
        }
}

static int flags(void) {
    static const int all[] = {MSG_PEEK, MSG_TRUNC, MSG_WAITALL, MSG_DONTWAIT, MSG_CMSG_CLOEXEC, MSG_ERRQUEUE, MSG_OOB};
    int f = 0;
    for (unsigned i = below(4); i > 1; i--)
        f |= all[below(7)];
    return f & ~MSG_OOB;
}

/* Something to be sent: a file, or the end of a pipe. (What becomes of sockets that are lost on the way
   is decided by the kernel at leisure.) */
static int thing(void) {
    int p[2];
    if (below(2))
        return open("/dev/null", O_RDONLY);
    EQUAL(pipe(p), 0);
    close(p[0]);
    return p[1];
}

/* What came: its kind, and its flags. */
static void tell_thing(int fd) {
    struct stat st;
    EQUAL(fstat(fd, &st), 0);
    dprintf(1, " %o%s", st.st_mode & S_IFMT, fcntl(fd, F_GETFD) & FD_CLOEXEC ? " closed on exec" : "");
    EQUAL(close(fd), 0);
}

/* A message of some parts, with what goes with it. */
static void send_message(int s) {
    union {
        char room[256];
        struct cmsghdr align;
    } control;
    struct iovec parts[3];
    struct msghdr m = {.msg_iov = parts};
    struct sockaddr_un to;
    size_t n = size(), at = 0;
    int made[4], with = 0, f = MSG_NOSIGNAL | (below(6) ? 0 : MSG_EOR), named = -1;
    fill(n);
    m.msg_iovlen = 1 + below(3);
    for (size_t i = 0; i < m.msg_iovlen; i++) {
        parts[i].iov_base = bytes + at;
        parts[i].iov_len = i + 1 == m.msg_iovlen ? n - at : (n - at) / 2;
        at += parts[i].iov_len;
    }
    if (!without('n') && below(4) == 0) {
        named = (int)below(NAMES);
        m.msg_namelen = name(&to, named);
        m.msg_name = &to;
    }
    memset(&control, 0, sizeof control);
    m.msg_control = control.room;
    if (!without('r') && below(4) == 0) {
        with = 1 + (int)below(4);
        struct cmsghdr *c = &control.align;
        c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * with);
        for (int i = 0; i < with; i++) {
            made[i] = thing();
            memcpy(CMSG_DATA(c) + 4 * i, &made[i], 4);
        }
        m.msg_controllen = CMSG_SPACE(sizeof(int) * with);
    } else if (!without('c') && below(6) == 0) {
        struct ucred me = {getpid(), getuid(), getgid()};
        struct cmsghdr *c = &control.align;
        c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_CREDENTIALS;
        c->cmsg_len = CMSG_LEN(sizeof me);
        memcpy(CMSG_DATA(c), &me, sizeof me);
        m.msg_controllen = CMSG_SPACE(sizeof me);
    }
    long r = sendmsg(fds[s], &m, f);
    tell("sendmsg", s, r);
    dprintf(1, " of %zu in %zu, %d descriptors, to %d, flags %x\n", n, m.msg_iovlen, with, named, f);
    for (int i = 0; i < with; i++)
        close(made[i]);
}

static void receive_message(int s) {
    union {
        char room[256];
        struct cmsghdr align;
    } control;
    struct iovec parts[2];
    struct sockaddr_un from;
    size_t n = size();
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2, .msg_name = &from, .msg_namelen = sizeof from};
    parts[0].iov_base = bytes, parts[0].iov_len = n / 3;
    parts[1].iov_base = bytes + n / 3, parts[1].iov_len = n - n / 3;
    m.msg_control = control.room;
    m.msg_controllen = below(4) ? sizeof control.room : 16 + below(40);
    int f = flags();
    long r = recvmsg(fds[s], &m, f);
    tell("recvmsg", s, r);
    dprintf(1, " of %zu flags %x", n, f);
    if (r >= 0) {
        dprintf(1, " sum %x said %x from %d", sum(bytes, (size_t)r < n ? (size_t)r : n), m.msg_flags,
                which(&from, m.msg_namelen));
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            dprintf(1, " [%d: %zu", c->cmsg_type, (size_t)c->cmsg_len);
            if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
                struct ucred u;
                memcpy(&u, CMSG_DATA(c), sizeof u);
                dprintf(1, " %s", u.pid == getpid() ? "me" : u.pid ? "another" : "nobody");
            }
            for (size_t i = 0; c->cmsg_type == SCM_RIGHTS && i < (c->cmsg_len - CMSG_LEN(0)) / 4; i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(c) + 4 * i, 4);
                tell_thing(fd);
            }
            dprintf(1, "]");
        }
    }
    dprintf(1, "\n");
}

static void plain(int s) {
    size_t n = size();
    long r;
    switch (below(5)) {
    case 0:
        fill(n);
        r = write(fds[s], bytes, n);
        tell("write", s, r);
        break;
    case 1:
        r = read(fds[s], bytes, n);
        tell("read", s, r);
        if (r > 0)
            dprintf(1, " sum %x", sum(bytes, (size_t)r));
        break;
    case 2:
        fill(n);
        r = send(fds[s], bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        tell("send", s, r);
        break;
    default: {
        int f = flags();
        r = recv(fds[s], bytes, n, f);
        tell("recv", s, r);
        if (r > 0)
            dprintf(1, " flags %x sum %x", f, sum(bytes, (size_t)r < n ? (size_t)r : n));
        break;
    }
    }
    dprintf(1, " of %zu\n", n);
}

static void many(int s) {
    struct mmsghdr m[4];
    struct iovec parts[4];
    memset(m, 0, sizeof m);
    size_t n = 1 + below(500);
    int out = (int)below(2);
    fill(n);
    for (int i = 0; i < 4; i++) {
        parts[i].iov_base = bytes + 1000 * i, parts[i].iov_len = n + i;
        m[i].msg_hdr.msg_iov = &parts[i], m[i].msg_hdr.msg_iovlen = 1;
    }
    int r = out ? sendmmsg(fds[s], m, 4, MSG_NOSIGNAL) : recvmmsg(fds[s], m, 4, 0, NULL);
    tell(out ? "sendmmsg" : "recvmmsg", s, r);
    for (int i = 0; i < r; i++)
        dprintf(1, " %u", m[i].msg_len);
    dprintf(1, "\n");
}

static void look(int s) {
    struct pollfd p = {fds[s], POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0};
    int in = -1, out = -1, r = without('p') ? 0 : poll(&p, 1, 0);
    ioctl(fds[s], SIOCINQ, &in);
    ioctl(fds[s], SIOCOUTQ, &out);
    dprintf(1, "look %d: %d %x, %d in, %d out\n", s, r, p.revents, in, out);
}

static void option(int s) {
    static const int all[] = {SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ERROR, SO_ACCEPTCONN, SO_SNDBUF,
                              SO_RCVBUF, SO_PASSCRED, SO_PEEK_OFF, SO_REUSEADDR, SO_KEEPALIVE, SO_LINGER};
    int o = all[below(sizeof all / sizeof *all)], value = 0;
    socklen_t len = sizeof value;
    if (below(2)) {
        value = o == SO_SNDBUF || o == SO_RCVBUF ? (int)below(100000) : (int)below(3) - 1;
        if ((o == SO_SNDBUF || o == SO_RCVBUF) && without('b'))
            return;
        if ((o == SO_PASSCRED && without('c')) || o == SO_LINGER)
            return;
        int r = setsockopt(fds[s], SOL_SOCKET, o, &value, len);
        tell("setsockopt", s, r);
    } else {
        int r = getsockopt(fds[s], SOL_SOCKET, o, &value, &len);
        tell("getsockopt", s, r);
    }
    dprintf(1, " %d = %d (%u)\n", o, value, len);
}

static void names(int s) {
    struct sockaddr_un a;
    socklen_t len = sizeof a;
    int n = (int)below(NAMES), r = 0, t;
    switch (below(8)) {
    case 0:
        len = name(&a, n);
        r = bind(fds[s], (struct sockaddr *)&a, len);
        tell("bind", s, r);
        break;
    case 1:
        n = (int)below(3);
        r = listen(fds[s], n);
        tell("listen", s, r);
        break;
    case 2:
    case 3:
        len = name(&a, n);
        r = connect(fds[s], (struct sockaddr *)&a, len);
        tell("connect", s, r);
        break;
    case 4:
        for (t = 0; t < SOCKETS && fds[t] >= 0; t++) {
        }
        if (t == SOCKETS)
            return;
        len = sizeof a;
        r = accept4(fds[s], (struct sockaddr *)&a, &len, SOCK_NONBLOCK);
        tell("accept", s, r < 0 ? -1 : 0);
        if (r >= 0) {
            fds[t] = r, kinds[t] = kinds[s];
            dprintf(1, " as %d from %d", t, which(&a, len));
        }
        break;
    case 5:
        r = getsockname(fds[s], (struct sockaddr *)&a, &len);
        tell("getsockname", s, r);
        if (r == 0)
            dprintf(1, " is %d", which(&a, len));
        break;
    case 6:
        r = getpeername(fds[s], (struct sockaddr *)&a, &len);
        tell("getpeername", s, r);
        if (r == 0)
            dprintf(1, " is %d", which(&a, len));
        break;
    case 7:
        a.sun_family = AF_UNSPEC;
        r = connect(fds[s], (struct sockaddr *)&a, sizeof(sa_family_t));
        tell("disconnect", s, r);
        break;
    }
    dprintf(1, " (%d)\n", n);
}

static void step(void) {
    int s = any();
    if (fds[s] < 0) {
        pair();
        return;
    }
    switch (below(26)) {
    case 0: pair(); break;
    case 1:
        if (!without('n'))
            lone();
        break;
    case 2: {
        if (below(4))
            break;
        int how = (int)below(3), r = shutdown(fds[s], how);
        tell("shutdown", s, r);
        dprintf(1, " %d\n", how);
        break;
    }
    case 3:
    case 4:
        if (below(2)) {
            dprintf(1, "close %d: %d\n", s, close(fds[s]));
            fds[s] = -1;
        }
        break;
    case 5:
    case 6:
    case 7:
    case 8: send_message(s); break;
    case 9:
    case 10:
    case 11:
    case 12: receive_message(s); break;
    case 13: many(s); break;
    case 14:
    case 15: look(s); break;
    case 16:
        if (!without('o'))
            option(s);
        break;
    case 17:
    case 18:
    case 19:
    case 20:
        if (!without('n'))
            names(s);
        break;
    case 21: {
        int d = dup(fds[s]);
        close(fds[s]);
        fds[s] = d;
        dprintf(1, "dup %d\n", s);
        break;
    }
    case 22:
        if (!without('f')) {
            pid_t pid = fork();
            if (pid == 0) {
                plain(s);
                look(s);
                _exit(0);
            }
            exits_with(pid, 0);
        }
        break;
    default: plain(s); break;
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    state = strtoull(argv[1], NULL, 10) * 2654435761u + 12345;
    left_out = argv[3];
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < SOCKETS; i++)
        fds[i] = -1;
    for (int i = 0; i < atoi(argv[2]); i++) {
        dprintf(1, "%d: ", i);
        step();
    }
    return 0;
}
