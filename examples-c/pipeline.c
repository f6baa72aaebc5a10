/*
 * pipeline.c - three programs joined by two pipes, as a shell does it:
 *
 *     seq 1 30 | grep 3 | sort -rn
 *
 * Every process closes the pipe ends that it does not use: grep sees the end of its input only
 * when the last writer has gone. See pipe(2), dup(2), execvp(3), waitpid(2).
 *
 * Expected output:
 *
 *     30
 *     23
 *     13
 *     3
 *     seq exited with 0
 *     grep exited with 0
 *     sort exited with 0
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Start argv with `in` as its standard input and `out` as its standard output. */
static pid_t start(char *const argv[], int in, int out, int unused)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	if (in != STDIN_FILENO && (dup2(in, STDIN_FILENO) < 0 || close(in) < 0))
		die("standard input");
	if (out != STDOUT_FILENO && (dup2(out, STDOUT_FILENO) < 0 || close(out) < 0))
		die("standard output");
	if (unused >= 0)
		close(unused);
	execvp(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

int main(void)
{
	char *stage[3][4] = {
		{ "seq", "1", "30", NULL },
		{ "grep", "3", NULL, NULL },
		{ "sort", "-rn", NULL, NULL },
	};
	pid_t pid[3];
	int in = STDIN_FILENO;

	for (int i = 0; i < 3; i++) {
		int p[2] = { -1, STDOUT_FILENO };

		if (i < 2 && pipe(p) < 0)
			die("pipe");
		pid[i] = start(stage[i], in, p[1], p[0]);
		if (in != STDIN_FILENO)
			close(in);
		if (i < 2)
			close(p[1]);
		in = p[0];
	}
	for (int i = 0; i < 3; i++) {
		int status;

		if (waitpid(pid[i], &status, 0) < 0)
			die("waitpid");
		printf("%s exited with %d\n", stage[i][0], WEXITSTATUS(status));
	}
	return 0;
}
