package session

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
)

// RenewOption configures one renewal.
type RenewOption interface{ applyRenew(*renewal) }

type renewOption func(*renewal)

func (o renewOption) applyRenew(r *renewal) { o(r) }

type renewal struct {
	user  string
	login bool
	grace time.Duration
	alone bool // end all other sessions of the user
}

// As assigns the session to user, at log-in, and restarts [Config.Lifetime].
func As(user string) RenewOption {
	return renewOption(func(r *renewal) { r.user, r.login = user, true })
}

// Grace lets Load find the renewed session by its old id for d, at most a
// minute, so that requests succeed that were sent with the old id. Do not use
// it at log-in, because others may know the old id.
func Grace(d time.Duration) RenewOption { return renewOption(func(r *renewal) { r.grace = d }) }

const maxGrace = time.Minute

// Renew moves the session to a new id in one step; the old id becomes invalid.
// Call it whenever a user logs in or gains rights, so that an id that was known
// before is useless. It also writes the fields that were set and not committed.
// Of two concurrent renewals at most one succeeds. The errors are those of
// [Session.Commit]. After an error other than a [*GoneError], the old id may be
// invalid and the new one unknown, so that the user must log in again.
func (ss *Session) Renew(ctx context.Context, opts ...RenewOption) error {
	r := renewal{user: ss.User()}
	for _, o := range opts {
		o.applyRenew(&r)
	}
	if r.grace < 0 || r.grace > maxGrace {
		return configerr.Field("Grace", "%v is out of range; from 0 to %v", r.grace, maxGrace)
	}
	if err := checkUser(r.user); err != nil {
		return err
	}
	return ss.renew(ctx, r)
}

func (ss *Session) renew(ctx context.Context, r renewal) error {
	ss.mu.Lock()
	hashed, old, changes := ss.hash, ss.rec, maps.Clone(ss.changes)
	ss.mu.Unlock()
	s, now := ss.store, time.Now()
	deadline := moment(old.deadline)
	if r.login {
		deadline = now.Add(s.cfg.Lifetime)
	}
	from := replacement{old: hashed, issue: old.issue, until: stamp(now.Add(r.grace).UnixMicro())}
	if r.alone {
		from.logout = s.clock.after(old.issue)
	}
	rec := s.newRecord(r.user, now, deadline, now.Add(s.cfg.Idle))
	rec.issue = s.clock.after(max(from.logout, old.issue))
	id := newID()
	made, ver, err := s.succeed(ctx, hash(id), rec, from, old, changes)
	if err == nil && overwritten(made, ver, changes) {
		ver, err = s.commit(ctx, hash(id), changes, "", made.newest(), 0)
	}
	if s.tally(&s.counts.renewed, err) != nil {
		s.dispose(hash(id), rec.deadline, r.alone)
		return err
	}
	ss.mu.Lock()
	ss.id, ss.hash = id, hash(id)
	ss.adopt(made)
	ss.mu.Unlock()
	ss.committed(ver, changes)
	return nil
}

// succeed creates the session of rec with the fields of old and the changes,
// and returns it and the version of the changes. Each node adds the fields that
// it has itself. If nodes have dropped fields since old was read, old is not
// used: the merged fields of the nodes are put instead, under a new floor.
func (s *Store) succeed(ctx context.Context, hashed string, rec *record, from replacement, old *record, changes map[string]string) (made *record, ver version, err error) {
	const op = "renew"
	fields, seen := old.known(), old.newest()
	var known []version
	var dropped *droppedError
	for range maxTries {
		ver = s.clock.after(seen)
		rec.fields = maps.Clone(fields)
		for name, value := range changes {
			rec.fields[name] = ver + value
		}
		made, err = s.put(ctx, op, hashed, rec, from)
		if !errors.As(err, &dropped) {
			return made, ver, err
		}
		known = append(append(known, rec.floor()), dropped.floors...)
		seen = s.clock.after(max(seen, slices.Max(known)))
		fields = map[string]string{floorField: floorOver(seen, known)}
	}
	return nil, "", s.unsettled(op, hashed, dropped.answered)
}

// overwritten reports whether a session has a newer value than a change with
// this version.
func overwritten(rec *record, ver version, changes map[string]string) bool {
	for name := range changes {
		if !strings.HasPrefix(rec.fields[name], ver) {
			return true
		}
	}
	return false
}
