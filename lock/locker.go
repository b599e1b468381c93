package lock

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/telemetry"
	"github.com/venta-hq/redlock/lease"
)

// Locker runs functions under locks, or issues leases. All methods may be
// called concurrently. One Locker serves a whole process.
type Locker struct {
	opened
	c     *nodeset.Set
	tel   *telemetry.Telemetry // nil: nothing is reported
	stats counters

	closed chan struct{}

	mu      sync.Mutex
	closing bool
	work    int           // functions running under a lock
	idle    chan struct{} // closed when closing and work is zero

	unwatch func()
	owned   *cluster.Cluster // what Open opened; nil: the Cluster is the caller's to close
}

type opened = face.Of[keepalive.Leases]

func (k *Locker) engine() *keepalive.Leases { return face.In(k) }

// New makes a Locker on a set of nodes. The error matches [cluster.ErrConfig]
// and names every bad field. The caller must Close the Locker before the
// Cluster.
func New(c *cluster.Cluster, cfg Config) (*Locker, error) {
	set := face.In(c)
	leases, err := keepalive.New(set, keepalive.Config(cfg))
	if err != nil {
		return nil, err
	}
	k := &Locker{
		opened: face.Make(leases), c: set, tel: set.Telemetry(),
		closed: make(chan struct{}), idle: make(chan struct{}),
	}
	k.watch()
	return k, nil
}

// WithLock acquires the lock on key, runs fn on the caller's goroutine, and
// releases the lock when fn returns or panics. It waits for the lock until ctx
// ends, or as long as the option [Wait] says. Callers within a process acquire
// a key in FIFO order.
//
// fn's context ends with ctx, and when the lock is lost, before another process
// can acquire the key. [context.Cause] reports why.
//
// WithLock returns fn's error unchanged, joined with a [*LostError] if the lock
// was lost while fn ran. If fn did not run, the error is
//
//	*NotAcquiredError      another holder had the key until ctx or Wait ended; ctx.Err() is in the chain if ctx ended
//	*cluster.QuorumError   too few nodes answered until ctx or Wait ended; with NoWait, returned at once
//	ErrReentrant           ctx comes from a WithLock or lease on the same key
//	*LostError             the lock was lost before fn began
//	ErrClosed              the Locker or its Cluster was closed
//	cluster.ErrConfig      the key or an option cannot be used
//
// A release that does not reach a quorum is no error: it is logged and counted,
// and the key expires within its TTL.
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
	span.Got(l.Token())
	return k.run(span, key, l.Context(), fn, func() error { return k.release(ctx, l) })
}

// run runs fn under a lock whose context is ctx, and then calls release. key
// names the lock in errors.
func (k *Locker) run(span *telemetry.Span, key string, ctx context.Context, fn func(context.Context) error, release func() error) error {
	if !k.begin() {
		release()
		span.Failed("closed")
		return errs.Errorf("redlock: %q: %w", key, ErrClosed)
	}
	defer k.end()
	released := false
	defer func() {
		if !released { // fn panicked or left the goroutine
			span.Done()
			release()
		}
	}()
	err := fn(ctx)
	released = true
	span.Done()
	lost := release()
	if lost != nil {
		span.Failed("lost")
	}
	if lost != nil && !errors.Is(err, lost) {
		return errors.Join(err, lost)
	}
	return err
}

// Do is [Locker.WithLock] for a function that returns a result.
func Do[T any](ctx context.Context, k *Locker, key string, fn func(ctx context.Context) (T, error), opts ...Option) (T, error) {
	var result T
	err := k.WithLock(ctx, key, func(ctx context.Context) (err error) {
		result, err = fn(ctx)
		return err
	}, opts...)
	return result, err
}

// Lock waits for key until ctx ends and returns a lease, which is renewed until
// it is released or lost. ctx bounds only the waiting. The lease can checkpoint
// and be detached like those of package lease, but its
// [lease.Lease.LastCheckpoint] reports nothing before its first Checkpoint. The
// errors are those of [Locker.WithLock].
func (k *Locker) Lock(ctx context.Context, key string, opts ...Option) (*lease.Lease, error) {
	l, err := k.acquire(ctx, context.WithoutCancel(ctx), key, opts)
	return (*lease.Lease)(l), err
}

// TryLock is [Locker.Lock] with the option [NoWait].
func (k *Locker) TryLock(ctx context.Context, key string, opts ...Option) (*lease.Lease, error) {
	return k.Lock(ctx, key, append(slices.Clone(opts), NoWait())...)
}

// errNil is the error of a nil Locker, of a program that ignored the error of
// New.
var errNil = errs.Errorf("%w: Locker: is nil; see the error of lock.New", cluster.ErrConfig)

// acquire acquires the lease, whose context derives from parent.
func (k *Locker) acquire(ctx, parent context.Context, key string, opts []Option) (l *keepalive.Lease, err error) {
	if k == nil {
		return nil, errNil
	}
	req := keepalive.Options(opts)
	req.Parent = parent
	if k.tel != nil {
		began, mode := k.tel.Now(), string(req.Mode())
		defer func() { k.tel.Waited(ctx, key, mode, began, refusalClass(err)) }()
	}
	if err := k.reentry(ctx, key); err != nil {
		return nil, err
	}
	if l, err = k.engine().Lock(ctx, key, req); err != nil {
		return nil, err
	}
	if err = l.Err(); err != nil {
		l.Release(context.WithoutCancel(ctx))
		return nil, err
	}
	k.stats.acquired.Add(1)
	return l, nil
}

// reentry is ErrReentrant if ctx holds key.
func (k *Locker) reentry(ctx context.Context, key string) error {
	if k.engine().Holds(ctx, key) {
		return errs.Errorf("redlock: %q: %w", key, ErrReentrant)
	}
	return nil
}

// release releases the lock after its work, and returns a [*LostError] if it
// had been lost.
func (k *Locker) release(ctx context.Context, l *keepalive.Lease) error {
	return k.released(l.Key(), l.Release(context.WithoutCancel(ctx)))
}

// released counts and logs the result of a release. It returns a [*LostError]
// if the lock had been lost.
func (k *Locker) released(key string, err error) error {
	if err == nil || errors.Is(err, ErrReleased) || errors.Is(err, lease.ErrDetached) {
		return nil
	}
	var lost *LostError
	if errors.As(err, &lost) {
		return lost
	}
	k.stats.releaseFailures.Add(1)
	k.c.Say(slog.LevelWarn, "release did not reach a quorum; the key expires", "key", key, "error", err)
	return nil
}

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

// Close ends all waits and the contexts of all holders, with [ErrClosed], waits
// until the functions that run under locks have returned, and releases what is
// still held. It may be called again; every call waits. If ctx ends first,
// Close returns an error with ctx.Err() in its chain, and closing continues in
// the background.
func (k *Locker) Close(ctx context.Context) error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	if !k.closing {
		k.closing = true
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
	k.engine().Cancel(ErrClosed)
	<-k.idle
	k.engine().Close(context.Background())
	k.unwatch()
	if k.owned != nil {
		k.owned.Close(context.Background())
	}
}

// Stats counts what a Locker has done since it was made.
type Stats struct {
	Acquired        int64 // locks acquired, including hand-overs
	Waits           int64 // calls that waited for another call of this process
	HandOvers       int64 // locks handed over within this process without a round trip, also to a caller that had just given up; readers that joined others
	Losses          int64 // locks lost while held
	ReleaseFailures int64 // releases that did not reach a quorum
}

type counters struct{ acquired, releaseFailures atomic.Int64 }

// Stats returns the counts so far. They are not read at one instant.
func (k *Locker) Stats() Stats {
	if k == nil {
		return Stats{}
	}
	s := k.engine().Stats()
	return Stats{
		Acquired: k.stats.acquired.Load(), Waits: s.Waits, HandOvers: s.HandOvers, Losses: s.Losses,
		ReleaseFailures: k.stats.releaseFailures.Load(),
	}
}
