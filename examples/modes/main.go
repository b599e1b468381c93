// Command modes shows which lock a service takes for what: an order that one
// process handles at a time, a catalog that many read and one rewrites, a pool of
// which all processes together use five, and a transfer that writes two accounts
// and reads the rates. Four processes do all of it at once, and the program checks
// that nothing was done twice, lost or read half-way.
//
//	go run ./examples/modes
//
// It starts its own in-process nodes; REDLOCK_NODES names others, separated by
// commas.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/venta-hq/redlock/embedded"
)

const (
	processes = 4
	nodesAt   = "REDLOCK_NODES"
	worldAt   = "MODES_WORLD" // in the environment of a process: the directory of what it works on
)

func main() {
	run := supervise
	if os.Getenv(worldAt) != "" {
		run = serve
	}
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "modes:", err)
		os.Exit(1)
	}
}

// supervise runs the processes, and says what became of the world.
func supervise(ctx context.Context) error {
	urls := os.Getenv(nodesAt)
	if urls == "" {
		nodes, err := embedded.Start(5)
		if err != nil {
			return err
		}
		defer nodes.Close()
		urls = strings.Join(nodes.URLs(), ",")
	}
	w, err := newWorld()
	if err != nil {
		return err
	}
	defer os.RemoveAll(string(w))
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var all []*exec.Cmd
	for range processes {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), nodesAt+"="+urls, worldAt+"="+string(w))
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		all = append(all, cmd)
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("process %d: %w", cmd.Process.Pid, err)
		}
	}
	return w.audit()
}
