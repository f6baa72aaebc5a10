/*
 * producer_consumer.c - two processes, fixed-size records, a checksum over all of them.
 *
 * A record is smaller than PIPE_BUF, so each write(2) of one is atomic and complete; a read(2) may
 * still return less than a record, which the consumer must be ready for. See pipe(7).
 *
 * Expected output:
 *
 *     sent 20000 records
 *     received 20000 records in order, 960000 bytes, checksum 820649bf
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECORDS 20000

struct record {
	uint32_t number;
	uint32_t payload[11];
};

static void produce(int fd)
{
	for (uint32_t n = 0; n < RECORDS; n++) {
		struct record r = { .number = n };

		for (uint32_t i = 0; i < 11; i++)
			r.payload[i] = n * 2654435761u + i;
		if (write(fd, &r, sizeof r) != sizeof r) {
			perror("write");
			_exit(1);
		}
	}
	printf("sent %d records\n", RECORDS);
	exit(0);
}

/* 1: a whole record; 0: end of input. */
static int receive(int fd, struct record *r)
{
	size_t got = 0;

	while (got < sizeof *r) {
		ssize_t n = read(fd, (char *)r + got, sizeof *r - got);

		if (n <= 0)
			return 0;
		got += n;
	}
	return 1;
}

int main(void)
{
	struct record r;
	uint32_t n = 0, checksum = 0;
	int p[2];
	pid_t pid;

	if (pipe(p) < 0 || (pid = fork()) < 0) {
		perror("start");
		return 1;
	}
	if (pid == 0) {
		close(p[0]);
		produce(p[1]);
	}
	close(p[1]);
	while (receive(p[0], &r) && r.number == n) {
		for (uint32_t i = 0; i < 11; i++)
			checksum = (checksum << 1 | checksum >> 31) ^ r.payload[i];
		n++;
	}
	waitpid(pid, NULL, 0);
	printf("received %u records in order, %zu bytes, checksum %08x\n", n, n * sizeof r, checksum);
	return n == RECORDS ? 0 : 1;
}
