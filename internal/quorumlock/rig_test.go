package quorumlock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// rig is a set of nodes, to look at and to meddle with.
type rig struct {
	*harness.Nodes
	t *testing.T
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

func newRig(t *testing.T, s harness.Set) *rig { return &rig{harness.Inspect(t, s), t} }

// open makes a process of its own on the nodes. It waits longer for them than by default, because the machine that runs
// the tests may be busy.
func (r *rig) open(tweaks ...func(*nodeset.Config)) *nodeset.Set {
	r.t.Helper()
	cfg := nodeset.Config{URLs: r.URLs(), NodeTimeout: 3 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	for _, tweak := range tweaks {
		tweak(&cfg)
	}
	c, err := nodeset.Open(r.t.Context(), cfg)
	must(r.t, err)
	harness.CloseAtEnd(r.t, c)
	return c
}

// lasting is the TTL of keys that do not go by themselves while a test waits for them to be gone.
const lasting = 2 * harness.Patience

// patient is for tests in which a node is paused and waited for, impatient for those in which it is not. The other nodes
// have to answer within the timeout on a busy machine too.
func patient(cfg *nodeset.Config)   { cfg.NodeTimeout = 20 * time.Second }
func impatient(cfg *nodeset.Config) { cfg.NodeTimeout = 2 * time.Second }

// redlock makes a Redlock, of a process of its own if c is nil.
func (r *rig) redlock(c *nodeset.Set, cfg Config) *Redlock {
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
	for _, a := range h.Lost(Expired).Answers {
		all = append(all, a.Result)
	}
	return all
}

// lastToken is the largest token of the block that was acquired.
func lastToken(h *Hold) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.token + h.tokens
}

// goneExcept waits until no other node than those has the lock, and then, when c has taken in every answer, looks once more: what was
// on its way by then must not have brought it back.
func (r *rig) goneExcept(c *nodeset.Set, lock string, nodes ...int) {
	r.t.Helper()
	r.gone(c, nodes, lock)
}

// goneEverywhere is goneExcept for nodes without exception.
func (r *rig) goneEverywhere(c *nodeset.Set, locks ...string) {
	r.t.Helper()
	r.gone(c, nil, locks...)
}

func (r *rig) gone(c *nodeset.Set, except []int, locks ...string) {
	r.t.Helper()
	harness.Eventually(r.t, "all nodes are up", func() bool {
		return !slices.ContainsFunc(c.Status(), func(s nodeset.Status) bool { return !s.Up })
	})
	r.Gone(func() { harness.Close(r.t, c) }, except, locks...)
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
	ctx, c := context.Background(), r.Clients[i]
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

// as finds the T in err's chain.
func as[T error](t testing.TB, err error) T {
	t.Helper()
	var target T
	if !errors.As(err, &target) {
		t.Fatalf("%v is no %T", err, target)
	}
	return target
}
