package session

import (
	"errors"
	"fmt"

	"github.com/venta-hq/redlock/cluster"
)

var (
	// ErrSessionGone is matched by a *GoneError: there is no such session. Everything that is asked of a session returns it.
	ErrSessionGone = errors.New("redlock: no such session")

	// ErrDecode is matched by the error of Get for a field whose value is not of the type that was asked for.
	ErrDecode = errors.New("redlock: the field does not decode")

	// ErrNoQuorum is matched by a *cluster.QuorumError: too few nodes answered to tell. It is no reason to log anybody out.
	ErrNoQuorum = cluster.ErrNoQuorum
)

// GoneError says that a session is not, or not any more. It does not tell an id that never was one from a session that
// was destroyed, logged out or has expired: neither do the nodes, in the end.
type GoneError struct {
	Op      string
	Session string // a short salted hash of the id, or "" for what is no id

	to    string // the session that has replaced it lately
	never bool   // no node that answered has a trace of it
}

func (e *GoneError) Error() string {
	if e.Session == "" {
		return fmt.Sprintf("redlock: %s session: this is no session's id", e.Op)
	}
	return fmt.Sprintf("redlock: %s session %q: it is gone", e.Op, e.Session)
}

// Is makes errors.Is(err, ErrSessionGone) true.
func (e *GoneError) Is(target error) bool { return target == ErrSessionGone }

func (s *Store) gone(op, hashed string) *GoneError {
	return &GoneError{Op: op, Session: s.label(hashed)}
}

func isGone(err error) bool { return errors.Is(err, ErrSessionGone) }
