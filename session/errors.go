package session

import (
	"errors"
	"fmt"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

var (
	// ErrSessionGone is matched by a [*GoneError]: there is no such session.
	// Every operation on a session may return it.
	ErrSessionGone = errors.New("redlock: no such session")

	// ErrDecode is matched by the error of [Get] for a field whose value cannot
	// be decoded into the requested type.
	ErrDecode = errors.New("redlock: the field does not decode")

	// ErrNoQuorum is matched by a [*cluster.QuorumError]: too few nodes
	// answered. It is not a reason to log a user out.
	ErrNoQuorum = cluster.ErrNoQuorum
)

// GoneError reports that a session does not exist, or no longer exists. It does
// not distinguish an id that was never used from a session that was destroyed,
// logged out or has expired, because the nodes lose that knowledge with time.
type GoneError struct {
	Op      string
	Session string // a short salted hash of the id; "" if the id is malformed

	to    string // the session that has replaced it
	never bool   // no node that answered has a trace of it
}

func (e *GoneError) Error() string {
	if e.Session == "" {
		return fmt.Sprintf("redlock: %s session: the id is malformed", e.Op)
	}
	return fmt.Sprintf("redlock: %s session %q: it is gone", e.Op, e.Session)
}

// Is reports whether target is [ErrSessionGone].
func (e *GoneError) Is(target error) bool { return target == ErrSessionGone }

func (s *Store) gone(op, hashed string) *GoneError {
	return &GoneError{Op: op, Session: s.label(hashed)}
}

func isGone(err error) bool { return errors.Is(err, ErrSessionGone) }

func (s *Store) noQuorum(op, hashed string, got int, failed []cluster.NodeError) error {
	return &cluster.QuorumError{Op: op + " session", Key: s.label(hashed), Need: s.c.Quorum(), Got: got, Nodes: failed}
}

func (s *Store) wrap(op, hashed string, err error) error {
	return errs.Errorf("redlock: %s session %q: %w", op, s.label(hashed), err)
}
