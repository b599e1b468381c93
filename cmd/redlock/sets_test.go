package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// nodes returns embedded nodes that a process has opened before with long
// time-outs, so that they vote however slow the machine is.
func nodes(t *testing.T, n int) harness.Set {
	t.Helper()
	s := harness.Embedded(t, n)
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs(), NodeTimeout: 2 * time.Second, Logger: newLogger(true, false)})
	harness.Must(t, began, err)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// names returns the nodes' names.
func names(urls []string) []string {
	all := make([]string, len(urls))
	for i, url := range urls {
		all[i] = strings.TrimPrefix(url, "redis://")
	}
	return all
}

// newLocker returns a Locker of another process that contends for the same
// locks.
func newLocker(t *testing.T, urls []string) *lock.Locker {
	t.Helper()
	locker, err := lock.New(open(t, urls), lock.Config{Owner: "the test"})
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, locker)
	return locker
}

// open connects to the nodes with long time-outs.
func open(t *testing.T, urls []string) *cluster.Cluster {
	t.Helper()
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: urls, NodeTimeout: 2 * time.Second, Logger: newLogger(true, false)})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	return c
}

// freePort returns the first of n consecutive ports that were free a moment
// ago.
func freePort(t *testing.T, n int) int {
	t.Helper()
	for port := 31000; port < 32000; port += n {
		if free(port, n) {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func free(port, n int) bool {
	for i := range n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+i))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
