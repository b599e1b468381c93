package lease

import (
	"context"
	"time"

	"github.com/venta-hq/redlock/internal/keepalive"
)

// Lease holds a key, and renews it until it is released or lost. All methods
// may be called concurrently. Leases come from [Leases.Acquire],
// [Leases.TryAcquire], [Leases.Attach], [Leases.Campaign], and from Lock and
// TryLock of a lock.Locker.
//
// Wherever a lease is returned, it is the same pointer.
type Lease keepalive.Lease

// public converts the engine's lease to the type that programs use. Both types
// describe the same memory, so a lease has one pointer.
func public(l *keepalive.Lease) *Lease { return (*Lease)(l) }

func (l *Lease) engine() *keepalive.Lease { return (*keepalive.Lease)(l) }

// FromContext returns the lease whose [Lease.Context] ctx derives from, the
// innermost if there are several. ok is false if there is none. Under WithLock
// of a lock.Locker it is the lease of that lock. Under WithLocks and LockAll it
// is that of the last key, and its [Lease.Go] and [Lease.Release] concern that
// key alone.
func FromContext(ctx context.Context) (l *Lease, ok bool) {
	in, ok := keepalive.FromContext(ctx)
	return public(in), ok
}

// Key returns the caller's key, without [Config.Prefix].
func (l *Lease) Key() string { return l.engine().Key() }

// Token returns the fencing token. It is larger than the token of every earlier
// holder of the key. Pass it to the storage that the work writes to, and let that
// refuse smaller ones. The token of a reader is at least that of every earlier
// holder, and other readers may have the same one.
func (l *Lease) Token() int64 { return l.engine().Token() }

// Context returns a context that ends when the lease does. [context.Cause]
// reports why: a [*LostError], [ErrReleased], [ErrDetached] or [ErrClosed].
func (l *Lease) Context() context.Context { return l.engine().Context() }

// Done returns a channel that is closed when the lease ends, like that of
// [Lease.Context]. It costs less than a context.
func (l *Lease) Done() <-chan struct{} { return l.engine().Done() }

// Err returns nil while the lease is valid, and afterwards why it ended. It
// compares the clock with the deadline, so a process that was stopped learns of
// a loss from its first call.
func (l *Lease) Err() error { return l.engine().Err() }

// Deadline returns the time until which no other process can acquire the key. Each
// renewal that a quorum of nodes confirms moves it.
func (l *Lease) Deadline() time.Time { return l.engine().Deadline() }

// Go runs fn on a new goroutine, as work under the lease: [Lease.Release] and
// [Leases.Close] end the context that is passed to fn, and wait for fn to
// return before they release the key. A lease that is lost does not wait:
// others may acquire the key soon after the context ended. If the lease has
// ended, Go returns its error and does not run fn.
//
// fn must not call Release with a context that does not end: the two would
// deadlock.
func (l *Lease) Go(fn func(ctx context.Context)) error { return l.engine().Go(fn) }

// Release ends the lease's context with [ErrReleased], waits for the functions
// that [Lease.Go] runs, stops the renewals, and releases the key. It waits
// until other processes can acquire the key, or ctx ends; the release then
// continues in the background, even if ctx had ended before the call. The error
// is nil, or
//
//	*LostError             the lease had been lost
//	*cluster.QuorumError   too few nodes answered; the key expires within its TTL
//	ErrReleased            it was released before
//	ctx.Err()              in the chain: ctx ended before the release was confirmed
func (l *Lease) Release(ctx context.Context) error { return l.engine().Release(ctx) }

// LastCheckpoint returns the newest checkpoint of the key at the time when the
// lease was acquired, and the token of the lease that wrote it. ok is false if
// there was none. data must not be modified.
//
// A reader (lock.Shared) does not take the checkpoint over. So one whose
// Checkpoint returned an error may be found by one reader and not by the next.
//
// A lease of a lock.Locker is acquired without reading the checkpoint:
// LastCheckpoint returns what its first Checkpoint or ClearCheckpoint found,
// and ok is false before that.
func (l *Lease) LastCheckpoint() (data []byte, token int64, ok bool) {
	return l.engine().LastCheckpoint()
}

// Checkpoint writes data, at most [Config.MaxCheckpoint] bytes, to a quorum of
// nodes, for the next lease on the key to resume from. After it has returned
// nil, no later lease finds an older checkpoint. Of concurrent calls, the one
// that began last wins.
//
// The checkpoint is kept for [Config.CheckpointTTL], and for as long as the
// lease is held; a renewal writes it again to nodes that lost it. Nodes without
// persistence may be restarted one after another, each after the one before has
// taken part in a renewal. The first call on a lease of a lock.Locker takes two
// more round trips, to take over the checkpoint of the lease before.
//
// Functions that [Lease.Go] runs may call it after Release or Close ended their
// context. The error is
//
//	*LostError             the lease has ended, or a newer one has taken over its checkpoint. No lease
//	                       finds this checkpoint once a newer one was returned to its caller; if the
//	                       newer one failed before that, the next may find it, or the one before
//	ErrReleased, ErrClosed the lease has ended; nothing was sent
//	*cluster.QuorumError   too few nodes answered; the next lease finds this checkpoint or the one before
//	ctx.Err()              in the chain; as above
//	cluster.ErrConfig      data is too large, or the lease is shared, has a slot, or is that of an election or of RunOnce
func (l *Lease) Checkpoint(ctx context.Context, data []byte) error {
	return l.engine().Checkpoint(ctx, data)
}

// ClearCheckpoint deletes the checkpoint of the key, at the end of a job. The
// errors are those of [Lease.Checkpoint].
func (l *Lease) ClearCheckpoint(ctx context.Context) error { return l.engine().ClearCheckpoint(ctx) }
