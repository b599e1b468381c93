package topology

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/mutex"
)

// Locks of several keys exclude locks of each single key, also those of
// redsync. The keys are in different hash slots.
func severalKeysAreLockedTogether(t *testing.T, f *fleet) {
	keys := []string{"several:b", "several:{a}:1", "several c"}
	c, _, other := f.process(t, lease.Config{})
	_, _, k := f.process(t, lease.Config{})
	began := time.Now()
	tokens := map[string]int64{}
	err := k.WithLocks(t.Context(), keys, func(ctx context.Context) error {
		for _, key := range keys {
			if l, err := other.TryLock(t.Context(), key); !errors.Is(err, lock.ErrNotAcquired) {
				t.Errorf("%q is held, and another process acquired %v, %v", key, l, err)
			}
			m := mutex.Redsync(c).NewMutex("lock:"+key, redsync.WithTries(1), redsync.WithExpiry(10*time.Second))
			if err := m.LockContext(t.Context()); err == nil {
				t.Errorf("%q is held, and redsync acquired it", key)
			}
			tokens[key], _ = lock.TokenOf(ctx, key)
		}
		return nil
	})
	harness.Must(t, began, err)
	for _, key := range keys {
		if err := other.WithLock(t.Context(), key, func(ctx context.Context) error {
			if token, _ := lock.Token(ctx); token <= tokens[key] || tokens[key] == 0 {
				t.Errorf("%q: token %d came after %d", key, token, tokens[key])
			}
			return nil
		}, lock.Wait(patience)); err != nil {
			t.Error(err)
		}
		f.free(t, key)
	}
}

// The release of a key notifies the waiter, which holds the keys before it, and
// none behind it.
func severalKeysAreAcquiredInOrder(t *testing.T, f *fleet) {
	_, _, holder := f.process(t, lease.Config{})
	_, _, waiter := f.process(t, deaf(lease.Config{}))
	held, err := holder.Lock(t.Context(), "order:2", lock.TTL(longTTL))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		all, err := waiter.LockAll(t.Context(), []string{"order:3", "order:2", "order:1"}, lock.Wait(patience), lock.TTL(longTTL))
		if err == nil {
			err = all.Release(context.WithoutCancel(t.Context()))
		}
		got <- err
	}()
	harness.Eventually(t, "the waiter to queue", func() bool { return len(f.keys(t, "{lock:order:2}:queue")) > 0 })
	f.free(t, "order:3")
	if l, err := holder.TryLock(t.Context(), "order:1"); !errors.Is(err, lock.ErrNotAcquired) {
		t.Errorf("the key before the awaited one: %v, %v", l, err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	released := time.Now()
	if err := harness.Receive(t, "the waiter", got); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(released); took > longTTL/4 {
		harness.Missed(t, released, "%v after the release: nothing woke it", took)
	}
	for i := range 3 {
		f.free(t, fmt.Sprint("order:", i+1))
	}
}

func aLossOfOneOfSeveralKeysEndsTheWork(t *testing.T, f *fleet) {
	_, _, k := f.process(t, lease.Config{TTL: 3*nodeTimeout + time.Millisecond})
	_, _, other := f.process(t, lease.Config{})
	began := time.Now()
	err := k.WithLocks(t.Context(), []string{"lost:1", "lost:2"}, func(ctx context.Context) error {
		seen, err := other.Inspect(t.Context(), "lost:1")
		if err == nil {
			_, err = other.ForceRelease(t.Context(), seen, "a test")
		}
		if err != nil {
			return err
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	var lost *lock.LostError
	if !errors.As(err, &lost) || lost.Key != "lost:1" {
		harness.Must(t, began, err)
		t.Errorf("it ended by %v", err)
	}
	f.free(t, "lost:1")
	f.free(t, "lost:2")
}

func severalKeysInAnyOrderNeverDeadlock(t *testing.T, f *fleet) {
	const times = 4
	var wg sync.WaitGroup
	for range 2 {
		_, _, k := f.process(t, lease.Config{})
		for _, keys := range [][]string{{"mix:1", "mix:2", "mix:3"}, {"mix:3", "mix:2"}, {"mix:2", "mix:1"}, {"mix:2"}} {
			wg.Go(func() {
				for range times {
					if err := k.WithLocks(t.Context(), keys, func(ctx context.Context) error { return ctx.Err() }, lock.Wait(patience)); err != nil {
						t.Errorf("%q: %v", keys, err)
					}
				}
			})
		}
	}
	wg.Wait()
}
