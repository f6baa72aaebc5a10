#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELPER __attribute__((unused)) static

/* The actors take turns; r[], q[] and s[] are what a fork copies, and a thread begins with. */
struct begin { int from, me, r[@REGISTERS], q[@REGISTERS], s[@REGISTERS]; };
static struct page { int turn; pid_t pid[@ACTORS], tid[@ACTORS]; char path[40]; sem_t sem[3]; struct begin begin[@ACTORS]; } *page;
static __thread int me, r[@REGISTERS], q[@REGISTERS], s[@REGISTERS];
/* Semaphores that have names: a fork copies them, a thread and another image begin with none. */
HELPER __thread sem_t *p[@REGISTERS];
#define SEM(n) (p[n] ? p[n] : &page->sem[(n) % 3])
static char *buf; /* behind its @BUFFER bytes is nothing */
#define GOOD(n) buf
#define EDGE(n) (buf + @BUFFER - (n) / 2)
#define HOLE(n) (buf + @BUFFER + 64)

/* The turn of who is dead, or waits in a call, is over after a while. */
HELPER int mine(int step, int who)
{
	while (__atomic_load_n(&page->turn, __ATOMIC_ACQUIRE) < step)
		usleep(100);
	return me == who && page->turn == step;
}

HELPER void over(int step)
{
	__atomic_compare_exchange_n(&page->turn, &step, step + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

#define STEP(step, who, call) do { \
	if (step < from) \
		break; \
	if (mine(step, who)) { \
		errno = 0; \
		long ret = (long)(call); \
		int e = ret == -1 ? errno : 0; \
		if (me == who) { \
			printf("%3d  %d: %s = %ld %s\n", step, who, #call, ret, e ? strerrorname_np(e) : ""); \
			fflush(stdout); \
			over(step); \
		} else \
			while (page->turn == step) \
				usleep(100); \
	} else { \
		for (int ms = 0; page->turn == step && ms < 300; ms++) \
			usleep(1000); \
		over(step); \
	} \
	usleep(1000); /* signals arrive */ \
} while (0)

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

HELPER int polled(struct pollfd *fds, int n, int ms)
{
	int ret = poll(fds, n, ms);
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
	snprintf(name, sizeof name, "/fuzz-%d-%d", (int)page->pid[0], n);
	return name;
}

HELPER const char *semaphore(int n)
{
	static char name[300];
	int pid = page->pid[0], len = snprintf(name, sizeof name, n == 2 ? "fuzz-%d-sem0" : n == 3 ? "//fuzz-%d-sem0" :
		n == 6 ? "/fuzz-%d/sem" : n > 3 ? "/fuzz-%d-" : "/fuzz-%d-sem%d", pid, n);
	if (n == 4 || n == 5) /* the longest, and one more */
		memset(name + len, 'x', 252 + n - 4 - len), name[252 + n - 4] = 0;
	return name;
}

HELPER int opened(sem_t **to, sem_t *sem)
{
	if (sem == SEM_FAILED)
		return -1;
	if (*to)
		sem_close(*to);
	*to = sem;
	return 0;
}

HELPER int closed(sem_t **sem)
{
	int ret = sem_close(*sem ? *sem : page->sem);
	if (ret == 0)
		*sem = NULL;
	return ret;
}

#define NAMED (sizeof(sa_family_t) + sizeof "/tmp/fuzz-1234567890-1" - 1)

HELPER struct sockaddr_un *address(int n)
{
	static struct sockaddr_un name;
	name.sun_family = AF_UNIX;
	snprintf(name.sun_path, sizeof name.sun_path, "/tmp/fuzz-%010d-%d", (int)page->pid[0], n);
	if (n % 2 == 0)
		name.sun_path[0] = 0;
	return &name;
}

HELPER long pass(int fd, size_t len, int flags, int what)
{
	struct { struct cmsghdr head; int fd; } control = { { CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS }, what };
	struct iovec part = { buf, len };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(4) };
	struct stat st;
	if (fstat(what, &st) == 0 && S_ISSOCK(st.st_mode))
		return 0;
	return sendmsg(fd, &m, flags);
}

HELPER long obtain(int fd, size_t len, int flags, size_t room, int *to)
{
	long control[16];
	struct sockaddr_un name;
	struct iovec part = { buf, len };
	struct msghdr m = { &name, sizeof name, &part, 1, control, room, 0 };
	long n = recvmsg(fd, &m, flags);
	if (n < 0)
		return n;
	printf("     flags %#x, a name of %u bytes\n", m.msg_flags, m.msg_namelen);
	for (struct cmsghdr *head = CMSG_FIRSTHDR(&m); head; head = CMSG_NXTHDR(&m, head)) {
		printf("     control message %d of %zu bytes\n", head->cmsg_type, head->cmsg_len);
		if (head->cmsg_type == SCM_RIGHTS)
			memcpy(to, CMSG_DATA(head), sizeof *to);
	}
	return n;
}

HELPER int forked(int as)
{
	pid_t pid = fork();
	if (pid == 0)
		me = as;
	else
		page->pid[as] = page->tid[as] = pid;
	return pid < 0 ? -1 : 0;
}

HELPER int to_thread(int whom, int sig)
{
	if (page->pid[whom] != getpid())
		return kill(page->pid[whom], sig);
	return whom == me ? raise(sig) : tgkill(page->pid[whom], page->tid[whom], sig);
}

HELPER int notify(int fd, int sig)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig };
	return mq_notify(fd, &event);
}

/* What another image or thread begins with. */
HELPER struct begin *begin(int as, int from)
{
	struct begin *b = &page->begin[as];
	b->from = from;
	b->me = as;
	memcpy(b->r, r, sizeof r);
	memcpy(b->q, q, sizeof q);
	memcpy(b->s, s, sizeof s);
	return b;
}

HELPER void take(struct begin *b)
{
	me = b->me;
	memcpy(r, b->r, sizeof r);
	memcpy(q, b->q, sizeof q);
	memcpy(s, b->s, sizeof s);
}

/* main() goes on with it. */
HELPER int executed(int step)
{
	char as[12];
	begin(me, step + 1);
	snprintf(as, sizeof as, "%d", me);
	return execl("/proc/self/exe", "fuzz", page->path, as, NULL);
}

HELPER int threaded(int as, int step);

static void body(int from)
{
	static const struct timespec now, past = { 1, 0 }, bad = { 1, 1000000000 };
	struct mq_attr attr;
	struct msqid_ds stat;
	int fds[2], n = 0;
	unsigned priority = 0;
	(void)now, (void)past, (void)bad, (void)attr, (void)stat, (void)fds, (void)n, (void)priority;

@BODY
}

HELPER void *thread(void *begin)
{
	struct begin *b = begin;
	take(b);
	page->pid[me] = getpid();
	__atomic_store_n(&page->tid[me], gettid(), __ATOMIC_RELEASE);
	body(b->from);
	return NULL;
}

HELPER int threaded(int as, int step)
{
	pthread_t t;
	if (pthread_create(&t, NULL, thread, begin(as, step + 1)) != 0)
		return -1;
	while (!__atomic_load_n(&page->tid[as], __ATOMIC_ACQUIRE))
		usleep(100);
	return 0;
}

/* Goes on without an actor that waits in a call, and ends what waits for ever. */
HELPER void watch(pid_t actors)
{
	for (int turn = -1, ms = 0; waitpid(-1, NULL, WNOHANG) >= 0; ms++) {
		usleep(1000);
		if (turn != page->turn)
			turn = page->turn, ms = 0;
		if (ms == 300 && turn < @STEPS)
			over(turn);
		else if (ms == 300)
			kill(-actors, SIGKILL);
	}
}

HELPER void map(int fd)
{
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	buf = mmap(NULL, @BUFFER + 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(buf, @BUFFER, PROT_READ | PROT_WRITE);
}

HELPER int act(int from)
{
	body(from);
	for (int as = 1; me == 0 && as < @ACTORS; as++) /* who still waits */
		if (page->pid[as] && page->pid[as] != getpid())
			kill(page->pid[as], SIGKILL);
	while (me == 0 && wait(NULL) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3) { /* executed() */
		map(open(argv[1], O_RDWR));
		take(&page->begin[atoi(argv[2])]);
		page->tid[me] = getpid();
		int step = page->begin[me].from - 1;
		printf("%3d  %d: executed = 0\n", step, me);
		fflush(stdout);
		over(step);
		return act(step + 1);
	}
	memset(r, -1, sizeof r);
	memset(q, -1, sizeof q);
	memset(s, -1, sizeof s);
	int fd = memfd_create("page", MFD_CLOEXEC);
	if (ftruncate(fd, sizeof *page) != 0)
		return 1;
	map(dup(fd));
	snprintf(page->path, sizeof page->path, "/proc/%d/fd/%d", (int)getpid(), fd);
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* of those whose parent was killed */
	pid_t actors = fork();
	if (actors > 0) {
		watch(actors);
		for (int i = 0; i < 3; i++)
			mq_unlink(queue(i));
		for (int i = 0; i < 7; i++)
			sem_unlink(semaphore(i));
		unlink(address(1)->sun_path);
		unlink(address(3)->sun_path);
		return 0;
	}
	setpgid(0, 0);
	close(fd);
	page->pid[0] = page->tid[0] = getpid();
	return act(0);
}
