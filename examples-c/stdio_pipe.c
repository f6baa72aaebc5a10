/*
 * stdio_pipe.c - a pipe under stdio: fdopen(3), setvbuf(3), fprintf(3), getline(3), fscanf(3).
 *
 * libc moves the bytes by system calls of its own, not through the program's calls of read(2) and
 * write(2).
 *
 * Expected output:
 *
 *     line 1 has 12 characters
 *     line 2 has 12 characters
 *     line 3 has 1 characters
 *     line 4 has 100001 characters
 *     numbers: 3 of them, sum 42
 *     unread and read again: E
 *     feof 1, ferror 0
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void child(int fd)
{
	FILE *f = fdopen(fd, "w");

	if (!f)
		_exit(1);
	setvbuf(f, NULL, _IOLBF, 0); /* a write(2) for every line */
	fprintf(f, "hello, %s\n", "world"[0] == 'w' ? "pipe" : "");
	fputs("second line\n\n", f);
	setvbuf(f, NULL, _IOFBF, 4096);
	for (int i = 0; i < 100000; i++)
		putc('.', f);
	fputs("\n10 11 21\nEnd", f);
	exit(fclose(f) == 0 ? 0 : 1);
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;
	int p[2], a, b, c;
	FILE *f;

	if (pipe(p) < 0)
		return 1;
	switch (fork()) {
	case -1:
		return 1;
	case 0:
		close(p[0]);
		child(p[1]);
	}
	close(p[1]);
	f = fdopen(p[0], "r");
	for (int i = 1; f && i <= 4; i++) {
		ssize_t n = getline(&line, &size, f);

		printf("line %d has %zd characters\n", i, n);
	}
	if (fscanf(f, "%d %d %d\n", &a, &b, &c) == 3)
		printf("numbers: 3 of them, sum %d\n", a + b + c);
	ungetc(getc(f), f);
	printf("unread and read again: %c\n", getc(f));
	while (getc(f) != EOF)
		;
	printf("feof %d, ferror %d\n", feof(f) != 0, ferror(f) != 0);
	fclose(f);
	free(line);
	wait(NULL);
	return 0;
}
