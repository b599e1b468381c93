package lease

import "context"

// Handle identifies a key that was detached. It is text without spaces, for a
// job queue or a request. It attaches once, in a process that can reach the
// nodes: it contains no address and no credential.
type Handle string

// Detach ends the lease without releasing its key, so that another process can
// continue the work: pass the handle to that process, which calls
// [Leases.Attach]. Until then nobody holds the key, and the nodes keep it for
// the lease's TTL: acquire with a [TTL] that is longer than the handle may take
// to arrive.
//
// Detach first ends [Lease.Context] with [ErrDetached] and waits for the
// functions that [Lease.Go] runs, so none of them may call Detach. ctx may
// derive from Context: only its own deadline and the parents of Context end it.
// [MinHold] no longer applies. A lease that is shared or has a slot, or is that of
// an election or of RunOnce, cannot be detached. The error is
//
//	*LostError             the lease had been lost
//	*cluster.QuorumError   too few nodes answered; the key is released, or expires within its TTL
//	ErrReleased, ErrDetached, ErrClosed  the lease had ended before; nothing has changed
//	ctx.Err()              in the chain: nothing has changed if ctx had ended before the call; otherwise
//	                       the key is released
//	cluster.ErrConfig      the lease cannot be detached; nothing has changed
func (l *Lease) Detach(ctx context.Context) (Handle, error) {
	h, err := l.engine().Detach(ctx)
	return Handle(h), err
}

// Attach resumes a key that was detached, on the same nodes and with the same
// [Config.Prefix]. Nobody else has held the key in between. The lease is like
// one from [Leases.TryAcquire], with a larger token than the lease that was
// detached, and with its checkpoint. The options are those of [Leases.Acquire]
// except lock.Wait and lock.Shared.
//
// A handle attaches once, within the TTL of the lease that was detached. An
// attempt that fails before a quorum has granted the key changes nothing, and
// can be repeated. Once the key is granted, the handle is used up, even if
// Attach fails because ctx ends, too few nodes answer while the checkpoint is
// read, the Leases are closed, or the process crashes. The key is then
// released, or expires. The error is
//
//	*NotAcquiredError      with Class "handle": it was attached before, came too late, or the key was released by
//	                       force; with another Class: several processes attach it at the same time
//	*cluster.QuorumError   too few nodes answered; repeat it, unless the handle is used up
//	*LostError             the lease was lost before Attach returned
//	cluster.ErrConfig      the handle is malformed or of another Prefix, or an option cannot be used
//	ErrClosed              the Leases were closed
//	ctx.Err()              in the chain: ctx ended first
func (s *Leases) Attach(ctx context.Context, h Handle, opts ...Option) (*Lease, error) {
	l, err := s.engine().Attach(ctx, string(h), opts...)
	return public(l), err
}
