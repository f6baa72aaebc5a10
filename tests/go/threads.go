// Threads that end with their goroutine, whose signal stacks are other goroutines' stacks right
// afterwards, while the collector moves stacks and everybody writes and is sent signals.
package main

// #include <unistd.h>
// static int a_pipe(void) { int ends[2]; return pipe(ends); }
import "C"

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func deep(n int) int {
	var words [64]int
	if n > 0 {
		words[n%64] = deep(n-1) + 1
	}
	return words[n%64]
}

// A thread that is sent a signal and ends.
func shortLived() {
	done := make(chan bool)
	go func() {
		runtime.LockOSThread()
		syscall.Tgkill(os.Getpid(), syscall.Gettid(), syscall.SIGUSR1)
		done <- true
	}()
	<-done
}

func work(end time.Time, fail func(string)) {
	null, _ := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	words := make([]byte, 4000)
	for n := 1; time.Now().Before(end); n++ {
		length := n%4000 + 1
		if got, err := syscall.Write(int(null.Fd()), words[:length]); got != length {
			fail(fmt.Sprint("wrote ", got, " of ", length, ": ", err))
		}
		if n%50 == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		}
		if depth := n % 300; n%100 == 0 && deep(depth) != depth {
			fail("a stack is not what it was")
		}
	}
}

func main() {
	fmt.Println("pipe", C.a_pipe())
	got := make(chan os.Signal, 100)
	signal.Notify(got, syscall.SIGUSR1)
	go func() {
		for range got {
		}
	}()
	end := time.Now().Add(2 * time.Second)
	done := make(chan string, 100)
	for i := 0; i < 6; i++ {
		go func() {
			work(end, func(what string) { done <- what })
			done <- "done"
		}()
	}
	go func() {
		for {
			runtime.GC()
		}
	}()
	go func() {
		for {
			shortLived()
		}
	}()
	for i := 0; i < 6; i++ {
		fmt.Println(<-done)
	}
}
