/* The life of signals, for tests of what the log tells of them. Says what it has counted. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf again;
static volatile sig_atomic_t handled;

static void on_usr1(int sig)
{
	(void)sig;
	handled++;
}

static void on_usr2(int sig)
{
	(void)sig;
	siglongjmp(again, 1);
}

static sigset_t set_of(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	return set;
}

static void alone(void)
{
	sigset_t usr1 = set_of(SIGUSR1), rt = set_of(SIGRTMIN + 1);
	siginfo_t info;
	volatile int rounds = 0;

	signal(SIGUSR1, on_usr1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	raise(SIGUSR1);
	raise(SIGUSR1);
	kill(getpid(), SIGUSR1);
	sigprocmask(SIG_UNBLOCK, &usr1, NULL);
	raise(SIGUSR1);
	sigprocmask(SIG_BLOCK, &rt, NULL);
	sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = 7 });
	sigwaitinfo(&rt, &info);
	sigprocmask(SIG_SETMASK, &usr1, NULL);
	raise(SIGUSR1);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, on_usr2);
	while (rounds++ < 2)
		if (sigsetjmp(again, 1) == 0)
			raise(SIGUSR2);
	printf("%d handled, %d taken\n", (int)handled, info.si_value.sival_int);
}

static void child(int ready)
{
	sigset_t usr1 = set_of(SIGUSR1), none;

	sigemptyset(&none);
	signal(SIGUSR1, on_usr1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	if (write(ready, "!", 1) != 1)
		_exit(1);
	while (handled == 0)
		sigsuspend(&none);
	if (write(ready, "!", 1) == 1)
		pause();
	_exit(1);
}

static void family(void)
{
	int ready[2], status = 0;
	char c;
	pid_t pid = pipe(ready) ? -1 : fork();

	if (pid == 0)
		child(ready[1]);
	if (pid < 0 || read(ready[0], &c, 1) != 1 || kill(pid, SIGUSR1) < 0)
		exit(1);
	if (read(ready[0], &c, 1) != 1 || kill(pid, SIGKILL) < 0 || waitpid(pid, &status, 0) != pid)
		exit(1);
	printf("%d killed by %d\n", (int)pid, WTERMSIG(status));
}

/* Blocks USR2 and TERM, has both pending, ignores HUP, handles USR1; until its input ends. */
static void shown(void)
{
	sigset_t set = set_of(SIGUSR2);
	char c;

	sigaddset(&set, SIGTERM);
	signal(SIGUSR1, on_usr1);
	signal(SIGUSR2, on_usr1);
	signal(SIGHUP, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR2);
	kill(getpid(), SIGTERM);
	printf("%d\n", (int)getpid());
	fflush(stdout);
	if (read(0, &c, 1) == 0)
		signal(SIGTERM, SIG_IGN);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "alone") == 0)
		alone();
	else if (strcmp(what, "family") == 0)
		family();
	else
		shown();
	return 0;
}
