//go:build unix

package lock

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestWaitQueue_IdleWaitersUseNoCPUAndNoNode(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	holder := locker(t, open(t, nodes, cluster.Config{}), Config{})
	l := lock(t, holder, "k")
	k := patient(t, nodes)
	const window = 200 * time.Millisecond
	busy := func() time.Duration { // in a window
		var before, after syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
			t.Skip(err)
		}
		<-time.After(window)
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
			t.Skip(err)
		}
		return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	}
	began := time.Now()
	without := min(busy(), busy(), busy())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() { k.WithLock(ctx, "k", nothing) })
	}
	queuedHere(t, k, "k", 999)
	queued(t, nodes, "k", 1)
	asked := quiet(t, nodes)            // the third node may be told later than the others
	with := min(busy(), busy(), busy()) // what else the machine does to this process only adds
	asked = commands(nodes) - asked
	t.Logf("in %v %v of CPU without and %v with 1,000 waiters, which sent %d commands", window, without, with, asked)
	if with > without+window/20 {
		harness.Missed(t, began, "in %v %v of CPU without and %v with 1,000 waiters", window, without, with)
	}
	if asked > 0 {
		t.Errorf("the nodes were sent %d commands", asked)
	}
	cancel()
	wg.Wait()
	release(t, l)
}
