package topology

import (
	"errors"
	"strings"
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

// Leases of readers share a key with each other and with readers of lock, and find
// its checkpoint. A holder that waits comes before readers that come later, also
// those of its process, and lets them in when it is downgraded.
func readersOfLeasesTakeTurnsWithHolders(t *testing.T, f *fleet) {
	const key = "index"
	_, a, k := f.process(t, deaf(lease.Config{}))
	_, b, _ := f.process(t, deaf(lease.Config{}))
	acquire := func(s *lease.Leases, opts ...lease.Option) *lease.Lease {
		t.Helper()
		l, err := s.Acquire(t.Context(), key, append(opts, lease.TTL(longTTL), lock.Wait(patience))...)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	later := func(s *lease.Leases, opts ...lease.Option) <-chan *lease.Lease {
		got := make(chan *lease.Lease, 1)
		go func() {
			l, err := s.Acquire(t.Context(), key, append(opts, lease.TTL(longTTL), lock.Wait(patience))...)
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		return got
	}
	queued := func(place string) {
		t.Helper()
		harness.Eventually(t, "a process to queue", func() bool {
			full := 0
			for _, admin := range f.admins {
				for _, process := range admin.ZRange(t.Context(), "{lock:"+key+"}:queue", 0, -1).Val() {
					if reads := strings.HasSuffix(process, "/shared"); reads == (place == "/shared") {
						full++
					}
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
	w := acquire(a)
	if err := w.Checkpoint(t.Context(), []byte("page 12")); err != nil {
		t.Fatal(err)
	}
	release(w)
	readers := []*lease.Lease{acquire(a, lock.Shared()), acquire(a, lock.Shared()), acquire(b, lock.Shared())}
	for _, l := range readers {
		if data, token, ok := l.LastCheckpoint(); string(data) != "page 12" || token != w.Token() || !ok || l.Token() < w.Token() {
			t.Errorf("a reader with token %d finds %q of %d, %t", l.Token(), data, token, ok)
		}
	}
	if l, err := k.TryLock(t.Context(), key, lock.Shared(), lock.TTL(longTTL)); err != nil {
		t.Errorf("a reader of lock: %v", err)
	} else {
		release(l)
	}
	writer := later(b)
	queued("")
	if l, err := b.TryAcquire(t.Context(), key, lock.Shared()); !errors.Is(err, lease.ErrNotAcquired) {
		t.Errorf("a reader passes the holder of its process that waits: %v, %v", l, err)
	}
	harness.Eventually(t, "the wait to be announced to the other process", func() bool {
		l, err := a.TryAcquire(t.Context(), key, lock.Shared())
		if err == nil {
			release(l)
		}
		return errors.Is(err, lease.ErrNotAcquired)
	})
	release(readers...)
	w = harness.Receive(t, "the holder", writer)
	here, there := later(b, lock.Shared()), later(a, lock.Shared())
	queued("/shared")
	if err := w.Downgrade(t.Context()); err != nil {
		t.Error(err)
	}
	release(harness.Receive(t, "a reader of its process", here), harness.Receive(t, "a reader of another", there), w)
	f.free(t, key)
}
