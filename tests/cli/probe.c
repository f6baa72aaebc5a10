/*
 * One call of each sort that a trace must show, in a known order:
 *
 * - pipe#1, O_CLOEXEC|O_NONBLOCK: an EAGAIN, 5 bytes in, 3 and 2 out.
 * - pipe#2: the parent sleeps in read until the child writes "wake"; then end of file.
 * - pipe#1 again: its reader leaves, EPIPE.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Waits until the parent sleeps: the state behind ") " in its stat. See proc(5). */
static void until_parent_sleeps(void)
{
	char name[40], text[512];
	const char *state;
	ssize_t n;
	int fd;

	snprintf(name, sizeof name, "/proc/%d/stat", getppid());
	do {
		fd = open(name, O_RDONLY);
		n = read(fd, text, sizeof text - 1);
		close(fd);
		if (n <= 0)
			_exit(1);
		text[n] = '\0';
		state = strrchr(text, ')');
	} while (!state || state[2] != 'S');
}

int main(void)
{
	char buf[100];
	int p[2], q[2];
	ssize_t n[4];

	signal(SIGPIPE, SIG_IGN);
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return 1;
	n[0] = read(p[0], buf, sizeof buf);
	n[1] = write(p[1], "hello", 5);
	n[2] = read(p[0], buf, 3);
	n[3] = read(p[0], buf, sizeof buf);
	printf("%zd %zd %zd %zd\n", n[0], n[1], n[2], n[3]);
	fflush(stdout);

	if (pipe(q) < 0)
		return 1;
	if (fork() == 0) {
		close(q[0]);
		until_parent_sleeps();
		_exit(write(q[1], "wake", 4) != 4);
	}
	close(q[1]);
	n[0] = read(q[0], buf, sizeof buf);
	n[1] = read(q[0], buf, sizeof buf);
	wait(NULL);

	close(p[0]);
	n[2] = write(p[1], "lost", 4);
	printf("%zd %zd %zd\n", n[0], n[1], n[2]);
	return 3;
}
