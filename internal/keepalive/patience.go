package keepalive

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// transient reports whether a wait continues after an attempt that failed with
// err: another holder has the key, or too few nodes answered. It does not if
// only another configuration can help.
func transient(err error) bool {
	return (errors.Is(err, ErrNotAcquired) || errors.Is(err, ErrNoQuorum)) && !errors.Is(err, nodeset.ErrConfig)
}

// LastRefusal is why the last attempt of a current wait for key in this process
// failed; nil if there is no wait, or no failure yet.
func (s *Leases) LastRefusal(key string) error {
	return s.queues.LastRefusal(s.red.LockKey(key))
}

// outlook is what the error of an attempt says about when to try again.
func outlook(err error) *NotAcquiredError {
	var held *NotAcquiredError
	if errors.As(err, &held) {
		return held
	}
	held = &NotAcquiredError{FreeIn: -1}
	var few *nodeset.QuorumError
	if errors.As(err, &few) && few.VotesIn > 0 {
		held.FreeIn = few.VotesIn
	}
	return held
}

// interrupted is the failure of a step after which persist starts again.
type interrupted struct{ error }

func (i interrupted) Unwrap() error { return i.error }

// orInterrupted marks err as interrupted if too few nodes answered to a step.
func orInterrupted(err error) error {
	if transient(err) && errors.Is(err, ErrNoQuorum) {
		return interrupted{err}
	}
	return err
}

// persist calls try again, with pauses as Config.Backoff says, for as long as it
// is interrupted, ctx lasts, and req waits. The error is try's last.
func (s *Leases) persist(ctx context.Context, key string, req Request, try func() error) error {
	var last error
	for attempt := 1; ; attempt++ {
		err := try()
		var again interrupted
		switch {
		case errors.As(err, &again):
			if last == nil && ctx.Err() == nil && req.Waits() {
				s.c.Say(slog.LevelWarn, "waiting for a quorum", "key", key, "error", again.error)
			}
			last = again.error
		case err == nil || last == nil || ctx.Err() == nil || errors.Is(err, ErrNotAcquired) || errors.Is(err, ErrNoQuorum):
			return err
		}
		if ctx.Err() != nil {
			return quorumlock.WaitEnded(last, errs.Ended(ctx))
		}
		if !req.Waits() {
			return last
		}
		pause := s.cfg.Backoff(attempt)
		if pause < 0 {
			return last
		}
		if err := s.pause(ctx, pause, key, last); err != nil {
			return err
		}
	}
}

// pause waits for d. An error means that the wait for key is over; last is why
// its last attempt failed.
func (s *Leases) pause(ctx context.Context, d time.Duration, key string, last error) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return quorumlock.WaitEnded(last, errs.Ended(ctx))
	case <-s.closing:
		return s.err(key)
	}
}
