package session

import (
	"context"
	"errors"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
)

// valueField is the one field of a session that Put writes.
const valueField = "value"

// Put stores one value under an id that another session library made, until the
// time until at the latest. It creates the session, as a session of user, or
// overwrites its value. The id must be 256 random bits in base64url that are
// never used again; a [Session.Handle] only overwrites. A session that was
// destroyed or has ended is not created again. The errors are those of
// [Session.Commit]. An error that matches [cluster.ErrConfig] means that the id
// has another form, or that until is later than [Config.Lifetime] after the
// first Put.
func (s *Store) Put(ctx context.Context, idOrHandle, user string, value []byte, until time.Time) error {
	if s == nil {
		return errNil
	}
	hashed, ok := target(idOrHandle)
	if !ok {
		return configerr.Field("Put", "an id of %d bytes is malformed; it must be %d random bytes in base64url without padding, which are %d bytes",
			len(idOrHandle), idBytes, idWidth)
	}
	now := time.Now()
	if limit := now.Add(s.cfg.Lifetime + s.apart()); until.After(limit) { // until may come from the clock of another process
		return configerr.Field("Put", "until %v is later than Config.Lifetime, %v, from now; make that longer", until, s.cfg.Lifetime)
	}
	if err := checkUser(user); err != nil {
		return err
	}
	if len(value) > s.cfg.MaxSize {
		return configerr.Field("Put", "%d bytes; at most Config.MaxSize, %d", len(value), s.cfg.MaxSize)
	}
	end := stamp(max(until.UnixMicro(), 0))
	field := string(kindValue) + end + string(value)
	_, err := s.commit(ctx, hashed, map[string]string{valueField: field}, end, "", 0)
	var gone *GoneError
	if !errors.As(err, &gone) || !gone.never || idOrHandle[:1] == handleMark {
		return s.tally(&s.counts.committed, err)
	}
	deadline := now.Add(s.cfg.Lifetime)
	if until.After(deadline) {
		deadline = until
	}
	rec := s.newRecord(user, now, deadline, until)
	rec.fields[valueField] = rec.issue + field
	_, err = s.put(ctx, "put", hashed, rec, replacement{})
	return s.tally(&s.counts.created, err)
}

// Fetch returns the value that [Store.Put] stored under id. ok is false if
// there is none, also for a malformed id; that is no error. The errors are
// those of [Store.Load], except [*GoneError].
func (s *Store) Fetch(ctx context.Context, id string) (value []byte, ok bool, err error) {
	if s == nil {
		return nil, false, errNil
	}
	if !valid(id) {
		return nil, false, nil
	}
	rec, err := s.read(ctx, "load", hash(id), 0)
	s.tally(&s.counts.loaded, err)
	switch {
	case isGone(err):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	value, ok = rec.value(time.Now())
	return value, ok, nil
}

// FetchAll returns the values that [Store.Put] stored for a user, by the
// handles of their sessions. The errors are those of [Store.List].
func (s *Store) FetchAll(ctx context.Context, user string) (map[string][]byte, error) {
	all, err := s.List(ctx, user)
	if err != nil {
		return nil, err
	}
	values := make(map[string][]byte, len(all))
	for _, ss := range all {
		if v, ok := ss.record().value(time.Now()); ok {
			values[ss.Handle()] = v
		}
	}
	return values, nil
}

// value returns the value that Put stored in r, unless it has expired at now.
func (r *record) value(now time.Time) ([]byte, bool) {
	f := r.fields[valueField]
	if len(f) < versionWidth+1+timeWidth || f[versionWidth] != kindValue {
		return nil, false
	}
	f = f[versionWidth+1:]
	if f[:timeWidth] <= stamp(now.UnixMicro()) {
		return nil, false
	}
	return []byte(f[timeWidth:]), true
}
