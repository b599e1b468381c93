package lease

import (
	"bytes"
	"context"
	"errors"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/mutex"
	"github.com/venta-hq/redlock/register"
)

// recordOf is where a key's record is.
func (s *Leases) recordOf(key string) register.Key {
	return register.Key{Name: key, Record: mutex.Companion(s.red.LockKey(key), "record")}
}

// none is what was found where there was no checkpoint.
var none register.Record

// resume brings the last checkpoint along, and overtakes whoever wrote it. Without it the lease is not given out.
func (s *Leases) resume(ctx context.Context, l *Lease) (*Lease, error) {
	last, found, err := register.Resume(ctx, s.c, s.recordOf(l.Key()), l.token, s.cfg.CheckpointTTL)
	if err != nil {
		err = l.orLost(err)
		l.t.s.unkeep(l.t)
		l.Release(context.WithoutCancel(ctx))
		return nil, errs.Errorf("redlock: acquire %q: its last checkpoint: %w", l.Key(), err)
	}
	l.found = &none
	// Also that there is none is kept: a node that was away may know what has been cleared since.
	if kept := s.keepRecord(l.t, last); found {
		l.found = &kept
	}
	return l, nil
}

// LastCheckpoint is the newest checkpoint that was kept for this key when the lease was acquired, and the token of the
// lease that made it. ok is false if there is none. data must not be changed.
func (l *Lease) LastCheckpoint() (data []byte, token int64, ok bool) {
	if l.found == nil || l.found == &none {
		return nil, 0, false
	}
	return l.found.Data, l.found.Origin, true
}

// Checkpoint keeps data, at most Config.MaxCheckpoint bytes, on a quorum of nodes for Config.CheckpointTTL, for the next
// lease on this key to go on from. When it returned nil, no later lease finds an older one. Of checkpoints that are made
// concurrently the one whose call began last counts. For as long as the lease stands the last one is kept alive, and told
// again to nodes that have forgotten it: nodes without persistence may be restarted one after another, each when the one
// before has taken part in a renewal again.
// Work that is waited for may make one when its context has ended by Release or Close. The error is
//
//	*LostError             the lease is over, or a newer one of Acquire or TryAcquire overtook it. Once a newer one was given
//	                       out nothing of this checkpoint is seen; if the newer one failed before that, the next to be given
//	                       out may find it, or the one before
//	ErrReleased, ErrClosed the lease has ended by that: nothing was sent
//	*cluster.QuorumError   too few nodes answered; the next lease may find this checkpoint or the one before
//	ctx.Err()              in the chain; the same is open
//	cluster.ErrConfig      data is too large, or the lease does not come from Acquire or TryAcquire of Leases
func (l *Lease) Checkpoint(ctx context.Context, data []byte) error {
	if limit := l.t.s.cfg.MaxCheckpoint; len(data) > limit {
		return fieldError("Checkpoint", "%d bytes; at most Config.MaxCheckpoint, %d; keep more elsewhere and its place here", len(data), limit)
	}
	return l.record(ctx, register.Record{Data: bytes.Clone(data)})
}

// ClearCheckpoint forgets the checkpoints of this key, at the end of a job. The errors are those of Checkpoint.
func (l *Lease) ClearCheckpoint(ctx context.Context) error {
	return l.record(ctx, register.Record{Deleted: true})
}

func (l *Lease) record(ctx context.Context, r register.Record) error {
	if l.found == nil {
		return fieldError("Checkpoint", "the lease on %q keeps none; acquire it with Leases.Acquire or TryAcquire", l.Key())
	}
	if err := l.Err(); err != nil && !l.t.s.stands(l.t, l) {
		return err
	}
	s := l.t.s
	r.Token, r.Origin = l.token, l.token
	return l.orLost(register.Write(ctx, s.c, s.recordOf(l.Key()), s.keepRecord(l.t, r), s.cfg.CheckpointTTL))
}

// orLost turns the refusal of a record by a newer token into the loss of the lease that it shows.
func (l *Lease) orLost(err error) error {
	if !errors.Is(err, register.ErrOvertaken) {
		return err
	}
	l.t.s.lose(l.t, overtaken)
	if lost := l.lost(); lost != nil {
		return lost
	}
	return l.t.hold.Lost(overtaken)
}
