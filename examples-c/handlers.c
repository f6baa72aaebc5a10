/*
 * handlers.c - signals from one process to another: blocked, pending, handled, waited for.
 * One of a standard signal is pending at most, real-time signals queue up with their values. What
 * is unblocked comes by number; a handler's sa_mask keeps others away. See signal(7), and
 * `ringer trace -e signal -- ./handlers` tells the life of each.
 *
 * Expected output:
 *
 *     USR1 from the parent
 *     RTMIN+2 with 20 from the parent
 *     USR2 from the handler itself
 *     taken: RTMIN+1 with 11
 *     taken: RTMIN+1 with 12
 *     USR1 from the parent
 *     sigsuspend has ended
 *     the child was killed by signal 9
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (sig == SIGUSR1)
		printf("USR1 from %s\n", info->si_pid == getppid() ? "the parent" : "a stranger");
	else if (sig == SIGUSR2)
		printf("USR2 from %s\n", info->si_pid == getpid() ? "the handler itself" : "a stranger");
	else
		printf("RTMIN+2 with %d from the parent\n", info->si_value.sival_int), raise(SIGUSR2);
}

static int child(int ready, int go, const sigset_t *all, const sigset_t *taken)
{
	const int handled[3] = { SIGUSR1, SIGUSR2, SIGRTMIN + 2 };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_mask = *all, .sa_flags = SA_SIGINFO };
	siginfo_t info;
	char c = '!';

	sigprocmask(SIG_SETMASK, all, NULL);
	for (int i = 0; i < 3; i++)
		sigaction(handled[i], &sa, NULL);
	if (write(ready, &c, 1) != 1 || read(go, &c, 1) != 1)
		return 1;
	sigprocmask(SIG_SETMASK, taken, NULL); /* the handlers run here */
	for (int i = 0; i < 2 && sigwaitinfo(taken, &info) > 0; i++)
		printf("taken: RTMIN+1 with %d\n", info.si_value.sival_int);
	sigprocmask(SIG_SETMASK, all, NULL);
	if (write(ready, &c, 1) != 1 || sigsuspend(taken) == 0)
		return 1;
	puts("sigsuspend has ended"), fflush(stdout);
	return write(ready, &c, 1) == 1 ? pause() : 1;
}

int main(void)
{
	const int queued[3][2] = { { 1, 11 }, { 2, 20 }, { 1, 12 } };
	sigset_t all, taken; /* what is blocked; what sigwaitinfo takes */
	int ready[2], go[2], status;
	char c = 0;
	sigfillset(&all);
	sigemptyset(&taken);
	sigaddset(&taken, SIGRTMIN + 1);
	const pid_t pid = pipe(ready) || pipe(go) ? -1 : fork();
	if (pid == 0)
		return child(ready[1], go[0], &all, &taken);
	if (pid < 0 || read(ready[0], &c, 1) != 1)
		return 1;
	for (int i = 0; i < 3; i++)
		sigqueue(pid, SIGRTMIN + queued[i][0], (union sigval){ .sival_int = queued[i][1] });
	if (kill(pid, SIGUSR1) < 0 || kill(pid, SIGUSR1) < 0 || write(go[1], &c, 1) != 1)
		return 1;
	if (read(ready[0], &c, 1) != 1 || kill(pid, SIGUSR1) < 0)
		return 1;
	if (read(ready[0], &c, 1) != 1 || kill(pid, SIGKILL) < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	printf("the child was killed by signal %d\n", WTERMSIG(status));
	return 0;
}
