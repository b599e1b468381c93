package mutex

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMutexByHand(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open()
		m := New(c, "k", Config{TTL: lasting})
		if m.Token() != 0 || m.Value() != "" || !m.Until().IsZero() {
			t.Errorf("not held: token %d, value %q, until %v", m.Token(), m.Value(), m.Until())
		}
		for _, err := range []error{m.Unlock(ctx), m.Extend(ctx)} {
			if !errors.Is(err, ErrReleased) {
				t.Errorf("not held: %v", err)
			}
		}
		if err := m.TryLock(ctx); err != nil {
			t.Fatal(err)
		}
		token, value, until := m.Token(), m.Value(), m.Until()
		if token <= 0 || !until.After(time.Now()) {
			t.Errorf("held: token %d, until %v", token, until)
		}
		harness.Eventually(t, "all nodes have the value", func() bool {
			return r.get(0, "lock:k") == value && r.get(1, "lock:k") == value && r.get(2, "lock:k") == value
		})
		if err := m.TryLock(ctx); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("a second time: %v", err)
		}
		if m.Value() != value {
			t.Error("and it is another hold now")
		}
		if err := m.Extend(ctx); err != nil || !m.Until().After(until) || m.Token() != token {
			t.Errorf("extend: %v, until moved by %v, token by %d", err, m.Until().Sub(until), m.Token()-token)
		}
		must(t, m.Unlock(ctx))
		if m.Token() != 0 || m.Value() != "" || !m.Until().IsZero() {
			t.Errorf("unlocked: token %d, value %q, until %v", m.Token(), m.Value(), m.Until())
		}
		if err := m.Lock(ctx); err != nil || m.Token() <= token {
			t.Errorf("again: %v, token %d after %d", err, m.Token(), token)
		}
		must(t, m.Unlock(ctx))
		r.goneEverywhere(c, "lock:k")
	})
}

// They share a process id, an owner and a key, and what they hold is not the same all the same.
func TestTwoMutexesExcludeEachOther(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open()
		a, b := New(c, "k", Config{}), New(c, "k", Config{})
		if err := a.TryLock(ctx); err != nil {
			t.Fatal(err)
		}
		if err := b.TryLock(ctx); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("the second Mutex: %v", err)
		}
		locked := async(func() error { return b.Lock(ctx) })
		must(t, a.Unlock(ctx))
		if err := harness.Receive(t, "the second gets it", locked); err != nil {
			t.Fatal(err)
		}
		if err := a.TryLock(ctx); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("the first Mutex: %v", err)
		}
		must(t, b.Unlock(ctx))
		r.goneEverywhere(c, "lock:k")
	})
}

func TestLockTakesAKeyThatExpires(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		h := acquireEverywhere(t, r.redlock(nil, Config{}), "k", Request{TTL: 150 * time.Millisecond}) // and its process is no more
		m := New(r.open(), "k", Config{})
		must(t, m.Lock(context.Background()))
		if time.Now().Before(h.Deadline()) || m.Token() <= h.Token() {
			t.Errorf("taken %v before the deadline, with token %d after %d", time.Until(h.Deadline()), m.Token(), h.Token())
		}
		_ = m.Unlock(context.Background())
	})
}

func TestLockEndsWithItsContext(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		a, b := New(r.open(), "k", Config{Owner: "me"}), New(r.open(), "k", Config{})
		must(t, a.Lock(ctx))
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if err := b.Lock(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock = %v", err)
		}
		for _, err := range []error{b.Lock(short), b.TryLock(short), a.TryLock(short)} {
			if err == nil {
				t.Error("a dead context got the lock")
			}
		}
		if err := a.Extend(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Extend = %v", err)
		}
		if err := a.Unlock(short); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Unlock = %v", err)
		}
		must(t, b.Lock(ctx)) // it was given back all the same
		_ = b.Unlock(ctx)
	})
}

// One goroutine waits in Lock for what another holds through the same Mutex: it must not keep that one from unlocking.
func TestLockDoesNotKeepTheHolderFromUnlocking(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		m := New(r.open(), "k", Config{TTL: 50 * time.Second})
		must(t, m.Lock(ctx))
		first := m.Value()
		waiting := watch(ctx)
		locked := async(func() error { return m.Lock(waiting) })
		harness.Receive(t, "the second waits", waiting.waiting)
		must(t, m.Extend(ctx))
		must(t, harness.Receive(t, "the first unlocks", async(func() error { return m.Unlock(ctx) })))
		if err := harness.Receive(t, "the second locks", locked); err != nil || m.Value() == first {
			t.Errorf("%v; still the first hold: %t", err, m.Value() == first)
		}
		_ = m.Unlock(ctx)
	})
}

func TestAMutexThatExpiredIsNotHeldAnyMore(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open()
		warm(t, r.redlock(c, Config{})) // or a release may come behind the next acquire
		m := New(c, "k", Config{TTL: time.Second})
		must(t, m.Lock(ctx))
		token := m.Token()
		passed(m.Until())
		if err := m.Extend(ctx); !errors.Is(err, ErrLost) {
			t.Errorf("Extend = %v", err)
		}
		if m.Token() != 0 {
			t.Error("it is held still")
		}
		if err := m.Lock(ctx); err != nil || m.Token() <= token {
			t.Errorf("Lock = %v, token %d after %d", err, m.Token(), token)
		}
		passed(m.Until())
		if err := m.Lock(ctx); err != nil { // without Unlock
			t.Errorf("Lock = %v", err)
		}
		passed(m.Until())
		if err := m.Unlock(ctx); !errors.Is(err, ErrLost) {
			t.Errorf("Unlock = %v", err)
		}
		r.goneEverywhere(c, "lock:k")
	})
}

func TestAMutexThatIsTakenIsLost(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		m := New(r.open(), "k", Config{})
		must(t, m.Lock(ctx))
		h := m.current()
		harness.Eventually(t, "all have answered", h.landed)
		r.flush(0, 1)
		if err := m.Extend(ctx); !errors.Is(err, ErrLost) {
			t.Errorf("Extend = %v", err)
		}
		if err := m.Unlock(ctx); !errors.Is(err, ErrReleased) {
			t.Errorf("Unlock = %v", err)
		}
		harness.Eventually(t, "what was left is given back", func() bool { return len(r.having("lock:k")) == 0 })
	})
}

func TestWhatIsWrongWithAMutexIsTheErrorOfItsMethods(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open()
		for _, m := range []*Mutex{New(c, "", Config{}), New(c, "k", Config{TTL: time.Hour}), New(c, "", Config{Owner: "\n"})} {
			for _, err := range []error{m.Lock(ctx), m.TryLock(ctx), m.Extend(ctx), m.Unlock(ctx)} {
				if !errors.Is(err, cluster.ErrConfig) {
					t.Errorf("%v", err)
				}
			}
			if m.Token() != 0 || m.Value() != "" || !m.Until().IsZero() {
				t.Error("it is held")
			}
		}
	})
}

// Goroutines share Mutexes, and processes share the key.
func TestMutexesUnderContention(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		clusters := []*cluster.Cluster{r.open(), r.open()}
		mutexes := []*Mutex{New(clusters[0], "k", Config{}), New(clusters[0], "k", Config{}), New(clusters[1], "k", Config{})}
		var inside, counter int
		var errs [6]error
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				m := mutexes[i%3]
				for range 5 {
					if errs[i] = m.Lock(ctx); errs[i] != nil {
						return
					}
					inside++ // without the lock the race detector would see it
					if inside != 1 {
						t.Errorf("%d are inside", inside)
					}
					counter++
					inside--
					if errs[i] = m.Unlock(ctx); errs[i] != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		must(t, errors.Join(errs[:]...))
		if counter != 30 {
			t.Errorf("counter = %d", counter)
		}
	})
}
