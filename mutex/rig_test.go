package mutex

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// rig is a set of nodes, with a plain client for each, to look at them and to meddle.
type rig struct {
	harness.Set
	t       *testing.T
	clients []*redis.Client
}

// onNodes runs fn on a fresh set of n nodes of every kind, beside other tests.
func onNodes(t *testing.T, n int, fn func(t *testing.T, r *rig)) {
	t.Helper()
	harness.Beside(t, n, func(t *testing.T, s harness.Set) { fn(t, newRig(t, s)) })
}

// onNodesAlone is onNodes for tests that use all the processors there are.
func onNodesAlone(t *testing.T, n int, fn func(t *testing.T, r *rig)) {
	t.Helper()
	harness.Each(t, n, func(t *testing.T, s harness.Set) { fn(t, newRig(t, s)) })
}

func newRig(t *testing.T, s harness.Set) *rig {
	r := &rig{Set: s, t: t}
	for i := range s.Len() {
		r.clients = append(r.clients, harness.Client(t, s, i))
	}
	return r
}

// open makes a process of its own on the nodes. It waits longer for them than by default, because the machine that runs
// the tests may be busy.
func (r *rig) open(tweaks ...func(*cluster.Config)) *cluster.Cluster {
	r.t.Helper()
	cfg := cluster.Config{URLs: r.URLs(), NodeTimeout: 3 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	for _, tweak := range tweaks {
		tweak(&cfg)
	}
	c, err := cluster.Open(r.t.Context(), cfg)
	must(r.t, err)
	harness.CloseAtEnd(r.t, c)
	return c
}

// lasting is the TTL of keys that do not go by themselves while a test waits for them to be gone.
const lasting = 2 * harness.Patience

// patient is for tests in which a node is paused and waited for, impatient for those in which it is not. The other nodes
// have to answer within the timeout on a busy machine too.
func patient(cfg *cluster.Config)   { cfg.NodeTimeout = 20 * time.Second }
func impatient(cfg *cluster.Config) { cfg.NodeTimeout = 2 * time.Second }

// closeNow closes c, which takes in every answer that is still awaited.
func closeNow(t testing.TB, c *cluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// redlock makes a Redlock, of a process of its own if c is nil.
func (r *rig) redlock(c *cluster.Cluster, cfg Config) *Redlock {
	r.t.Helper()
	cfg.TTL = cmp.Or(cfg.TTL, lasting)
	if c == nil {
		c = r.open()
	}
	red, err := NewRedlock(c, cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return red
}

// must ends a test in which something failed that had to succeed. If it ran out of its NodeTimeout, the machine of that
// time is judged.
func must(t testing.TB, err error) {
	t.Helper()
	harness.Must(t, time.Now().Add(-3*time.Second), err)
}

// acquire tries until it has the key: what was released may still be on its way back on a minority of the nodes, and a
// short TTL may be over before a busy machine has looked at the answers.
func acquire(t testing.TB, red *Redlock, key string, req Request) (h *Hold) {
	t.Helper()
	began := time.Now()
	harness.Eventually(t, fmt.Sprintf("%q is acquired", key), func() (ok bool) {
		var err error
		if h, err = red.Acquire(context.Background(), key, req); !errors.Is(err, ErrNotAcquired) {
			harness.Must(t, began, err)
		}
		return err == nil
	})
	return h
}

// warm makes every node know the scripts.
func warm(t testing.TB, red *Redlock) {
	t.Helper()
	h := acquireEverywhere(t, red, "warm", Request{})
	must(t, h.ExtendNow(context.Background(), h.TTL()))
	harness.Eventually(t, "every node has answered", h.landed)
	must(t, h.StartRelease())
	harness.Eventually(t, "every node has released", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.release.open == 0
	})
}

// acquireEverywhere acquires and waits until every node has answered.
func acquireEverywhere(t testing.TB, red *Redlock, key string, req Request) *Hold {
	t.Helper()
	h := acquire(t, red, key, req)
	harness.Eventually(t, "every node has answered", h.landed)
	return h
}

// landed reports whether nothing of the hold is in flight.
func (h *Hold) landed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.members {
		if h.members[i].inFlight > 0 {
			return false
		}
	}
	return true
}

func results(h *Hold) []Result {
	var all []Result
	for _, a := range h.Answers() {
		all = append(all, a.Result)
	}
	return all
}

// get is what is at name on node i; "" if nothing.
func (r *rig) get(i int, name string) string {
	r.t.Helper()
	value, err := r.clients[i].Get(context.Background(), name).Result()
	if err != nil && err != redis.Nil {
		must(r.t, fmt.Errorf("node %d: %w", i, err))
	}
	return value
}

func (r *rig) set(i int, name, value string, ttl time.Duration) {
	r.t.Helper()
	if err := r.clients[i].Set(context.Background(), name, value, ttl).Err(); err != nil {
		must(r.t, fmt.Errorf("node %d: %w", i, err))
	}
}

func (r *rig) flush(nodes ...int) {
	r.t.Helper()
	for _, i := range nodes {
		must(r.t, harness.Flush(r.clients[i]))
	}
}

// having lists the nodes, of those that answer, on which there is something at name.
func (r *rig) having(name string) []int {
	var nodes []int
	for i, c := range r.clients {
		if n, err := c.Exists(context.Background(), name).Result(); err == nil && n > 0 {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// goneExcept waits until no other node than those has the lock, and then, when c has taken in every answer, looks once more: what was
// on its way by then must not have brought it back.
func (r *rig) goneExcept(c *cluster.Cluster, lock string, nodes ...int) {
	r.t.Helper()
	r.gone(c, nodes, lock)
}

// goneEverywhere is goneExcept for nodes without exception.
func (r *rig) goneEverywhere(c *cluster.Cluster, locks ...string) {
	r.t.Helper()
	r.gone(c, nil, locks...)
}

func (r *rig) gone(c *cluster.Cluster, except []int, locks ...string) {
	r.t.Helper()
	up := func() bool {
		return !slices.ContainsFunc(c.Status(), func(s cluster.Status) bool { return !s.Up })
	}
	harness.Eventually(r.t, "all nodes are up", up)
	for _, lock := range locks {
		harness.Eventually(r.t, "no node has "+lock, func() bool { return slices.Equal(r.having(lock), except) })
	}
	closeNow(r.t, c)
	for _, lock := range locks {
		if nodes := r.having(lock); !slices.Equal(nodes, except) {
			r.t.Errorf("nodes %v have %q again", nodes, lock)
		}
	}
}

// scripts is how often node i was asked to run one.
func (r *rig) scripts(i int) int64 {
	n := r.Commands(i)
	return n["evalsha"] + n["eval"]
}

func (r *rig) pause(nodes ...int) {
	for _, i := range nodes {
		r.Pause(i)
	}
}

func (r *rig) resume(nodes ...int) {
	for _, i := range nodes {
		r.Resume(i)
	}
}

// snapshot is all that is on node i: name, type and value of each key.
func (r *rig) snapshot(i int) string {
	r.t.Helper()
	ctx, c := context.Background(), r.clients[i]
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		kind := c.Type(ctx, k).Val()
		fmt.Fprintf(&b, "%q %s ", k, kind)
		switch kind {
		case "string":
			fmt.Fprintf(&b, "%q\n", c.Get(ctx, k).Val())
		case "zset":
			fmt.Fprintf(&b, "%.0f\n", c.ZRangeWithScores(ctx, k, 0, -1).Val())
		case "list":
			fmt.Fprintf(&b, "%q\n", c.LRange(ctx, k, 0, -1).Val())
		default:
			r.t.Fatalf("%q is a %s", k, kind)
		}
	}
	return b.String()
}

// passed waits until at is over.
func passed(at time.Time) { <-time.After(time.Until(at) + time.Millisecond) }

// async runs fn on a goroutine and gives out its result.
func async[T any](fn func() T) <-chan T {
	ch := make(chan T, 1)
	go func() { ch <- fn() }()
	return ch
}

// watched is a context that tells when it is first waited for: whoever does so has sent what he sends.
type watched struct {
	context.Context
	once    *sync.Once
	waiting chan struct{}
}

func watch(ctx context.Context) watched { return watched{ctx, new(sync.Once), make(chan struct{})} }

func (w watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waiting) })
	return w.Context.Done()
}

// as finds the T in err's chain.
func as[T error](t testing.TB, err error) T {
	t.Helper()
	var target T
	if !errors.As(err, &target) {
		t.Fatalf("%v is no %T", err, target)
	}
	return target
}
