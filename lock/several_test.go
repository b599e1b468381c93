package lock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestLocker_WithLocks_HoldsAllAndReleasesThem(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k, other := process(t, nodes), process(t, nodes)
		keys := []string{"b", "a", "b", "c"}
		mine := errors.New("failed")
		began := time.Now()
		err := k.WithLocks(t.Context(), keys, func(ctx context.Context) error {
			for _, key := range keys {
				if _, err := other.TryLock(t.Context(), key); !errors.Is(err, ErrNotAcquired) {
					t.Errorf("another process got %q: %v", key, err)
				}
				if token, ok := TokenOf(ctx, key); !ok || token == 0 {
					t.Errorf("the token of %q is %d, %t", key, token, ok)
				}
				if err := k.WithLock(ctx, key, nothing); !errors.Is(err, ErrReentrant) {
					t.Errorf("%q was locked once more: %v", key, err)
				}
			}
			if err := k.WithLocks(ctx, []string{"d", "c"}, nothing, NoWait()); !errors.Is(err, ErrReentrant) || !strings.Contains(err.Error(), `"c"`) {
				t.Errorf("keys of which one is held: %v", err)
			}
			return mine
		})
		if err != mine {
			harness.Must(t, began, err)
			t.Errorf("fn's error became %v", err)
		}
		for _, key := range keys {
			free(t, nodes, key)
		}
		if n := k.Stats().Acquired; n != 3 {
			t.Errorf("%d locks were counted", n)
		}
	})
}

func TestLocker_WithLocks_SharesTheKeysThatItReads(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k, other := process(t, nodes), process(t, nodes)
		held := func(by *Locker, key string, want bool, opts ...Option) {
			t.Helper()
			l, err := by.TryLock(t.Context(), key, opts...)
			if (err == nil) == want || err != nil && !errors.Is(err, ErrNotAcquired) {
				t.Errorf("%q: %v", key, err)
			}
			if err == nil {
				must(t, l.Release(t.Context()))
			}
		}
		began := time.Now()
		harness.Must(t, began, k.WithLocks(t.Context(), []string{"b", "c"}, func(ctx context.Context) error {
			for _, by := range []*Locker{k, other} {
				held(by, "a", false, Shared())
				held(by, "a", true)
				held(by, "b", true, Shared())
				held(by, "c", true, Shared()) // to be written, too
			}
			if token, ok := TokenOf(ctx, "a"); !ok || token == 0 {
				t.Errorf("the token of a key that is shared: %d, %t", token, ok)
			}
			if err := k.WithLocks(ctx, []string{"d"}, nothing, SharedKeys("a"), NoWait()); !errors.Is(err, ErrReentrant) {
				t.Errorf("a key that is shared was locked once more: %v", err)
			}
			return nil
		}, SharedKeys("a", "c")))
		all, err := k.LockAll(t.Context(), nil, SharedKeys("a", "b"))
		harness.Must(t, began, err)
		if keys := all.Keys(); !slices.Equal(keys, []string{"a", "b"}) {
			t.Errorf("it holds %q", keys)
		}
		held(other, "b", false, Shared())
		must(t, all.Release(t.Context()))
		for _, key := range []string{"a", "b", "c"} {
			held(other, key, false)
		}
		for name, err := range map[string]error{
			"MinHold":    k.WithLocks(t.Context(), []string{"a"}, nothing, SharedKeys("b"), MinHold(time.Second)),
			"SharedKeys": k.WithLock(t.Context(), "a", nothing, SharedKeys("b")),
		} {
			if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestLocker_WithLocks_RunsNothingUnlessAllAreHeld(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	k, other := process(t, nodes), process(t, nodes)
	held := lock(t, other, "b")
	never := func(context.Context) error { t.Error("fn ran"); return nil }
	var refused *NotAcquiredError
	if err := k.WithLocks(t.Context(), []string{"c", "b", "a"}, never, NoWait()); !errors.As(err, &refused) || refused.Key != "b" {
		t.Errorf("NoWait: %v", err)
	}
	if err := k.WithLocks(t.Context(), []string{"c", "b", "a"}, never, Wait(50*time.Millisecond)); !errors.As(err, &refused) || refused.Class != "timeout" {
		t.Errorf("Wait: %v", err)
	}
	for name, keys := range map[string][]string{"no key": nil, "an empty key": {"a", ""}} {
		if err := k.WithLocks(t.Context(), keys, never); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l, err := k.LockAll(t.Context(), []string{"a", "b"}, NoWait()); l != nil || !errors.Is(err, ErrNotAcquired) {
		t.Errorf("LockAll: %v, %v", l, err)
	}
	free(t, nodes, "a")
	free(t, nodes, "c")
	release(t, held)
}

func TestLocker_WithLocks_ReleasesOnPanicAndAfterClose(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	k := process(t, nodes)
	func() {
		defer func() {
			if recover() != "oops" {
				t.Error("the panic was lost")
			}
		}()
		k.WithLocks(t.Context(), []string{"a", "b"}, func(context.Context) error { panic("oops") })
	}()
	free(t, nodes, "a")
	free(t, nodes, "b")
	k.Close(t.Context())
	if err := k.WithLocks(t.Context(), []string{"a", "b"}, nothing); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestLocker_WithLocks_ALossEndsTheContextAndIsReturned(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k := locker(t, open(t, nodes, cluster.Config{NodeTimeout: renewed}), Config{RenewEvery: renewed})
		for name, result := range map[string]func(context.Context) error{
			"nothing":   func(context.Context) error { return nil },
			"the cause": context.Cause,
		} {
			a, b, c := name+" a", name+" b", name+" c"
			began := time.Now()
			var cause error
			err := k.WithLocks(t.Context(), []string{a, b, c}, func(ctx context.Context) error {
				for i := range nodes.Len() {
					harness.Client(t, nodes, i).Set(ctx, "lock:"+b, "somebody", time.Minute)
				}
				<-ctx.Done()
				cause = context.Cause(ctx)
				return result(ctx)
			})
			var lost *LostError
			if !errors.As(cause, &lost) || lost.Key != b || !errors.Is(err, cause) || err.Error() != cause.Error() {
				harness.Must(t, began, err)
				t.Errorf("the context ended by %v, fn returned %s, and WithLocks %v", cause, name, err)
			}
			free(t, nodes, a)
			free(t, nodes, c)
		}
		harness.Eventually(t, "the loss to be counted", func() bool { return k.Stats().Losses == 2 })
	})
}

func TestLocker_LockAll_OutlivesItsContext(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	k, other := process(t, nodes), process(t, nodes)
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	all, err := k.LockAll(ctx, []string{"b", "a"}, Owner("billing"))
	harness.Must(t, began, err)
	cancel()
	if err := all.Err(); err != nil || all.Context().Err() != nil || !all.Deadline().After(began) {
		t.Errorf("it ended with the context of its call: %v", err)
	}
	if keys := all.Keys(); !slices.Equal(keys, []string{"a", "b"}) {
		t.Errorf("locked %v", keys)
	}
	for _, key := range all.Keys() {
		var held *NotAcquiredError
		if _, err := other.TryLock(t.Context(), key); !errors.As(err, &held) || held.Holder != "billing" {
			t.Errorf("%q: %v", key, err)
		}
		if token, _ := TokenOf(all.Context(), key); token != all.Token(key) || token == 0 {
			t.Errorf("%q has tokens %d and %d", key, token, all.Token(key))
		}
	}
	worked := make(chan struct{})
	if err := all.Go(func(context.Context) { close(worked) }); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, began, all.Release(t.Context()))
	harness.Receive(t, "the work", worked)
	if err := all.Release(t.Context()); !errors.Is(err, ErrReleased) {
		t.Errorf("released twice: %v", err)
	}
}

// Calls that name the same keys in other orders, and calls for one of them, pass
// each other.
func TestLocker_WithLocks_OrdersOfKeysDoNotMatter(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		var calls []<-chan error
		for range 2 {
			k := patient(t, nodes)
			for _, keys := range [][]string{{"a", "b", "c"}, {"c", "b", "a"}, {"b", "c"}} {
				call := make(chan error, 1)
				calls = append(calls, call)
				go func() {
					var err error
					for range 10 {
						err = errors.Join(err, k.WithLocks(t.Context(), keys, func(ctx context.Context) error { return ctx.Err() }))
					}
					call <- err
				}()
			}
			calls = append(calls, do(t.Context(), k, "b", nothing))
		}
		all(t, calls)
	})
}

func TestLocker_WithLocks_AReleaseWithoutAQuorumIsLoggedForEachKey(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	var log syncBuffer
	c := open(t, nodes, cluster.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	k := locker(t, c, Config{})
	if err := k.WithLocks(t.Context(), []string{"a", "b"}, func(context.Context) error {
		nodes.Stop(0)
		nodes.Stop(1)
		return nil
	}); err != nil {
		t.Errorf("fn succeeded, and WithLocks returned %v", err)
	}
	if n := k.Stats().ReleaseFailures; n != 2 {
		t.Errorf("%d failures were counted", n)
	}
	c.Close(t.Context()) // which waits for what is logged
	for _, key := range []string{"a", "b"} {
		if !strings.Contains(log.String(), fmt.Sprint("key=", key)) {
			t.Errorf("%q is not logged:\n%s", key, log.String())
		}
	}
}
