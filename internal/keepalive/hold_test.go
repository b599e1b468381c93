package keepalive

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMinHold_KeepsTheKeyAfterTheReleaseAndNoLonger(t *testing.T) {
	for _, minHold := range []time.Duration{2 * time.Second, time.Minute} { // below and above the TTL
		virtually(t, func(t *testing.T) {
			nodes := newMemory(t, 3)
			s := lease(t, nodes.open(t, &gate{}), Config{})
			other := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
			start := time.Now()
			l := acquireAtOnce(t, s, "job", Request{MinHold: minHold})
			must(t, l.Release(t.Context()))
			if took := time.Since(start); took != 0 {
				t.Errorf("the release took %v", took)
			}
			if cause := context.Cause(l.Context()); cause != ErrReleased {
				t.Errorf("the cause after the release: %v", cause)
			}
			time.Sleep(time.Until(start.Add(minHold - time.Millisecond)))
			if _, err := other.TryAcquire(t.Context(), "job"); !errors.Is(err, ErrNotAcquired) {
				t.Errorf("a millisecond before MinHold was over: %v", err)
			}
			next := harness.Receive(t, "the key", await(t.Context(), other, "job", Request{}))
			if after := next.at.Sub(start.Add(minHold)); next.err != nil || after < 0 || after > 50*time.Millisecond {
				t.Errorf("with a MinHold of %v another got the key %v after it: %v", minHold, after, next.err)
			}
		})
	}
}

func TestMinHold_IsNotCutShortByARenewalDueJustBefore(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 1)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		const minHold = time.Second
		start := time.Now()
		must(t, acquireAtOnce(t, s, "job", Request{MinHold: minHold}).Release(t.Context()))
		acquireAtOnce(t, s, "another", Request{MaxHold: minHold - time.Millisecond})
		time.Sleep(time.Until(start.Add(minHold - time.Millisecond/2)))
		if !nodes[0].Exists("lock:job") {
			t.Error("the key was given up before MinHold was over")
		}
	})
}

func TestMinHold_OnceOverTheReleaseIsImmediate(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		l := acquireAtOnce(t, s, "job", Request{MinHold: time.Second})
		time.Sleep(time.Second + tick)
		must(t, l.Release(t.Context()))
		acquireAtOnce(t, s, "job", Request{})
	})
}

func TestMinHold_KeepsTheKeyOnNodes(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		const minHold = 600 * time.Millisecond
		s := lease(t, open(t, nodes, 0), Config{})
		other := lease(t, open(t, nodes, 0), Config{})
		start := time.Now()
		l := acquire(t, s, "job", Request{MinHold: minHold})
		must(t, l.Release(t.Context()))
		next, err := other.Acquire(t.Context(), "job")
		must(t, err)
		if held := time.Since(start); held < minHold {
			t.Errorf("the key was kept for %v", held)
		}
		if next.Token() <= l.Token() {
			t.Errorf("token %d came after %d", next.Token(), l.Token())
		}
	})
}

func TestMaxHold_EndsTheLeaseAndKeepsTheKeyForTheWorkToEnd(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		other := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		const maxHold = time.Minute
		start := time.Now()
		l := acquireAtOnce(t, s, "job", Request{MaxHold: maxHold})
		<-l.Done()
		if held := time.Since(start); held < maxHold-tick || held > maxHold {
			t.Errorf("it ended after %v", held)
		}
		var lost *LostError
		if err := l.Err(); !errors.As(err, &lost) || lost.Reason != "held for MaxHold" {
			t.Errorf("it ended by %v", err)
		}
		time.Sleep(time.Second) // the work takes its time to end
		if _, err := other.TryAcquire(t.Context(), "job"); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("while the work ended: %v", err)
		}
		if err := l.Release(t.Context()); err != lost {
			t.Errorf("the release of a lease that MaxHold had ended: %v", err)
		}
		acquireAtOnce(t, other, "job", Request{})
	})
}

func TestMaxHold_AKeyThatIsNotReleasedExpires(t *testing.T) {
	// The delay makes some of them end while a renewal is under way, which then moves the deadline once more.
	for maxHold := 2 * time.Second; maxHold < 3*time.Second; maxHold += 50 * time.Millisecond {
		virtually(t, func(t *testing.T) {
			nodes, slow := newMemory(t, 3), &gate{}
			s := lease(t, nodes.open(t, slow), Config{TTL: time.Second, RenewEvery: 250 * time.Millisecond})
			l := acquireAtOnce(t, s, "job", Request{MaxHold: maxHold})
			start := time.Now()
			slow.delay.Store(int64(150 * time.Millisecond))
			<-l.Done()
			slow.delay.Store(0)
			if _, err := s.Acquire(t.Context(), "job"); err != nil { // by the same process
				t.Fatal(err)
			}
			if held := time.Since(start); held > maxHold+l.TTL()+200*time.Millisecond {
				t.Errorf("with a MaxHold of %v and a TTL of %v the key was held for %v", maxHold, l.TTL(), held)
			}
		})
	}
}

func TestMaxHold_EndsTheLeaseOnNodes(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, soon), Config{TTL: short})
		l := acquire(t, s, "job", Request{MaxHold: short / 4})
		harness.Receive(t, "MaxHold to end the lease", l.Done())
		if err := l.Err(); !errors.Is(err, ErrLost) {
			t.Errorf("it ended by %v", err)
		}
		if _, err := s.Acquire(t.Context(), "job"); err != nil { // nobody releases it: it expires
			t.Error(err)
		}
	})
}

func TestMinHold_SurvivesClose(t *testing.T) {
	for _, released := range []bool{true, false} {
		t.Run(fmt.Sprintf("Released=%t", released), func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes := newMemory(t, 3)
				c := nodes.open(t, &gate{})
				s := lease(t, c, Config{TTL: 2 * time.Second})
				l := acquireAtOnce(t, s, "job", Request{MinHold: 30 * time.Second})
				start := time.Now()
				time.Sleep(5 * time.Second)
				if released {
					must(t, l.Release(t.Context()))
				}
				must(t, s.Close(t.Context()))
				must(t, c.Close(t.Context()))
				for i, n := range nodes {
					if left := time.Since(start) + n.TTL("lock:job"); left < 30*time.Second || left > 31*time.Second {
						t.Errorf("node %d keeps the key until %v after it was acquired", i, left)
					}
				}
			})
		})
	}
}
