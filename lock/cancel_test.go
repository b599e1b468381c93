package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestLocker_WithLock_NeverUnderADeadContext(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	k := process(t, nodes)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := commands(nodes)
	err := k.WithLock(ctx, "k", func(context.Context) error { t.Error("fn ran"); return nil })
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNotAcquired) {
		t.Errorf("it ended by %v", err)
	}
	if n := commands(nodes) - before; n != 0 {
		t.Errorf("the nodes were asked %d times", n)
	}
}

func TestWaitQueue_ACancelledWaiterLeavesNothing(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k := patient(t, nodes)
		l := lock(t, k, "k")
		ctx, cancel := context.WithCancel(t.Context())
		quitter := do(ctx, k, "k", nothing)
		queuedHere(t, k, "k", 1)
		stayer := do(t.Context(), k, "k", nothing)
		queuedHere(t, k, "k", 2)
		cancel()
		if err := harness.Receive(t, "the cancelled to end", quitter); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNotAcquired) {
			t.Errorf("it ended by %v", err)
		}
		queuedHere(t, k, "k", 1)
		release(t, l)
		if err := harness.Receive(t, "the other", stayer); err != nil {
			t.Error(err)
		}
		noQueues(t, k)
	})
}

func TestWaitQueue_TheNextAcquiresWhenTheFirstIsCancelled(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k, other := patient(t, nodes), patient(t, nodes)
		warm(t, k, other)
		l := lock(t, other, "k")
		ctx, cancel := context.WithCancel(t.Context())
		head := do(ctx, k, "k", nothing)
		queued(t, nodes, "k", 1)
		second := do(t.Context(), k, "k", nothing)
		queuedHere(t, k, "k", 1)
		cancel()
		if err := harness.Receive(t, "the head to end", head); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNotAcquired) {
			t.Errorf("it ended by %v", err)
		}
		queuedHere(t, k, "k", 0)
		queued(t, nodes, "k", 1) // the second
		release(t, l)
		if err := harness.Receive(t, "the second", second); err != nil {
			t.Error(err)
		}
	})
}

// Waiters give up at any moment: in line, while they ask, while they are handed the lock, while they hold it. Each round
// ends with an empty line, so that the next one begins on the nodes.
func TestWaitQueue_NeverSticksWhereverWaitersAreCancelled(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k := patient(t, nodes)
		mailbox(t, k)
		var patience time.Duration // of several locks, as long as they take just now
		var gaveUp, handedOver int
		rounds := 0
		harness.Eventually(t, "hand-overs, and waiters that gave up", func() bool {
			rounds++
			began := time.Now()
			withLock(t, k, "k", nothing)
			patience = 5 * time.Since(began)
			before := k.Stats().HandOvers
			gaveUp += impatient(t, k, 8, patience)
			if n := k.Stats().HandOvers - before; n > 0 {
				handedOver++
			}
			noQueues(t, k)
			return rounds >= 10 && handedOver >= 5 && gaveUp >= 30
		})
		withLock(t, k, "k", nothing)
		free(t, nodes, "k")
	})
}

// impatient has n callers lock "k" five times each, with contexts that end
// within patience, and returns how often one gave up.
func impatient(t *testing.T, k *Locker, n int, patience time.Duration) int {
	t.Helper()
	began := time.Now()
	var gaveUp atomic.Int64
	failures := make(chan error, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(patience))
				err := k.WithLock(ctx, "k", nothing)
				over := ctx.Err() != nil
				cancel()
				if err != nil && !over {
					failures <- err
					return
				}
				if err != nil {
					gaveUp.Add(1)
				}
			}
		})
	}
	wg.Wait()
	close(failures)
	for err := range failures {
		harness.Must(t, began, err)
	}
	return int(gaveUp.Load())
}

func TestWaitQueue_ACancellationThatRacesAHandOverPassesTheLockOn(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 1)
	k := patient(t, nodes)
	for i := range 100 {
		key := fmt.Sprint("k", i%7)
		l := lock(t, k, key)
		ctx, cancel := context.WithCancel(t.Context())
		quitter := do(ctx, k, key, nothing)
		queuedHere(t, k, key, 1)
		next := do(t.Context(), k, key, nothing)
		queuedHere(t, k, key, 2)
		go cancel()
		release(t, l)
		if err := harness.Receive(t, "the cancelled", quitter); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := harness.Receive(t, "the next", next); err != nil {
			t.Fatal(err)
		}
	}
	noQueues(t, k)
}

func TestWait_BoundsTheWaitingNotTheWork(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k, other := patient(t, nodes), patient(t, nodes)
		late := func(err error) {
			t.Helper()
			var held *NotAcquiredError
			if !errors.As(err, &held) || errors.Is(err, context.DeadlineExceeded) || held.Key != "k" || held.Need != 2 {
				t.Errorf("the wait ended by %v", err)
			}
		}
		l := lock(t, other, "k")
		late(k.WithLock(t.Context(), "k", nothing, Wait(30*time.Millisecond))) // as the head
		release(t, l)
		l = lock(t, k, "k")
		late(k.WithLock(t.Context(), "k", nothing, Wait(30*time.Millisecond))) // in line
		release(t, l)

		const wait = time.Second
		began, worked := time.Now(), false
		err := k.WithLock(t.Context(), "k", func(ctx context.Context) error {
			worked = true
			<-time.After(time.Until(began.Add(wait + 100*time.Millisecond)))
			return ctx.Err()
		}, Wait(wait))
		switch {
		case err != nil && worked:
			t.Errorf("work that took longer than the wait ended by %v", err)
		case err != nil:
			harness.Missed(t, began, "a free key: %v", err)
		}

		l = lock(t, other, "k")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if err := k.WithLock(ctx, "k", nothing, Wait(time.Minute)); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrNotAcquired) {
			t.Errorf("the caller's deadline ended it by %v", err)
		}
		release(t, l)
	})
}

func TestWait_IsNotTheCauseOfAnEarlierEnd(t *testing.T) {
	nodes := harness.Embedded(t, 1)
	l := lock(t, process(t, nodes), "k")
	k := locker(t, open(t, nodes, cluster.Config{}), Config{Backoff: func(int) time.Duration { return -1 }})
	err := k.WithLock(t.Context(), "k", nothing, Wait(time.Hour))
	if !errors.Is(err, ErrNotAcquired) || strings.Contains(err.Error(), "within") {
		t.Errorf("a policy that stopped ended the wait by %v", err)
	}
	release(t, l)
}

func TestWait_DoesNotHideErrorsOfNodes(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k := process(t, nodes)
		nodes.Stop(0)
		nodes.Stop(1)
		heads := make(chan error, 1)
		go func() { heads <- k.WithLock(t.Context(), "k", nothing, Wait(time.Second)) }()
		harness.Eventually(t, "the first caller to have asked", func() bool { return k.engine().LastRefusal("k") != nil })
		for which, err := range map[string]error{
			"behind the first": k.WithLock(t.Context(), "k", nothing, Wait(time.Millisecond)),
			"the first":        harness.Receive(t, "the first caller", heads),
		} {
			if !errors.Is(err, ErrNoQuorum) || errors.Is(err, ErrNotAcquired) || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waited 1") {
				t.Errorf("%s, without a quorum: %v", which, err)
			}
		}
	})
}

func TestNoWait_TriesOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k, other := patient(t, nodes), patient(t, nodes)
		refused := func(opts ...Option) {
			t.Helper()
			if err := k.WithLock(t.Context(), "k", nothing, opts...); !errors.Is(err, ErrNotAcquired) {
				t.Errorf("it ended by %v", err)
			}
		}
		try := func(opts ...Option) {
			t.Helper()
			if _, err := k.TryLock(t.Context(), "k", opts...); !errors.Is(err, ErrNotAcquired) {
				t.Errorf("TryLock ended by %v", err)
			}
		}
		l := lock(t, other, "k")
		refused(NoWait())
		refused(Wait(0))
		try()
		try(Wait(time.Hour)) // Try never waits
		release(t, l)
		quiet(t, nodes) // or an attempt that was refused may still be giving back what it had
		withLock(t, k, "k", nothing, NoWait())
		l = lock(t, k, "k")
		began := time.Now()
		before := quiet(t, nodes)
		refused(NoWait())
		try()
		if n := quiet(t, nodes) - before; n != 0 {
			harness.Missed(t, began, "the nodes were asked %d times for what this process has", n)
		}
		release(t, l)
	})
}

func TestLocker_Lock_OutlivesItsContext(t *testing.T) {
	k := process(t, harness.Embedded(t, 1))
	ctx, cancel := context.WithCancel(t.Context())
	l, err := k.Lock(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := l.Context().Err(); err != nil {
		t.Errorf("the lease's context ended: %v", err)
	}
	release(t, l)
}

func TestLocker_WithLock_ContextEndsWithTheCallers(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	k := process(t, nodes)
	why := errors.New("the caller had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := k.WithLock(ctx, "k", func(ctx context.Context) error {
		cancel(why)
		harness.Receive(t, "the end", ctx.Done())
		return context.Cause(ctx)
	})
	if err != why {
		t.Errorf("it ended by %v", err)
	}
	free(t, nodes, "k") // released although the context was dead
}

func TestLocker_Close_EndsWaitsAndContextsThenWaitsAndReleases(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		k := patient(t, nodes)
		started, finish := make(chan context.Context, 2), make(chan bool)
		work := func(ctx context.Context) error {
			started <- ctx
			<-finish
			return context.Cause(ctx)
		}
		a, b := do(t.Context(), k, "a", work), do(t.Context(), k, "b", work)
		ctxs := []context.Context{harness.Receive(t, "a", started), harness.Receive(t, "b", started)}
		l := lock(t, k, "c")
		ctxs = append(ctxs, l.Context())
		var waiters []<-chan error
		for range 3 {
			waiters = append(waiters, do(t.Context(), k, "a", nothing), do(t.Context(), k, "c", nothing))
		}
		queuedHere(t, k, "a", 3)
		queuedHere(t, k, "c", 3)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := k.Close(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("Close while work goes on: %v", err)
		}
		for _, ctx := range ctxs {
			harness.Receive(t, "the context to end", ctx.Done())
			if cause := context.Cause(ctx); cause != ErrClosed {
				t.Errorf("a context ended by %v", cause)
			}
		}
		for _, w := range waiters {
			if err := harness.Receive(t, "the wait to end", w); !errors.Is(err, ErrClosed) {
				t.Errorf("a wait ended by %v", err)
			}
		}
		if err := k.WithLock(t.Context(), "free", nothing); !errors.Is(err, ErrClosed) {
			t.Errorf("a new lock: %v", err)
		}
		other := process(t, nodes)
		if _, err := other.TryLock(t.Context(), "a"); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("while the work ends its key is given away: %v", err)
		}
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- k.Close(t.Context()) }()
		}
		close(finish)
		for _, w := range []<-chan error{a, b} {
			if err := harness.Receive(t, "the work", w); err != ErrClosed {
				t.Errorf("the work ended by %v", err)
			}
		}
		for range 2 {
			if err := harness.Receive(t, "Close", closed); err != nil {
				t.Error(err)
			}
		}
		for _, key := range []string{"a", "b", "c"} { // all are free
			release(t, lock(t, other, key))
		}
		if err := k.WithLock(t.Context(), "free", nothing); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestLocker_Close_NoWorkBeginsAfterIt(t *testing.T) {
	k := process(t, harness.Embedded(t, 1))
	if err := k.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k.begin() { // with a lock that was given just before
		t.Error("work began")
	}
}

func TestLocker_Close_ReleasesALockThatIsGrantedMeanwhile(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 1)
	c := open(t, nodes, cluster.Config{})
	other := patient(t, nodes)
	for range 15 {
		k := locker(t, c, Config{Backoff: hourly})
		l := lock(t, other, "k")
		waiters := []<-chan error{do(t.Context(), k, "k", nothing), do(t.Context(), k, "k", nothing)}
		queued(t, nodes, "k", 1)
		queuedHere(t, k, "k", 1)
		released := make(chan error, 1)
		go func() { released <- l.Release(t.Context()) }()
		if err := k.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, w := range waiters {
			if err := harness.Receive(t, "the waiter", w); err != nil && !errors.Is(err, ErrClosed) {
				t.Fatal(err)
			}
		}
		if err := harness.Receive(t, "the release", released); err != nil {
			t.Fatal(err)
		}
		release(t, lock(t, other, "k"))
	}
}
