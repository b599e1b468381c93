package topology

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"

	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/mutex"
)

// deaf returns a Config for waiters that acquire a key only because of a message: without one they ask again after an
// hour, or when the key expires.
func deaf(cfg lease.Config) lease.Config {
	cfg.Backoff = func(int) time.Duration { return time.Hour }
	return cfg
}

// longTTL is a TTL that no test waits for. An event that arrives much sooner was not caused by a timer.
const longTTL = 50 * time.Second

// record is the state of a resource under a lock.
type record struct {
	mu     sync.Mutex
	inside atomic.Int32
	tokens []int64
	faults []string
}

// visit is one piece of work on the resource, under a lock.
func (r *record) visit(ctx context.Context) error {
	if n := r.inside.Add(1); n != 1 {
		r.fault(fmt.Sprintf("%d are inside at once", n))
	}
	token, ok := lock.Token(ctx)
	r.mu.Lock()
	if last := len(r.tokens) - 1; !ok || last >= 0 && token <= r.tokens[last] {
		r.faults = append(r.faults, fmt.Sprintf("token %d came after %v", token, r.tokens[max(0, last):]))
	}
	r.tokens = append(r.tokens, token)
	r.mu.Unlock()
	r.inside.Add(-1)
	return nil
}

func (r *record) fault(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, text)
}

func (r *record) judge(t *testing.T, visits int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.faults {
		t.Error(f)
	}
	if len(r.tokens) != visits {
		t.Errorf("%d visits, want %d", len(r.tokens), visits)
	}
}

// properties hold on every kind of node. Their tests run concurrently on one set, each with its own keys.
var properties = []struct {
	name string
	test func(t *testing.T, f *fleet)
}{
	{"OneAtATimeWithGrowingTokens", oneAtATimeWithGrowingTokens},
	{"AReleaseWakesAnotherProcess", aReleaseWakesAnotherProcess},
	{"ARetainedKeyIsGivenUpToWhoeverAsks", aRetainedKeyIsGivenUpToWhoeverAsks},
	{"ALeaseLivesOverManyTTLs", aLeaseLivesOverManyTTLs},
	{"TheNextHolderResumesFromTheCheckpoint", theNextHolderResumesFromTheCheckpoint},
	{"ADetachedLeaseGoesOnInAnotherProcess", aDetachedLeaseGoesOnInAnotherProcess},
	{"AnElectionPassesOn", anElectionPassesOn},
	{"RedsyncAndLocksExcludeEachOther", redsyncAndLocksExcludeEachOther},
	{"ACancelledAttemptLeavesNoKey", aCancelledAttemptLeavesNoKey},
	{"SeveralKeysAreLockedTogether", severalKeysAreLockedTogether},
	{"SeveralKeysAreAcquiredInOrder", severalKeysAreAcquiredInOrder},
	{"ALossOfOneOfSeveralKeysEndsTheWork", aLossOfOneOfSeveralKeysEndsTheWork},
	{"SeveralKeysInAnyOrderNeverDeadlock", severalKeysInAnyOrderNeverDeadlock},
	{"SeveralHoldSlots", severalHoldSlots},
	{"ReadersShareAKeyAndTakeTurnsWithWriters", readersShareAKeyAndTakeTurnsWithWriters},
	{"ReadersOfLeasesTakeTurnsWithHolders", readersOfLeasesTakeTurnsWithHolders},
}

func TestTopology_EveryKindConforms(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			f := k.start(t)
			for _, p := range properties {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					p.test(t, f)
				})
			}
		})
	}
}

func oneAtATimeWithGrowingTokens(t *testing.T, f *fleet) {
	const processes, goroutines, times = 3, 2, 6
	keys := []string{"hot", "order:{7}:a", "two words"} // of several hash slots
	seen := map[string]*record{}
	for _, key := range keys {
		seen[key] = &record{}
	}
	var wg sync.WaitGroup
	for range processes {
		_, _, k := f.process(t, lease.Config{})
		for range goroutines {
			wg.Go(func() {
				for i := range times * len(keys) {
					key := keys[i%len(keys)]
					if err := k.WithLock(t.Context(), key, seen[key].visit, lock.Wait(patience)); err != nil {
						t.Errorf("%s: %v", key, err)
					}
				}
			})
		}
	}
	wg.Wait()
	for _, key := range keys {
		seen[key].judge(t, processes*goroutines*times)
	}
	for _, key := range keys {
		f.free(t, key)
	}
}

// Only a message lets the waiter acquire the key soon: by itself it asks again when the key would have expired.
func aReleaseWakesAnotherProcess(t *testing.T, f *fleet) {
	_, _, holder := f.process(t, lease.Config{})
	_, _, waiter := f.process(t, deaf(lease.Config{}))
	for _, key := range []string{"a", "b", "c"} { // their slots are on different servers of a Redis Cluster
		held, err := holder.Lock(t.Context(), key, lock.TTL(longTTL))
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		var token int64
		go func() {
			got <- waiter.WithLock(t.Context(), key, func(ctx context.Context) error {
				token, _ = lock.Token(ctx)
				return nil
			}, lock.Wait(patience))
		}()
		harness.Eventually(t, "the waiter to queue on a quorum", func() bool { return len(f.keys(t, "{lock:"+key+"}:queue")) >= 2 })
		if err := held.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		released := time.Now()
		if err := harness.Receive(t, "the waiter", got); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(released); took > longTTL/4 {
			harness.Missed(t, released, "%s: %v after the release: nothing woke it", key, took)
		}
		if token <= held.Token() {
			t.Errorf("%s: token %d came after %d", key, token, held.Token())
		}
	}
}

// A process that has released a retained key locks it again without asking the nodes, until another process asks for
// the key, whether or not it waits.
func aRetainedKeyIsGivenUpToWhoeverAsks(t *testing.T, f *fleet) {
	_, _, retainer := f.process(t, deaf(lease.Config{TTL: longTTL, Retain: longTTL}))
	_, _, other := f.process(t, deaf(lease.Config{}))
	// Both processes are subscribed to the nodes once they have waited for a key.
	for _, opt := range []lock.Option{lock.Wait(patience), lock.NoWait()} {
		last := int64(0)
		harness.Eventually(t, "the key to be retained", func() bool {
			before := retainer.Stats().HandOvers
			for range 2 {
				l, err := retainer.Lock(t.Context(), "retained")
				if err != nil {
					t.Fatal(err)
				}
				if l.Token() <= last {
					t.Fatalf("token %d after %d", l.Token(), last)
				}
				last = l.Token()
				if err := l.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			return retainer.Stats().HandOvers > before
		})
		asked := time.Now()
		var l *lease.Lease
		harness.Eventually(t, "the key to be given up", func() (acquired bool) { // possibly after a few refusals, if messages are slow
			var err error
			if l, err = other.Lock(t.Context(), "retained", opt); err != nil && !errors.Is(err, lock.ErrNotAcquired) {
				t.Fatal(err)
			}
			return err == nil
		})
		if took := time.Since(asked); took > longTTL/4 {
			harness.Missed(t, asked, "%v until a retained key was given up", took)
		}
		if l.Token() <= last {
			t.Errorf("token %d came after %d", l.Token(), last)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func aLeaseLivesOverManyTTLs(t *testing.T, f *fleet) {
	// The shortest possible TTL is just above three NodeTimeouts.
	_, leases, _ := f.process(t, lease.Config{TTL: 3*nodeTimeout + time.Millisecond})
	_, others, _ := f.process(t, lease.Config{})
	l, err := leases.Acquire(t.Context(), "long")
	if err != nil {
		t.Fatal(err)
	}
	began, until := time.Now(), l.Deadline().Add((*keepalive.Lease)(l).TTL())
	harness.Eventually(t, "the lease to be renewed for another TTL", func() bool {
		if err := l.Err(); err != nil {
			harness.Missed(t, began, "the lease has ended: %v", err)
		}
		return l.Deadline().After(until)
	})
	if other, err := others.TryAcquire(t.Context(), "long"); !errors.Is(err, lease.ErrNotAcquired) {
		t.Errorf("another process got %v, %v", other, err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func theNextHolderResumesFromTheCheckpoint(t *testing.T, f *fleet) {
	_, first, _ := f.process(t, lease.Config{})
	_, second, _ := f.process(t, lease.Config{})
	began := time.Now()
	l, err := first.Acquire(t.Context(), "job:{x}")
	harness.Must(t, began, err)
	big := make([]byte, 20<<10) // is sent outside the stream
	for _, data := range [][]byte{[]byte("1"), big} {
		harness.Must(t, began, l.Checkpoint(t.Context(), data))
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	next, err := second.Acquire(t.Context(), "job:{x}")
	if err != nil {
		t.Fatal(err)
	}
	data, token, ok := next.LastCheckpoint()
	if !ok || len(data) != len(big) || token != l.Token() || next.Token() <= token {
		t.Errorf("token %d found %d bytes of token %d, %t; want %d of token %d", next.Token(), len(data), token, ok, len(big), l.Token())
	}
	if err := l.Checkpoint(t.Context(), []byte("late")); err == nil {
		t.Error("the old holder's checkpoint was kept")
	}
	if err := next.ClearCheckpoint(t.Context()); err != nil {
		t.Error(err)
	}
	if err := next.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func aDetachedLeaseGoesOnInAnotherProcess(t *testing.T, f *fleet) {
	_, first, locker := f.process(t, lease.Config{})
	_, second, _ := f.process(t, lease.Config{})
	began := time.Now()
	for _, key := range []string{"moves", "moves:{x}", "moves on"} { // of several hash slots
		l, err := locker.Lock(t.Context(), key, lock.TTL(longTTL))
		harness.Must(t, began, err)
		harness.Must(t, began, l.Checkpoint(t.Context(), []byte("half")))
		handle, err := l.Detach(t.Context())
		harness.Must(t, began, err)
		if _, err := first.TryAcquire(t.Context(), key); !errors.Is(err, lease.ErrNotAcquired) {
			t.Errorf("%s was acquired while it was detached: %v", key, err)
		}
		next, err := second.Attach(t.Context(), handle)
		harness.Must(t, began, err)
		if data, token, ok := next.LastCheckpoint(); string(data) != "half" || token != l.Token() || !ok || next.Token() <= token {
			t.Errorf("token %d found %q of token %d, %t; want that of token %d", next.Token(), data, token, ok, l.Token())
		}
		if _, err := first.Attach(t.Context(), handle); !errors.Is(err, lease.ErrNotAcquired) {
			t.Errorf("%s was attached twice: %v", key, err)
		}
		harness.Must(t, began, next.ClearCheckpoint(t.Context()))
		harness.Must(t, began, next.Release(t.Context()))
		f.free(t, key)
	}
}

func anElectionPassesOn(t *testing.T, f *fleet) {
	_, one, _ := f.process(t, lease.Config{})
	_, two, _ := f.process(t, lease.Config{})
	_, spectator, _ := f.process(t, lease.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	leaders, err := spectator.Observe(ctx, "scheduler")
	if err != nil {
		t.Fatal(err)
	}
	leads := func(candidate string) (seen lease.Leader) {
		t.Helper()
		for seen.Candidate != candidate {
			var ok bool
			if seen, ok = <-leaders; !ok {
				t.Fatalf("%s was not seen to lead within %v", candidate, patience)
			}
		}
		return seen
	}
	first, err := one.Campaign(ctx, "scheduler", "one")
	if err != nil {
		t.Fatal(err)
	}
	if seen := leads("one"); seen.Token != first.Token() {
		t.Errorf("seen with token %d, want %d", seen.Token, first.Token())
	}
	elected := make(chan *lease.Lease, 1)
	go func() {
		l, err := two.Campaign(ctx, "scheduler", "two")
		if err != nil {
			t.Error(err)
		}
		elected <- l
	}()
	if err := first.Release(ctx); err != nil {
		t.Fatal(err)
	}
	second := harness.Receive(t, "the second candidate", elected)
	if second == nil {
		return
	}
	if seen := leads("two"); seen.Token != second.Token() || seen.Token <= first.Token() {
		t.Errorf("seen with token %d, elected with %d after %d", seen.Token, second.Token(), first.Token())
	}
	if err := second.Release(ctx); err != nil {
		t.Error(err)
	}
}

func redsyncAndLocksExcludeEachOther(t *testing.T, f *fleet) {
	c, _, _ := f.process(t, lease.Config{})
	_, leases, k := f.process(t, lease.Config{})
	m := mutex.Redsync(c).NewMutex("lock:shared", redsync.WithTries(1), redsync.WithExpiry(10*time.Second))
	harness.Must(t, time.Now(), m.LockContext(t.Context()))
	if l, err := k.TryLock(t.Context(), "shared"); !errors.Is(err, lock.ErrNotAcquired) {
		t.Errorf("redsync holds the key, and so does %v, %v", l, err)
	}
	if ok, err := m.ExtendContext(t.Context()); !ok || err != nil {
		t.Errorf("extend: %t, %v", ok, err)
	}
	if ok, err := m.UnlockContext(t.Context()); !ok || err != nil {
		t.Errorf("unlock: %t, %v", ok, err)
	}
	l, err := leases.Acquire(t.Context(), "shared")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.LockContext(t.Context()); err == nil {
		t.Error("redsync acquired a held key")
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.WithLock(t.Context(), "shared", func(ctx context.Context) error {
		if token, _ := lock.Token(ctx); token <= l.Token() {
			t.Errorf("token %d came after %d", token, l.Token())
		}
		return nil
	}, lock.Wait(patience)); err != nil {
		t.Error(err)
	}
}

func aCancelledAttemptLeavesNoKey(t *testing.T, f *fleet) {
	_, _, k := f.process(t, lease.Config{})
	_, _, other := f.process(t, lease.Config{})
	// Cancelled in flight: at once, and while another process holds the key.
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- k.WithLock(ctx, "free", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		}()
		if i%2 == 1 {
			time.AfterFunc(time.Duration(i)*100*time.Microsecond, cancel)
		} else {
			cancel()
		}
		if err := harness.Receive(t, "the cancelled", done); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled in its chain", err)
		}
		cancel()
	}
	held, err := other.Lock(t.Context(), "held")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.WithLock(ctx, "held", func(context.Context) error { return nil }) }()
	harness.Eventually(t, "it to queue on a quorum", func() bool { return len(f.keys(t, "{lock:held}:queue")) >= 2 })
	cancel()
	if err := harness.Receive(t, "the cancelled", done); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled in its chain", err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"free", "held"} {
		l, err := other.Lock(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
	f.free(t, "free")
	f.free(t, "held")
}
