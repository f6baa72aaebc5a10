/*
 * Holds a pipe with five bytes in it. Says its process id and its session, then waits until its
 * standard input ends, reads the five bytes and says them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	const char *session = getenv("RINGER_SESSION");
	char buf[8];
	ssize_t n;
	int p[2];

	if (pipe(p) < 0 || write(p[1], "hello", 5) != 5)
		return 1;
	printf("%d %s\n", getpid(), session ? session : "-");
	fflush(stdout);
	while (read(0, buf, sizeof buf) > 0)
		;
	n = read(p[0], buf, sizeof buf);
	printf("%.*s\n", (int)n, buf);
	return 0;
}
