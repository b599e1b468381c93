package session

import (
	"context"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
)

// LogoutAll ends every session of a user in one round trip, whatever their
// number, including those that a node has lost. After it has returned nil, no
// session that was created before is ever read again.
//
// If keep is not nil, it is a session of the user that continues under a new
// id, as after [Session.Renew]. If concurrent calls keep different sessions, as
// the button "log out everywhere else" in two windows does, one session
// continues and the other calls fail with [ErrSessionGone]. This holds while a
// quorum answers and the processes run; if one ends or pauses halfway, more
// than one session or none may continue.
//
// The errors are those of [Session.Commit]. After an error other than a
// [*GoneError], the sessions may or may not have ended.
func (s *Store) LogoutAll(ctx context.Context, user string, keep *Session) error {
	if s == nil {
		return errNil
	}
	if user == "" {
		return configerr.Field("user", "it is empty; sessions of nobody can only be destroyed one by one")
	}
	if err := checkUser(user); err != nil {
		return err
	}
	if keep != nil {
		if keep.User() != user {
			return configerr.Field("keep", "it is a session of another user")
		}
		err := keep.renew(ctx, renewal{user: user, alone: true}) // counts its own failure
		if err == nil {
			s.counts.logouts.Add(1)
		}
		return err
	}
	return s.tally(&s.counts.logouts, s.logout(ctx, user))
}

func (s *Store) logout(ctx context.Context, user string) error {
	above := version("")
	for {
		at := s.clock.after(above)
		c, failed, err := s.write(ctx, question{
			script: logoutScript, key: s.cfg.Prefix + "epoch:" + user, args: []any{s.userKeep(), at}, now: time.Now(),
		})
		switch {
		case err != nil:
			return s.wrap("log out the user of", user, err)
		case c.ok >= s.c.Quorum():
			return nil
		case c.newest != "": // by a clock ahead of ours, or just now
			above = c.newest
		default:
			return s.noQuorum("log out the user of", user, c.ok, failed)
		}
	}
}
