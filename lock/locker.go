package lock

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/telemetry"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/mutex"
)

// Locker runs functions, or gives out leases, under locks. All methods may be called concurrently. One Locker serves a
// whole process.
type Locker struct {
	c      *cluster.Cluster
	tel    *telemetry.Telemetry // nil: nothing is reported
	leases *lease.Leases
	stats  counters

	shut   chan struct{} // closed when closing
	closed chan struct{}

	mu      sync.Mutex
	closing bool
	queues  map[string]*waitQueue
	waiters sync.Pool     // of *waiter: on a hot key each call needs one, and what is thrown away is collected while all wait
	work    int           // functions running under a lock
	idle    chan struct{} // closed when closing and work is zero

	unwatch func()
}

// New makes a Locker on a set of nodes. The error matches cluster.ErrConfig and names every bad field.
func New(c *cluster.Cluster, cfg Config) (*Locker, error) {
	leases, err := lease.New(c, cfg)
	if err != nil {
		return nil, err
	}
	k := &Locker{
		c: c, tel: c.Telemetry(), leases: leases, queues: map[string]*waitQueue{},
		shut: make(chan struct{}), closed: make(chan struct{}), idle: make(chan struct{}),
	}
	k.watch()
	return k, nil
}

// WithLock runs fn while holding key, on the caller's goroutine. It waits for the key until ctx ends or as long as the
// Wait option says; who waits in one process is served in order. fn's context ends when the lock is lost, before
// anybody else can have it (context.Cause says why), or with ctx. The lock is released when fn returns or panics.
//
// It returns fn's own error unchanged, joined with the *LostError if the lock was lost while fn ran. When fn did not run
// it returns
//
//	*NotAcquiredError      somebody else held the key until ctx or Wait ended; ctx.Err() is in the chain if ctx ended
//	*cluster.QuorumError   too few nodes answered, and did so until ctx or Wait ended; with NoWait at once
//	ErrReentrant           ctx comes from a WithLock or lease on the same key
//	*LostError             it was lost before fn began
//	ErrClosed, cluster.ErrConfig
//
// A release that does not reach a quorum is logged and counted: fn has succeeded, and the key expires.
func (k *Locker) WithLock(ctx context.Context, key string, fn func(ctx context.Context) error, opts ...Option) error {
	if k == nil {
		return errNil
	}
	ctx, span := k.tel.Under(ctx, key)
	defer span.End()
	l, err := k.acquire(ctx, ctx, key, opts)
	if err != nil {
		if span != nil {
			span.Failed(refusalClass(err))
		}
		return err
	}
	if !k.begin() {
		k.release(ctx, l)
		span.Failed("closed")
		return errs.Errorf("redlock: %q: %w", key, ErrClosed)
	}
	span.Got(l.Token())
	defer k.end()
	released := false
	defer func() {
		if !released { // fn panicked or left the goroutine
			span.Done()
			k.release(ctx, l)
		}
	}()
	err = fn(l.Context())
	released = true
	span.Done()
	lost := k.release(ctx, l)
	if lost != nil {
		span.Failed("lost")
	}
	if lost != nil && !errors.Is(err, lost) {
		return errors.Join(err, lost)
	}
	return err
}

// Do is WithLock for a function with a result.
func Do[T any](ctx context.Context, k *Locker, key string, fn func(ctx context.Context) (T, error), opts ...Option) (T, error) {
	var result T
	err := k.WithLock(ctx, key, func(ctx context.Context) (err error) {
		result, err = fn(ctx)
		return err
	}, opts...)
	return result, err
}

// Lock waits for key until ctx ends and gives out a lease, which is kept alive until it is released. ctx bounds only the
// waiting. The errors are those of WithLock.
func (k *Locker) Lock(ctx context.Context, key string, opts ...Option) (*lease.Lease, error) {
	return k.acquire(ctx, context.WithoutCancel(ctx), key, opts)
}

// TryLock is Lock with NoWait.
func (k *Locker) TryLock(ctx context.Context, key string, opts ...Option) (*lease.Lease, error) {
	return k.Lock(ctx, key, append(slices.Clone(opts), NoWait())...)
}

// errNil is the error of a program that ignored the one of New.
var errNil = errs.Errorf("%w: Locker: is nil; see the error of lock.New", cluster.ErrConfig)

// acquire gets the lease. Its context derives from parent.
func (k *Locker) acquire(ctx, parent context.Context, key string, opts []Option) (*lease.Lease, error) {
	if k == nil {
		return nil, errNil
	}
	began := k.tel.Now()
	l, err := k.get(ctx, parent, key, opts)
	if k.tel != nil {
		k.tel.Waited(ctx, key, began, refusalClass(err))
	}
	return l, err
}

func (k *Locker) get(ctx, parent context.Context, key string, opts []Option) (*lease.Lease, error) {
	req, err := gather(opts)
	if err := errors.Join(err, k.leases.Check(key, req.Request)); err != nil {
		return nil, err
	}
	if k.leases.Holds(ctx, key) {
		return nil, errs.Errorf("redlock: %q: %w", key, ErrReentrant)
	}
	if ctx.Err() != nil {
		return nil, k.refused(key, "the context had ended before", "", errs.Ended(ctx))
	}
	cfg := k.leases.Config()
	req.TTL, req.Owner, req.Parent = cmp.Or(req.TTL, cfg.TTL), cmp.Or(req.Owner, cfg.Owner), parent

	wctx, cancel := ctx, context.CancelFunc(func() {})
	if req.limited && req.wait > 0 {
		wctx, cancel = context.WithTimeout(ctx, req.wait)
	}
	l, err := k.stand(wctx, key, req)
	late := wctx.Err() != nil && ctx.Err() == nil
	cancel()
	switch {
	case err == nil && l.Err() != nil:
		err = l.Err()
		l.Release(context.WithoutCancel(ctx))
		return nil, err
	case late && err != nil:
		return nil, tooLate(err, req.wait)
	case err != nil:
		return nil, err
	}
	k.stats.acquired.Add(1)
	return l, nil
}

// tooLate is the error of a wait that was longer than the Wait option allows. Its own timer is not the caller's context.
func tooLate(err error, wait time.Duration) error {
	var held *NotAcquiredError
	switch {
	case errors.As(err, &held):
		e := *held
		e.Reason, e.Err = notWithin+wait.String()+", "+strings.TrimPrefix(held.Reason, mutex.Waited), nil
		return &e
	case errors.As(err, new(*cluster.QuorumError)):
		return mutex.WaitEnded(err, fmt.Errorf("waited %v", wait))
	}
	return err
}

const notWithin = "not given within "

// refused is the error of a call that did not come to ask the nodes.
func (k *Locker) refused(key, reason, holder string, why error) error {
	return &NotAcquiredError{Key: key, Need: k.c.Quorum(), FreeIn: -1, Reason: reason, Holder: holder, Err: why}
}

// stand waits in the queue, asks the nodes when it is its turn, and tells the queue how it went.
func (k *Locker) stand(ctx context.Context, key string, req request) (*lease.Lease, error) {
	wait := !req.limited || req.wait > 0
	ln, at, ok := k.join(key, req.Parent, req.Request, wait)
	if !ok {
		reason, holder := ln.standing()
		return nil, k.refused(key, reason, holder, nil)
	}
	req.Heir = ln
	if at != nil {
		k.stats.waits.Add(1)
		k.leases.Listen() // so that waits of other processes are heard of and hand-overs end in time
		l, err := ln.await(ctx, at)
		if l != nil || err != nil {
			return l, err
		}
	}
	req.TokenBlock = ln.block // which nobody changes while the head asks
	l, err := k.ask(ctx, key, req.Request, wait)
	ln.asked(l)
	return l, err
}

// await waits at a place in the queue. Neither a lease nor an error means that it is our turn to ask.
func (ln *waitQueue) await(ctx context.Context, at *list.Element) (*lease.Lease, error) {
	sp := at.Value.(*waiter)
	defer ln.k.clear(sp)
	select {
	case l := <-sp.turn:
		if l != nil && ctx.Err() != nil {
			l.Release(ctx) // which does not wait
			return nil, ln.gaveUp(errs.Ended(ctx))
		}
		return l, nil
	case <-ctx.Done():
		ln.leave(ctx, at)
		return nil, ln.gaveUp(errs.Ended(ctx))
	case <-ln.k.shut:
		ln.leave(ctx, at)
		return nil, errs.Errorf("redlock: acquire %q: %w", ln.key, ErrClosed)
	}
}

// gaveUp is the error of a caller that leaves the queue. Where those before it wait for a quorum, so did it.
func (ln *waitQueue) gaveUp(why error) error {
	if last := ln.k.leases.LastRefusal(ln.key); !errors.Is(last, ErrNotAcquired) && errors.Is(last, ErrNoQuorum) {
		return mutex.WaitEnded(last, why)
	}
	reason, holder := ln.standing()
	return ln.k.refused(ln.key, mutex.Waited+reason, holder, why)
}

func (k *Locker) ask(ctx context.Context, key string, req lease.Request, wait bool) (*lease.Lease, error) {
	if wait {
		return k.leases.Await(ctx, key, req)
	}
	return k.leases.Try(ctx, key, req)
}

// release gives the lock back after its work, and returns the loss if it was lost.
func (k *Locker) release(ctx context.Context, l *lease.Lease) error {
	err := l.Release(context.WithoutCancel(ctx))
	if err == nil || errors.Is(err, ErrReleased) {
		return nil
	}
	var lost *LostError
	if errors.As(err, &lost) {
		return lost
	}
	k.stats.releaseFailures.Add(1)
	k.c.Say(slog.LevelWarn, "release did not reach a quorum; the key expires", "key", l.Key(), "error", err)
	return nil
}

func isLost(err error) bool { return errors.Is(err, ErrLost) }

func (k *Locker) begin() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closing {
		return false
	}
	k.work++
	return true
}

func (k *Locker) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.work--; k.work == 0 && k.closing {
		close(k.idle)
	}
}

// Close ends all waits and the contexts of all holders, with ErrClosed, waits until the functions that run under locks
// have returned, and releases what is still held. It may be called again; every call waits. ctx bounds only the waiting:
// the closing goes on.
func (k *Locker) Close(ctx context.Context) error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	if !k.closing {
		k.closing = true
		close(k.shut)
		if k.work == 0 {
			close(k.idle)
		}
		go k.finish()
	}
	k.mu.Unlock()
	select {
	case <-k.closed:
		return nil
	case <-ctx.Done():
		return errs.Errorf("redlock: close: %w", errs.Ended(ctx))
	}
}

func (k *Locker) finish() {
	defer close(k.closed)
	k.leases.Cancel(ErrClosed)
	<-k.idle
	k.leases.Close(context.Background())
	k.unwatch()
}

// Stats counts what a Locker has done since it was made.
type Stats struct {
	Acquired        int64 // locks given, hand-overs among them
	Waits           int64 // calls that waited for another call of this process
	HandOvers       int64 // locks given on within this process without asking the nodes, also to a caller that had just given up
	Losses          int64 // locks lost while held
	ReleaseFailures int64 // releases that did not reach a quorum
}

type counters struct{ acquired, waits, handOvers, losses, releaseFailures atomic.Int64 }

// Stats may be called at any time; the numbers are not taken at one instant.
func (k *Locker) Stats() Stats {
	if k == nil {
		return Stats{}
	}
	s := &k.stats
	return Stats{s.acquired.Load(), s.waits.Load(), s.handOvers.Load(), s.losses.Load(), s.releaseFailures.Load()}
}
