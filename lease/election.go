package lease

import (
	"context"

	"github.com/venta-hq/redlock/internal/keepalive"
)

// Leader is the leader of an election. Its fields are
//
//	Name      string    // the election
//	Candidate string    // the leader's label; "" when nobody leads
//	Token     int64     // its fencing token, larger than that of every earlier leader
//	Since     time.Time // by the leader's clock
type Leader = keepalive.Leader

// Campaign waits until this process leads the election called name, or ctx
// ends, and returns the leader's lease. candidate is the label that others see;
// it replaces [Config.Owner]. A candidate keeps waiting while too few nodes
// answer. The errors are those of [Leases.Acquire].
//
// [Lease.Release] resigns: it waits for the functions that [Lease.Go] runs, and
// the next candidate leads at once. The options [MinHold] and lock.Shared are
// refused.
func (s *Leases) Campaign(ctx context.Context, name, candidate string, opts ...Option) (*Lease, error) {
	l, err := s.engine().Campaign(ctx, name, candidate, opts...)
	return public(l), err
}

// Leader asks the nodes who leads. ok is false if nobody does, or if a new
// leader has not yet announced itself to a quorum. The answer may be stale by
// the time it is returned. The error is a [*cluster.QuorumError], or has
// ctx.Err() in its chain.
func (s *Leases) Leader(ctx context.Context, name string) (leader Leader, ok bool, err error) {
	return s.engine().Leader(ctx, name)
}

// Observe reports the leader of an election: the current one, then each change.
// A Leader without a Candidate means that nobody leads. A slow receiver may
// miss changes that newer ones have replaced, but never the newest. Leaders
// announce themselves; Observe also asks the nodes whenever the leader's TTL is
// over.
//
// The channel is closed when ctx ends or the Leases are closed.
func (s *Leases) Observe(ctx context.Context, name string) (<-chan Leader, error) {
	return s.engine().Observe(ctx, name)
}
