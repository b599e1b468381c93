package lock

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

// Waiters for a slot are woken for every slot that comes free, however these come
// free. Their lockers look again by a timer once an hour.

// waiters has each locker wait for k, one after the other, and returns what they
// acquire.
func waiters(t *testing.T, ks []*Locker, o ...Option) <-chan *lease.Lease {
	t.Helper()
	got := make(chan *lease.Lease, len(ks))
	for _, k := range ks {
		go func() {
			l, err := k.Lock(t.Context(), "k", o...)
			if err == nil {
				got <- l
			} else if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}()
		harness.Eventually(t, "it waits", func() bool { return k.engine().LastRefusalOf("k") != nil })
	}
	return got
}

// allServed waits until n of them hold at once, and releases what they hold.
func allServed(t *testing.T, got <-chan *lease.Lease, n int) {
	t.Helper()
	var held []*lease.Lease
	end := time.After(harness.Patience)
	for len(held) < n {
		select {
		case l := <-got:
			held = append(held, l)
		case <-end:
			t.Fatalf("%d of %d waiters hold, beside free slots", len(held), n)
		}
	}
	for _, l := range held {
		must(t, l.Release(context.Background()))
	}
}

func TestLimit_WaitersAreWokenForEverySlotThatComesFree(t *testing.T) {
	for _, tt := range []struct {
		name string
		held int // by one process, which releases all of them at one moment
		stay bool
		o    []Option
	}{
		{"two of three slots are released", 2, true, []Option{Limit(3)}},
		{"all slots are released", 3, false, []Option{Limit(3)}},
		{"an exclusive lock is released", 1, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
				p, q, r := patient(t, s), patient(t, s), patient(t, s)
				if tt.stay {
					l, err := p.Lock(t.Context(), "k", Limit(3))
					must(t, err)
					defer l.Release(context.Background())
				}
				for range 10 {
					var held []*lease.Lease
					for range tt.held {
						l, err := p.Lock(t.Context(), "k", tt.o...)
						must(t, err)
						held = append(held, l)
					}
					got := waiters(t, []*Locker{q, r}, Limit(3))
					for _, l := range held {
						go l.Release(context.Background())
					}
					allServed(t, got, 2)
				}
			})
		})
	}
}

func TestLimit_AWakeForAProcessThatHandsOverIsPassedOn(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		p, q, r := patient(t, s), patient(t, s), patient(t, s)
		stay, err := r.Lock(t.Context(), "k", Limit(3)) // so that the last slot is never released
		must(t, err)
		defer stay.Release(context.Background())
		for range 20 {
			a, err := r.Lock(t.Context(), "k", Limit(3))
			must(t, err)
			b, err := p.Lock(t.Context(), "k", Limit(3))
			must(t, err)
			got := waiters(t, []*Locker{p, q}, Limit(3))
			go a.Release(context.Background())
			go b.Release(context.Background())
			allServed(t, got, 2)
		}
	})
}

func TestLimit_NoWaitBesideACallerThatWaitsForAQuorumSaysSo(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		k := patient(t, s)
		mailbox(t, k) // so that it asks at once
		s.Stop(0)
		s.Stop(1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := k.Lock(ctx, "k", Limit(2))
			ended <- err
		}()
		harness.Eventually(t, "it waits for a quorum", func() bool { return errors.Is(k.engine().LastRefusalOf("k"), ErrNoQuorum) })
		if _, err := k.TryLock(t.Context(), "k", Limit(2)); !errors.Is(err, ErrNoQuorum) || errors.Is(err, ErrNotAcquired) {
			t.Errorf("a caller that does not wait: %v", err)
		}
		cancel()
		<-ended
	})
}
