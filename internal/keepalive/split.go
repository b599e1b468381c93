package keepalive

import (
	"context"
	"errors"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// maxSplits is how many attempts a call makes that does not wait for the key.
// With ten concurrent callers, two or three usually suffice.
const maxSplits = 8

// unsplit asks the nodes until this or another process holds the key. An
// attempt that failed because several attempts each held the key on some nodes
// shows no holder, so another one follows after a growing random pause.
func (s *Leases) unsplit(ctx context.Context, p plan) (*Lease, error) {
	for splits := 1; ; splits++ {
		began := time.Now()
		l, err := s.attempt(ctx, p, false, splits == 1)
		p.start = quorumlock.NextSlot(err)
		var held *NotAcquiredError
		if err == nil || !errors.As(err, &held) || !held.Split || splits == maxSplits {
			return l, err
		}
		pause := time.NewTimer(nextLook(held, s.c.Config().NodeTimeout, time.Since(began), splits))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			e := *held
			e.Err = errs.Ended(ctx)
			return nil, &e
		case <-s.closing:
			pause.Stop()
			return nil, s.err(p.key)
		}
	}
}
