package keepalive

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/record"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// handOver is a hand-over that has to succeed.
func handOver(t *testing.T, l *Lease) *Lease {
	t.Helper()
	next, ok := l.t.s.handOver(l, context.WithoutCancel(t.Context()), 0)
	if !ok {
		t.Fatalf("token %d was not handed over: %v", l.Token(), l.Err())
	}
	return next
}

func TestHandOver_IssuesTheNextTokenWithoutARoundTrip(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), Config{})
		l := acquire(t, s, "job", Request{TokenBlock: 64})
		client := harness.Client(t, nodes, 0)
		var value string
		harness.Eventually(t, "the slowest node to have granted", func() bool {
			value = client.Get(t.Context(), "lock:job").Val()
			return value != ""
		})
		before := nodes.Commands(0)["evalsha"]
		for range 63 {
			next := handOver(t, l)
			if next.Token() != l.Token()+1 || next.Err() != nil {
				t.Fatalf("after token %d came %d, which stands by %v", l.Token(), next.Token(), next.Err())
			}
			if cause := context.Cause(l.Context()); cause != ErrReleased {
				t.Fatalf("the old context ended by %v", cause)
			}
			if err := l.Release(t.Context()); !errors.Is(err, ErrReleased) {
				t.Fatalf("the release of a lease that was handed over: %v", err)
			}
			l = next
		}
		if asked := nodes.Commands(0)["evalsha"] - before; asked != 0 {
			t.Errorf("a node was asked %d times", asked)
		}
		if now := client.Get(t.Context(), "lock:job").Val(); now != value || now == "" {
			t.Errorf("on the node %q became %q", value, now)
		}
		if _, ok := s.handOver(l, t.Context(), 0); ok || l.Err() != nil {
			t.Errorf("token 65 of a span of 64 was given: %t; the last lease ended by %v", ok, l.Err())
		}
		must(t, l.Release(t.Context()))
		if next := acquire(t, s, "job", Request{}); next.Token() <= l.Token() {
			t.Errorf("token %d came after %d", next.Token(), l.Token())
		}
	})
}

func TestHandOver_TheLeaseIsRenewed(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, nodeTimeout), steady)
		lives(t, handOver(t, acquire(t, s, "job", Request{TokenBlock: 2})))
	})
}

func TestHandOver_ALossEndsTheNewLease(t *testing.T) {
	virtually(t, func(t *testing.T) {
		cable := &gate{}
		s := lease(t, newMemory(t, 3).open(t, cable), Config{})
		l := handOver(t, acquireAtOnce(t, s, "job", Request{TokenBlock: 2}))
		cable.cut()
		<-l.Done()
		var lost *LostError
		if err := l.Err(); !errors.As(err, &lost) || lost.Token != l.Token() {
			t.Errorf("token %d ended by %v", l.Token(), err)
		}
	})
}

func TestHandOver_NeedsHalfOfTheTTL(t *testing.T) {
	virtually(t, func(t *testing.T) {
		cable := &gate{}
		s := lease(t, newMemory(t, 3).open(t, cable), Config{})
		l := acquireAtOnce(t, s, "job", Request{TokenBlock: 64})
		cable.cut()
		time.Sleep(time.Until(l.Deadline()) - l.TTL()/2)
		l = handOver(t, l)
		time.Sleep(time.Millisecond)
		if _, ok := s.handOver(l, t.Context(), 0); ok || l.Err() != nil {
			t.Errorf("it was handed over: %t; it ended by %v", ok, l.Err())
		}
	})
}

func TestHandOver_NeedsAValidLease(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	refused := func(what string, l *Lease) {
		t.Helper()
		if _, ok := s.handOver(l, t.Context(), 0); ok {
			t.Errorf("a lease was handed over that %s", what)
		}
	}
	lost := acquire(t, s, "lost", Request{TokenBlock: 2})
	s.lose(lost.t, quorumlock.Reason{Text: "by a test"})
	refused("was lost", lost)

	released := acquire(t, s, "released", Request{TokenBlock: 2})
	must(t, released.Release(t.Context()))
	refused("was released", released)

	handed := acquire(t, s, "handed", Request{TokenBlock: 3})
	next := handOver(t, handed)
	refused("was handed over before", handed)
	if next.Err() != nil {
		t.Errorf("the lease it was handed to ended by %v", next.Err())
	}

	closing := acquire(t, s, "closing", Request{TokenBlock: 2})
	s.Cancel(ErrClosed)
	refused("is being closed", closing)
}

func TestMaxHold_CountsFromTheHandOver(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		l := acquireAtOnce(t, s, "job", Request{TokenBlock: 3, MaxHold: 5 * time.Second})
		time.Sleep(4 * time.Second)
		unlimited := handOver(t, l)
		time.Sleep(time.Minute)
		if err := unlimited.Err(); err != nil {
			t.Fatalf("the MaxHold of its predecessor ended it: %v", err)
		}
		limited, ok := s.handOver(unlimited, context.WithoutCancel(t.Context()), 3*time.Second)
		if !ok {
			t.Fatal("not handed over")
		}
		start := time.Now()
		<-limited.Done()
		if held := time.Since(start); held < 3*time.Second-tick || held > 3*time.Second {
			t.Errorf("it ended after %v: %v", held, limited.Err())
		}
	})
}

func TestHandOver_RacingAReleaseHappensOrDoesNot(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	for range 300 {
		l := acquire(t, s, "job", Request{TokenBlock: 2})
		released := make(chan error, 1)
		go func() { released <- l.Release(context.Background()) }()
		next, ok := s.handOver(l, context.Background(), 0)
		if err := harness.Receive(t, "the release", released); ok && !errors.Is(err, ErrReleased) || !ok && err != nil {
			t.Fatalf("handed over: %t; the release: %v", ok, err)
		}
		if ok {
			must(t, next.Release(t.Context()))
		}
	}
}

// The next lease has overtaken its record, and lost nothing by that.
func TestHandOver_ALateCheckpointEndsOnlyItsOwnLease(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		first := acquire(t, lease(t, open(t, nodes, 0), Config{}), "job", Request{TokenBlock: 64})
		next := handOver(t, first)
		if err := first.orLost(record.ErrOvertaken); !errors.Is(err, ErrReleased) {
			t.Errorf("the checkpoint of the lease that was handed over: %v", err)
		}
		if err := next.Err(); err != nil {
			t.Errorf("the next lease ended by %v", err)
		}
		if err := next.orLost(record.ErrOvertaken); !errors.Is(err, ErrLost) || !errors.Is(next.Err(), ErrLost) {
			t.Errorf("a newer token overtook the holder: %v, %v", err, next.Err())
		}
	})
}
