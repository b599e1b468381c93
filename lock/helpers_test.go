package lock

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

var discard = slog.New(slog.DiscardHandler)

// open opens a process's view of the nodes, patient with them: machines that run tests are slow at times.
func open(t testing.TB, nodes harness.Set, cfg cluster.Config) *cluster.Cluster {
	t.Helper()
	cfg.NodeTimeout = cmp.Or(cfg.NodeTimeout, 2*time.Second)
	cfg.URLs = nodes.URLs()
	if cfg.Logger == nil {
		cfg.Logger = discard
	}
	c, err := cluster.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// locker makes a Locker that is closed before its cluster, and has no line left then.
func locker(t testing.TB, c *cluster.Cluster, cfg Config) *Locker {
	t.Helper()
	k, err := New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close(context.Background())
		noLines(t, k)
	})
	return k
}

// process is a process of its own: a cluster and its Locker.
func process(t testing.TB, nodes harness.Set) *Locker {
	t.Helper()
	return locker(t, open(t, nodes, cluster.Config{}), Config{})
}

// patient is a process whose waiters are woken, or wait for a TTL that no test waits for.
func patient(t testing.TB, nodes harness.Set) *Locker {
	t.Helper()
	return locker(t, open(t, nodes, cluster.Config{}), Config{TTL: long, Backoff: hourly})
}

const long = 30 * time.Second

func hourly() backoff.BackOff { return backoff.NewConstantBackOff(time.Hour) }

func noLines(t testing.TB, k *Locker) {
	t.Helper()
	eventually(t, "every line to be forgotten", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.lines) == 0
	})
}

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

var eventually = harness.Eventually

// receive waits for ch.
func receive[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("in vain: waited %v for %s", patience, what)
	}
	return v
}

// inLine waits until n calls stand in line for key, besides who has it or asks.
func inLine(t testing.TB, k *Locker, key string, n int) {
	t.Helper()
	eventually(t, "the line to form", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		ln := k.lines[key]
		return ln != nil && ln.waiting.Len() == n || ln == nil && n == 0
	})
}

// queued waits until n processes stand in the queues for key of a quorum of nodes.
func queued(t testing.TB, nodes harness.Set, key string, n int64) {
	t.Helper()
	eventually(t, "the processes to queue", func() bool {
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
	receive(t, "the mailbox", k.leases.Listen())
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
	l, err := k.Lock(t.Context(), key, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func release(t testing.TB, l *lease.Lease) {
	t.Helper()
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// free makes sure that key can be had at once, by another process too.
func free(t testing.TB, nodes harness.Set, key string) {
	t.Helper()
	k := process(t, nodes)
	eventually(t, "the key to be free", func() bool {
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

// quiet waits until the nodes are sent nothing any more, and returns how many scripts they have run.
func quiet(t testing.TB, nodes harness.Set) int64 {
	t.Helper()
	last, same := commands(nodes), 0
	eventually(t, "the nodes to be left alone", func() bool {
		if now := commands(nodes); now == last {
			same++
		} else {
			last, same = now, 0
		}
		return same > 30
	})
	return last
}

func do(ctx context.Context, k *Locker, key string, fn func(context.Context) error, opts ...Option) <-chan error {
	ch := make(chan error, 1)
	go func() { ch <- k.WithLock(ctx, key, fn, opts...) }()
	return ch
}

func nothing(context.Context) error { return nil }
