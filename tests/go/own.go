// With C in it: a handler of its own beside Go's, a pipe by libc, SIGPROF on threads that are in C.
package main

/*
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile int hits;

static void on_hup(int number)
{
	hits += number == SIGHUP;
}

static int handle_hup(void)
{
	struct sigaction action = { .sa_handler = on_hup, .sa_flags = SA_ONSTACK | SA_RESTART };
	return sigaction(SIGHUP, &action, 0);
}

static int hits_now(void)
{
	return hits;
}

static int through_a_pipe(void)
{
	int ends[2];
	char word[6] = "";
	if (pipe(ends) || write(ends[1], "hello", 5) != 5 || read(ends[0], word, 5) != 5)
		return -1;
	return strcmp(word, "hello") || close(ends[0]) || close(ends[1]);
}

static int raise_blocked(void)
{
	sigset_t set, pending;
	int taken;
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, 0);
	pthread_kill(pthread_self(), SIGHUP);
	sigpending(&pending);
	if (!sigismember(&pending, SIGHUP) || sigwait(&set, &taken) || taken != SIGHUP)
		return 1;
	return pthread_sigmask(SIG_UNBLOCK, &set, 0);
}
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

func init() {
	runtime.LockOSThread()
	fmt.Println("through a pipe:", C.through_a_pipe())
	fmt.Println("handler:", C.handle_hup(), C.raise_blocked())
	for i := 0; i < 10; i++ {
		syscall.Tgkill(os.Getpid(), syscall.Gettid(), syscall.SIGHUP)
	}
	fmt.Println("hits:", C.hits_now())
	runtime.UnlockOSThread()
}
