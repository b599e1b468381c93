//go:build unix

package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/test/machine"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// worker is one goroutine of traffic.
type worker struct {
	*client
	n     int
	rng   *rand.Rand
	store *storeConn
}

func (c *client) newWorker(n int) *worker {
	store, err := dialStore(c.cfg.Store)
	if err != nil {
		c.fail("store", err)
		os.Exit(1)
	}
	return &worker{client: c, n: n, rng: rand.New(rand.NewPCG(c.cfg.Seed, uint64(n))), store: store}
}

// work makes traffic until ctx ends.
func (c *client) work(ctx context.Context, n int) {
	w := c.newWorker(n)
	for ctx.Err() == nil {
		switch {
		case n < keepers:
			w.lease(ctx)
		case n == keepers:
			w.campaign(ctx)
		case n <= keepers+lockers:
			w.withLock(ctx)
		default:
			w.useMode(ctx, modeWorkers[n-keepers-lockers-1])
		}
		rest(ctx, w.upTo(8*time.Millisecond))
	}
}

// lap acquires every key once after the faults, and sees the last leader or is the last leader. It may take a while to
// notice that unreachable nodes have recovered.
func (c *client) lap(resign <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	w := c.newWorker(workers - 1)
	for _, key := range plainKeys() {
		w.lapOf(ctx, attempt{Key: key})
	}
	for _, key := range modeKeys {
		w.lapOf(ctx, attempt{Key: key.name, Limit: key.limit})
		if key.limit == 0 {
			w.lapOf(ctx, attempt{Key: key.name, Reads: true})
		}
	}
	if c.cfg.Last {
		w.reign(ctx, lastCandidate, resign)
		return
	}
	select {
	case <-c.sawLast:
	case <-ctx.Done():
	}
}

func (w *worker) lapOf(ctx context.Context, as attempt) {
	as.Way = lastLap
	w.under(ctx, as, func(context.Context) {})
}

// under runs fn under the lock that an attempt is for.
func (w *worker) under(ctx context.Context, as attempt, fn func(context.Context), opts ...lock.Option) {
	a := w.call(as)
	w.finish(a, w.locker.WithLock(ctx, a.Key, func(ctx context.Context) error {
		l, _ := lease.FromContext(ctx)
		a.Slot = l.Slot()
		w.hold(ctx, a, l.Token(), func() { fn(ctx) })
		return nil
	}, append(opts, a.mode()...)...))
}

func (w *worker) upTo(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d) + 1))
}

func (w *worker) oneOf(keys []string) string { return keys[w.rng.IntN(len(keys))] }

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (w *worker) begin(way, key string) *attempt {
	return w.call(attempt{Way: way, Key: key})
}

// call reports that an attempt begins.
func (w *worker) call(as attempt) *attempt {
	a := &as
	a.Client, a.Worker, a.Op = w.cfg.Number, w.n, int(w.ops.Add(1))
	a.Call = now()
	w.send(report{Kind: reportCall, Attempt: a})
	return a
}

// finish reports how an attempt ended. Without a quorum it pauses, because the next attempt would fail as fast.
func (w *worker) finish(a *attempt, err error) {
	a.Return = now()
	if errors.Is(err, lock.ErrNoQuorum) {
		defer time.Sleep(w.upTo(50 * time.Millisecond))
	}
	if err != nil {
		a.Err, a.Odd = err.Error(), odd(err)
		a.TimedOut = a.Odd && machine.TimedOut(err)
	}
	w.send(report{Kind: reportOver, Attempt: a})
}

// odd reports whether err cannot be caused by a fault or a context.
func odd(err error) bool {
	for _, want := range []error{
		lock.ErrNotAcquired, lock.ErrNoQuorum, lock.ErrLost, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, want) {
			return false
		}
	}
	return true
}

// withLock works under a lock for a short time.
func (w *worker) withLock(ctx context.Context) {
	key := w.oneOf(hotKeys)
	if w.rng.IntN(4) == 0 {
		key = w.oneOf(coldKeys)
	}
	w.briefly(ctx, attempt{Key: key}, w.oneOf(longKeys))
}

// briefly works under the lock that an attempt is for, for a short time. Some attempts wait only for a while, and others
// not at all. Those are for the key tried.
func (w *worker) briefly(ctx context.Context, as attempt, tried string) {
	var opts []lock.Option
	as.Way = "WithLock"
	switch w.rng.IntN(10) {
	case 0:
		as.Way, as.Key, opts = "TryLock", tried, []lock.Option{lock.NoWait()}
	case 1, 2, 3:
		opts = []lock.Option{lock.Wait(w.upTo(300 * time.Millisecond))}
	case 4:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.upTo(15*time.Millisecond))
		defer cancel()
	}
	d := w.upTo(20 * time.Millisecond)
	w.under(ctx, as, func(ctx context.Context) { rest(ctx, d) }, opts...)
}

// hold does the work of a holder: it reads the store, works, and then writes the next version, or reads it again if it
// holds the key to read. It stops when ctx ends, but half of the time it ignores that until it has done so. If a lease is
// lost while its last checkpoint is read, hold does nothing.
func (w *worker) hold(ctx context.Context, a *attempt, token int64, work func()) {
	at := now()
	if ctx.Err() != nil {
		return
	}
	a.Acquired, a.Token = at, token
	var ended atomic.Int64
	watched := context.AfterFunc(ctx, func() { ended.Store(now()) })
	w.send(report{Kind: reportHeld, Attempt: a})

	req := storeRequest{Key: a.place(), Token: token, Shared: isShared(a.Key), Reads: a.Reads}
	first := w.ask(req)
	work()
	if first.Accepted && (ctx.Err() == nil || w.rng.IntN(2) == 0) {
		req.Write, req.Base = !a.Reads, first.Version
		last := w.ask(req)
		if a.Reads {
			a.Saw, a.Again, a.Reread = first.Version, last.Version, now()
		}
	}

	a.Until = now()
	if !watched() && errors.Is(context.Cause(ctx), lock.ErrLost) {
		a.Lost = true
		if t := ended.Load(); t != 0 {
			a.Until = t
		}
	}
	w.send(report{Kind: reportHeld, Attempt: a})
}

func (w *worker) ask(req storeRequest) storeReply {
	req.Client = w.cfg.Number
	reply, err := w.store.ask(req)
	if err != nil {
		w.fail("store", err)
		os.Exit(1)
	}
	return reply
}
