package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/lock"
)

// Update loads the session with this id, calls fn to change it, and commits the
// fields that fn has set. Updates of a session exclude each other, so none of
// their writes is lost. Update acquires a lock for the session from
// [Config.Locker], and its writes are ordered by the fencing token, so late
// writes of a process that was stopped do not count.
//
// fn runs again if the same fields were committed without Update in the
// meantime. It must not commit itself. Its ctx ends when the lock is lost. The
// error is fn's own, one of [Session.Commit], or one of [lock.Locker.WithLock].
func (s *Store) Update(ctx context.Context, id string, fn func(ctx context.Context, ss *Session) error) error {
	if s == nil {
		return errNil
	}
	if s.cfg.Locker == nil {
		return configerr.Field("Config.Locker", "is missing; Update needs its locks")
	}
	if !valid(id) {
		return &GoneError{Op: "update"}
	}
	name := lockName(hash(id))
	err := s.cfg.Locker.WithLock(ctx, name, func(ctx context.Context) error {
		token, _ := lock.Token(ctx)
		for {
			rec, err := s.read(ctx, "update", hash(id), s.cfg.Idle)
			if s.tally(&s.counts.loaded, err) != nil {
				return err
			}
			ss := s.newSession(id, hash(id), rec)
			ss.token = token
			if err := fn(ctx, ss); err != nil {
				return err
			}
			if err := ss.Commit(ctx); !errors.Is(err, errOvertaken) {
				return err
			}
		}
	})
	if err != nil && strings.Contains(err.Error(), name) {
		return &lockError{err, name, "session:" + s.label(hash(id))}
	}
	return err
}

// lockError replaces the key of a lock by the label of the session, like all
// errors of this package.
type lockError struct {
	err         error
	name, label string
}

func (e *lockError) Error() string { return strings.ReplaceAll(e.err.Error(), e.name, e.label) }

func (e *lockError) Unwrap() error { return e.err }

// lockName returns the key of a session's lock. All processes must use the same
// key, so it contains no salt.
func lockName(hashed string) string {
	sum := sha256.Sum256([]byte("redlock session lock " + hashed))
	return "session:" + hex.EncodeToString(sum[:16])
}
