/*
 * packet.c - a pipe that keeps message boundaries: pipe2(O_DIRECT).
 *
 * "Each write(2) to the pipe is dealt with as a separate packet, and read(2)s from the pipe will
 * read one packet at a time." What does not fit in the reader's buffer is discarded, a write of
 * more than PIPE_BUF bytes is several packets, and one of zero bytes is none. See pipe(2).
 *
 * Expected output:
 *
 *     read 5: first
 *     read 3: 2nd
 *     read 100 of a packet of 300
 *     read 4: last
 *     a write of 5000 bytes: read 4096, then 904
 *     full after 16 packets
 *     end of file: 0
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char buf[8192];

static void say(int fd)
{
	ssize_t n = read(fd, buf, sizeof buf);

	printf("read %zd: %.*s\n", n, (int)n, buf);
}

int main(void)
{
	int p[2], packets = 0;
	ssize_t a, b;

	if (pipe2(p, O_DIRECT) < 0) {
		perror("pipe2");
		return 1;
	}
	memset(buf, 'x', sizeof buf);
	if (write(p[1], "first", 5) != 5 || write(p[1], "", 0) != 0 || write(p[1], "2nd", 3) != 3 ||
	    write(p[1], buf, 300) != 300 || write(p[1], "last", 4) != 4)
		return 1;
	say(p[0]);
	say(p[0]);
	printf("read %zd of a packet of 300\n", read(p[0], buf, 100));
	say(p[0]);

	if (write(p[1], buf, 5000) != 5000)
		return 1;
	a = read(p[0], buf, sizeof buf);
	b = read(p[0], buf, sizeof buf);
	printf("a write of 5000 bytes: read %zd, then %zd\n", a, b);

	fcntl(p[1], F_SETFL, O_DIRECT | O_NONBLOCK);
	while (write(p[1], "x", 1) == 1)
		packets++;
	printf("full after %d packets\n", errno == EAGAIN ? packets : -1);
	while (packets-- > 0)
		if (read(p[0], buf, sizeof buf) != 1)
			return 1;
	close(p[1]);
	printf("end of file: %zd\n", read(p[0], buf, sizeof buf));
	return 0;
}
