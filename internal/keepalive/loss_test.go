package keepalive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestLoss_OfTheQuorumReportsEachNode(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(harness.Set, int){"Paused": harness.Set.Pause, "Stopped": harness.Set.Stop} {
		t.Run(name, func(t *testing.T) {
			harness.Beside(t, 5, func(t *testing.T, nodes harness.Set) {
				s := lease(t, open(t, nodes, soon), Config{TTL: short})
				l := acquire(t, s, "job", Request{})
				for i := range 3 {
					hurt(nodes, i)
				}
				began := time.Now()
				harness.Receive(t, "the loss", l.Done())
				if late := time.Since(l.Deadline()); late > l.TTL()/4 { // in virtual time: never
					harness.Missed(t, began, "it ended %v after its deadline", late)
				}
				cause := context.Cause(l.Context())
				var lost *LostError
				if !errors.As(cause, &lost) || !errors.Is(cause, ErrLost) || l.Err() != cause {
					t.Fatalf("the cause is %v and Err is %v", cause, l.Err())
				}
				if lost.Key != "job" || lost.Token != l.Token() || lost.Reason != "expired" || len(lost.Answers) != 5 {
					t.Errorf("the loss of token %d: %+v", l.Token(), lost)
				}
				for i, a := range lost.Answers {
					if i < 3 && a.Err == nil || !strings.Contains(nodes.URLs()[i], a.Node) {
						t.Errorf("node %d answered %v", i, a)
					}
				}
				if err := l.Release(t.Context()); err != cause {
					t.Errorf("the release of a lost lease: %v", err)
				}
			})
		})
	}
}

func TestLoss_OfATakenKeyIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(context.Context, *redis.Client) error{
		"Deleted":         func(ctx context.Context, c *redis.Client) error { return c.Del(ctx, "lock:job").Err() },
		"GivenToSomebody": func(ctx context.Context, c *redis.Client) error { return c.Set(ctx, "lock:job", "x", time.Hour).Err() },
	} {
		t.Run(name, func(t *testing.T) {
			harness.Beside(t, 5, func(t *testing.T, nodes harness.Set) {
				const ttl = harness.Patience + 25*time.Second // so that what was not given back has not expired either
				s := lease(t, open(t, nodes, soon), Config{TTL: ttl, RenewEvery: soon})
				l := acquire(t, s, "job", Request{})
				began := time.Now()
				clients := nodeClients(t, nodes)
				for lost, tries := false, 0; !lost; tries++ {
					for _, c := range clients[:3] {
						if err := take(t.Context(), c); err != nil {
							t.Fatal(err)
						}
					}
					select {
					case <-l.Done():
						lost = true
					case <-time.After(3 * soon): // a round came in between and healed the first of them
						if tries == 3 {
							harness.Missed(t, began, "the loss is not noticed")
						}
					}
				}
				if left := time.Until(l.Deadline()); left < l.TTL()/2 {
					harness.Missed(t, began, "it was noticed %v before the deadline", left)
				}
				var lost *LostError
				if err := l.Err(); !errors.As(err, &lost) || !strings.Contains(lost.Reason, "gone or taken") {
					t.Errorf("it was lost by %v", err)
				}
				for i, c := range clients { // what is ours is given back, healed nodes among them
					harness.Eventually(t, "the keys to be given back", func() bool {
						value, err := c.Get(t.Context(), "lock:job").Result()
						return errors.Is(err, redis.Nil) || i < 3 && value == "x"
					})
				}
			})
		})
	}
}

func TestLease_Err_NoticesAPassedDeadline(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 1)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		l := acquireAtOnce(t, s, "job", Request{})
		neglect(l)
		time.Sleep(time.Until(l.Deadline()) - time.Millisecond)
		if err := l.Err(); err != nil {
			t.Fatalf("a millisecond before the deadline: %v", err)
		}
		time.Sleep(time.Millisecond)
		if l.Context().Err() != nil {
			t.Fatal("somebody else noticed")
		}
		if err := l.Err(); !errors.Is(err, ErrLost) || context.Cause(l.Context()) != err {
			t.Errorf("at the deadline: %v, and the cause of the context's end: %v", err, context.Cause(l.Context()))
		}
	})
}

// neglect makes the renewer overlook a lease, as if it did not get to run.
func neglect(l *Lease) {
	r := &l.t.s.renewer
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(l.t)
}

func TestLoss_EndsTheLeaseBeforeAnotherAcquires(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, nodes harness.Set) {
		cable := &gate{}
		s := lease(t, openThrough(t, nodes, cable, soon), Config{TTL: short})
		other := lease(t, open(t, nodes, soon), Config{TTL: short})
		l := acquire(t, s, "job", Request{})
		cable.cut()
		began := time.Now()
		var next *Lease
		harness.Eventually(t, "another to get the key", func() bool {
			next, _ = other.TryAcquire(t.Context(), "job")
			return next != nil
		})
		if ended := l.Context().Err() != nil; l.Err() == nil {
			t.Error("another has the key, and the lease has not ended")
		} else if !ended { // a timer ends it, in time in virtual time
			harness.Missed(t, began, "another has the key, and the lease's context has not ended")
		}
		if next.Token() <= l.Token() {
			t.Errorf("token %d came after %d", next.Token(), l.Token())
		}
	})
}

func TestLoss_RacingAReleaseReturns(t *testing.T) {
	nodes := harness.Embedded(t, 1)
	s := lease(t, open(t, nodes, 0), Config{})
	for i := range 300 {
		l := acquire(t, s, fmt.Sprint("job", i), Request{})
		released := make(chan error, 1)
		go func() { released <- l.Release(context.Background()) }()
		s.lose(l.t, quorumlock.Reason{Text: "by a test"})
		err := harness.Receive(t, "the release", released)
		if cause := l.Err(); cause == nil || errors.Is(cause, ErrLost) != errors.Is(err, ErrLost) {
			t.Fatalf("the release returned %v, the lease ended by %v", err, cause)
		}
	}
}

// Nobody can see that a renewal is gone before its lease has ended, or a release would have nothing to return and nothing
// to wait for.
func TestLoss_TheLeaseHasEndedWhenItsRenewalIsGone(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	l := acquire(t, s, "job", Request{})
	l.mu.Lock() // so that it cannot end
	lost := make(chan bool)
	go func() {
		defer close(lost)
		s.lose(l.t, quorumlock.Reason{Text: "by a test"})
	}()
	waited := 0
	for waited < 20 { // until lose stands before the end of the lease, with the renewal in hand
		seen := false
		harness.Eventually(t, "the loss to begin", func() bool {
			if !s.mu.TryLock() {
				waited++
				return true
			}
			defer s.mu.Unlock()
			waited = 0
			seen = l.t.state == gone
			return seen
		})
		if seen {
			l.mu.Unlock()
			<-lost
			t.Fatal("the renewal is gone, and its lease has not ended")
		}
	}
	l.mu.Unlock()
	harness.Receive(t, "the loss", lost)
	if err := l.Err(); !errors.Is(err, ErrLost) {
		t.Errorf("it ended by %v", err)
	}
}

// A process that holds a lease keeps nodes that have lost everything from being taken for a new set by another, also if it
// reaches them a moment later.
func TestLoss_OfAllDataLetsNobodyElseAcquire(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		var way gate
		l := acquire(t, lease(t, openThrough(t, nodes, &way, nodeTimeout), Config{TTL: long}), "job", Request{})
		way.fail()
		for i := range nodes.Len() {
			if err := nodes.Restart(i, true); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		defer time.AfterFunc(300*time.Millisecond, way.heal).Stop()
		other := lease(t, open(t, nodes, nodeTimeout), Config{TTL: long})
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // twice as long as new nodes wait for processes that knew them
		defer cancel()
		if _, err := other.Acquire(ctx, "job"); err == nil && l.Err() == nil {
			t.Errorf("another process has the lease %v after everything was lost, and the first holds it still", time.Since(began))
		}
	})
}
