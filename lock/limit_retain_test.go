package lock

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

func TestLimit_AKeyThatIsRetainedIsGivenToACallerWithALimit(t *testing.T) {
	for name, call := range map[string]func(k *Locker) (*lease.Lease, error){
		"Lock":    func(k *Locker) (*lease.Lease, error) { return k.Lock(context.Background(), "k", Limit(2)) },
		"TryLock": func(k *Locker) (*lease.Lease, error) { return k.TryLock(context.Background(), "k", Limit(2)) },
	} {
		for _, own := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
					var pauses atomic.Int64
					k := locker(t, open(t, s, cluster.Config{}), Config{Retain: 20 * time.Second, Backoff: func(int) time.Duration {
						pauses.Add(1)
						return time.Hour
					}})
					caller := k
					if !own {
						caller = patient(t, s)
					}
					mailbox(t, k)
					mailbox(t, caller)
					l, err := k.Lock(t.Context(), "k")
					must(t, err)
					must(t, l.Release(t.Context()))
					if harness.Client(t, s, 0).Get(t.Context(), "lock:k").Val() == "" {
						t.Fatal("the key is not retained")
					}
					began := time.Now()
					slot, err := call(caller)
					if err != nil {
						harness.Missed(t, began, "of its own process %t: %v", own, err)
					}
					if pauses.Load() > 0 {
						t.Error("a caller waits for what its own process retains")
					}
					must(t, slot.Release(t.Context()))
				})
			})
		}
	}
}

func TestLimit_AnExclusiveLockIsNotRetainedWhileACallerWithALimitWaits(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		k := locker(t, open(t, s, cluster.Config{}), Config{Backoff: hourly, Retain: 20 * time.Second})
		l, err := k.Lock(t.Context(), "k")
		must(t, err)
		got := waiters(t, []*Locker{k}, Limit(2))
		must(t, l.Release(t.Context()))
		allServed(t, got, 1)
	})
}

// A lease that was handed over to a caller whose wait ends with a panic is
// released.
func TestLimit_APanicOfBackoffLosesNoLease(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		var held *lease.Lease
		k := locker(t, open(t, s, cluster.Config{}), Config{Backoff: func(int) time.Duration {
			if err := held.Release(context.Background()); err != nil {
				t.Error(err)
			}
			panic("by a test")
		}})
		var err error
		held, err = k.Lock(t.Context(), "k", Limit(1))
		must(t, err)
		func() {
			defer func() { _ = recover() }()
			_, _ = k.Lock(t.Context(), "k", Limit(1))
			t.Error("it does not panic")
		}()
		if k.Stats().HandOvers != 1 {
			t.Error("the slot was not handed over to the caller that panics")
		}
		if k.c.Queues().Keys() != 0 {
			t.Error("the slot is still this process's")
		}
		other := process(t, s)
		harness.Eventually(t, "the slot is free", func() bool {
			l, err := other.TryLock(t.Context(), "k", Limit(1))
			if err == nil {
				must(t, l.Release(t.Context()))
			} else if !errors.Is(err, ErrNotAcquired) {
				t.Error(err)
			}
			return err == nil
		})
	})
}
