package keepalive

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

// locked is a Lock that has to succeed.
func locked(t *testing.T, s *Leases, key string, req Request) *Lease {
	t.Helper()
	l, err := s.Lock(t.Context(), key, req)
	must(t, err)
	return l
}

// contended is since when another process is known to wait for the key of l.
func contended(l *Lease) time.Time { return l.t.s.queues.Snapshot(l.t.lock).RemoteWait }

// locking calls Lock on a goroutine of its own.
func locking(ctx context.Context, s *Leases, key string, req Request) <-chan result {
	ch := make(chan result, 1)
	go func() {
		l, err := s.Lock(ctx, key, req)
		ch <- result{l, err, time.Now()}
	}()
	return ch
}

// enter takes a place behind the caller that holds or asks for job.
func enter(t *testing.T, s *Leases) (*waitqueue.Queue, *waitqueue.Caller) {
	t.Helper()
	p, err := s.plan(t.Context(), "job", Request{})
	must(t, err)
	q, place, _, ok := s.queues.Enter(p.lock, waitqueue.Request{Want: s.want(p.req), Parent: p.req.Parent}, true)
	if !ok || place == nil {
		t.Fatal("no place in the queue")
	}
	return q, place
}

func TestTokenBlock_IsTwiceWhatWasUsedOfTheLast(t *testing.T) {
	for used, want := range map[int]int{0: 64, 1: 64, 32: 64, 33: 66, 64: 128, 32767: 65534, 32768: 65536, 65536: 65536} {
		if got := blockAfter(used); got != want {
			t.Errorf("after %d tokens a block of %d, want %d", used, got, want)
		}
	}
}

// However a lease ends, the next caller of the process acquires the key.
func TestLock_TheNextCallerAcquiresHoweverTheLeaseEnds(t *testing.T) {
	for name, test := range map[string]struct {
		req    Request
		end    func(t *testing.T, l *Lease)
		handed int64
		after  time.Duration
	}{
		"released": {end: func(t *testing.T, l *Lease) { must(t, l.Release(t.Context())) }, handed: 1},
		"lost":     {end: func(t *testing.T, l *Lease) { l.t.s.lose(l.t, quorumlock.Reason{Text: "by a test"}) }},
		"lost twice": {end: func(t *testing.T, l *Lease) {
			l.t.s.lose(l.t, expired)
			l.t.s.lose(l.t, expired)
			l.Release(t.Context())
		}},
		"kept":         {req: Request{MinHold: 2 * time.Second}, end: func(t *testing.T, l *Lease) { must(t, l.Release(t.Context())) }, after: 2 * time.Second},
		"past its max": {req: Request{MaxHold: time.Second}, end: func(t *testing.T, l *Lease) { <-l.Done(); l.Release(t.Context()) }, after: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{Backoff: hourly})
				<-s.opened
				began := time.Now()
				l := locked(t, s, "job", test.req)
				next := locking(t.Context(), s, "job", Request{})
				synctest.Wait()
				test.end(t, l)
				r := <-next
				must(t, r.err)
				if took := r.at.Sub(began); took < test.after || took > test.after+time.Second {
					t.Errorf("acquired after %v, want %v", took, test.after)
				}
				if r.l.Token() <= l.Token() || s.Stats().HandOvers != test.handed {
					t.Errorf("after token %d came %d, by %d hand-overs", l.Token(), r.l.Token(), s.Stats().HandOvers)
				}
				must(t, r.l.Release(t.Context()))
				if n := s.queues.Keys(); n != 0 {
					t.Errorf("%d queues are left", n)
				}
			})
		})
	}
}

func TestLock_CloseEndsTheWaitBehindAKeyThatIsKept(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		must(t, locked(t, s, "job", Request{MinHold: time.Hour}).Release(t.Context()))
		next := locking(t.Context(), s, "job", Request{})
		synctest.Wait()
		must(t, s.Close(t.Context()))
		if r := <-next; !errors.Is(r.err, ErrClosed) {
			t.Errorf("the wait ended by %v", r.err)
		}
		if n := s.queues.Keys(); n != 0 {
			t.Errorf("%d queues are left", n)
		}
	})
}

// What a place was given before its owner saw that its context had ended goes to the next.
func TestLock_ACallerThatLeavesPassesOnItsTurn(t *testing.T) {
	harness.Beside(t, 1, func(t *testing.T, nodes harness.Set) {
		s := patient(t, nodes)
		harness.Receive(t, "the mailbox", s.opened)
		dead, cancel := context.WithCancel(t.Context())
		cancel()
		for name, test := range map[string]struct {
			req    Request
			handed int64
		}{
			"its lease":       {Request{}, 2},
			"its turn to ask": {Request{Owner: "another"}, 0}, // which is not handed over
		} {
			before := s.Stats().HandOvers
			l := locked(t, s, "job", test.req)
			q, place := enter(t, s)
			next := locking(t.Context(), s, "job", Request{})
			harness.Eventually(t, "the next to wait", func() bool { return s.queues.Snapshot("lock:job").Callers == 2 })
			release(t, l)
			s.giveUp(dead, q, place)
			release(t, given(t, next))
			if n := s.Stats().HandOvers - before; n != test.handed {
				t.Errorf("%s: %d hand-overs", name, n)
			}
		}
	})
}

func TestLock_ALeaseForADeadContextIsPassedOn(t *testing.T) {
	s := patient(t, harness.Embedded(t, 1))
	harness.Receive(t, "the mailbox", s.opened)
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // either of two cases that are both ready may be chosen
		l := locked(t, s, "job", Request{})
		q, place := enter(t, s)
		next := locking(t.Context(), s, "job", Request{})
		harness.Eventually(t, "the next to wait", func() bool { return s.queues.Snapshot("lock:job").Callers == 2 })
		release(t, l)
		if l, _, err := s.await(dead, q, place, "job"); l != nil || !errors.Is(err, context.Canceled) {
			t.Fatalf("under a dead context: %v, %v", l, err)
		}
		release(t, given(t, next))
	}
}

// All Lockers of a process on one set wait in one queue. A lease stays with what
// keeps it alive.
func TestLock_LeasesOfOneSetShareTheQueueAndHandNothingOver(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		one := patient(t, nodes)
		other := lease(t, one.c, one.cfg)
		l := locked(t, one, "job", Request{})
		next := locking(t.Context(), other, "job", Request{})
		harness.Eventually(t, "the other to wait", func() bool { return one.queues.Snapshot("lock:job").Callers == 1 })
		if _, err := other.Lock(t.Context(), "job", Request{Bounded: true}); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("a call that does not wait: %v", err)
		}
		release(t, l)
		theirs := given(t, next)
		if theirs.t.s != other || theirs.Token() <= l.Token() || one.Stats().HandOvers+other.Stats().HandOvers != 0 {
			t.Errorf("after token %d came %d, by %d hand-overs", l.Token(), theirs.Token(), one.Stats().HandOvers)
		}
		release(t, theirs)
	})
}

// Config.Backoff is the program's. A server that recovers from its panic goes on
// locking.
func TestLock_ABackoffThatPanicsLeavesNothingBehind(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		holder := acquire(t, patient(t, nodes), "job", Request{})
		s := lease(t, open(t, nodes, 0), Config{TTL: long, Backoff: func(int) time.Duration { panic("by a test") }})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("nothing panicked")
				}
			}()
			s.Lock(t.Context(), "job", Request{})
		}()
		if n := s.queues.Keys(); n != 0 {
			t.Errorf("%d queues are left: %+v", n, s.queues.Snapshot("lock:job"))
		}
		harness.Eventually(t, "every queue of the nodes to be empty", queues(t, nodeClients(t, nodes), "job", 0))
		release(t, holder)
		release(t, acquire(t, s, "job", Request{}))
		release(t, locked(t, s, "job", Request{}))
	})
}
