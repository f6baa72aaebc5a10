/* A parent sends its child an end of a pipe, an eventfd, a message queue and a socket, one after the
 * other, over a pair of sockets; the child uses each. */
#include "check.h"
#include <fcntl.h>
#include <mqueue.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

union control {
    char space[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

static void pass(int over, int fd) {
    union control control = {{0}};
    struct iovec v = {"!", 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    EQUAL(sendmsg(over, &m, 0), 1);
}

static int take(int from) {
    union control control;
    char byte;
    int fd;
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
                       .msg_controllen = sizeof control};
    EQUAL(recvmsg(from, &m, 0), 1);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    return fd;
}

static void child(int from) {
    char text[8192];
    uint64_t count;
    int r = take(from), e = take(from), q = take(from), s = take(from);
    EQUAL(read(r, text, 4), 4);
    EQUAL(read(e, &count, sizeof count), (ssize_t)sizeof count);
    EQUAL(count, 5);
    EQUAL(mq_receive(q, text, sizeof text, NULL), 7);
    EQUAL(read(s, text, 6), 6);
    _exit(0);
}

int main(void) {
    int over[2], p[2], pair[2], status;
    char name[64];
    uint64_t five = 5;
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, over), 0);
    pid_t pid = fork();
    if (pid == 0)
        child(over[1]);
    snprintf(name, sizeof name, "/rights-%d", (int)getpid());
    EQUAL(pipe(p), 0);
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    int e = eventfd(0, 0), q = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, NULL);
    CHECK(e >= 0 && q >= 0);
    EQUAL(mq_unlink(name), 0);
    EQUAL(write(p[1], "pipe", 4), 4);
    EQUAL(write(e, &five, sizeof five), (ssize_t)sizeof five);
    EQUAL(mq_send(q, "message", 7, 0), 0);
    EQUAL(write(pair[0], "socket", 6), 6);
    pass(over[0], p[0]);
    pass(over[0], e);
    pass(over[0], q);
    pass(over[0], pair[1]);
    EQUAL(waitpid(pid, &status, 0), pid);
    EQUAL(status, 0);
    return 0;
}
