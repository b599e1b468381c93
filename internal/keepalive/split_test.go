package keepalive

import (
	"context"
	"errors"
	"testing"
	"time"
)

// split has another hold the key on each node, for a while.
func (m memory) split(t *testing.T, key string, d time.Duration) {
	t.Helper()
	for i, n := range m {
		must(t, n.Set("lock:"+key, string(rune('a'+i))))
		n.SetTTL("lock:"+key, d)
	}
}

func TestTry_LooksAgainWhileVotesAreSplit(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		acquireAtOnce(t, s, "other", Request{}) // the connections are open
		nodes.split(t, "job", 5*time.Millisecond)
		l, err := s.TryAcquire(t.Context(), "job")
		must(t, err)
		must(t, l.Release(t.Context()))
	})
}

func TestTry_LooksAgainAFewTimesOnly(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		nodes.split(t, "job", time.Hour)
		began := time.Now()
		_, err := s.TryAcquire(t.Context(), "job")
		var held *NotAcquiredError
		if !errors.As(err, &held) || !held.Split || time.Since(began) > maxSplits*s.c.Config().NodeTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = s.TryAcquire(ctx, "job")
		if !errors.Is(err, ErrNotAcquired) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("when its context ends: %v", err)
		}
	})
}

func TestTry_AHolderIsAQuickRefusal(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		acquireAtOnce(t, lease(t, nodes.open(t, &gate{}), Config{}), "job", Request{})
		began := time.Now()
		if _, err := s.TryAcquire(t.Context(), "job"); !errors.Is(err, ErrNotAcquired) || time.Since(began) != 0 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
