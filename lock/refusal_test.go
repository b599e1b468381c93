package lock_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/mutex"
	"github.com/venta-hq/redlock/session"
)

// A program that ignores the error of cluster.Open gets an error that says so, and does not crash.
func TestNew_RefusesANilCluster(t *testing.T) {
	_, locker := lock.New(nil, lock.Config{})
	var none *lock.Locker
	_, locked := none.TryLock(t.Context(), "key")
	_, leases := lease.New(nil, lease.Config{})
	_, red := quorumlock.NewRedlock(nil, quorumlock.Config{})
	_, store := session.New(nil, session.Config{})
	_, mutexed := mutex.New(nil, "key", mutex.Config{})
	_, values := cache.New(nil, cache.Config[string]{Prefix: "values:"})
	for name, err := range map[string]error{
		"lock.New": locker, "lease.New": leases, "quorumlock.NewRedlock": red, "session.New": store, "cache.New": values,
		"mutex.New":     mutexed,
		"mutex.Redsync": mutex.Redsync(nil).NewMutex("key").TryLockContext(t.Context()),
	} {
		if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "cluster.Open") {
			t.Errorf("%s(nil): %v", name, err)
		}
	}
	ran := none.WithLock(t.Context(), "key", func(context.Context) error { return nil })
	for _, err := range []error{locked, ran} { // the first program of the README, where no node can be reached
		if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "lock.New") || !strings.HasPrefix(err.Error(), "redlock: ") {
			t.Errorf("of a nil Locker: %v", err)
		}
	}
}

func newLocker(t *testing.T, cfg lock.Config) *lock.Locker {
	t.Helper()
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: harness.Embedded(t, 3).URLs()})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	k, err := lock.New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, k)
	return k
}

// The error of a waiter names the holder in its own process as it names one elsewhere.
func TestLocker_NamesTheHolderInThisProcess(t *testing.T) {
	k := newLocker(t, lock.Config{Owner: "nightly"})
	began := time.Now()
	_, err := k.Lock(t.Context(), "key")
	harness.Must(t, began, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancelled := errors.New("the order was withdrawn")
	_, waited := k.Lock(t.Context(), "key", lock.Wait(10*time.Millisecond))
	_, tried := k.TryLock(t.Context(), "key")
	time.AfterFunc(10*time.Millisecond, func() { cancel(cancelled) })
	_, ended := k.Lock(ctx, "key")
	for name, err := range map[string]error{"Wait": waited, "TryLock": tried, "cancelled": ended} {
		var held *lock.NotAcquiredError
		if !errors.As(err, &held) || held.Holder != "nightly" || !strings.Contains(err.Error(), `held in this process by "nightly"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !errors.Is(ended, cancelled) || !errors.Is(ended, context.Canceled) {
		t.Errorf("the cause is not in the chain of: %v", ended)
	}
	if !strings.Contains(waited.Error(), "not acquired within 10ms, held in this process") {
		t.Error(waited)
	}
}

func TestErrors_BeginWithThePrefixOnce(t *testing.T) {
	k := newLocker(t, lock.Config{})
	began := time.Now()
	err := k.WithLock(t.Context(), "key", func(ctx context.Context) error {
		return k.WithLock(ctx, "key", func(context.Context) error { return nil })
	})
	if !errors.Is(err, lock.ErrReentrant) {
		harness.Must(t, began, err)
	}
	if got := strings.Count(err.Error(), "redlock: "); got != 1 {
		t.Errorf("%d times in %q", got, err)
	}
	_ = k.Close(t.Context())
	_, err = k.Lock(t.Context(), "key")
	if got := strings.Count(err.Error(), "redlock: "); got != 1 || !errors.Is(err, lock.ErrClosed) {
		t.Errorf("%d times in %q", got, err)
	}
}

func TestTokenOf_FindsALockAroundOthers(t *testing.T) {
	k := newLocker(t, lock.Config{})
	began := time.Now()
	err := k.WithLock(t.Context(), "outer", func(ctx context.Context) error {
		outer, _ := lock.Token(ctx)
		return k.WithLock(ctx, "inner", func(ctx context.Context) error {
			inner, _ := lock.Token(ctx)
			for key, want := range map[string]int64{"outer": outer, "inner": inner} {
				if got, ok := lock.TokenOf(ctx, key); !ok || got != want || got == 0 {
					t.Errorf("TokenOf(%q) = %d, %t, want %d", key, got, ok, want)
				}
			}
			if token, ok := lock.TokenOf(ctx, "another"); ok || token != 0 {
				t.Errorf("of a key that is not held: %d", token)
			}
			return nil
		})
	})
	harness.Must(t, began, err)
	if _, ok := lock.TokenOf(t.Context(), "outer"); ok {
		t.Error("a token outside of all locks")
	}
}

func TestLocker_OfNilOnlyRefuses(t *testing.T) {
	var none *lock.Locker
	harness.OfNil(t, none, cluster.ErrConfig)
	if none.Stats() != (lock.Stats{}) {
		t.Error("it has done something")
	}
}
