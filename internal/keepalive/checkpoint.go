package keepalive

import (
	"bytes"
	"context"
	"errors"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/record"
)

// recordOf is where a key's record is.
func (s *Leases) recordOf(key string) record.Key {
	return record.Key{Name: key, Record: quorumlock.Companion(s.red.LockKey(key), "record")}
}

// none is what was found where there was no checkpoint.
var none record.Record

// resume reads the last checkpoint, and overtakes its writer, unless the lease is a
// reader's. If it fails, the lease is not issued.
func (s *Leases) resume(ctx context.Context, l *Lease) (*Lease, error) {
	var err error
	if l.Shared() {
		err = l.look(ctx)
	} else {
		err = l.resume(ctx, l.Token())
	}
	if err != nil {
		l.abandon(ctx)
		return nil, errs.Errorf("redlock: acquire %q: its last checkpoint: %w", l.Key(), err)
	}
	return l, nil
}

// resume makes the key's record this lease's, by its token, and finds the last
// checkpoint.
func (l *Lease) resume(ctx context.Context, token int64) error {
	s := l.t.s
	last, found, err := record.ResumeAgain(ctx, s.c, s.recordOf(l.Key()), token, int64(l.resumes), s.cfg.CheckpointTTL)
	l.resumes++
	if err != nil {
		return l.orLost(err)
	}
	// The absence of a checkpoint is recorded too: a node that was unreachable
	// may still have one that was cleared since.
	kept := s.keepRecord(l.t, last)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found = &none
	if found {
		l.found = &kept
	}
	return nil
}

// look finds the last checkpoint, which stays what it is: several readers may look at
// once, under one token, and none of them is a writer to be overtaken.
func (l *Lease) look(ctx context.Context) error {
	s := l.t.s
	last, found, err := record.Read(ctx, s.c, s.recordOf(l.Key()), s.cfg.CheckpointTTL)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.found = &none
	if found {
		l.found = &last
	}
	l.mu.Unlock()
	return l.Err() // what was read after a loss may be the next holder's
}

// CheckpointInfo is lease.CheckpointInfo.
type CheckpointInfo struct {
	Key      string
	Token    int64
	Revision int64
	Size     int
}

// CheckpointInfo is lease.Leases.CheckpointInfo.
func (s *Leases) CheckpointInfo(ctx context.Context, key string) (info CheckpointInfo, ok bool, err error) {
	if s == nil {
		return CheckpointInfo{}, false, errNil
	}
	r, size, ok, err := record.Size(ctx, s.c, s.recordOf(key), s.cfg.CheckpointTTL)
	if err != nil || !ok {
		return CheckpointInfo{}, false, err
	}
	info = CheckpointInfo{Key: key, Token: r.Origin, Size: size}
	if r.Token == r.Origin {
		info.Revision = r.Seq
	}
	return info, true, nil
}

// resumeOnce is resume for a lease that was acquired without it, before its first
// checkpoint. Concurrent calls wait for the first. What it finds after a failure is
// as new as what it had found before.
func (l *Lease) resumeOnce(ctx context.Context, token int64) error {
	for {
		l.mu.Lock()
		if l.found != nil {
			l.mu.Unlock()
			return nil
		}
		other := l.resuming
		if other == nil {
			l.resuming = make(chan struct{})
		}
		l.mu.Unlock()
		if other == nil {
			break
		}
		select {
		case <-other:
		case <-ctx.Done():
			return errs.Errorf("redlock: checkpoint of %q: %w", l.Key(), errs.Ended(ctx))
		}
	}
	err := l.resume(ctx, token)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.resuming)
	l.resuming = nil
	return err
}

// LastCheckpoint is lease.Lease.LastCheckpoint.
func (l *Lease) LastCheckpoint() (data []byte, token int64, ok bool) {
	l.mu.Lock()
	found := l.found
	l.mu.Unlock()
	if found == nil || found == &none {
		return nil, 0, false
	}
	return found.Data, found.Origin, true
}

// Checkpoint is lease.Lease.Checkpoint.
func (l *Lease) Checkpoint(ctx context.Context, data []byte) error {
	if err := l.exclusive("Checkpoint"); err != nil {
		return err
	}
	token := l.Token() // before Shared: that of a reader is not for writing
	if l.Shared() {
		return configerr.Field("Checkpoint", "the lease on %q is shared, and readers write nothing; write it before Downgrade, or acquire the key without Shared", l.Key())
	}
	if limit := l.t.s.cfg.MaxCheckpoint; len(data) > limit {
		return configerr.Field("Checkpoint", "%d bytes; at most Config.MaxCheckpoint, %d; store the data elsewhere and a reference here", len(data), limit)
	}
	return l.record(ctx, token, record.Record{Data: bytes.Clone(data)})
}

// ClearCheckpoint is lease.Lease.ClearCheckpoint.
func (l *Lease) ClearCheckpoint(ctx context.Context) error {
	token := l.Token()
	if l.Shared() {
		return configerr.Field("ClearCheckpoint", "the lease on %q is shared, and readers write nothing; clear it before Downgrade, or acquire the key without Shared", l.Key())
	}
	return l.record(ctx, token, record.Record{Deleted: true})
}

// record writes r with the token that the lease had when it was no reader's.
func (l *Lease) record(ctx context.Context, token int64, r record.Record) error {
	if l.recordTaken {
		return configerr.Field("Checkpoint", "the lease on %q has no checkpoint, because it is that of an election or a job", l.Key())
	}
	if err := l.Err(); err != nil && !l.t.s.keepsFor(l.t, l) {
		return err
	}
	if err := l.resumeOnce(ctx, token); err != nil {
		return err
	}
	s := l.t.s
	r.Token, r.Origin = token, token
	return l.orLost(record.Write(ctx, s.c, s.recordOf(l.Key()), s.keepRecord(l.t, r), s.cfg.CheckpointTTL))
}

// orLost turns the refusal of a record by a newer token into the loss of the lease that it shows.
func (l *Lease) orLost(err error) error {
	if !errors.Is(err, record.ErrOvertaken) {
		return err
	}
	if !l.t.s.loseOf(l.t, l, overtaken) {
		return ErrReleased // it was handed over, to the lease that overtook it
	}
	if lost := l.lost(); lost != nil {
		return lost
	}
	return l.t.hold.Lost(overtaken)
}
