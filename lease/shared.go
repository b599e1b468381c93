package lease

import "context"

// Downgrade makes a holder a reader: the lease goes on, and other callers with
// lock.Shared can hold the key beside it once a quorum of nodes has answered. Those
// of the same Locker can at once, unless a holder waits. Stop writing before the call. Token returns the
// reader's token from then on, which may be larger, and Context stays as it is.
//
// If Downgrade fails for another reason than that the lease has ended or cannot be
// shared, the lease is a reader's all the same, and the nodes follow with its next
// renewal. A lease that is shared can no longer checkpoint or be detached. The error
// is
//
//	*LostError             the lease has ended
//	*cluster.QuorumError   too few nodes answered
//	ErrReleased            it was released before, or meanwhile
//	ctx.Err()              in the chain: ctx ended first
//	cluster.ErrConfig      the lease is shared, has a MinHold, or is that of an election or of RunOnce
func (l *Lease) Downgrade(ctx context.Context) error { return l.engine().Downgrade(ctx) }
