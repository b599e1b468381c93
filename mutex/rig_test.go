package mutex

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// rig is a set of nodes, to look at and to change.
type rig struct {
	*harness.Nodes
	t *testing.T
}

// onNodes runs fn on a fresh set of n nodes of every kind, beside other tests.
func onNodes(t *testing.T, n int, fn func(t *testing.T, r *rig)) {
	t.Helper()
	harness.Beside(t, n, func(t *testing.T, s harness.Set) { fn(t, &rig{harness.Inspect(t, s), t}) })
}

// nodeTimeout is longer than the default, because the machine that runs the
// tests may be busy. patient is for tests that pause a node and wait for it,
// impatient for those that do not: the other nodes have to answer within it.
const nodeTimeout = 3 * time.Second

func patient(cfg *cluster.Config)   { cfg.NodeTimeout = 20 * time.Second }
func impatient(cfg *cluster.Config) { cfg.NodeTimeout = 2 * time.Second }

// open makes a process of its own on the nodes.
func (r *rig) open(tweaks ...func(*cluster.Config)) *cluster.Cluster {
	r.t.Helper()
	cfg := cluster.Config{URLs: r.URLs(), NodeTimeout: nodeTimeout, Logger: slog.New(slog.DiscardHandler)}
	for _, tweak := range tweaks {
		tweak(&cfg)
	}
	c, err := cluster.Open(r.t.Context(), cfg)
	must(r.t, err)
	harness.CloseAtEnd(r.t, c)
	return c
}

// must ends a test in which something failed that had to succeed. If it ran out
// of its NodeTimeout, the machine of that time is judged.
func must(t testing.TB, err error) {
	t.Helper()
	harness.Must(t, time.Now().Add(-nodeTimeout), err)
}

// lasting is the TTL of keys that do not expire while a test waits for them to be
// released.
const lasting = 2 * harness.Patience

// mutex makes a Mutex for "k", of a process of its own if c is nil.
func (r *rig) mutex(c *cluster.Cluster, cfg Config) *Mutex {
	r.t.Helper()
	if c == nil {
		c = r.open()
	}
	m, err := New(c, "k", cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// redlock makes what locks and leases acquire with.
func (r *rig) redlock(c *cluster.Cluster) *quorumlock.Redlock {
	r.t.Helper()
	red, err := quorumlock.NewRedlock(face.In(c), quorumlock.Config{TTL: lasting})
	if err != nil {
		r.t.Fatal(err)
	}
	return red
}

// acquireEverywhere tries until it has "k", because what was released before may
// still be in flight on a minority of the nodes, and waits until every node has
// answered.
func acquireEverywhere(t testing.TB, red *quorumlock.Redlock, req quorumlock.Request) (h *quorumlock.Hold) {
	t.Helper()
	began := time.Now()
	harness.Eventually(t, "the key is acquired", func() bool {
		var err error
		if h, err = red.Acquire(context.Background(), "k", req); !errors.Is(err, ErrNotAcquired) {
			harness.Must(t, began, err)
		}
		return err == nil
	})
	harness.Eventually(t, "every node has answered", func() bool {
		return !slices.ContainsFunc(h.Lost(quorumlock.Expired).Answers, func(a Answer) bool { return a.Result == quorumlock.Pending })
	})
	return h
}

// warm makes every node know the scripts of c: a script that is unknown to a node
// is executed behind what was sent after it.
func (r *rig) warm(c *cluster.Cluster) {
	r.t.Helper()
	m, err := New(c, "warm", Config{TTL: lasting})
	if err != nil {
		r.t.Fatal(err)
	}
	must(r.t, m.Lock(context.Background()))
	harness.Eventually(r.t, "every node has granted it", func() bool { return len(r.Having("lock:warm")) == r.Len() })
	must(r.t, m.Extend(context.Background()))
	must(r.t, m.Unlock(context.Background()))
	harness.Eventually(r.t, "every node has released it", func() bool { return len(r.Having("lock:warm")) == 0 })
}

// goneEverywhere waits until no node has "lock:k", closes c, which takes in every
// answer in flight, and checks that none of them brought the key back.
func (r *rig) goneEverywhere(c *cluster.Cluster) {
	r.t.Helper()
	harness.Eventually(r.t, "all nodes are up", func() bool {
		return !slices.ContainsFunc(c.Status(), func(s cluster.Status) bool { return !s.Up })
	})
	r.Gone(func() { harness.Close(r.t, c) }, nil, "lock:k")
}
