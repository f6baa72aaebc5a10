/* Little stack: threads with the smallest one, and handlers on the smallest alternate one.
 * See pthread_attr_setstacksize(3), sigaltstack(2). */
#include "check.h"
#include <limits.h>
#include <mqueue.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

static int p[2];
static volatile sig_atomic_t handled;

static void *small_thread(void *unused) {
    (void)unused;
    char buf[64];
    int q[2];
    EQUAL(pipe(q), 0);
    for (int i = 0; i < 100; i++) {
        EQUAL(write(q[1], "thread", 6), 6);
        EQUAL(read(q[0], buf, sizeof buf), 6);
        struct pollfd fd = {q[0], POLLIN, 0};
        EQUAL(poll(&fd, 1, 0), 0);
        EQUAL(syscall(SYS_write, q[1], "raw", 3), 3);
        EQUAL(syscall(SYS_read, q[0], buf, sizeof buf), 3);
    }
    EQUAL(read(p[0], buf, sizeof buf), 4); /* waits for main */
    close(q[0]);
    close(q[1]);
    return NULL;
}

static void send_descriptor(int to, int fd) {
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } u = {.room = {0}};
    struct iovec part = {"x", 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = sizeof u.room};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    EQUAL(sendmsg(to, &m, 0), 1);
}

static int receive_descriptor(int from) {
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } u;
    char c;
    struct iovec part = {&c, 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = sizeof u.room};
    int fd;
    EQUAL(recvmsg(from, &m, 0), 1);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    return fd;
}

/* Each kind of socket: served, passed on, and polled with something in it, which makes it the kernel's. */
static void *sockets(void *unused) {
    (void)unused;
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    char buf[64];
    for (int i = 0; i < 3; i++) {
        int s[2], q[2];
        EQUAL(socketpair(AF_UNIX, types[i], 0, s), 0);
        EQUAL(pipe(q), 0);
        EQUAL(send(s[0], "one", 3, 0), 3);
        EQUAL(recv(s[1], buf, sizeof buf, 0), 3);
        send_descriptor(s[0], q[0]);
        int got = receive_descriptor(s[1]);
        EQUAL(write(q[1], "pipe", 4), 4);
        EQUAL(read(got, buf, sizeof buf), 4);
        EQUAL(send(s[0], "two", 3, 0), 3);
        EQUAL(send(s[1], "three", 5, 0), 5);
        struct pollfd fds[2] = {{s[0], POLLIN, 0}, {s[1], POLLIN, 0}};
        EQUAL(poll(fds, 2, 0), 2);
        EQUAL(recv(s[1], buf, sizeof buf, 0), 3);
        EQUAL(recv(s[0], buf, sizeof buf, 0), 5);
        close(got), close(q[0]), close(q[1]), close(s[0]), close(s[1]);
    }
    return NULL;
}

/* A connection by name: something sent before accept, a part of it received, then polled. */
static void *connection(void *unused) {
    (void)unused;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char buf[64];
    for (int i = 0; i < 2; i++) {
        int type = i ? SOCK_SEQPACKET : SOCK_STREAM;
        socklen_t len = sizeof(sa_family_t) + 1 + (socklen_t)snprintf(at.sun_path + 1, 64, "stack-%d-%d", getpid(), i);
        int l = socket(AF_UNIX, type, 0), c = socket(AF_UNIX, type, 0);
        EQUAL(bind(l, (struct sockaddr *)&at, len), 0);
        EQUAL(listen(l, 1), 0);
        EQUAL(connect(c, (struct sockaddr *)&at, len), 0);
        EQUAL(send(c, "early", 5, 0), 5);
        EQUAL(send(c, "bird", 4, 0), 4);
        int s = accept(l, NULL, NULL);
        EQUAL(recv(s, buf, 5, 0), 5);
        EQUAL(send(c, "late", 4, 0), 4);
        struct pollfd fd = {s, POLLIN, 0};
        EQUAL(poll(&fd, 1, 0), 1);
        EQUAL(recv(s, buf, 4, 0), 4);
        EQUAL(recv(s, buf, sizeof buf, 0), 4);
        EQUAL(send(s, "answer", 6, 0), 6);
        EQUAL(recv(c, buf, sizeof buf, 0), 6);
        close(l), close(c), close(s);
    }
    return NULL;
}

/* The rest: eventfd, signalfd, epoll, and what is System V's and POSIX's. */
static void *others(void *unused) {
    (void)unused;
    char buf[64];
    uint64_t n = 3;
    int e = eventfd(0, 0), set = epoll_create1(0), q[2];
    struct epoll_event event = {.events = EPOLLIN};
    EQUAL(pipe(q), 0);
    EQUAL(write(e, &n, 8), 8);
    EQUAL(epoll_ctl(set, EPOLL_CTL_ADD, e, &event), 0);
    EQUAL(epoll_ctl(set, EPOLL_CTL_ADD, q[0], &event), 0);
    EQUAL(write(q[1], "x", 1), 1);
    struct epoll_event told[2];
    EQUAL(epoll_wait(set, told, 2, 0), 2);
    EQUAL(read(e, &n, 8), 8);
    struct {
        long type;
        char text[8];
    } message = {1, "text"};
    int id = msgget(IPC_PRIVATE, 0600), sem = semget(IPC_PRIVATE, 1, 0600);
    EQUAL(msgsnd(id, &message, 8, 0), 0);
    EQUAL(msgrcv(id, &message, 8, 0, 0), 8);
    EQUAL(msgctl(id, IPC_RMID, NULL), 0);
    struct sembuf up = {0, 1, SEM_UNDO}, down = {0, -1, SEM_UNDO};
    EQUAL(semop(sem, &up, 1), 0);
    EQUAL(semop(sem, &down, 1), 0);
    EQUAL(semctl(sem, 0, IPC_RMID), 0);
    char name[64];
    snprintf(name, sizeof name, "/stack-%d", getpid());
    struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = sizeof buf};
    mqd_t m = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
    EQUAL(mq_unlink(name), 0);
    EQUAL(mq_send(m, "mq", 2, 0), 0);
    struct pollfd fd = {m, POLLIN, 0};
    EQUAL(poll(&fd, 1, 0), 1);
    EQUAL(mq_receive(m, buf, sizeof buf, NULL), 2);
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    EQUAL(pthread_sigmask(SIG_BLOCK, &usr2, NULL), 0);
    int s = signalfd(-1, &usr2, 0);
    struct signalfd_siginfo info;
    EQUAL(pthread_kill(pthread_self(), SIGUSR2), 0);
    EQUAL(read(s, &info, sizeof info), (long)sizeof info);
    int status;
    pid_t child = fork();
    if (child == 0) _exit(7);
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(WEXITSTATUS(status), 7);
    close(e), close(set), close(q[0]), close(q[1]), close(s), mq_close(m);
    return NULL;
}

static void handler(int sig) {
    char c;
    (void)sig;
    EQUAL(write(p[1], "h", 1), 1);
    EQUAL(read(p[0], &c, 1), 1);
    handled++;
}

int main(void) {
    pthread_t thread;
    pthread_attr_t attr;
    EQUAL(pipe(p), 0);
    EQUAL(pthread_attr_init(&attr), 0);
    EQUAL(pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN)), 0);
    for (int i = 0; i < 20; i++) {
        EQUAL(pthread_create(&thread, &attr, small_thread, NULL), 0);
        EQUAL(write(p[1], "done", 4), 4);
        EQUAL(pthread_join(thread, NULL), 0);
    }
    void *(*const more[])(void *) = {sockets, connection, others};
    for (int i = 0; i < 3; i++) {
        EQUAL(pthread_create(&thread, &attr, more[i], NULL), 0);
        EQUAL(pthread_join(thread, NULL), 0);
    }
    /* The frame of a signal, and 2 KiB for the handler: what MINSIGSTKSZ promised. */
    size_t size = getauxval(AT_MINSIGSTKSZ) + 2048;
    stack_t alternate = {.ss_sp = malloc(size), .ss_size = size};
    EQUAL(sigaltstack(&alternate, NULL), 0);
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    EQUAL(sigaction(SIGUSR1, &sa, NULL), 0);
    for (int i = 1; i <= 100; i++) {
        EQUAL(raise(SIGUSR1), 0);
        EQUAL(handled, i);
    }
    return 0;
}
