package lock

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

func TestLocker_WithLock_ReturnsTheErrorUnchanged(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	k := process(t, nodes)
	mine := &cluster.NodeError{Node: "mine", Err: errors.New("failed")}
	if err := k.WithLock(t.Context(), "k", func(context.Context) error { return mine }); err != error(mine) {
		t.Errorf("it became %#v", err)
	}
	free(t, nodes, "k")
}

// The function passes its lock on, so nothing is released when it returns.
func TestLocker_WithLock_MayDetachItsLock(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	k := process(t, nodes)
	var handle lease.Handle
	err := k.WithLock(t.Context(), "k", func(ctx context.Context) (err error) {
		l, _ := lease.FromContext(ctx)
		handle, err = l.Detach(ctx)
		return err
	})
	if stats := k.Stats(); err != nil || stats.ReleaseFailures != 0 || stats.Losses != 0 {
		t.Fatalf("%v; %+v", err, stats)
	}
	if _, err := k.TryLock(t.Context(), "k"); !errors.Is(err, ErrNotAcquired) {
		t.Errorf("locked while it is detached: %v", err)
	}
	seen, err := k.Inspect(t.Context(), "k")
	if err != nil || seen.State != Held || seen.Holder.Writer != WriterDetached {
		t.Errorf("inspected: %+v, %v", seen, err)
	}
	began := time.Now()
	leases, err := lease.New(open(t, nodes, cluster.Config{}), lease.Config{TTL: long})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, leases)
	l, err := leases.Attach(t.Context(), handle)
	harness.Must(t, began, err)
	harness.Must(t, began, l.Release(t.Context()))
	free(t, nodes, "k")
}

func TestToken_GrowsAndTheInnermostIsFound(t *testing.T) {
	t.Parallel()
	k := process(t, harness.Embedded(t, 3))
	if token, ok := Token(t.Context()); ok || token != 0 {
		t.Errorf("without a lock the token is %d, %t", token, ok)
	}
	var last int64
	for range 5 {
		err := k.WithLock(t.Context(), "outer", func(ctx context.Context) error {
			outer, ok := Token(ctx)
			if !ok || outer <= last {
				t.Errorf("token %d, %t came after %d", outer, ok, last)
			}
			last = outer
			return k.WithLock(ctx, "inner", func(ctx context.Context) error {
				inner, ok := Token(ctx)
				if l, _ := lease.FromContext(ctx); !ok || l.Key() != "inner" || inner != l.Token() || inner == outer {
					t.Errorf("in the inner lock the token is %d, %t; that of the outer is %d", inner, ok, outer)
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDo_ReturnsTheResult(t *testing.T) {
	k := process(t, harness.Embedded(t, 1))
	failed := errors.New("failed")
	n, err := Do(t.Context(), k, "k", func(ctx context.Context) (int, error) { return 42, failed })
	if n != 42 || err != failed {
		t.Errorf("%d, %v", n, err)
	}
	hold := lock(t, k, "k")
	n, err = Do(t.Context(), k, "k", func(ctx context.Context) (int, error) { return 42, nil }, NoWait())
	if n != 0 || !errors.Is(err, ErrNotAcquired) {
		t.Errorf("without the lock: %d, %v", n, err)
	}
	release(t, hold)
}

func TestLocker_WithLock_ReleasesOnPanic(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k := process(t, nodes)
		var ctx context.Context
		func() {
			defer func() {
				if r := recover(); r != "oops" {
					t.Errorf("the panic became %v", r)
				}
			}()
			k.WithLock(t.Context(), "k", func(c context.Context) error {
				ctx = c
				panic("oops")
			})
		}()
		if cause := context.Cause(ctx); cause != ErrReleased {
			t.Errorf("after the panic the context ended by %v", cause)
		}
		free(t, nodes, "k")
	})
}

func TestLocker_WithLock_ReleasesOnGoexit(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	k := process(t, nodes)
	gone := make(chan bool)
	go func() {
		defer close(gone)
		k.WithLock(t.Context(), "k", func(context.Context) error { runtime.Goexit(); return nil })
	}()
	harness.Receive(t, "the goroutine to exit", gone)
	free(t, nodes, "k")
	if err := k.Close(t.Context()); err != nil { // which waits for all work
		t.Error(err)
	}
}

func TestLocker_WithLock_JoinsALossToTheError(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		t.Parallel()
		k := locker(t, open(t, nodes, cluster.Config{NodeTimeout: renewed}), Config{RenewEvery: renewed})
		mine := errors.New("mine")
		tests := []struct {
			name string
			fn   func(ctx context.Context) error
			want func(err error, lost *LostError) bool
		}{
			{"Nil", func(context.Context) error { return nil }, func(err error, lost *LostError) bool { return err == nil }},
			{"Own", func(context.Context) error { return mine }, func(err error, lost *LostError) bool { return errors.Is(err, mine) }},
			{"Cause", context.Cause, func(err error, lost *LostError) bool { return err == error(lost) }},
		}
		began := time.Now()
		var waits []<-chan error
		tokens := make([]int64, len(tests))
		for i, test := range tests {
			waits = append(waits, do(t.Context(), k, test.name, func(ctx context.Context) error {
				tokens[i], _ = Token(ctx)
				for i := range nodes.Len() {
					harness.Client(t, nodes, i).Del(ctx, "lock:"+test.name)
				}
				<-ctx.Done()
				return test.fn(ctx)
			}))
		}
		for i, test := range tests {
			got := harness.Receive(t, "the loss", waits[i])
			var lost *LostError
			if !errors.As(got, &lost) || !errors.Is(got, ErrLost) || lost.Token != tokens[i] || lost.Key != test.name {
				harness.Must(t, began, got) // on a slow machine the lock may not be acquired
				t.Fatalf("%s: the loss is not in %v", test.name, got)
			}
			if test.name != "Nil" && !test.want(got, lost) {
				t.Errorf("%s: fn's error became %v", test.name, got)
			}
		}
		harness.Eventually(t, "the losses to be counted", func() bool { return k.Stats().Losses == 3 })
	})
}

func TestLocker_WithLock_MaxHoldEndsTheWorkAndMinHoldKeepsTheKey(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	k, other := process(t, nodes), process(t, nodes)
	err := k.WithLock(t.Context(), "k", func(ctx context.Context) error {
		harness.Receive(t, "MaxHold", ctx.Done())
		return nil
	}, MaxHold(50*time.Millisecond))
	if !errors.Is(err, ErrLost) {
		t.Errorf("MaxHold ended it with %v", err)
	}
	const minHold = 300 * time.Millisecond
	start := time.Now()
	if err := k.WithLock(t.Context(), "k", nothing, MinHold(minHold)); err != nil {
		t.Fatal(err)
	}
	if _, err := other.TryLock(t.Context(), "k"); time.Since(start) < minHold && !errors.Is(err, ErrNotAcquired) {
		t.Errorf("before MinHold was over: %v", err)
	}
	release(t, lock(t, k, "k")) // a waiter of the same process
	if held := time.Since(start); held < minHold {
		t.Errorf("the key was kept for %v", held)
	}
}

func TestLocker_WithLock_RefusesReentryAtOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		c := open(t, nodes, cluster.Config{})
		k, twin := locker(t, c, Config{}), locker(t, c, Config{})
		var inside context.Context
		err := k.WithLock(t.Context(), "k", func(ctx context.Context) error {
			inside = ctx
			again := func(k *Locker, ctx context.Context) {
				t.Helper()
				began := time.Now()
				asked := quiet(t, nodes)
				if err := k.WithLock(ctx, "k", nothing); !errors.Is(err, ErrReentrant) {
					t.Errorf("WithLock: %v", err)
				}
				if _, err := k.Lock(ctx, "k"); !errors.Is(err, ErrReentrant) {
					t.Errorf("Lock: %v", err)
				}
				if n := quiet(t, nodes) - asked; n != 0 {
					harness.Missed(t, began, "the nodes were asked %d times", n)
				}
			}
			again(k, ctx)
			again(twin, ctx)
			again(k, context.WithoutCancel(ctx))
			return k.WithLock(ctx, "another", func(ctx context.Context) error {
				again(k, ctx) // the outer one
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		after := context.WithoutCancel(inside)
		if err := k.WithLock(after, "k", nothing); err != nil {
			t.Errorf("after the release: %v", err)
		}
		l := lock(t, k, "k")
		if err := k.WithLock(l.Context(), "k", nothing); !errors.Is(err, ErrReentrant) {
			t.Errorf("under the context of a lease: %v", err)
		}
		release(t, l)
	})
}

func TestLocker_Release_WithoutAQuorumIsLoggedOnceAndCounted(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		var log syncBuffer
		c := open(t, nodes, cluster.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		k := locker(t, c, Config{})
		err := k.WithLock(t.Context(), "k", func(context.Context) error {
			nodes.Stop(0)
			nodes.Stop(1)
			return nil
		})
		if err != nil {
			t.Errorf("fn succeeded, and WithLock returned %v", err)
		}
		if n := k.Stats().ReleaseFailures; n != 1 {
			t.Errorf("%d failures were counted", n)
		}
		c.Close(t.Context()) // which waits for what is logged
		if n := strings.Count(log.String(), "release did not reach a quorum"); n != 1 || !strings.Contains(log.String(), "key=k") {
			t.Errorf("it was logged %d times:\n%s", n, log.String())
		}
	})
}

// syncBuffer may be written by several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestOptions_EveryBadOneIsNamedAlsoBehindAHolder(t *testing.T) {
	nodes := harness.Embedded(t, 1)
	k := process(t, nodes)
	l := lock(t, k, "k") // who would be waited for
	for field, opt := range map[string]Option{
		"Wait": Wait(-time.Second), "TTL": TTL(time.Hour), "MinHold": MinHold(-1), "MaxHold": MaxHold(-1),
	} {
		err := k.WithLock(t.Context(), "k", nothing, opt)
		if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), field+": ") {
			t.Errorf("bad %s: %v", field, err)
		}
		if err := k.WithLock(t.Context(), "k", nothing, Wait(time.Minute), opt); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("bad %s, with Wait: %v", field, err)
		}
	}
	if err := k.WithLock(t.Context(), "", nothing); !errors.Is(err, cluster.ErrConfig) {
		t.Errorf("an empty key: %v", err)
	}
	release(t, l)
	if _, err := New(open(t, nodes, cluster.Config{}), Config{TTL: time.Hour}); !errors.Is(err, cluster.ErrConfig) {
		t.Errorf("a bad Config: %v", err)
	}
}

// One node is another's, one frozen: whether the third makes a quorum hangs on the frozen one. It is not waited for, because
// it is known to be silent.
func TestLocker_TryLock_DoesNotWaitForAFrozenNodeThatWouldDecide(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		t.Parallel()
		const nodeTimeout = 2 * time.Second
		k := locker(t, open(t, nodes, cluster.Config{NodeTimeout: nodeTimeout}), Config{})
		if err := harness.Client(t, nodes, 0).Set(t.Context(), "lock:k", "somebody's", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		nodes.Pause(2)
		fastest := time.Hour
		try := func() {
			begun := time.Now()
			if _, err := k.TryLock(t.Context(), "k"); err == nil {
				t.Fatal("one node of three gave the lock")
			}
			fastest = min(fastest, time.Since(begun))
		}
		harness.Eventually(t, "the frozen node to be noticed", func() bool { try(); return !k.c.Status()[2].Up })
		fastest = time.Hour
		began := time.Now()
		for range 5 {
			try()
		}
		if fastest > nodeTimeout/2 {
			harness.Missed(t, began, "an attempt took %v at least, with a node time-out of %v", fastest, nodeTimeout)
		}
		nodes.Resume(2)
	})
}

func TestLocker_AFrozenNodeFailsNothingAndIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		t.Parallel()
		const nodeTimeout = 2 * time.Second
		k := locker(t, open(t, nodes, cluster.Config{NodeTimeout: nodeTimeout}), Config{})
		measure := func() time.Duration {
			var all []time.Duration
			for range 20 {
				start := time.Now()
				withLock(t, k, "k", nothing)
				all = append(all, time.Since(start))
			}
			return median(all)
		}
		began := time.Now()
		measure() // warm
		healthy := measure()
		nodes.Pause(2)
		measure() // which notices
		frozen := measure()
		t.Logf("median with all nodes %v, with one frozen %v", healthy, frozen)
		if frozen > 4*healthy+20*time.Millisecond || frozen > nodeTimeout/2 {
			harness.Missed(t, began, "with one node frozen a lock takes %v, otherwise %v", frozen, healthy)
		}
		nodes.Resume(2)
	})
}
