/* The life of signals, for tests of what the log tells of them. Says what it has counted. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
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

static int ends[2];

static void *waits(void *arg)
{
	char c;

	while (read(ends[0], &c, 1) != 1)
		;
	return arg;
}

static void in_ms(int ms)
{
	struct itimerval at = { .it_value = { .tv_usec = ms * 1000 } };

	setitimer(ITIMER_REAL, &at, NULL);
}

/* What signals meet that the kernel carries. */
static void kernels(void)
{
	struct sigaction restart = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
	struct sigaction ends_it = { .sa_handler = on_usr1 };
	sigset_t usr1 = set_of(SIGUSR1);
	pthread_t thread;
	int status;
	pid_t pid;

	if (pipe(ends))
		exit(1);
	signal(SIGUSR2, SIG_IGN);
	kill(getpid(), SIGUSR2);
	sigaction(SIGALRM, &ends_it, NULL);
	in_ms(50);
	usleep(10000000);
	pid = fork();
	if (pid == 0) {
		usleep(300000);
		_exit(0);
	}
	sigaction(SIGALRM, &restart, NULL);
	in_ms(50);
	waitpid(pid, &status, 0);
	sigaction(SIGUSR1, &ends_it, NULL);
	pthread_create(&thread, NULL, waits, NULL);
	usleep(50000);
	pthread_kill(thread, SIGUSR1);
	while (handled < 3)
		usleep(1000);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	kill(getpid(), SIGUSR1);
	while (handled < 4)
		usleep(1000);
	pid = write(ends[1], "!", 1) == 1 && pthread_join(thread, NULL) == 0 ? fork() : -1;
	if (pid == 0)
		for (;;)
			pause();
	usleep(200 * 1000); // who watches the session has seen it by now
	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	kill(pid, SIGCONT);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	printf("%d %d\n", (int)getpid(), (int)handled);
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
	else if (strcmp(what, "kernels") == 0)
		kernels();
	else
		shown();
	return 0;
}
