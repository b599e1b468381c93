package lock

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

// inside counts who is inside, and fails if that are more than limit, or two in one
// slot.
type inside struct {
	t     *testing.T
	mu    sync.Mutex
	slots map[int]bool
	limit int
	most  int
}

func (in *inside) enter(l *lease.Lease) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.slots[l.Slot()] {
		in.t.Errorf("two have slot %d", l.Slot())
	}
	in.slots[l.Slot()] = true
	if in.most = max(in.most, len(in.slots)); in.most > in.limit {
		in.t.Errorf("%d hold a limit of %d", len(in.slots), in.limit)
	}
}

func (in *inside) leave(l *lease.Lease) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.slots, l.Slot())
}

func TestLimit_AsManyHoldAKeyOverAllProcesses(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		const limit, callers, rounds = 3, 6, 8
		in := &inside{t: t, slots: map[int]bool{}, limit: limit}
		var mu sync.Mutex
		tokens, newest := map[int64]bool{}, map[int]int64{}
		var wg sync.WaitGroup
		for range 3 {
			k := process(t, s)
			for range callers {
				wg.Go(func() {
					for range rounds {
						err := k.WithLock(t.Context(), "gpu", func(ctx context.Context) error {
							l, _ := lease.FromContext(ctx)
							in.enter(l)
							defer in.leave(l)
							mu.Lock()
							defer mu.Unlock()
							if tokens[l.Token()] || l.Token() <= newest[l.Slot()] {
								t.Errorf("slot %d: token %d after %d", l.Slot(), l.Token(), newest[l.Slot()])
							}
							tokens[l.Token()], newest[l.Slot()] = true, l.Token()
							return nil
						}, Limit(limit))
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		if len(tokens) != 3*callers*rounds {
			t.Errorf("%d tokens", len(tokens))
		}
	})
}

func TestLimit_ASlotThatIsReleasedIsHandedOverBesideACallerThatAsks(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		k := patient(t, s)
		mailbox(t, k) // or another process is taken to wait, and after a moment nothing is handed over
		var held []*lease.Lease
		for range 2 {
			l, err := k.Lock(t.Context(), "k", Limit(2))
			must(t, err)
			held = append(held, l)
		}
		type got struct {
			l   *lease.Lease
			err error
		}
		came := make(chan got, 2)
		for range 2 {
			go func() {
				l, err := k.Lock(t.Context(), "k", Limit(2))
				came <- got{l, err}
			}()
		}
		for i, one := range held {
			harness.Eventually(t, "one pauses, and others wait behind it", func() bool {
				seen := k.c.Queues().SnapshotLimited("lock:k")
				return seen.Pauses && seen.Callers == len(held)-1-i
			})
			must(t, one.Release(t.Context()))
			next := <-came
			must(t, next.err)
			if next.l.Slot() != one.Slot() || next.l.Token() <= one.Token() {
				t.Errorf("released slot %d with token %d; the next has %d, %d", one.Slot(), one.Token(), next.l.Slot(), next.l.Token())
			}
			defer next.l.Release(context.Background())
			if got := k.Stats().HandOvers; got != int64(i+1) {
				t.Errorf("%d hand-overs", got)
			}
		}
	})
}

func TestLimit_NoWaitAsksWhereASlotIsFreeAndIsRefusedWhereNoneIs(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		k, other := process(t, s), process(t, s)
		var wg sync.WaitGroup
		var got atomic.Int64
		var leases [12]*lease.Lease
		for i := range leases {
			wg.Go(func() {
				l, err := k.TryLock(t.Context(), "k", Limit(8))
				switch {
				case err == nil:
					leases[i] = l
					got.Add(1)
				case !errors.Is(err, ErrNotAcquired):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got.Load() == 0 || got.Load() > 8 {
			t.Errorf("%d of 12 callers hold a limit of 8", got.Load())
		}
		for i := range leases {
			if leases[i] == nil && got.Load() < 8 {
				l, err := k.TryLock(t.Context(), "k", Limit(8))
				must(t, err)
				leases[i] = l
				got.Add(1)
			}
		}
		_, err := other.TryLock(t.Context(), "k", Limit(8))
		var held *NotAcquiredError
		if !errors.As(err, &held) || held.Holder == "" || !strings.Contains(held.Reason, "Limit(8)") {
			t.Errorf("the ninth: %v", err)
		}
		for _, l := range leases {
			if l != nil {
				must(t, l.Release(t.Context()))
			}
		}
	})
}

func TestLimit_WaitersOfAnotherProcessAreServed(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		busy, other := patient(t, s), patient(t, s)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for ctx.Err() == nil {
					_ = busy.WithLock(ctx, "k", func(ctx context.Context) error {
						timer := time.NewTimer(time.Millisecond)
						defer timer.Stop()
						select {
						case <-timer.C:
						case <-ctx.Done():
						}
						return nil
					}, Limit(2))
				}
			})
		}
		harness.Eventually(t, "slots are handed over", func() bool { return busy.Stats().HandOvers > 20 })
		for range 3 {
			l, err := other.Lock(t.Context(), "k", Limit(2))
			must(t, err)
			must(t, l.Release(t.Context()))
		}
		stop()
		wg.Wait()
	})
}

func TestLimit_WhatDoesNotGoWithIt(t *testing.T) {
	harness.Beside(t, 1, func(t *testing.T, s harness.Set) {
		c := open(t, s, cluster.Config{})
		k, ctx := locker(t, c, Config{}), t.Context()
		leases, err := lease.New(c, lease.Config{TTL: long})
		must(t, err)
		defer leases.Close(ctx)
		for name, call := range map[string]func() error{
			"0":       func() error { return k.WithLock(ctx, "k", nothing, Limit(0)) },
			"1025":    func() error { return k.WithLock(ctx, "k", nothing, Limit(1025)) },
			"MinHold": func() error { return k.WithLock(ctx, "k", nothing, Limit(2), MinHold(time.Second)) },
			"Shared":  func() error { return k.WithLock(ctx, "k", nothing, Limit(2), Shared()) },
			"WithLocks": func() error {
				return k.WithLocks(ctx, []string{"k"}, nothing, Limit(2))
			},
			"Acquire":  func() error { _, err := leases.Acquire(ctx, "k", Limit(2)); return err },
			"RunOnce":  func() error { _, err := leases.RunOnce(ctx, "k", nothing, Limit(2)); return err },
			"Campaign": func() error { _, err := leases.Campaign(ctx, "k", "me", Limit(2)); return err },
			"LockAll":  func() error { _, err := k.LockAll(ctx, []string{"a", "b"}, Limit(2)); return err },
		} {
			err := call()
			if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "Limit") || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
		l, err := k.Lock(ctx, "k", Limit(2))
		must(t, err)
		_, err = l.Detach(ctx)
		if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "Detach") {
			t.Errorf("Detach: %v", err)
		}
		if err := l.Checkpoint(ctx, nil); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("Checkpoint: %v", err)
		}
		if err := k.WithLock(l.Context(), "k", nothing, Limit(2)); !errors.Is(err, ErrReentrant) {
			t.Errorf("another slot for a holder: %v", err)
		}
		must(t, l.Release(ctx))
		exclusive, err := k.Lock(ctx, "k")
		must(t, err)
		if exclusive.Slot() != -1 {
			t.Errorf("an exclusive lock has slot %d", exclusive.Slot())
		}
		must(t, exclusive.Release(ctx))
	})
}

// must ends a test in which something failed that had to succeed.
func must(t testing.TB, err error) {
	t.Helper()
	harness.Must(t, time.Now().Add(-unhurried), err)
}
