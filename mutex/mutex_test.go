package mutex

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMutex_Lock_HoldsUntilUnlock(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open()
		m := r.mutex(c, Config{TTL: lasting})
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
			return r.Get(0, "lock:k") == value && r.Get(1, "lock:k") == value && r.Get(2, "lock:k") == value
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
		r.goneEverywhere(c)
	})
}

// They share a process id, an owner and a key, and what they hold is not the same all the same.
func TestMutex_Lock_ExcludesOthersOfTheSameProcess(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open()
		a, b := r.mutex(c, Config{}), r.mutex(c, Config{})
		if err := a.TryLock(ctx); err != nil {
			t.Fatal(err)
		}
		if err := b.TryLock(ctx); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("the second Mutex: %v", err)
		}
		locked := harness.Async(func() error { return b.Lock(ctx) })
		must(t, a.Unlock(ctx))
		if err := harness.Receive(t, "the second gets it", locked); err != nil {
			t.Fatal(err)
		}
		if err := a.TryLock(ctx); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("the first Mutex: %v", err)
		}
		must(t, b.Unlock(ctx))
		r.goneEverywhere(c)
	})
}

func TestMutex_Lock_TakesAKeyThatExpires(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		h := acquireEverywhere(t, r.redlock(r.open()), quorumlock.Request{TTL: 150 * time.Millisecond}) // its process crashed
		m := r.mutex(nil, Config{})
		must(t, m.Lock(context.Background()))
		if time.Now().Before(h.Deadline()) || m.Token() <= h.Token() {
			t.Errorf("taken %v before the deadline, with token %d after %d", time.Until(h.Deadline()), m.Token(), h.Token())
		}
		_ = m.Unlock(context.Background())
	})
}

func TestMutex_Lock_EndsWithItsContext(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		a, b := r.mutex(nil, Config{Owner: "me"}), r.mutex(nil, Config{})
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
func TestMutex_Lock_DoesNotKeepTheHolderFromUnlocking(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		m := r.mutex(nil, Config{TTL: 50 * time.Second})
		must(t, m.Lock(ctx))
		first := m.Value()
		waiting := harness.Watch(ctx)
		locked := harness.Async(func() error { return m.Lock(waiting) })
		harness.Receive(t, "the second waits", waiting.Waiting)
		must(t, m.Extend(ctx))
		must(t, harness.Receive(t, "the first unlocks", harness.Async(func() error { return m.Unlock(ctx) })))
		if err := harness.Receive(t, "the second locks", locked); err != nil || m.Value() == first {
			t.Errorf("%v; still the first hold: %t", err, m.Value() == first)
		}
		_ = m.Unlock(ctx)
	})
}

func TestMutex_Extend_FailsAfterExpiry(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open()
		r.warm(c) // or a release may come behind the next acquire
		m := r.mutex(c, Config{TTL: time.Second})
		must(t, m.Lock(ctx))
		token := m.Token()
		harness.Past(m.Until())
		if err := m.Extend(ctx); !errors.Is(err, ErrLost) {
			t.Errorf("Extend = %v", err)
		}
		if m.Token() != 0 {
			t.Error("it is held still")
		}
		if err := m.Lock(ctx); err != nil || m.Token() <= token {
			t.Errorf("Lock = %v, token %d after %d", err, m.Token(), token)
		}
		harness.Past(m.Until())
		if err := m.Lock(ctx); err != nil { // without Unlock
			t.Errorf("Lock = %v", err)
		}
		harness.Past(m.Until())
		if err := m.Unlock(ctx); !errors.Is(err, ErrLost) {
			t.Errorf("Unlock = %v", err)
		}
		r.goneEverywhere(c)
	})
}

func TestMutex_Extend_FailsAfterAQuorumLostTheKey(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		m := r.mutex(nil, Config{})
		must(t, m.Lock(ctx))
		harness.Eventually(t, "all have granted it", func() bool { return len(r.Having("lock:k")) == 3 })
		r.Flush(0, 1)
		if err := m.Extend(ctx); !errors.Is(err, ErrLost) {
			t.Errorf("Extend = %v", err)
		}
		if err := m.Unlock(ctx); !errors.Is(err, ErrReleased) {
			t.Errorf("Unlock = %v", err)
		}
		harness.Eventually(t, "what was left is given back", func() bool { return len(r.Having("lock:k")) == 0 })
	})
}

func TestMutex_New_NamesWhatIsWrong(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		c := r.open()
		for _, tt := range []struct {
			key  string
			cfg  Config
			says string
		}{
			{"", Config{}, "key: is empty"},
			{"k", Config{TTL: time.Hour}, "Config.TTL"},
			{"", Config{Owner: "\n"}, "Config.Owner"},
		} {
			m, err := New(c, tt.key, tt.cfg)
			if m != nil || !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("New(%q, %+v) = %v, %v", tt.key, tt.cfg, m, err)
			}
		}
	})
}

// A program that ignores the error of New gets an error that says so.
func TestMutex_OfNilOnlyRefuses(t *testing.T) {
	var none *Mutex
	harness.OfNil(t, none, cluster.ErrConfig)
	if err := none.TryLock(t.Context()); !strings.Contains(err.Error(), "mutex.New") {
		t.Error(err)
	}
	if none.Token() != 0 || none.Value() != "" || !none.Until().IsZero() {
		t.Error("it is held")
	}
}

// Goroutines share Mutexes, and processes share the key.
func TestMutex_Lock_ExcludesUnderContention(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		clusters := []*cluster.Cluster{r.open(), r.open()}
		mutexes := []*Mutex{r.mutex(clusters[0], Config{}), r.mutex(clusters[0], Config{}), r.mutex(clusters[1], Config{})}
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
