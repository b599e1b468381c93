package topology

import (
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// Readers of several processes hold a key together. A writer that waits comes before
// readers that come later, and is woken by the last release; readers that wait for it
// are woken together by its own.
func readersShareAKeyAndTakeTurnsWithWriters(t *testing.T, f *fleet) {
	_, _, a := f.process(t, deaf(lease.Config{}))
	_, _, b := f.process(t, deaf(lease.Config{}))
	_, _, c := f.process(t, deaf(lease.Config{}))
	locked := func(k *lock.Locker, opts ...lock.Option) *lease.Lease {
		t.Helper()
		l, err := k.Lock(t.Context(), "catalog", append(opts, lock.TTL(longTTL), lock.Wait(patience))...)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	later := func(k *lock.Locker, opts ...lock.Option) <-chan *lease.Lease {
		got := make(chan *lease.Lease, 1)
		go func() {
			l, err := k.Lock(t.Context(), "catalog", append(opts, lock.TTL(longTTL), lock.Wait(patience))...)
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		return got
	}
	queue := func(n int) {
		t.Helper()
		harness.Eventually(t, "the processes to queue", func() bool {
			full := 0
			for _, admin := range f.admins {
				if admin.ZCard(t.Context(), "{lock:catalog}:queue").Val() == int64(n) {
					full++
				}
			}
			return full >= 2
		})
	}
	release := func(all ...*lease.Lease) {
		t.Helper()
		for _, l := range all {
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	one, two := locked(a, lock.Shared()), locked(b, lock.Shared())
	writer := later(c)
	queue(1)
	if f.isCluster { // nothing else shows that the writer lives until it looks again
		harness.Eventually(t, "the writer's announcement for the whole pause", func() bool {
			lasting := 0
			for _, admin := range f.admins {
				latest := admin.ZRevRangeWithScores(t.Context(), "{lock:catalog}:readers", 0, 0).Val()
				if len(latest) == 1 && latest[0].Score > float64(time.Now().Add(longTTL+longTTL/2).UnixMilli()) {
					lasting++
				}
			}
			return lasting >= 2
		})
	}
	if l, err := b.TryLock(t.Context(), "catalog"); !errors.Is(err, lock.ErrNotAcquired) {
		t.Errorf("a writer beside readers: %v, %v", l, err)
	}
	release(one, two)
	w := harness.Receive(t, "the writer", writer)
	if w.Token() <= one.Token() || w.Token() <= two.Token() {
		t.Errorf("token %d after readers with %d and %d", w.Token(), one.Token(), two.Token())
	}
	readers := []<-chan *lease.Lease{later(a, lock.Shared()), later(b, lock.Shared())}
	queue(2)
	release(w)
	for _, got := range readers {
		l := harness.Receive(t, "a reader", got)
		defer release(l)
		if l.Token() < w.Token() {
			t.Errorf("a reader has token %d after %d", l.Token(), w.Token())
		}
	}
}
