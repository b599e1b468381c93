package lease

import (
	"context"
	"time"

	"github.com/venta-hq/redlock/internal/keepalive"
)

// Lease is a key that is held, and renewed until it is released or lost. All
// methods may be called concurrently. Leases come from [Leases.Acquire],
// [Leases.TryAcquire], [Leases.Campaign], and from Lock and TryLock of a
// lock.Locker.
//
// The engine's lease is the same memory under another type, so a pointer converts,
// and a lease is one pointer wherever it is asked for.
type Lease keepalive.Lease

// public is the lease that programs see of the engine's l.
func public(l *keepalive.Lease) *Lease { return (*Lease)(l) }

func (l *Lease) engine() *keepalive.Lease { return (*keepalive.Lease)(l) }

// FromContext returns the lease whose [Lease.Context] ctx derives from, the
// innermost if there are several. Under WithLock of a lock.Locker it is the lease of
// that lock; under WithLocks and LockAll it is that of the last key, and its
// [Lease.Go] and [Lease.Release] are for that key alone.
func FromContext(ctx context.Context) (l *Lease, ok bool) {
	in, ok := keepalive.FromContext(ctx)
	return public(in), ok
}

// Key returns the caller's key, without Config.Prefix.
func (l *Lease) Key() string { return l.engine().Key() }

// Token returns the fencing token. It is larger than the token of every earlier
// holder of the key. Pass it to the storage that the work writes to, and let that
// refuse smaller ones.
func (l *Lease) Token() int64 { return l.engine().Token() }

// Context returns a context that ends when the lease does. context.Cause reports
// why: a [*LostError], [ErrReleased], [ErrDetached] or [ErrClosed].
func (l *Lease) Context() context.Context { return l.engine().Context() }

// Done returns a channel that is closed when the lease ends, as that of
// [Lease.Context]. It costs less than a context.
func (l *Lease) Done() <-chan struct{} { return l.engine().Done() }

// Err returns nil while the lease is valid, then the cause of its end. It compares
// the clock with the deadline, so a process that was stopped learns of its loss from
// its first call.
func (l *Lease) Err() error { return l.engine().Err() }

// Deadline returns the time until which no other process can acquire the key. Each
// renewal that a quorum of nodes confirms moves it.
func (l *Lease) Deadline() time.Time { return l.engine().Deadline() }

// Go runs fn on a new goroutine, as work under the lease: Release and Close end the
// context that fn is given, and wait for fn to return before they release the key.
// A lease that is lost does not wait: others may acquire the key soon after the
// context ended. Go returns the lease's error, without running fn, if the lease has
// ended.
//
// fn must not call Release with a context that does not end: each would wait for the
// other.
func (l *Lease) Go(fn func(ctx context.Context)) error { return l.engine().Go(fn) }

// Release ends the lease: its context ends with ErrReleased, the functions that Go
// runs are waited for, renewal stops, and the key is released. It waits until other
// processes can acquire the key, or ctx ends; the release goes on then, even if ctx
// had ended before the call. It returns nil, or
//
//	*LostError             the lease had been lost
//	*cluster.QuorumError   too few nodes answered; the key expires within its TTL
//	ErrReleased            it was released before
//	ctx.Err()              in the chain: ctx ended before the release was confirmed
func (l *Lease) Release(ctx context.Context) error { return l.engine().Release(ctx) }

// LastCheckpoint returns the newest checkpoint of the key when the lease was
// acquired, and the token of the lease that wrote it. ok is false if there was none.
// data must not be changed.
//
// A lease of a lock.Locker is acquired without it: LastCheckpoint returns what its
// first Checkpoint or ClearCheckpoint found, and ok is false before that.
func (l *Lease) LastCheckpoint() (data []byte, token int64, ok bool) {
	return l.engine().LastCheckpoint()
}

// Checkpoint writes data, at most Config.MaxCheckpoint bytes, to a quorum of nodes,
// for the next lease on the key to resume from. Once it has returned nil, no later
// lease finds an older checkpoint. Of concurrent calls, the one that began last
// wins. The checkpoint is kept for Config.CheckpointTTL, and for as long as the
// lease is held; nodes that lost it receive it again with a renewal. Nodes without
// persistence may be restarted one after another, each once the one before has taken
// part in a renewal again. The first call of a lease of a lock.Locker takes two
// round trips more, to take over the checkpoint of the lease before.
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
//	cluster.ErrConfig      data is too large, or the lease is that of an election or of RunOnce
func (l *Lease) Checkpoint(ctx context.Context, data []byte) error {
	return l.engine().Checkpoint(ctx, data)
}

// ClearCheckpoint deletes the checkpoint of the key, at the end of a job. The errors
// are those of Checkpoint.
func (l *Lease) ClearCheckpoint(ctx context.Context) error { return l.engine().ClearCheckpoint(ctx) }
