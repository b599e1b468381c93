package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// command is the program that redlock runs in tests. It prints its name and
// "ready", then the number and time of each signal, and ends with 9 at a
// SIGTERM.
//
//	heedful             that
//	stubborn            does not end at a SIGTERM
//	parent heedful      starts another command first, and prints when it has ended
//	leaver stubborn     starts another command first, and leaves it behind
func command(args []string) int {
	came := make(chan os.Signal, 16)
	signal.Notify(came)
	if len(args) > 1 {
		child := exec.Command(os.Args[0], args[1])
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		if args[0] == "parent" {
			defer func() {
				_ = child.Wait()
				fmt.Println("parent: its child has ended")
			}()
		}
	}
	fmt.Println(args[0], "ready", os.Getpid(), os.Getenv("REDLOCK_KEY"), os.Getenv("REDLOCK_TOKEN"))
	for sig := range came {
		if n := signalNumber(sig); n != 23 { // SIGURG, by which the runtime preempts itself
			fmt.Println(args[0], "got", n, time.Now().UnixNano())
		}
		if sig == syscall.SIGTERM && args[0] != "stubborn" {
			return 9
		}
	}
	return 0
}
