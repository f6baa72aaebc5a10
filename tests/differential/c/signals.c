/* Signals that are blocked, coalesce, queue, are taken, and interrupt. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void on(int sig)
{
	(void)sig;
}

int main(void)
{
	struct sigaction a = {.sa_handler = on};
	struct signalfd_siginfo got[4];
	union sigval v = {.sival_int = 7};
	sigset_t set, rt;
	int fd;

	sigaction(SIGUSR1, &a, NULL);
	sigaction(SIGUSR2, &a, NULL);
	kill(getpid(), SIGUSR1); /* at once */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR1); /* one */
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	sigemptyset(&rt);
	sigaddset(&rt, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &rt, NULL);
	sigqueue(getpid(), SIGRTMIN, v);
	sigqueue(getpid(), SIGRTMIN, v); /* two */
	sigwaitinfo(&rt, NULL);
	sigwaitinfo(&rt, NULL);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	kill(getpid(), SIGUSR1);
	read(fd, got, sizeof got);
	kill(1 << 22, SIGUSR1); /* ESRCH */
	if (!fork())
		_exit(3);
	wait(NULL);
	return 0;
}
