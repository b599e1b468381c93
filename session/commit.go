package session

import (
	"context"
	"errors"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
)

// commit writes fields to a session with a version above every version there,
// and returns that version. seen is the largest version that the caller has
// read. For Put, the idle deadline is set to idle if idle is later, and nothing
// is written if the session ends before idle. token is the fencing token of the
// session's lock, or 0. With a token, commit fails with errOvertaken if it
// finds a newer version.
func (s *Store) commit(ctx context.Context, hashed string, changes map[string]string, idle string, seen version, token int64) (version, error) {
	const op = "commit to"
	for try := 1; ; {
		ver := s.clock.after(seen)
		if token > 0 {
			ver = next(seen, token)
		}
		c, failed, err := s.write(ctx, s.commitQuestion(hashed, ver, changes, idle))
		switch {
		case err != nil:
			return "", s.wrap(op, hashed, err)
		case c.gone > 0:
			return "", s.confirm(ctx, op, hashed, s.deadlineOf(nil))
		case c.late != "":
			return "", configerr.Field("Put", "until %v is later than the session ends, %v; it lives for Config.Lifetime, %v, from when it was first put: "+
				"make that longer, or use a new id", moment(idle), moment(c.late), s.cfg.Lifetime)
		case c.ok >= s.c.Quorum():
			return ver, nil
		case c.newest != "" && token > 0:
			return "", errOvertaken
		case c.newest != "":
			seen = max(seen, c.newest)
		case s.never(c.none) >= s.c.Quorum():
			gone := s.gone(op, hashed)
			gone.never = true
			return "", gone
		case c.absent > 0 && try < maxTries: // some nodes lack the session, and get it first
			try++
			if _, err := s.read(ctx, op, hashed, 0); err != nil {
				return "", err
			}
		default:
			return "", s.noQuorum(op, hashed, c.ok, failed)
		}
	}
}

// maxTries bounds the tries of an operation while nodes lack the session or
// disagree on dropped fields.
const maxTries = 4

var errOvertaken = errors.New("redlock: written by another process in the meantime")

func (s *Store) commitQuestion(hashed string, ver version, changes map[string]string, idle string) question {
	args := []any{idle}
	size := 0
	for name, value := range changes {
		args = append(args, name, ver+value)
		size += len(name) + len(value) + versionWidth
	}
	return question{script: commitScript, key: s.cfg.Prefix + hashed, args: args, size: size, now: time.Now(), write: true}
}
