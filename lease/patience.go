package lease

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/mutex"
)

// transient reports whether a wait goes on after an attempt that failed with
// err: somebody else holds the key, or too few nodes answered. It does not where
// only another configuration can help.
func transient(err error) bool {
	return (errors.Is(err, ErrNotAcquired) || errors.Is(err, ErrNoQuorum)) && !errors.Is(err, cluster.ErrConfig)
}

// noted records why the last attempt of a wait failed. The first time in a row
// that it is for want of a quorum is logged: the wait may take long, and nobody
// else says what it waits for.
func (s *Leases) noted(me *waiter, key string, before, err error) error {
	var held *NotAcquiredError
	if errors.As(err, &held) {
		err = held
	} else if before == nil || errors.Is(before, ErrNotAcquired) {
		s.c.Say(slog.LevelWarn, "waiting for a quorum", "key", key, "error", err)
	}
	s.waiting.mu.Lock()
	defer s.waiting.mu.Unlock()
	me.last = err
	return err
}

// LastRefusal is why the last attempt of a wait for key failed that is under way
// in this process; nil if there is none, or it has not failed yet.
func (s *Leases) LastRefusal(key string) error {
	if s == nil {
		return errNil
	}
	s.waiting.mu.Lock()
	defer s.waiting.mu.Unlock()
	for _, me := range s.waiting.at[s.red.LockKey(key)] {
		if me.last != nil {
			return me.last
		}
	}
	return nil
}

// outlook is what the error of an attempt says about when to try again.
func outlook(err error) *NotAcquiredError {
	var held *NotAcquiredError
	if errors.As(err, &held) {
		return held
	}
	held = &NotAcquiredError{FreeIn: -1}
	var few *cluster.QuorumError
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
// is interrupted and ctx lasts. The error is try's last.
func (s *Leases) persist(ctx context.Context, key string, try func() error) error {
	var policy backoff.BackOff
	var last error
	for {
		err := try()
		var again interrupted
		switch {
		case errors.As(err, &again):
			if last == nil {
				s.c.Say(slog.LevelWarn, "waiting for a quorum", "key", key, "error", again.error)
			}
			last = again.error
		case err == nil || last == nil || ctx.Err() == nil || errors.Is(err, ErrNotAcquired) || errors.Is(err, ErrNoQuorum):
			return err
		}
		if ctx.Err() != nil {
			return mutex.WaitEnded(last, errs.Ended(ctx))
		}
		if policy == nil {
			policy = s.cfg.Backoff()
		}
		pause := policy.NextBackOff()
		if pause == backoff.Stop {
			return last
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return mutex.WaitEnded(last, errs.Ended(ctx))
		case <-s.closing:
			timer.Stop()
			return s.err(key)
		}
	}
}
