/* Makes a pipe, puts a byte into it, and does the thing that its argument names, so that the pipe has
 * to go to the kernel. Exits with 77 if it may not do that here. */
#include "check.h"
#include <linux/aio_abi.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sched.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

static void skip_unless(int allowed) {
    if (!allowed)
        _exit(77);
}

/* Of one of a pair that has got a name, who knows where it goes. */
enum receiver { PEER, ANYBODY };

static void send_descriptor(int fd, enum receiver to) {
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    int pair[2];
    struct iovec v = {"!", 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    EQUAL(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    if (to == ANYBODY) {
        struct sockaddr any = {.sa_family = AF_UNIX};
        EQUAL(bind(pair[0], &any, sizeof any.sa_family), 0);
    }
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    EQUAL(sendmsg(pair[0], &m, 0), 1);
}

/* Linux AIO of pipes: a read that the kernel makes by itself. */
static void submit_read(int fd) {
    char byte;
    aio_context_t ctx = 0;
    struct iocb cb = {.aio_fildes = (uint32_t)fd, .aio_lio_opcode = IOCB_CMD_PREAD,
                      .aio_buf = (uintptr_t)&byte, .aio_nbytes = 1};
    struct iocb *list[] = {&cb};
    skip_unless(syscall(SYS_io_setup, 1, &ctx) == 0);
    syscall(SYS_io_submit, ctx, 1, list);
}

/* From now on it is as in a kernel without Syscall User Dispatch. (Were it forbidden to switch it off as well, the process
   would leave the session at once.) */
static void forbid_dispatch(void) {
    enum { DISPATCH = 59, ON = 1 };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DISPATCH, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ON, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    skip_unless(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* The connection is accepted by a call that nobody looks at. */
static void connect_to_stranger(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t len = sizeof name;
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0), fd;
    char byte;
    EQUAL(bind(server, (struct sockaddr *)&name, sizeof name.sun_family), 0);
    EQUAL(listen(server, 1), 0);
    EQUAL(getsockname(server, (struct sockaddr *)&name, &len), 0);
    EQUAL(connect(client, (struct sockaddr *)&name, len), 0);
    fd = (int)syscall(SYS_accept4, server, NULL, NULL, 0);
    EQUAL(write(fd, "!", 1), 1);
    EQUAL(read(client, &byte, 1), 1);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    int p[2], q[2];
#define IS(name) (strcmp(what, name) == 0)
    if (IS("exec-as-nobody")) {
        skip_unless(setresgid(65534, 65534, 65534) == 0);
        skip_unless(setresuid(65534, 65534, 65534) == 0);
    }
    EQUAL(pipe(p), 0);
    EQUAL(pipe(q), 0);
    EQUAL(write(p[1], "x", 1), 1);
    if (IS("splice")) {
        EQUAL(splice(p[0], NULL, q[1], NULL, 1, 0), 1);
    } else if (IS("io_uring")) {
        syscall(SYS_io_uring_setup, 1, NULL);
    } else if (IS("rights")) {
        send_descriptor(p[0], ANYBODY);
    } else if (IS("ancillary")) {
        send_descriptor(p[0], PEER);
    } else if (IS("large")) {
        skip_unless(fcntl(p[0], F_SETPIPE_SZ, 8 << 20) >= 0);
    } else if (IS("setuid")) {
        skip_unless(setresuid(65534, 65534, 65534) == 0);
    } else if (IS("poll-eventfd")) {
        struct pollfd e = {.fd = eventfd(3, 0), .events = POLLIN};
        EQUAL(poll(&e, 1, 0), 1);
    } else if (IS("writev-eventfd")) {
        uint64_t one = 1;
        struct iovec v = {&one, sizeof one};
        EQUAL(writev(eventfd(3, 0), &v, 1), 8);
    } else if (IS("io_submit")) {
        submit_read(p[0]);
    } else if (IS("passcred")) {
        int pair[2], one = 1;
        EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        EQUAL(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one), 0);
    } else if (IS("bind")) {
        int pair[2];
        struct sockaddr any = {.sa_family = AF_UNIX};
        EQUAL(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
        EQUAL(bind(pair[0], &any, sizeof any.sa_family), 0);
    } else if (IS("oob")) {
        int pair[2];
        EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        send(pair[0], "!", 1, MSG_OOB);
    } else if (IS("seccomp")) {
        int pair[2];
        EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        forbid_dispatch();
    } else if (IS("undumpable")) {
        int pair[2];
        EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        EQUAL(prctl(PR_SET_DUMPABLE, 0), 0);
    } else if (IS("close")) {
        int pair[2];
        EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        EQUAL(write(pair[0], "unread", 6), 6);
        EQUAL(close(pair[1]), 0);
    } else if (IS("stranger")) {
        connect_to_stranger();
    } else if (IS("namespace")) {
        int pair[2];
        EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        skip_unless(unshare(CLONE_NEWPID) == 0);
    } else if (IS("unshare")) {
        EQUAL(unshare(CLONE_FILES), 0);
    } else if (IS("traceme")) {
        pid_t child = fork();
        if (child == 0)
            _exit(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 ? 0 : 1);
        exits_with(child, 0);
    } else if (IS("chroot")) {
        (void)!chroot("/"); /* it may be forbidden */
    } else {
        if (IS("exec-without-preload"))
            setenv("LD_PRELOAD", "", 1);
        if (IS("exec-without-dispatch"))
            forbid_dispatch();
        if (argc > 2) {
            execv(argv[2], argv + 2);
            skip_unless(errno != EACCES);
            EQUAL(errno, ENOENT); /* its interpreter, perhaps: it was tried */
            return 0;
        }
        CHECK(!"something to do");
    }
    return 0;
}
