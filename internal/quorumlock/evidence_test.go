package quorumlock

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// name is an address that leads to a server that can be changed. Connections that were made before stay.
type name struct {
	net.Listener
	target atomic.Pointer[string]
}

func leadTo(t *testing.T, to string) *name {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &name{Listener: l}
	n.moves(to)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", *n.target.Load())
			if err != nil {
				c.Close()
				continue
			}
			end := func() { c.Close(); s.Close() }
			context.AfterFunc(ctx, end)
			go func() { io.Copy(c, s); end() }()
			go func() { io.Copy(s, c); end() }()
		}
	}()
	return n
}

func (n *name) moves(url string) { to := strings.TrimPrefix(url, "redis://"); n.target.Store(&to) }
func (n *name) url() string      { return "redis://" + n.Addr().String() }

// A node's name leads to another server while the old one runs on, with connections to it. A vote of the one and a vote of the
// other are votes of two servers, and must not both count.
func TestVote_ANameThatMovesToAnotherServerHasOne(t *testing.T) {
	t.Parallel()
	r, fresh := newRig(t, harness.Embedded(t, 3)), harness.Embedded(t, 1)
	third := leadTo(t, r.URLs()[2])
	process := func(cfg *nodeset.Config) {
		cfg.URLs = []string{r.URLs()[0], r.URLs()[1], third.url()}
		cfg.MaxTTL, cfg.NodeTimeout = 3*time.Second, time.Second
	}
	one := r.redlock(r.open(process), Config{TTL: 2 * time.Second})
	must(t, acquireEverywhere(t, one, "warm", Request{}).Release(context.Background()))
	third.moves(fresh.URLs()[0])
	two := r.redlock(r.open(process), Config{TTL: 2 * time.Second})
	holds := func(red *Redlock, blocked int) *Hold { // on two nodes of three
		r.Put(blocked, "lock:k", "another's", time.Minute)
		h, err := red.Acquire(context.Background(), "k", Request{})
		if err := r.Clients[blocked].Del(t.Context(), "lock:k").Err(); err != nil {
			t.Fatal(err)
		}
		if err != nil && !errors.Is(err, ErrNotAcquired) && !errors.Is(err, nodeset.ErrNoQuorum) {
			must(t, err)
		}
		return h
	}
	for voted, end := false, time.Now().Add(harness.Patience); !voted && time.Now().Before(end); {
		voted = two.c.Nodes()[2].Votes()
		first := holds(one, 1) // on the first and the third
		second := holds(two, 0)
		if first != nil && second != nil && !nodeset.Passed(first.Deadline(), time.Now()) && !nodeset.Passed(second.Deadline(), time.Now()) {
			t.Fatalf("two hold the key, one by a vote of the old server and one by a vote of the new")
		}
		for _, h := range []*Hold{first, second} {
			if h != nil {
				_ = h.Release(context.Background()) // the server behind the name may be another by now
			}
		}
		harness.Eventually(t, "the key is free", func() bool { return len(r.Having("lock:k")) == 0 })
	}
	if !two.c.Nodes()[2].Votes() {
		t.Error("the new server never votes")
	}
}

// A node that a person empties has lost its locks, and its next answer shows it.
func TestVote_NotOfANodeThatWasEmptied(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		first, second := r.redlock(nil, Config{TTL: 30 * time.Second}), r.redlock(nil, Config{TTL: 30 * time.Second})
		h := acquireEverywhere(t, first, "k", Request{})
		must(t, acquireEverywhere(t, second, "warm", Request{}).Release(context.Background()))
		for i := range 2 {
			if err := r.Clients[i].FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := second.Acquire(context.Background(), "k", Request{}); err == nil || !errors.Is(err, nodeset.ErrNoQuorum) && !errors.Is(err, ErrNotAcquired) {
			t.Errorf("two nodes that were emptied gave the key away: %v", err)
		}
		harness.Eventually(t, "the emptied nodes are known", func() bool {
			_, _ = second.Acquire(context.Background(), "other", Request{})
			st := second.c.Status()
			return slices.Equal([]bool{st[0].Votes, st[1].Votes, st[2].Votes}, []bool{false, false, true})
		})
		_ = h.Release(context.Background())
	})
}

// A renewal counts no node that does not vote: while others have connections to the server that was behind its name before,
// they may acquire there.
func TestVote_ARenewalNeedsIt(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{TTL: 30 * time.Second})
		h := acquireEverywhere(t, red, "k", Request{})
		extend := func() error { return h.ExtendNow(context.Background(), 30*time.Second) }
		restart := func(i int) {
			if err := r.Restart(i, true); err != nil {
				t.Fatal(err)
			}
		}
		restart(0)
		harness.Eventually(t, "an extension that heals the first", func() bool { return extend() == nil && len(r.Having("lock:k")) == 3 })
		restart(1)
		harness.Eventually(t, "an extension that heals the second", func() bool {
			if extend() == nil {
				t.Fatal("an extension succeeds by one node that votes, and one that has restarted")
			}
			return len(r.Having("lock:k")) == 3
		})
		if err := extend(); !errors.Is(err, nodeset.ErrNoQuorum) {
			t.Errorf("an extension by one node that votes, and two that have restarted: %v", err)
		}
		_ = h.Release(context.Background())
	})
}
