package lock

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

var discard = slog.New(slog.DiscardHandler)

// unhurried is a NodeTimeout that no node exceeds that runs, however slow the
// machine is.
const unhurried = 5 * time.Second

// open opens a process's view of the nodes, all of which are up, and is patient
// with them: machines that run tests are slow at times.
func open(t testing.TB, nodes harness.Set, cfg cluster.Config) *cluster.Cluster {
	t.Helper()
	cfg.NodeTimeout = cmp.Or(cfg.NodeTimeout, unhurried)
	cfg.URLs = nodes.URLs()
	if cfg.Logger == nil {
		cfg.Logger = discard
	}
	began := time.Now()
	c, err := cluster.Open(t.Context(), cfg)
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	harness.Eventually(t, "every node to vote", func() bool {
		return !slices.ContainsFunc(c.Status(), func(s cluster.Status) bool { return !s.Up || !s.Votes })
	})
	return c
}

// locker makes a Locker that is closed before its cluster, and has no queue left
// then. Its TTL is long if cfg has none.
func locker(t testing.TB, c *cluster.Cluster, cfg Config) *Locker {
	t.Helper()
	cfg.TTL = cmp.Or(cfg.TTL, long)
	k, err := New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close(context.Background())
		noQueues(t, k)
	})
	return k
}

// process is a process of its own: a cluster and its Locker.
func process(t testing.TB, nodes harness.Set) *Locker {
	t.Helper()
	return locker(t, open(t, nodes, cluster.Config{}), Config{})
}

// patient is a process whose waiters are woken, or wait for a TTL that no test
// waits for.
func patient(t testing.TB, nodes harness.Set) *Locker {
	t.Helper()
	return locker(t, open(t, nodes, cluster.Config{}), Config{Backoff: hourly})
}

const long = 30 * time.Second

// renewed is a RenewEvery that tests wait for, and NodeTimeout with it.
const renewed = 2 * time.Second

func hourly(int) time.Duration { return time.Hour }

// noQueues waits until nobody has a part in any queue.
func noQueues(t testing.TB, k *Locker) {
	t.Helper()
	harness.Eventually(t, "every queue to be dropped", func() bool { return k.c.Queues().Keys() == 0 })
}

// queuedHere waits until n calls wait for key, besides the one that holds it or
// asks.
func queuedHere(t testing.TB, k *Locker, key string, n int) {
	t.Helper()
	harness.Eventually(t, "the calls to queue", func() bool {
		return k.c.Queues().Snapshot(k.engine().Redlock().LockKey(key)).Callers == n
	})
}

// queued waits until n processes stand in the queues for key of a quorum of nodes.
func queued(t testing.TB, nodes harness.Set, key string, n int64) {
	t.Helper()
	harness.Eventually(t, "the processes to queue", func() bool {
		full := 0
		for i := range nodes.Len() {
			if harness.Client(t, nodes, i).ZCard(t.Context(), "{lock:"+key+"}:queue").Val() == n {
				full++
			}
		}
		return full >= cluster.Quorum(nodes.Len())
	})
}

// mailbox waits until what other processes say is heard.
func mailbox(t testing.TB, k *Locker) {
	t.Helper()
	harness.Eventually(t, "the mailbox to open", func() bool {
		return !slices.ContainsFunc(k.c.Nodes(), func(n *nodeset.Node) bool { return !n.Listening() })
	})
}

// warm makes the nodes know the scripts: one that a node has to be sent first comes behind what was sent meanwhile.
func warm(t testing.TB, k, other *Locker) {
	t.Helper()
	l := lock(t, other, "warm")
	if err := k.WithLock(t.Context(), "warm", nothing, Wait(50*time.Millisecond)); !errors.Is(err, ErrNotAcquired) {
		t.Fatal(err)
	}
	release(t, l)
	release(t, lock(t, k, "warm"))
}

// lock is a Lock that has to succeed.
func lock(t testing.TB, k *Locker, key string, opts ...Option) *lease.Lease {
	t.Helper()
	began := time.Now()
	l, err := k.Lock(t.Context(), key, opts...)
	harness.Must(t, began, err)
	return l
}

func release(t testing.TB, l *lease.Lease) {
	t.Helper()
	began := time.Now()
	harness.Must(t, began, l.Release(t.Context()))
}

// withLock is a WithLock that has to succeed.
func withLock(t testing.TB, k *Locker, key string, fn func(context.Context) error, opts ...Option) {
	t.Helper()
	began := time.Now()
	harness.Must(t, began, k.WithLock(t.Context(), key, fn, opts...))
}

// free makes sure that key can be had at once, by another process too.
func free(t testing.TB, nodes harness.Set, key string) {
	t.Helper()
	k := process(t, nodes)
	harness.Eventually(t, "the key to be free", func() bool {
		l, err := k.TryLock(t.Context(), key)
		if err == nil {
			release(t, l)
		}
		return err == nil
	})
}

// commands is how many scripts all nodes have run.
func commands(nodes harness.Set) (n int64) {
	for i := range nodes.Len() {
		c := nodes.Commands(i)
		n += c["evalsha"] + c["eval"]
	}
	return n
}

// quiet waits until the nodes are sent nothing any more, and returns how many
// scripts they have run. On a slow machine leases are renewed meanwhile, so what
// is counted with it is judged by [harness.Missed].
func quiet(t testing.TB, nodes harness.Set) int64 {
	t.Helper()
	last, same := commands(nodes), 0
	harness.Eventually(t, "the nodes to be left alone", func() bool {
		if now := commands(nodes); now == last {
			same++
		} else {
			last, same = now, 0
		}
		return same > 20
	})
	return last
}

func do(ctx context.Context, k *Locker, key string, fn func(context.Context) error, opts ...Option) <-chan error {
	ch := make(chan error, 1)
	go func() { ch <- k.WithLock(ctx, key, fn, opts...) }()
	return ch
}

// all waits for calls that all have to succeed.
func all(t testing.TB, calls []<-chan error) {
	t.Helper()
	began := time.Now()
	for _, call := range calls {
		harness.Must(t, began, harness.Receive(t, "a call to end", call))
	}
}

func nothing(context.Context) error { return nil }
