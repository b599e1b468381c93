package lease

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// handOver is a HandOver that has to succeed.
func handOver(t *testing.T, l *Lease) *Lease {
	t.Helper()
	next, ok := l.HandOver(context.WithoutCancel(t.Context()), 0)
	if !ok {
		t.Fatalf("token %d was not handed over: %v", l.Token(), l.Err())
	}
	return next
}

func TestAHandOverGivesTheNextTokenAndAsksNoNode(t *testing.T) {
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
		if _, ok := l.HandOver(t.Context(), 0); ok || l.Err() != nil {
			t.Errorf("token 65 of a span of 64 was given: %t; the last lease ended by %v", ok, l.Err())
		}
		must(t, l.Release(t.Context()))
		if next := acquire(t, s, "job", Request{}); next.Token() <= l.Token() {
			t.Errorf("token %d came after %d", next.Token(), l.Token())
		}
	})
}

func TestALeaseThatWasHandedOverIsRenewed(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, nodeTimeout), steady)
		lives(t, handOver(t, acquire(t, s, "job", Request{TokenBlock: 2})))
	})
}

func TestALossEndsTheLeaseThatTheKeyWasHandedTo(t *testing.T) {
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

func TestNothingIsHandedOverWithLessThanHalfOfTheTTLLeft(t *testing.T) {
	virtually(t, func(t *testing.T) {
		cable := &gate{}
		s := lease(t, newMemory(t, 3).open(t, cable), Config{})
		l := acquireAtOnce(t, s, "job", Request{TokenBlock: 64})
		cable.cut()
		time.Sleep(time.Until(l.Deadline()) - l.TTL()/2)
		l = handOver(t, l)
		time.Sleep(time.Millisecond)
		if _, ok := l.HandOver(t.Context(), 0); ok || l.Err() != nil {
			t.Errorf("it was handed over: %t; it ended by %v", ok, l.Err())
		}
	})
}

func TestOnlyALeaseThatStandsIsHandedOver(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	refused := func(what string, l *Lease) {
		t.Helper()
		if _, ok := l.HandOver(t.Context(), 0); ok {
			t.Errorf("a lease was handed over that %s", what)
		}
	}
	lost := acquire(t, s, "lost", Request{TokenBlock: 2})
	s.lose(lost.t, "by a test")
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

func TestMaxHoldCountsFromTheHandOver(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		l := acquireAtOnce(t, s, "job", Request{TokenBlock: 3, MaxHold: 5 * time.Second})
		time.Sleep(4 * time.Second)
		unlimited := handOver(t, l)
		time.Sleep(time.Minute)
		if err := unlimited.Err(); err != nil {
			t.Fatalf("the MaxHold of its predecessor ended it: %v", err)
		}
		limited, ok := unlimited.HandOver(context.WithoutCancel(t.Context()), 3*time.Second)
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

func TestAHandOverThatMeetsAReleaseHappensOrDoesNot(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	for range 300 {
		l := acquire(t, s, "job", Request{TokenBlock: 2})
		released := make(chan error, 1)
		go func() { released <- l.Release(context.Background()) }()
		next, ok := l.HandOver(context.Background(), 0)
		if err := harness.Receive(t, "the release", released); ok && !errors.Is(err, ErrReleased) || !ok && err != nil {
			t.Fatalf("handed over: %t; the release: %v", ok, err)
		}
		if ok {
			must(t, next.Release(t.Context()))
		}
	}
}

// heir inherits by a function.
type heir struct {
	takeOver func(*Lease) bool
	over     chan *Lease
}

func (h heir) TakeOver(l *Lease) bool { return h.takeOver(l) }
func (h heir) Over(l *Lease)          { h.over <- l }

func TestTheHeirIsAskedAtTheReleaseAndToldTheEndOnce(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	var next *Lease
	h := heir{over: make(chan *Lease, 8)}
	h.takeOver = func(l *Lease) (ok bool) {
		next, ok = l.HandOver(context.Background(), 0)
		return ok
	}
	l := acquire(t, s, "job", Request{TokenBlock: 2, Heir: h})
	if err := l.Release(t.Context()); err != nil || next == nil {
		t.Fatalf("the release: %v; handed to %v", err, next)
	}
	if len(h.over) > 0 {
		t.Fatal("the heir was told the end at the hand-over")
	}
	heir := next
	must(t, heir.Release(t.Context()))
	if last := harness.Receive(t, "the end", h.over); last != heir {
		t.Errorf("the heir was told of the end of %v", last)
	}

	lost := acquire(t, s, "job", Request{Heir: h})
	s.lose(lost.t, "by a test")
	s.lose(lost.t, "twice")
	lost.Release(t.Context())
	if last := harness.Receive(t, "the loss", h.over); last != lost || len(h.over) > 0 {
		t.Errorf("the heir was told of %v, and %d more", last, len(h.over))
	}

	kept := acquire(t, s, "job", Request{Heir: h, MinHold: 50 * time.Millisecond})
	must(t, kept.Release(t.Context()))
	if last := harness.Receive(t, "the end of MinHold", h.over); last != nil {
		t.Errorf("the heir was told of %v", last)
	}

	left := acquire(t, s, "job", Request{Heir: h, MinHold: time.Hour})
	must(t, left.Release(t.Context()))
	must(t, s.Close(t.Context()))
	if last := harness.Receive(t, "the closing", h.over); last != nil || len(h.over) > 0 {
		t.Errorf("the heir was told of %v, and %d more", last, len(h.over))
	}
}
