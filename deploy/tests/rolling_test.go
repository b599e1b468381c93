package tests

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// Tests that wait for quarantines run with a MaxTTL that lets one pass in
// seconds. The NodeTimeout is that of a busy machine.
const (
	shortTTL    = 3 * time.Second
	longTTL     = 20 * time.Second
	nodeTimeout = 750 * time.Millisecond
)

// quarantine is how long a node that lost its data does not vote, as package
// cluster documents it.
func quarantine(maxTTL, nodeTimeout time.Duration) time.Duration {
	return maxTTL + maxTTL/4 + maxTTL/100 + 2*nodeTimeout
}

// pace is how long the files wait between a node that is ready and the next one,
// in proportion to the quarantine of the tests.
func pace(t *testing.T) time.Duration {
	t.Helper()
	seconds := built(t).nodes.Spec.MinReadySeconds
	set := time.Duration(seconds) * time.Second
	defaults := quarantine(60*time.Second, 250*time.Millisecond)
	if set <= defaults {
		t.Fatalf("minReadySeconds is %v, which the quarantine of the defaults, %v, exceeds", set, defaults)
	}
	return time.Duration(float64(set) / float64(defaults) * float64(quarantine(shortTTL, nodeTimeout)))
}

// work locks and unlocks all the time until its end, and holds one lock
// throughout. It returns what failed.
func work(t *testing.T, c *cluster.Cluster, ttl time.Duration) (end func() (done int, failed []error)) {
	t.Helper()
	locker, err := lock.New(c, lock.Config{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	n := 0
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil && ctx.Err() == nil {
			failures = append(failures, err)
		} else {
			n++
		}
	}
	wg.Go(func() {
		note(locker.WithLock(ctx, "all along", func(held context.Context) error {
			<-held.Done()
			if ctx.Err() != nil {
				return nil
			}
			return context.Cause(held)
		}))
	})
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			note(locker.WithLock(ctx, fmt.Sprintf("order:%d", i), func(context.Context) error { return nil }, lock.NoWait()))
		}
	})
	return func() (int, []error) {
		stop()
		wg.Wait()
		harness.CloseAtEnd(t, locker)
		return n, failures
	}
}

// roll restarts the nodes one after another: the next one when each has passed
// its health check and then waited.
func roll(t *testing.T, nodes []*node, lose bool, wait func()) {
	t.Helper()
	for _, n := range nodes {
		n.stop()
		if lose {
			n.lose()
		}
		n.start()
		wait()
	}
}

// voting is how many nodes vote.
func voting(c *cluster.Cluster) (n int) {
	for _, s := range c.Status() {
		if s.Votes {
			n++
		}
	}
	return n
}

// All five nodes restart one by one, at the pace of the files in proportion, under
// load: there is a quorum at any time, and no lock is lost, even if each node
// comes back empty.
func TestRollingRestart_NeverWithoutAQuorum(t *testing.T) {
	wait := pace(t)
	for _, tt := range []struct {
		name string
		lose bool
	}{{"nodes keep their data", false}, {"nodes lose their data", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			deploy := withSecrets(t)
			nodes := five(t, deploy)
			c := opened(t, nodes, environment(t, deploy)["REDLOCK_PASSWORD"], shortTTL)
			harness.Eventually(t, "all nodes to vote", func() bool { return voting(c) == len(nodes) })
			began := time.Now()
			end := work(t, c, shortTTL)
			roll(t, nodes, tt.lose, func() { time.Sleep(wait) })
			done, failed := end()
			if len(failed) > 0 {
				harness.Missed(t, began, "of %d locks %d failed, first: %v", done+len(failed), len(failed), failed[0])
			}
			if done < 100 {
				harness.Missed(t, began, "only %d locks were taken", done)
			}
			t.Logf("%d locks, %v between two nodes", done, wait)
		})
	}
}

// Without the pace there is no quorum while nodes come back empty: what the test
// above looks for can happen.
func TestRollingRestart_WithoutThePaceThereIsNoQuorum(t *testing.T) {
	deploy := withSecrets(t)
	nodes := five(t, deploy)
	c := opened(t, nodes, environment(t, deploy)["REDLOCK_PASSWORD"], shortTTL)
	harness.Eventually(t, "all nodes to vote", func() bool { return voting(c) == len(nodes) })
	end := work(t, c, shortTTL)
	roll(t, nodes, true, func() {})
	_, failed := end()
	for _, err := range failed {
		if errors.Is(err, cluster.ErrNoQuorum) {
			return
		}
	}
	t.Errorf("five nodes restarted empty within a quarantine, and no lock failed without a quorum: %v", failed)
}

// All passwords are changed while locks are held, by two rolling restarts, with
// the programs restarted in between. The next node is restarted when the last one
// votes.
func TestPasswordRotation_LosesNoLock(t *testing.T) {
	deploy := withSecrets(t)
	nodes := five(t, deploy)
	before := environment(t, deploy)["REDLOCK_PASSWORD"]
	old := opened(t, nodes, before, longTTL)
	all := func(c *cluster.Cluster) func() {
		return func() {
			harness.Eventually(t, "all nodes to vote", func() bool { return voting(c) == len(nodes) })
		}
	}
	all(old)()
	began := time.Now()
	endOld := work(t, old, longTTL)

	if _, err := secrets(t, deploy, "rotate"); err != nil {
		t.Fatal(err)
	}
	roll(t, nodes, false, all(old))
	after := environment(t, deploy)["REDLOCK_PASSWORD"]
	fresh := opened(t, nodes, after, longTTL)
	done, failed := endOld() // the old program stops
	endFresh := work(t, fresh, longTTL)

	if _, err := secrets(t, deploy, "retire"); err != nil {
		t.Fatal(err)
	}
	roll(t, nodes, false, all(fresh))
	more, failedLater := endFresh()
	if failed = append(failed, failedLater...); len(failed) > 0 {
		harness.Missed(t, began, "of %d locks %d failed, first: %v", done+more+len(failed), len(failed), failed[0])
	}
	t.Logf("%d and %d locks", done, more)

	for password, accepted := range map[string]bool{before: false, after: true} {
		client := nodes[0].client("redlock", password)
		if err := client.Ping(t.Context()).Err(); err == nil != accepted {
			t.Errorf("a password is accepted after the rotation: want %t, got %v", accepted, err)
		}
		client.Close()
	}
}
