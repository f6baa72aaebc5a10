/*
 * poll_two_pipes.c - one reader, two writers, poll(2) tells which of them to read.
 *
 * The writers send messages of 8 bytes and leave; what poll(2) says after that is POLLHUP.
 *
 * Expected output:
 *
 *     nothing written: poll = 0
 *     left wrote: poll = 1, left POLLIN, right -
 *     left wrote 300 messages, then hung up
 *     right wrote 500 messages, then hung up
 *     an empty pipe can be written: POLLOUT
 *     a pipe without reader: POLLOUT|POLLERR
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *name(short events)
{
	return events == 0			? "-"
	       : events == POLLIN		? "POLLIN"
	       : events == POLLOUT		? "POLLOUT"
	       : events == (POLLOUT | POLLERR)	? "POLLOUT|POLLERR"
						: "something else";
}

static void writer(int fd, int messages)
{
	for (int i = 0; i < messages; i++)
		if (write(fd, "message", 8) != 8)
			_exit(1);
	_exit(0);
}

int main(void)
{
	const int messages[2] = { 299, 500 };
	struct pollfd in[2], out = { .events = POLLIN | POLLOUT };
	int p[2][2], open_pipes = 2, bytes[2] = { 0, 0 }, n;
	char buf[4096];

	if (pipe(p[0]) < 0 || pipe(p[1]) < 0)
		return 1;
	for (int i = 0; i < 2; i++)
		in[i] = (struct pollfd){ .fd = p[i][0], .events = POLLIN };
	printf("nothing written: poll = %d\n", poll(in, 2, 0));
	if (write(p[0][1], "message", 8) != 8)
		return 1;
	n = poll(in, 2, -1);
	printf("left wrote: poll = %d, left %s, right %s\n", n, name(in[0].revents), name(in[1].revents));
	fflush(stdout);

	for (int i = 0; i < 2; i++)
		if (fork() == 0)
			writer(p[i][1], messages[i]);
	close(p[0][1]);
	close(p[1][1]);
	while (open_pipes > 0 && poll(in, 2, -1) > 0)
		for (int i = 0; i < 2; i++) {
			if ((in[i].revents & POLLIN) && (n = read(in[i].fd, buf, sizeof buf)) > 0)
				bytes[i] += n;
			else if (in[i].revents & POLLHUP)
				in[i].fd = -1, open_pipes--;
		}
	printf("left wrote %d messages, then hung up\n", bytes[0] / 8);
	printf("right wrote %d messages, then hung up\n", bytes[1] / 8);

	if (pipe(p[0]) < 0)
		return 1;
	out.fd = p[0][1];
	poll(&out, 1, -1);
	printf("an empty pipe can be written: %s\n", name(out.revents));
	close(p[0][0]);
	poll(&out, 1, -1);
	printf("a pipe without reader: %s\n", name(out.revents));
	return 0;
}
