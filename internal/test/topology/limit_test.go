package topology

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/mutex"
)

// As many as a limit allows hold a key, each in a slot of its own, and exclude
// exclusive locks and redsync's. A waiter is woken when a slot is released.
func severalHoldSlots(t *testing.T, f *fleet) {
	const limit = 3
	c, _, k := f.process(t, deaf(lease.Config{}))
	_, _, other := f.process(t, deaf(lease.Config{}))
	for _, key := range []string{"slots", "slots:{x}:1", "slots on"} { // of several hash slots
		began, slots := time.Now(), map[int]*lease.Lease{}
		for i := range limit {
			by := k
			if i%2 == 1 {
				by = other
			}
			l, err := by.Lock(t.Context(), key, lock.Limit(limit), lock.TTL(longTTL), lock.Wait(patience))
			harness.Must(t, began, err)
			if slots[l.Slot()] != nil || l.Slot() >= limit {
				t.Errorf("%q: slot %d is given twice, or too much", key, l.Slot())
			}
			slots[l.Slot()] = l
		}
		if l, err := other.TryLock(t.Context(), key, lock.Limit(limit)); !errors.Is(err, lock.ErrNotAcquired) {
			t.Errorf("%q: one more has %v, %v", key, l, err)
		}
		if l, err := other.TryLock(t.Context(), key); !errors.Is(err, lock.ErrNotAcquired) {
			t.Errorf("%q: an exclusive lock has %v, %v", key, l, err)
		}
		m := mutex.Redsync(c).NewMutex("lock:"+key, redsync.WithTries(1), redsync.WithExpiry(10*time.Second))
		if err := m.LockContext(t.Context()); err == nil {
			t.Errorf("%q: redsync has it", key)
		}
		var wait sync.WaitGroup
		for range 2 {
			wait.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				l, err := other.Lock(ctx, key, lock.Limit(limit))
				if err != nil {
					t.Errorf("%q: a waiter: %v", key, err)
					return
				}
				_ = l.Release(context.Background())
			})
		}
		for _, l := range slots {
			harness.Must(t, began, l.Release(t.Context()))
		}
		wait.Wait()
		f.free(t, key)
	}
}
