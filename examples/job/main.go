// Command job shows a long job that outlives its worker. A first worker process takes the lease on the job, works through
// its items, and makes a checkpoint after each. Half-way it is killed, as by kill -9. A second one takes the lease when
// it has expired, goes on from the last checkpoint, and finishes. The store both write to refuses old tokens, such as that
// of a write of the first which arrives at the end, and counts what is done: no item is missing and none was done twice.
//
//	go run ./examples/job
//
// It starts its own in-process nodes; REDLOCK_NODES names others, separated by commas.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/lease"
)

const (
	items   = 20
	killAt  = 10 // the first worker is killed when the store has this many, and before it hears of the last
	ttl     = 4 * time.Second
	storeAt = "JOB_STORE" // in the environment of a worker: where the store listens
	nodesAt = "REDLOCK_NODES"
)

func main() {
	run := supervise
	if os.Getenv(storeAt) != "" {
		run = work
	}
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "job:", err)
		os.Exit(1)
	}
}

// work is a worker process.
func work(ctx context.Context) error {
	c, err := cluster.Open(ctx, cluster.Config{URLs: strings.Split(os.Getenv(nodesAt), ","), NodeTimeout: time.Second})
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	leases, err := lease.New(c, lease.Config{TTL: ttl})
	if err != nil {
		return err
	}
	defer leases.Close(ctx)
	store, err := net.Dial("tcp", os.Getenv(storeAt))
	if err != nil {
		return err
	}
	defer store.Close()

	l, err := leases.Acquire(ctx, "job:reindex") // waits until whoever has it is done, or dead
	if err != nil {
		return err
	}
	defer l.Release(ctx)
	next := 0
	if last, token, ok := l.LastCheckpoint(); ok {
		if next, err = strconv.Atoi(string(last)); err != nil {
			return err
		}
		fmt.Printf("worker %d: goes on at item %d, where the worker with token %d was\n", os.Getpid(), next, token)
	} else {
		fmt.Printf("worker %d: begins\n", os.Getpid())
	}
	answers := bufio.NewScanner(store)
	for ; next < items; next++ {
		fmt.Fprintf(store, "%d %d\n", l.Token(), next)
		if !answers.Scan() {
			return answers.Err()
		}
		if answers.Text() == "stale" {
			return fmt.Errorf("item %d was refused: a newer worker has been there", next)
		}
		if err := l.Checkpoint(ctx, []byte(strconv.Itoa(next+1))); err != nil {
			return err // also where the lease is lost: somebody else goes on with the job
		}
	}
	fmt.Printf("worker %d: done\n", os.Getpid())
	return l.ClearCheckpoint(ctx)
}

// supervise runs the store and two workers, and kills the first.
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	s := &store{half: make(chan struct{}), dead: make(chan struct{})}
	go s.serve(listener)

	first, err := start(ctx, urls, listener.Addr().String())
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Wait() }()
	select {
	case <-s.half:
	case err := <-ended:
		return fmt.Errorf("the first worker ended before it could be killed half-way: %v (do the nodes know a checkpoint of an earlier run?)", err)
	}
	first.Process.Kill()
	<-ended
	token := s.lastToken()
	close(s.dead)
	fmt.Printf("worker %d: killed when %d of %d items were stored\n", first.Process.Pid, killAt, items)

	second, err := start(ctx, urls, listener.Addr().String())
	if err != nil {
		return err
	}
	if err := second.Wait(); err != nil {
		return fmt.Errorf("the second worker: %w", err)
	}
	if answer := s.put(token, items-1); answer != "stale" { // a write of the first that comes late, from a slow network
		return fmt.Errorf("a late write of the first worker was answered %q", answer)
	}
	return s.audit()
}

func start(ctx context.Context, urls, store string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), nodesAt+"="+urls, storeAt+"="+store)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd, cmd.Start()
}
