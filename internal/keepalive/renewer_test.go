package keepalive

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// many acquires n leases.
func many(t *testing.T, s *Leases, n int) []*Lease {
	t.Helper()
	all, errs := make([]*Lease, n), make([]error, n)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < n; i += 8 {
				all[i], errs[i] = s.Try(t.Context(), fmt.Sprint("job", i), Request{})
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	return all
}

func TestRenewal_OfTwoThousandLeasesNeedsNoGoroutineEach(t *testing.T) {
	nodes := harness.Real(t, 3, redisserver.Options{}) // an embedded node pays for each key with each command
	s := lease(t, open(t, nodes, 0), steady)
	began := time.Now()
	acquire(t, s, "first", Request{})
	before := runtime.NumGoroutine()
	all := many(t, s, 2000)
	if after := runtime.NumGoroutine(); after > before+20 {
		t.Errorf("%d goroutines became %d", before, after)
	}
	goal := time.Now().Add(long) // later than every first deadline
	for _, l := range all {
		harness.Eventually(t, "every lease to be renewed", func() bool {
			stands(t, began, l)
			return l.Deadline().After(goal)
		})
	}
}

func TestRenewal_DueTogetherShareWrites(t *testing.T) {
	virtually(t, func(t *testing.T) {
		const n = 300
		counted := &gate{}
		s := lease(t, newMemory(t, 1).open(t, counted), Config{RenewEvery: time.Second})
		all, first := make([]*Lease, n), make([]time.Time, n)
		for i := range all {
			all[i] = acquireAtOnce(t, s, fmt.Sprint("job", i), Request{})
			first[i] = all[i].Deadline()
		}
		before := counted.writes.Load()
		time.Sleep(1200 * time.Millisecond)
		for i, l := range all {
			if !l.Deadline().After(first[i]) {
				t.Fatalf("lease %d was not renewed", i)
			}
		}
		writes := counted.writes.Load() - before
		t.Logf("%d leases were renewed in %d writes", n, writes)
		if writes > n/2 {
			t.Errorf("%d leases were renewed in %d writes", n, writes)
		}
	})
}

// suspended is the time after the machine has slept for d: by the wall clock d has passed, by the monotonic clock nothing.
func suspended(t *testing.T, now time.Time, d time.Duration) time.Time {
	t.Helper()
	later := now.Add(d)
	monotonic := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&later))
	monotonic.ext -= int64(d)
	if later.Sub(now) != 0 || later.Round(0).Sub(now.Round(0)) != d {
		t.Skip("package time does not keep its clocks as this test supposes")
	}
	return later
}

func TestRenewal_ALeaseThatExpiredDuringSleepIsLost(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	l := acquire(t, s, "job", Request{})
	young := acquire(t, s, "young", Request{TTL: time.Minute})
	woken := suspended(t, time.Now(), l.TTL())
	s.due(woken, true)
	var lost *LostError
	if err := l.Err(); !errors.As(err, &lost) || !strings.Contains(lost.Reason, "suspended") {
		t.Errorf("the lease that expired ended by %v", err)
	}
	if err := young.Err(); err != nil {
		t.Errorf("the lease that did not expire ended by %v", err)
	}
}

func TestRenewal_ALeaseThatOutlivesSleepIsRenewedAtOnceAndEndsByTheWallClock(t *testing.T) {
	nodes, cable := harness.Embedded(t, 1), &gate{}
	s := lease(t, openThrough(t, nodes, cable, nodeTimeout), Config{})
	l := acquire(t, s, "job", Request{})
	deadline := l.Deadline()
	cable.cut() // so that the renewal has no effect
	woken := suspended(t, time.Now(), 8*time.Second)
	renew, _ := s.due(woken, true)
	if len(renew) != 1 {
		t.Fatalf("%d to renew for a lease that has to be renewed", len(renew))
	}
	s.mu.Lock()
	due := l.t.due
	s.mu.Unlock()
	if limit := deadline.Add(-8 * time.Second); due.After(limit) {
		t.Errorf("it would end %v after its deadline", due.Sub(limit))
	}
	s.renew(renew, new(quorumlock.Outbox))
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestRenewal_AnExpiredDeadlineOfEitherClockEndsTheLease(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	for i, now := range []func(l *Lease) time.Time{
		func(l *Lease) time.Time { return l.Deadline().Add(-early) },
		func(l *Lease) time.Time { return suspended(t, l.Deadline().Add(-l.TTL()/2), l.TTL()) },
	} {
		l := acquire(t, s, fmt.Sprint("job", i), Request{})
		s.due(now(l), false)
		if err := l.Err(); !errors.Is(err, ErrLost) {
			t.Errorf("it ended by %v", err)
		}
	}
}

func TestLeases_Cancel_EndsContextsAndKeepsTheKeys(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, nodeTimeout), steady)
		other := lease(t, open(t, nodes, nodeTimeout), steady)
		l := acquire(t, s, "job", Request{})
		waiter := await(t.Context(), s, "job", Request{})
		why := errors.New("no more")
		s.Cancel(why)
		if cause := context.Cause(l.Context()); cause != why || l.Err() != why {
			t.Errorf("the context ended by %v", cause)
		}
		if r := harness.Receive(t, "the wait to end", waiter); !errors.Is(r.err, ErrClosed) {
			t.Errorf("the wait ended by %v", r.err)
		}
		if _, err := s.TryAcquire(t.Context(), "free"); !errors.Is(err, ErrClosed) {
			t.Errorf("a new lease: %v", err)
		}
		goal := l.Deadline().Add(soon)
		harness.Eventually(t, "the lease to be renewed", func() bool { return l.Deadline().After(goal) })
		if _, err := other.TryAcquire(t.Context(), "job"); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("while the work ends: %v", err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Errorf("the release after Cancel: %v", err)
		}
		acquire(t, other, "job", Request{})
	})
}

func TestLeases_Cancel_ReleasesAKeyThatIsGrantedMeanwhile(t *testing.T) {
	harness.Beside(t, 1, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), Config{})
		p, err := s.plan(t.Context(), "job", Request{})
		if err != nil {
			t.Fatal(err)
		}
		s.Cancel(ErrClosed)
		if _, err := s.attempt(t.Context(), p, false, true); !errors.Is(err, ErrClosed) {
			t.Errorf("acquired: %v", err)
		}
		harness.Eventually(t, "the key to be given back", func() bool {
			return harness.Client(t, nodes, 0).Exists(t.Context(), "lock:job").Val() == 0
		})
	})
}

func TestLeases_Close_ReleasesEverythingAndMayBeCalledByMany(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), Config{})
		all := many(t, s, 20)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
				for _, l := range all {
					if cause := context.Cause(l.Context()); cause != ErrClosed {
						t.Errorf("after Close a context ended by %v", cause)
					}
				}
			})
		}
		wg.Wait()
		other := lease(t, open(t, nodes, 0), Config{})
		for _, l := range all {
			acquire(t, other, l.Key(), Request{})
			if err := l.Release(t.Context()); !errors.Is(err, ErrReleased) {
				t.Errorf("a release after Close: %v", err)
			}
		}
	})
}

func TestLeases_Close_ItsContextBoundsOnlyTheWaiting(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, soon), Config{})
		l := acquire(t, s, "job", Request{})
		for i := range 3 {
			nodes.Pause(i)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Close of leases that cannot be released: %v", err)
		}
		if cause := context.Cause(l.Context()); cause != ErrClosed {
			t.Errorf("the context ended by %v", cause)
		}
		for i := range 3 {
			nodes.Resume(i)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("Close again: %v", err)
		}
	})
}
