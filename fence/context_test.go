package fence_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// newCluster is a set of one node.
func newCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: harness.Embedded(t, 1).URLs(), NodeTimeout: 5 * time.Second})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	return c
}

// newLeases are those of a process, on nodes of its own.
func newLeases(t *testing.T) *lease.Leases {
	t.Helper()
	leases, err := lease.New(newCluster(t), lease.Config{TTL: 30 * time.Second})
	pass(t, err)
	harness.CloseAtEnd(t, leases)
	return leases
}

// under is a context of a new lease on key, below ctx.
func under(t *testing.T, ctx context.Context, leases *lease.Leases, key string) (*lease.Lease, context.Context) {
	t.Helper()
	began := time.Now()
	l, err := leases.Acquire(ctx, key)
	harness.Must(t, began, err)
	return l, l.Context()
}

// A fence knows keys without the Prefix of their locks. Two prefixes are two
// locks whose tokens have no order, so their stores must not be one.
func TestCheck_KeysHaveNoPrefix(t *testing.T) {
	c := newCluster(t)
	seen := map[string]int64{}
	record := storeFunc(func(_ context.Context, key string, token int64) error {
		seen[key] = token
		return nil
	})
	for _, prefix := range []string{"a:", "b:"} {
		leases, err := lease.New(c, lease.Config{TTL: 30 * time.Second, Prefix: prefix})
		pass(t, err)
		harness.CloseAtEnd(t, leases)
		l, ctx := under(t, t.Context(), leases, "order:42")
		pass(t, fence.Check(ctx, record, "order:42"))
		if seen["order:42"] != l.Token() || len(seen) != 1 {
			t.Errorf("Prefix %q: the store saw %v, want token %d of order:42", prefix, seen, l.Token())
		}
		if err := fence.Check(ctx, record, prefix+"order:42"); !errors.Is(err, fence.ErrNoToken) {
			t.Errorf("Prefix %q: a key with its prefix: %v", prefix, err)
		}
	}
}

type storeFunc func(ctx context.Context, key string, token int64) error

func (f storeFunc) CheckToken(ctx context.Context, key string, token int64) error {
	return f(ctx, key, token)
}

func TestCheck_TakesTheTokenOfEachKeyFromItsContext(t *testing.T) {
	leases, s := newLeases(t), new(fence.Memory)
	outer, ctx := under(t, t.Context(), leases, "outer")
	inner, ctx := under(t, ctx, leases, "inner")
	for key, l := range map[string]*lease.Lease{"outer": outer, "inner": inner} {
		pass(t, fence.Check(ctx, s, key))
		stale(t, s.CheckToken(t.Context(), key, l.Token()-1), key, l.Token()-1, l.Token())
	}
	if err := fence.Check(ctx, s, "none"); !errors.Is(err, fence.ErrNoToken) {
		t.Errorf("under no lock: %v", err)
	}
}

// What ended with the lock is answered all the same: only the store knows
// whether somebody came after.
func TestCheck_AnswersAfterTheLockWasLost(t *testing.T) {
	leases, s := newLeases(t), new(fence.Memory)
	first, late := under(t, t.Context(), leases, "k")
	pass(t, first.Release(t.Context()))
	<-late.Done()
	pass(t, fence.Check(late, s, "k"))
	second, ctx := under(t, t.Context(), leases, "k")
	pass(t, fence.Check(ctx, s, "k"))
	stale(t, fence.Check(late, s, "k"), "k", first.Token(), second.Token())
}

func TestWithToken_TheInnermostCounts(t *testing.T) {
	leases, s := newLeases(t), new(fence.Memory)
	l, ctx := under(t, t.Context(), leases, "k")
	received := fence.WithToken(fence.WithToken(ctx, "k", 5), "other", 6)
	pass(t, fence.Check(received, s, "k"))
	stale(t, s.CheckToken(t.Context(), "k", 4), "k", 4, 5)
	pass(t, fence.Check(ctx, s, "k"))
	stale(t, fence.Check(received, s, "k"), "k", 5, l.Token())

	pass(t, l.Release(t.Context()))
	outside := fence.WithToken(t.Context(), "k", 5)
	l, ctx = under(t, outside, leases, "k")
	pass(t, fence.Check(ctx, s, "k"))
	stale(t, fence.Check(outside, s, "k"), "k", 5, l.Token())
}

// A downgrade changes the token of the lock that a received token was put under; no
// lock was acquired under it.
func TestWithToken_OutlastsADowngradeOfTheLockAroundIt(t *testing.T) {
	s := new(fence.Memory)
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: harness.Embedded(t, 1).URLs(), NodeTimeout: 5 * time.Second})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	k, err := lock.New(c, lock.Config{TTL: 30 * time.Second})
	pass(t, err)
	harness.CloseAtEnd(t, k)
	err = k.WithLock(t.Context(), "k", func(ctx context.Context) error {
		received := fence.WithToken(ctx, "k", 5)
		pass(t, s.CheckToken(ctx, "k", 6))
		stale(t, fence.Check(received, s, "k"), "k", 5, 6)
		l, _ := lease.FromContext(ctx)
		before := l.Token()
		pass(t, l.Downgrade(ctx))
		if l.Token() == before {
			t.Error("the token is as before")
		}
		stale(t, fence.Check(received, s, "k"), "k", 5, 6)
		pass(t, fence.CheckRead(ctx, s, "k"))
		return nil
	})
	harness.Must(t, began, err)
}
