/*
 * popen.c - read from a command, and write to one, through popen(3).
 *
 * pclose(3) waits for the command and gives its wait status.
 *
 * Expected output:
 *
 *     read: one
 *     read: two
 *     the command exited with 3
 *     WRITTEN BY THE PARENT,
 *     SHOUTED BY THE CHILD
 *     the command exited with 0
 *     head took 1 and the other command died of signal 13
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

int main(void)
{
	char line[80];
	FILE *f;

	f = popen("echo one; echo two; exit 3", "r");
	if (!f) {
		perror("popen");
		return 1;
	}
	while (fgets(line, sizeof line, f))
		printf("read: %s", line);
	printf("the command exited with %d\n", WEXITSTATUS(pclose(f)));

	fflush(stdout); /* the next lines on our standard output are tr's */
	f = popen("tr a-z A-Z", "w");
	if (!f) {
		perror("popen");
		return 1;
	}
	fputs("written by the parent,\nshouted by the child\n", f);
	printf("the command exited with %d\n", WEXITSTATUS(pclose(f)));

	f = popen("exec seq 1 1000000", "r"); /* we stop reading long before it has finished */
	if (!f || !fgets(line, sizeof line, f)) {
		perror("popen");
		return 1;
	}
	line[1] = '\0';
	printf("head took %s and the other command died of signal %d\n", line, WTERMSIG(pclose(f)));
	return 0;
}
