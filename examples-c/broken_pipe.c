/*
 * broken_pipe.c - writing to a pipe that nobody reads: SIGPIPE, and EPIPE for those who survive it.
 * See pipe(7), "I/O on pipes and FIFOs", and signal(7).
 *
 * Expected output:
 *
 *     default: killed by signal 13
 *     ignored: write = -1, EPIPE
 *     caught: handler ran 1 time, write = -1, EPIPE
 *     blocked: write = -1, EPIPE, SIGPIPE is pending
 *     reader leaves a blocked writer: write took what fitted, then EPIPE
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void count(int sig)
{
	(void)sig;
	caught++;
}

/* Write to a pipe whose only reader is closed; tell how it ended. */
static const char *write_to_nobody(void)
{
	static char text[40];
	int p[2];
	ssize_t n;

	if (pipe(p) < 0 || close(p[0]) < 0)
		exit(1);
	n = write(p[1], "x", 1);
	snprintf(text, sizeof text, "write = %zd, %s", n, errno == EPIPE ? "EPIPE" : "another error");
	close(p[1]);
	return text;
}

int main(void)
{
	static char big[1 << 20];
	const char *result;
	sigset_t set;
	int p[2], status;
	ssize_t n;

	if (fork() == 0)
		_exit(!write_to_nobody());
	wait(&status);
	printf("default: killed by signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);

	signal(SIGPIPE, SIG_IGN);
	printf("ignored: %s\n", write_to_nobody());
	signal(SIGPIPE, count);
	result = write_to_nobody();
	printf("caught: handler ran %d time, %s\n", (int)caught, result);

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigprocmask(SIG_BLOCK, &set, NULL);
	printf("blocked: %s, ", write_to_nobody());
	sigpending(&set);
	printf("SIGPIPE is %spending\n", sigismember(&set, SIGPIPE) ? "" : "not ");

	fflush(stdout);
	if (pipe(p) < 0)
		return 1;
	if (fork() == 0) /* the last reader takes one byte and leaves */
		_exit(close(p[1]) < 0 || read(p[0], big, 1) != 1);
	close(p[0]);
	n = write(p[1], big, sizeof big);
	printf("reader leaves a blocked writer: write %s, ", n > 0 ? "took what fitted" : "failed");
	n = write(p[1], "x", 1);
	printf("then %s\n", n < 0 && errno == EPIPE ? "EPIPE" : "something else");
	return 0;
}
