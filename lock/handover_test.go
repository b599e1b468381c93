package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func TestWaitQueue_IsFIFO(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k := process(t, nodes)
		const n = 150 // more than two spans
		l := lock(t, k, "k")
		var mu sync.Mutex
		var order []int
		var waiters []<-chan error
		for i := range n {
			waiters = append(waiters, do(t.Context(), k, "k", func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				return nil
			}))
			queuedHere(t, k, "k", i+1)
		}
		release(t, l)
		all(t, waiters)
		if !slices.IsSorted(order) || len(order) != n {
			t.Errorf("served in the order %v", order)
		}
		if s := k.Stats(); s.Acquired != n+1 || s.Waits != n || s.HandOvers < n/2 {
			t.Errorf("the counters say %+v", s)
		}
	})
}

// rapid is how long waiters sleep in a test, so that a wait's traffic is soon seen.
const rapid = 20 * time.Millisecond

func TestWaitQueue_AThousandWaitersLoadTheNodesAsOne(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		holder := process(t, nodes)
		l := lock(t, holder, "k")
		cost := func(n int) (asked, looks int64) {
			var counted, asking atomic.Int64
			k := locker(t, open(t, nodes, cluster.Config{}), Config{Backoff: func(attempt int) time.Duration {
				if attempt == 1 { // once in each wait that asks the nodes
					asking.Add(1)
				}
				counted.Add(1)
				return rapid
			}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					if err := k.WithLock(ctx, "k", nothing); !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				})
			}
			queuedHere(t, k, "k", n-1)
			harness.Eventually(t, "the wait to begin", func() bool { return counted.Load() > 5 })
			from, before := counted.Load(), commands(nodes)
			harness.Eventually(t, "some looks", func() bool { return counted.Load() >= from+20 })
			asked, looks = commands(nodes)-before, counted.Load()-from
			if got := asking.Load(); got != 1 {
				t.Errorf("%d of %d waiters ask the nodes", got, n)
			}
			cancel()
			wg.Wait()
			return asked, looks
		}
		began := time.Now()
		one, looksOfOne := cost(1)
		many, looksOfMany := cost(1000)
		t.Logf("one waiter: %d commands for %d looks; a thousand: %d for %d", one, looksOfOne, many, looksOfMany)
		// The holder's renewals and a look that is under way are in both.
		if allowed := one*looksOfMany/looksOfOne + 12; many > allowed {
			harness.Missed(t, began, "a thousand waiters sent %d commands, one sent %d", many, one)
		}
		release(t, l)
	})
}

func TestHandOver_IssuesTheNextTokensWithoutARoundTrip(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k := patient(t, nodes)
		mailbox(t, k)
		release(t, lock(t, k, "k")) // the nodes know the scripts from now on
		quiet(t, nodes)
		l := lock(t, k, "k")
		var tokens []int64 // guarded by the lock
		var waiters []<-chan error
		for range keepalive.MinTokenBlock - 1 {
			waiters = append(waiters, do(t.Context(), k, "k", func(ctx context.Context) error {
				token, _ := Token(ctx)
				tokens = append(tokens, token)
				return nil
			}))
		}
		queuedHere(t, k, "k", keepalive.MinTokenBlock-1)
		began := time.Now()
		before := quiet(t, nodes)
		release(t, l)
		all(t, waiters)
		last := l.Token()
		for _, token := range tokens {
			switch {
			case token <= last:
				t.Fatalf("after token %d came %v", l.Token(), tokens)
			case token > last+1: // of a hold whose TTL is half over when it is released
				harness.Missed(t, began, "after token %d came %v", l.Token(), tokens)
			}
			last = token
		}
		// Only the last released.
		if n := quiet(t, nodes) - before; n > int64(nodes.Len()) {
			harness.Missed(t, began, "the nodes were sent %d commands", n)
		}
		if n := k.Stats().HandOvers; n != keepalive.MinTokenBlock-1 {
			harness.Missed(t, began, "%d hand-overs were counted", n)
		}
	})
}

func TestTokenBlock_ThatIsUsedUpIsFollowedByALargerOne(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k := patient(t, nodes)
		mailbox(t, k)
		release(t, lock(t, k, "k")) // the nodes know the scripts from now on
		quiet(t, nodes)
		last := lock(t, k, "k")
		next := make(chan *lease.Lease, 1)
		const second = 2 * keepalive.MinTokenBlock
		for i := range keepalive.MinTokenBlock + second + 5 {
			go func() {
				l, err := k.Lock(t.Context(), "k")
				if err != nil {
					t.Error(err)
				}
				next <- l
			}()
			queuedHere(t, k, "k", 1)
			handOvers := k.Stats().HandOvers
			release(t, last)
			l := harness.Receive(t, "the lock", next)
			handed := k.Stats().HandOvers > handOvers
			if l.Token() <= last.Token() || handed != (i != keepalive.MinTokenBlock-1 && i != keepalive.MinTokenBlock+second-1) || handed && l.Token() != last.Token()+1 {
				t.Fatalf("%d: after token %d came %d, handed over: %t", i, last.Token(), l.Token(), handed)
			}
			last = l
		}
		release(t, last)
	})
}

func TestHandOver_NeedsEqualOptions(t *testing.T) {
	k := process(t, harness.Embedded(t, 3))
	mailbox(t, k)
	for name, test := range map[string]struct {
		opts   []Option
		handed int64
	}{
		"Alike":   {nil, 1},
		"MaxHold": {[]Option{MaxHold(time.Hour)}, 1},
		"Same":    {[]Option{TTL(k.engine().Config().TTL), Owner(k.engine().Config().Owner)}, 1},
		"TTL":     {[]Option{TTL(20 * time.Second)}, 0},
		"Owner":   {[]Option{Owner("another")}, 0},
		"MinHold": {[]Option{MinHold(time.Millisecond)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := lock(t, k, name)
			before := k.Stats().HandOvers
			waiter := do(t.Context(), k, name, nothing, test.opts...)
			queuedHere(t, k, name, 1)
			release(t, l)
			if err := harness.Receive(t, "the waiter", waiter); err != nil {
				t.Error(err)
			}
			if n := k.Stats().HandOvers - before; n != test.handed {
				t.Errorf("%d hand-overs", n)
			}
		})
	}
}

// crowd keeps n goroutines of a process asking for key until the returned function is called.
func crowd(t *testing.T, k *Locker, key string, n int, fn func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := k.WithLock(ctx, key, fn); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

func TestHandOver_EndsSoonAfterAnotherProcessBeganToWait(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k, other := patient(t, nodes), patient(t, nodes)
		var turns atomic.Int64
		const work = 10 * time.Millisecond
		ends := int64(-1) // the hand-overs there were when a hold was shared for long enough; guarded by the lock
		defer crowd(t, k, "k", 8, func(context.Context) error {
			if n := k.Stats().HandOvers; ends >= 0 && n != ends {
				t.Error("it was handed over although another process had waited for longer than a hold is shared")
			}
			<-time.After(work)
			turns.Add(1)
			ends = -1
			if since := k.c.Queues().Snapshot("lock:k").RemoteWait; !since.IsZero() && time.Since(since) >= keepalive.MaxLocalShare {
				ends = k.Stats().HandOvers
			}
			return nil
		})()
		for range 5 {
			from := turns.Load()
			harness.Eventually(t, "the crowd to have it again", func() bool { return turns.Load() > from+2 })
			from = turns.Load()
			began := time.Now()
			withLock(t, other, "k", nothing)
			n := turns.Load() - from
			t.Logf("it waited for %d turns of %v", n, work)
			if n > keepalive.MinTokenBlock/2 {
				harness.Missed(t, began, "it waited for %d turns of %v of the other process", n, work)
			}
		}
	})
}

func TestLocker_TwoProcessesShareAKeyFairly(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		began := time.Now()
		var turns [2]atomic.Int64
		var stops []func()
		for i := range turns {
			stops = append(stops, crowd(t, patient(t, nodes), "k", 4, func(context.Context) error {
				<-time.After(2 * time.Millisecond)
				turns[i].Add(1)
				return nil
			}))
		}
		harness.Eventually(t, "both to have worked", func() bool { return turns[0].Load()+turns[1].Load() >= 150 })
		for _, stop := range stops {
			stop()
		}
		a, b := turns[0].Load(), turns[1].Load()
		t.Logf("%d and %d turns", a, b)
		if min(a, b)*4 < max(a, b) {
			harness.Missed(t, began, "one process had %d turns, the other %d", a, b)
		}
	})
}

func TestWaitQueue_TheNextAcquiresWhenTheLeaseIsLost(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k := locker(t, open(t, nodes, cluster.Config{NodeTimeout: renewed}), Config{RenewEvery: renewed})
		l := lock(t, k, "k")
		waiter := do(t.Context(), k, "k", nothing)
		queuedHere(t, k, "k", 1)
		for i := range nodes.Len() {
			harness.Client(t, nodes, i).Del(t.Context(), "lock:k")
		}
		harness.Receive(t, "the loss", l.Done())
		if err := harness.Receive(t, "the next", waiter); err != nil {
			t.Error(err)
		}
		noQueues(t, k)
	})
}

func TestLocker_ExclusionAndGrowingTokensWhileNodesLoseTheirData(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		const maxTTL = 1500 * time.Millisecond
		var lockers [4]*Locker
		for i := range lockers {
			lockers[i] = locker(t, open(t, nodes, cluster.Config{MaxTTL: maxTTL, NodeTimeout: maxTTL / 4}), Config{TTL: maxTTL})
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var inside, overlaps, held atomic.Int64
		var mu sync.Mutex
		var newest int64
		fn := func(ctx context.Context) error {
			token, _ := Token(ctx)
			if inside.Add(1) > 1 {
				overlaps.Add(1)
			}
			mu.Lock()
			if token <= newest {
				t.Errorf("token %d came after %d", token, newest)
			}
			newest = token
			mu.Unlock()
			held.Add(1)
			inside.Add(-1)
			return nil
		}
		var wg sync.WaitGroup
		for _, k := range lockers {
			for range 3 {
				wg.Go(func() {
					for ctx.Err() == nil {
						err := k.WithLock(ctx, "k", fn)
						if err != nil && ctx.Err() == nil && !errors.Is(err, ErrNoQuorum) && !errors.Is(err, ErrLost) {
							t.Error(err)
						}
						pause(ctx, 5*time.Millisecond)
					}
				})
			}
		}
		// One node at a time forgets, and the next only after it votes again. The lock is given all the while.
		for i := range 3 {
			nodes.Stop(i)
			before := held.Load()
			harness.Eventually(t, "the lock to be given without a node", func() bool { return held.Load() > before+10 })
			if err := nodes.Restart(i, true); err != nil {
				t.Fatal(err)
			}
			pause(ctx, maxTTL)
			harness.Eventually(t, "the node to vote again", func() bool {
				for _, k := range lockers {
					for _, n := range k.c.Status() {
						if !n.Up || !n.Votes {
							return false
						}
					}
				}
				return true
			})
		}
		cancel()
		wg.Wait()
		t.Logf("held %d times", held.Load())
		if overlaps.Load() > 0 {
			t.Errorf("held %d times, %d of them beside another", held.Load(), overlaps.Load())
		}
	})
}

// The lock stands on three nodes. One of them forgets it, and two never had it: together they are a quorum, but they have
// all just restarted.
func TestLocker_NodesThatLostTheirDataDoNotGrantAgain(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		const ttl = 2 * time.Minute // the first renewal is far away, also on a slow machine
		cfg := cluster.Config{MaxTTL: ttl}
		holder := locker(t, open(t, nodes, cfg), Config{TTL: ttl})
		other := locker(t, open(t, nodes, cfg), Config{TTL: ttl})
		nodes.Stop(3)
		nodes.Stop(4)
		l := lock(t, holder, "k")
		for _, i := range []int{3, 4, 0} {
			if err := nodes.Restart(i, true); err != nil {
				t.Fatal(err)
			}
		}
		harness.Eventually(t, "the other to reach all nodes", func() bool {
			_, err := other.TryLock(t.Context(), "else") // so that it notices who went away
			return err != nil && !slices.ContainsFunc(other.c.Status(), func(s cluster.Status) bool { return !s.Up })
		})
		if l2, err := other.TryLock(t.Context(), "k"); err == nil {
			t.Errorf("given with token %d while it is held with %d, %v", l2.Token(), l.Token(), l.Err())
		}
		if err := l.Err(); err != nil {
			t.Errorf("the holder lost it meanwhile: %v", err)
		}
	})
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func TestLocker_ManyKeysAreIndependent(t *testing.T) {
	t.Parallel()
	k := process(t, harness.Embedded(t, 3))
	for range 3 {
		var calls []<-chan error
		for i := range 20 {
			calls = append(calls, do(t.Context(), k, fmt.Sprint("k", i), nothing, NoWait()))
		}
		all(t, calls)
	}
}

// A counter that a node has lost starts again from the clock, in microseconds, so it must not grow faster.
// docs/guarantees.md says how many acquisitions of one key that is.
func TestGuarantees_QuoteHowManyAcquisitionsACounterAllows(t *testing.T) {
	page, err := os.ReadFile("../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	most := time.Second.Microseconds() / keepalive.MinTokenBlock
	if want := fmt.Sprintf("%d,%03d acquisitions by `lock`, which draws %d at once", most/1000, most%1000, keepalive.MinTokenBlock); !strings.Contains(string(page), want) {
		t.Errorf("docs/guarantees.md does not say %q", want)
	}
}
