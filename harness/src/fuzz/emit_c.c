#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELPER __attribute__((unused)) static

/* The actors are processes that take turns; r[] is what a fork copies. */
static struct page { int turn; pid_t pid[@ACTORS]; } *page;
static int me, r[@REGISTERS], q[@REGISTERS], s[@REGISTERS];
static char *buf; /* behind its @BUFFER bytes is nothing */
#define GOOD(n) buf
#define EDGE(n) (buf + @BUFFER - (n) / 2)
#define HOLE(n) (buf + @BUFFER + 64)

/* The turn of who is dead goes to whoever comes first. */
HELPER int mine(int step, int who)
{
	while (__atomic_load_n(&page->turn, __ATOMIC_ACQUIRE) < step)
		usleep(100);
	return me == who && page->turn == step;
}

#define STEP(step, who, call) do { \
	if (mine(step, who)) { \
		errno = 0; \
		long ret = (long)(call); \
		int e = ret == -1 ? errno : 0; \
		if (me == who) { \
			printf("%3d  %d: %s = %ld %s\n", step, who, #call, ret, e ? strerrorname_np(e) : ""); \
			fflush(stdout); \
			__atomic_store_n(&page->turn, step + 1, __ATOMIC_RELEASE); \
		} else \
			while (page->turn == step) \
				usleep(100); \
	} else { \
		for (int ms = 0; page->turn == step && (ms < 300 || alive(who)); ms++) \
			usleep(1000); \
		int was = step; \
		__atomic_compare_exchange_n(&page->turn, &was, step + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED); \
	} \
	usleep(1000); /* signals arrive */ \
} while (0)

HELPER int alive(int who)
{
	siginfo_t info = { 0 };
	if (!page->pid[who] || kill(page->pid[who], 0) != 0)
		return 0;
	return waitid(P_PID, page->pid[who], &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0;
}

HELPER void handler(int sig, siginfo_t *info, void *context)
{
	(void)context;
	char line[80];
	int n = snprintf(line, sizeof line, "     %d: handler of %d, code %d\n", me, sig, info->si_code);
	if (write(1, line, n) < 0)
		_exit(1);
}

HELPER sigset_t *set(int first, ...)
{
	static sigset_t sets[8];
	static int next;
	sigset_t *s = &sets[next++ % 8];
	va_list list;
	sigemptyset(s);
	va_start(list, first);
	for (int sig = first; sig; sig = va_arg(list, int))
		sigaddset(s, sig);
	va_end(list);
	return s;
}

HELPER int action(int sig, void (*f)(int, siginfo_t *, void *), int flags, sigset_t *mask)
{
	struct sigaction a = { .sa_sigaction = f, .sa_flags = flags | SA_SIGINFO, .sa_mask = *mask };
	return sigaction(sig, &a, NULL);
}

HELPER int pending(void)
{
	sigset_t s;
	int ret = sigpending(&s);
	for (int sig = 1; sig < 65; sig++)
		if (sigismember(&s, sig) == 1)
			printf("     pending: %d\n", sig);
	return ret;
}

HELPER int two(int ret, int fds[2], int *a, int *b)
{
	if (ret == 0) {
		*a = fds[0];
		*b = fds[1];
	}
	return ret;
}

HELPER int polled(struct pollfd *fds, int n)
{
	int ret = poll(fds, n, 0);
	for (int i = 0; i < n; i++)
		printf("     revents of %d: %#x\n", fds[i].fd, fds[i].revents);
	return ret;
}

HELPER int keep(int *to, int fd)
{
	if (fd >= 0)
		*to = fd;
	return fd;
}

HELPER long told(const char *what, int ret, long n)
{
	printf("     %s: %ld\n", what, n);
	return ret;
}

HELPER const char *queue(int n)
{
	static char name[40];
	snprintf(name, sizeof name, "/fuzz-%d-%d", (int)getpgrp(), n);
	return name;
}

HELPER int forked(int as)
{
	pid_t pid = fork();
	if (pid == 0)
		me = as;
	else
		page->pid[as] = pid;
	return pid < 0 ? -1 : 0;
}

int main(void)
{
	static const struct timespec now;
	struct mq_attr attr;
	struct msqid_ds stat;
	int fds[2], n = 0;
	unsigned priority = 0;
	(void)now, (void)attr, (void)stat, (void)fds, (void)n, (void)priority;
	setpgid(0, 0);
	memset(r, -1, sizeof r);
	memset(q, -1, sizeof q);
	memset(s, -1, sizeof s);
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	buf = mmap(NULL, @BUFFER + 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(buf, @BUFFER, PROT_READ | PROT_WRITE);
	page->pid[0] = getpid();

@BODY
	while (me == 0 && page->turn < @STEPS)
		usleep(1000);
	while (me == 0 && wait(NULL) > 0)
		;
	for (int i = 0; me == 0 && i < 3; i++)
		mq_unlink(queue(i));
	return 0;
}
