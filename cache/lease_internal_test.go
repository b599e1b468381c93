package cache

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, nodes harness.Set, nodeTimeout time.Duration) *Cache[string] {
	t.Helper()
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: nodes.URLs(), NodeTimeout: nodeTimeout, Logger: slog.New(slog.DiscardHandler)})
	harness.Must(t, began, err)
	s, err := New(c, Config[string]{LoadTimeout: time.Minute, LeaseTTL: time.Minute})
	must(t, err)
	t.Cleanup(func() {
		s.Close(context.Background())
		c.Close(context.Background())
	})
	return s
}

func attempts(s *Cache[string]) *attempt[string] {
	return &attempt[string]{s: s, key: "k", req: request{ttl: time.Minute}, nonce: s.nonce()}
}

// The first request failed, so it is repeated. After a deletion, the first
// request arrives late. It must not get a lease, because its load began before
// the deletion.
func TestFillLease_LateRequestRevivesNoEndedOne(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, nodes harness.Set) {
		t.Parallel()
		s, client := open(t, nodes, 3*time.Second), harness.Client(t, nodes, 0)
		a := attempts(s)
		first := a.nonce
		must(t, client.Set(t.Context(), s.leaseName("k"), "in the way", 0).Err())
		if _, err := a.ask(t.Context()); err == nil {
			t.Fatal("the first request was answered")
		}
		must(t, client.Del(t.Context(), s.leaseName("k")).Err())
		l, err := a.ask(t.Context())
		if !l.given || err != nil {
			t.Fatal("no lease: ", err)
		}
		must(t, s.Delete(t.Context(), "k"))
		late := attempt[string]{s: s, key: "k", req: a.req, nonce: first}
		_, err = late.ask(t.Context())
		must(t, err)
		if a.keep(t.Context(), l, "old", false, 0) {
			t.Error("a value loaded before the deletion is stored")
		}
	})
}

// Only the answer was lost: a caller that repeats its request does not wait for
// its own lease.
func TestFillLease_OfAFailedRequestIsTakenOver(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, nodes harness.Set) {
		t.Parallel()
		s := open(t, nodes, 3*time.Second)
		a := attempts(s)
		_, err := a.ask(t.Context())
		must(t, err)
		a.lost, a.nonce = a.nonce, s.nonce()
		if l, err := a.ask(t.Context()); !l.given || err != nil {
			t.Errorf("no lease: %+v, %v", l, err)
		}
		if l, err := attempts(s).ask(t.Context()); l.given || err != nil {
			t.Errorf("another caller got the lease as well: %+v, %v", l, err)
		}
	})
}

func TestFillLease_RenewalLeavesThatOfAnother(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, nodes harness.Set) {
		t.Parallel()
		s, client := open(t, nodes, 3*time.Second), harness.Client(t, nodes, 0)
		a, b := attempts(s), attempts(s)
		b.key = "j"
		r := &renewal[string]{s: s, all: map[string]fillLease[string]{}}
		for _, own := range []*attempt[string]{a, b} {
			l, err := own.ask(t.Context())
			must(t, err)
			must(t, client.PExpire(t.Context(), s.leaseName(own.key), 30*time.Second).Err())
			r.add(fillLease[string]{own, l})
		}
		must(t, client.HSet(t.Context(), s.leaseName("k"), "by", "another").Err())
		r.renew(t.Context())
		if ttl := client.PTTL(t.Context(), s.leaseName("k")).Val(); ttl > 30*time.Second {
			t.Errorf("the lease of another caller lasts for %v", ttl)
		}
		if ttl := client.PTTL(t.Context(), s.leaseName("j")).Val(); ttl <= 30*time.Second {
			t.Errorf("its own lease lasts for %v", ttl)
		}
	})
}

// The fill waits for a connection, and is sent to a node that was unreachable
// in the meantime and missed a deletion.
func TestFillLease_FillThroughAnOutageIsUndone(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, nodes harness.Set) {
		t.Parallel()
		s := open(t, nodes, 300*time.Millisecond)
		n, a := s.nodes[0], attempts(s)
		l, err := a.ask(t.Context())
		if !l.given || err != nil {
			t.Fatal("no lease: ", err)
		}
		n.asking.Add(few)
		for range lanes {
			n.lanes <- struct{}{}
		}
		stored := make(chan bool)
		go func() { stored <- a.keep(context.Background(), l, "old", false, 0) }()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ; n.asking.Load() <= few; <-tick.C {
		}
		nodes.Pause(0)
		for ; n.Up(); <-tick.C {
			n.AskScript(t.Context(), readScript, []string{"k"}, []any{0, "-", ""})
		}
		nodes.Resume(0)
		for ; !n.Up() || !l.outlived(); <-tick.C {
		}
		for _, after := n.limits(); n.now() <= after; <-tick.C {
		}
		for range lanes {
			<-n.lanes
		}
		if <-stored {
			t.Error("it counts as stored")
		}
		n.asking.Add(-few)
		if h, err := s.read(t.Context(), "k"); h.served() || err != nil {
			t.Errorf("read %+v, %v", h, err)
		}
	})
}
