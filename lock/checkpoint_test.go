package lock

import (
	"context"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

// lastCheckpoint is what a lease of package lease finds on key.
func lastCheckpoint(t *testing.T, c *cluster.Cluster, key string) (string, int64) {
	t.Helper()
	leases, err := lease.New(c, lease.Config{TTL: long})
	if err != nil {
		t.Fatal(err)
	}
	defer leases.Close(context.Background())
	began := time.Now()
	l, err := leases.Acquire(t.Context(), key)
	harness.Must(t, began, err)
	data, token, ok := l.LastCheckpoint()
	if ok != (data != nil) {
		t.Fatalf("a checkpoint of %q, and ok is %v", data, ok)
	}
	release(t, l)
	return string(data), token
}

// checkpoint is a Checkpoint that has to succeed. It returns what the lease found.
func checkpoint(t *testing.T, l *lease.Lease, data string) (string, int64) {
	t.Helper()
	began := time.Now()
	harness.Must(t, began, l.Checkpoint(t.Context(), []byte(data)))
	found, token, _ := l.LastCheckpoint()
	return string(found), token
}

func TestLease_OfALockerCheckpoints(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		c := open(t, nodes, cluster.Config{})
		k := locker(t, c, Config{})
		first := lock(t, k, "job")
		if found, _ := checkpoint(t, first, "one"); found != "" {
			t.Errorf("a new job has the checkpoint %q", found)
		}
		checkpoint(t, first, "two")
		release(t, first)
		if data, token := lastCheckpoint(t, c, "job"); data != "two" || token != first.Token() {
			t.Errorf("the next lease found %q of token %d, want two of %d", data, token, first.Token())
		}

		second := lock(t, k, "job")
		if data, _, ok := second.LastCheckpoint(); ok {
			t.Errorf("before its first checkpoint it found %q", data)
		}
		if found, token := checkpoint(t, second, "three"); found != "two" || token != first.Token() {
			t.Errorf("its first checkpoint found %q of token %d, want two of %d", found, token, first.Token())
		}
		release(t, second)

		withLock(t, k, "job", func(ctx context.Context) error {
			l, ok := lease.FromContext(ctx)
			if !ok {
				t.Fatal("no lease under a lock")
			}
			if again, _ := lease.FromContext(l.Context()); again != l {
				t.Error("the lease under its own context is another")
			}
			return l.ClearCheckpoint(ctx)
		})
		if data, _ := lastCheckpoint(t, c, "job"); data != "" {
			t.Errorf("after it was cleared there is %q", data)
		}
	})
}

// A lease that was handed over goes on from the checkpoint of the one before, and keeps its own alive.
func TestLease_ThatWasHandedOverCheckpoints(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		c := open(t, nodes, cluster.Config{})
		k := locker(t, c, Config{})
		mailbox(t, k)
		first := lock(t, k, "job")
		checkpoint(t, first, "one")
		next := make(chan *lease.Lease, 1)
		go func() {
			l, err := k.Lock(t.Context(), "job")
			if err != nil {
				t.Error(err)
			}
			next <- l
		}()
		queuedHere(t, k, "job", 1)
		release(t, first)
		second := harness.Receive(t, "the next lease", next)
		if found, token := checkpoint(t, second, "two"); found != "one" || token != first.Token() {
			t.Errorf("it found %q of token %d, want one of %d", found, token, first.Token())
		}
		if err := first.Checkpoint(t.Context(), []byte("late")); err != ErrReleased {
			t.Errorf("the checkpoint of the released lease: %v", err)
		}
		release(t, second)
		if data, token := lastCheckpoint(t, c, "job"); data != "two" || token != second.Token() {
			t.Errorf("a later lease found %q of token %d, want two of %d", data, token, second.Token())
		}
	})
}
