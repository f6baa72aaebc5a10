/*
 * self_pipe.c - the self-pipe trick: a signal handler writes into a pipe, the main loop polls it.
 *
 * Signals so become ordinary input; the write end does not block, or a burst of signals could stop
 * the program in its own handler. See signal-safety(7).
 *
 * Expected output:
 *
 *     SIGUSR1 arrived
 *     SIGUSR2 arrived
 *     SIGUSR1 arrived
 *     SIGCHLD arrived
 *     child exited with 5
 *     100000 signals later the handler still returns, errno untouched
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int self[2];

static void on_signal(int sig)
{
	int saved = errno;
	char c = sig;

	if (write(self[1], &c, 1) < 0 && errno != EAGAIN)
		_exit(99);
	errno = saved;
}

/* Sends the three signals, each after the parent has asked for it. */
static void child(int ask)
{
	const int sig[3] = { SIGUSR1, SIGUSR2, SIGUSR1 };
	char c;

	for (int i = 0; i < 3 && read(ask, &c, 1) == 1; i++)
		kill(getppid(), sig[i]);
	_exit(read(ask, &c, 1) == 1 ? 5 : 6);
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	const int sig[3] = { SIGUSR1, SIGUSR2, SIGCHLD };
	int ask[2], status;
	char c = 0;

	if (pipe(self) < 0 || pipe(ask) < 0 || fcntl(self[1], F_SETFL, O_NONBLOCK) < 0)
		return 1;
	for (int i = 0; i < 3; i++)
		sigaction(sig[i], &sa, NULL);
	if (fork() == 0)
		child(ask[0]);
	while (c != SIGCHLD) {
		struct pollfd in = { .fd = self[0], .events = POLLIN };

		if (write(ask[1], "?", 1) != 1)
			return 1;
		while (poll(&in, 1, -1) < 0 && errno == EINTR) /* poll(2) is never restarted */
			;
		if (read(self[0], &c, 1) != 1)
			return 1;
		printf("SIG%s arrived\n", c == SIGUSR1 ? "USR1" : c == SIGUSR2 ? "USR2" : "CHLD");
	}
	wait(&status);
	printf("child exited with %d\n", WEXITSTATUS(status));
	errno = 0;
	for (int i = 0; i < 100000; i++)
		raise(SIGUSR1);
	printf("100000 signals later the handler still returns, errno %s\n", errno ? "lost" : "untouched");
	return 0;
}
