package lease

import (
	"context"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/keepalive"
)

// Leases acquires leases and renews them. All methods may be called
// concurrently. One goroutine renews all leases, so one Leases serves a whole
// process.
type Leases struct{ opened }

type opened = face.Of[keepalive.Leases]

// New returns Leases on a set of nodes. The error matches [cluster.ErrConfig]
// and names every field that cannot be used. The caller must Close the Leases
// before the Cluster.
func New(c *cluster.Cluster, cfg Config) (*Leases, error) {
	s, err := keepalive.New(face.In(c), keepalive.Config(cfg))
	if err != nil {
		return nil, err
	}
	return &Leases{face.Make(s)}, nil
}

// engine is nil for Leases that could not be made.
func (s *Leases) engine() *keepalive.Leases { return face.In(s) }

// Acquire waits for key until ctx ends: while it is held elsewhere, and while
// too few nodes answer. The lease lives until it is released or lost; ctx
// bounds only the waiting, and its values are those of the lease's context. The
// option lock.Wait also bounds the waiting, and lock.NoWait makes Acquire a
// [Leases.TryAcquire]. With lock.Shared the lease is a reader's: see the package
// comment.
//
// The lease carries the last checkpoint of key: see [Lease.LastCheckpoint]. If
// too few nodes answer while it is read, the key is released and acquired
// again.
//
// The error is
//
//	*NotAcquiredError      the key was held elsewhere until ctx ended
//	*cluster.QuorumError   too few nodes answered until ctx ended
//	*LostError             the lease was lost before Acquire returned
//	cluster.ErrConfig      the key or an option cannot be used; returned at once
//	ErrClosed              the Leases were closed; returned at once
//
// The first two have ctx.Err() in their chain if ctx ended.
func (s *Leases) Acquire(ctx context.Context, key string, opts ...Option) (*Lease, error) {
	l, err := s.engine().Acquire(ctx, key, opts...)
	return public(l), err
}

// TryAcquire does not wait for key. It asks the nodes once, and a few times
// more if concurrent attempts split the votes and nobody holds the key. The
// errors are those of [Leases.Acquire], all returned at once. The option
// lock.Wait is refused with an error that matches [cluster.ErrConfig].
func (s *Leases) TryAcquire(ctx context.Context, key string, opts ...Option) (*Lease, error) {
	l, err := s.engine().TryAcquire(ctx, key, opts...)
	return public(l), err
}

// Close ends the contexts of all leases and all waits with [ErrClosed], waits
// until the functions that [Lease.Go] runs have returned, and releases the
// leases. Keys that [MinHold] keeps are left to expire. When Close returns nil,
// no goroutine of these Leases is left. It may be called again; every call
// waits. If ctx ends first, Close returns an error with ctx.Err() in its chain,
// and closing continues in the background.
func (s *Leases) Close(ctx context.Context) error { return s.engine().Close(ctx) }
