// Goroutines, os/signal, os.Pipe and os/exec: what a Go program does with signals and pipes. Go's
// runtime makes its system calls by its own `syscall` instructions, and takes every signal on stacks of
// its own.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

func main() {
	goroutines()
	notify()
	pipes()
	programs()
	preemption()
	fault()
	signal.Reset()
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	time.Sleep(time.Minute)
}

// Goroutines on several threads.
func goroutines() {
	var all sync.WaitGroup
	numbers := make(chan int)
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func(n int) {
			defer all.Done()
			for j := 0; j < 500; j++ {
				numbers <- n
				runtime.Gosched()
			}
		}(i)
	}
	go func() { all.Wait(); close(numbers) }()
	sum := 0
	for n := range numbers {
		sum += n
	}
	fmt.Println("sum", sum)
}

// Signals of the process to itself, one by one and from several threads at once.
func notify() {
	me := os.Getpid()
	got := make(chan os.Signal, 1000)
	signal.Notify(got, syscall.SIGUSR1, syscall.SIGTERM, syscall.Signal(40))
	for i := 0; i < 100; i++ {
		syscall.Kill(me, syscall.SIGUSR1)
		if s := <-got; s != syscall.SIGUSR1 {
			fmt.Println("not SIGUSR1:", s)
		}
	}
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			runtime.LockOSThread()
			syscall.Tgkill(me, syscall.Gettid(), syscall.SIGUSR1)
		}()
	}
	all.Wait()
	fmt.Println("from threads", <-got)
	syscall.Kill(me, syscall.SIGTERM)
	syscall.Kill(me, syscall.Signal(40))
	for terminated, realtime := false, false; !terminated || !realtime; {
		s := <-got
		terminated = terminated || s == syscall.SIGTERM
		realtime = realtime || s == syscall.Signal(40)
	}
	signal.Ignore(syscall.SIGUSR2)
	syscall.Kill(me, syscall.SIGUSR2)
	fmt.Println("ignored", signal.Ignored(syscall.SIGUSR2))
}

func pipes() {
	r, w, err := os.Pipe()
	fmt.Println("pipe", err)
	go func() {
		for i := 0; i < 2000; i++ {
			fmt.Fprintf(w, "line %d\n", i)
		}
		w.Close()
	}()
	lines := 0
	for s := bufio.NewScanner(r); s.Scan(); {
		lines++
	}
	fmt.Println("lines", lines, r.Close())
	r, w, _ = os.Pipe()
	r.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = r.Read(make([]byte, 1))
	fmt.Println("deadline", errors.Is(err, os.ErrDeadlineExceeded), r.Close())
	_, err = w.Write([]byte("x")) // SIGPIPE goes by
	fmt.Println("broken", errors.Is(err, syscall.EPIPE))
}

func programs() {
	out, err := exec.Command("sh", "-c", "echo hello | cat; kill -TERM $$").Output()
	fmt.Printf("%q %v\n", out, err)
	sort := exec.Command("sort")
	sort.Stdin = bytes.NewBufferString("c\nb\na\n")
	out, err = sort.Output()
	fmt.Printf("%q %v\n", out, err)
	sleep := exec.Command("sleep", "100")
	sleep.Start()
	sleep.Process.Signal(os.Interrupt)
	fmt.Println("sleep:", sleep.Wait())
	cat := exec.Command("cat")
	in, _ := cat.StdinPipe()
	from, _ := cat.StdoutPipe()
	cat.Start()
	io.WriteString(in, "through cat")
	in.Close()
	said, _ := io.ReadAll(from)
	fmt.Printf("%q %v\n", said, cat.Wait())
}

// A loop without calls is interrupted by a signal (SIGURG), or the sleeper would never go on.
func preemption() {
	before := runtime.GOMAXPROCS(1)
	go func() {
		for x := 0; ; x++ {
		}
	}()
	time.Sleep(20 * time.Millisecond)
	runtime.GOMAXPROCS(before)
	fmt.Println("preempted")
}

// A fault is a panic, and can be recovered from.
func fault() {
	defer func() { fmt.Println("recovered:", recover()) }()
	var nowhere *int
	*nowhere = 1
}
