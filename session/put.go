package session

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/cluster"
)

// replacement names the session that a new session replaces.
type replacement struct {
	old    string  // hash
	until  string  // until when old leads to the new session
	logout version // at which all other sessions of the user end, or ""
	rivals string  // the hashes of the rivals that have lost the contest
	issue  version // the issue of old
}

// maxRestarts bounds how many times a session that a quorum has accepted is put
// again because of the other nodes: a faulty node may report a newer version
// every time.
const maxRestarts = 8

// put creates the session of rec on the nodes, and returns it as created.
func (s *Store) put(ctx context.Context, op, hashed string, rec *record, from replacement) (*record, error) {
	p := &insertion{s: s, op: op, hashed: hashed, rec: rec, from: from}
	for {
		c, failed, err := p.send(ctx)
		switch {
		case err != nil:
			return nil, s.wrap(op, hashed, err)
		case p.dropped(c):
			return nil, &droppedError{c.floors, c.ok + c.stale}
		case c.gone > 0 && c.ok < s.c.Quorum(): // with a quorum, an ender of the old session finds the new id
			return nil, p.gone()
		case len(c.out) > 0 && c.newest == "":
			if err := p.contest(ctx, c, failed); err != nil {
				return nil, err
			}
		case p.outdated(c):
			p.raise(c.newest)
		case c.ok >= s.c.Quorum():
			return p.complete(ctx, c)
		default:
			return nil, s.noQuorum(op, hashed, c.ok, failed)
		}
	}
}

// insertion is one put, which may be sent several times.
type insertion struct {
	s          *Store
	op, hashed string
	rec        *record
	from       replacement
	restarts   int
	pace       backoff.BackOff // of an open contest; nil: there is none
}

func (p *insertion) send(ctx context.Context) (count, []cluster.NodeError, error) {
	w := p.s.newWrite(p.s.putQuestion(p.hashed, p.rec, p.from))
	if p.from.logout != "" { // a node that did not answer may have ended it for a rival
		w.enough = func() bool { return false }
	}
	return w.wait(ctx)
}

// gone returns the error of a session that cannot be put because it or its
// predecessor has ended.
func (p *insertion) gone() error { return p.s.gone(p.op, cmp.Or(p.from.old, p.hashed)) }

// dropped reports whether the predecessor must be read again because nodes have
// dropped fields since.
func (p *insertion) dropped(c count) bool {
	return p.from.old != "" && len(c.floors) > 0 && (c.ok >= p.s.c.Quorum() || c.gone == 0)
}

// outdated reports whether the session must be put again with a larger version,
// because nodes have a newer one: from a clock ahead of this one, or from a
// moment ago.
func (p *insertion) outdated(c count) bool {
	return c.newest != "" && (c.ok < p.s.c.Quorum() || p.from.logout != "" && p.restarts < maxRestarts)
}

// raise raises the versions of the session above newest.
func (p *insertion) raise(newest version) {
	p.restarts++
	if p.from.logout != "" {
		p.from.logout = p.s.clock.after(newest)
	}
	rec := *p.rec
	rec.issue = p.s.clock.after(max(newest, p.from.logout))
	p.rec = &rec
}

// complete returns the session that a quorum has accepted. If nodes added
// fields that only they had, it first writes the whole session to a quorum.
func (p *insertion) complete(ctx context.Context, c count) (*record, error) {
	if len(c.more) == 0 {
		return p.rec, nil
	}
	rec := p.rec
	whole := merge(rec, &record{born: rec.born, issue: rec.issue, deadline: rec.deadline, idle: rec.idle, fields: c.more})
	live, err := p.s.restore(ctx, p.op, p.hashed, whole, nil)
	if errors.Is(err, errStale) { // fields were dropped since: read it again
		return p.s.read(ctx, p.op, p.hashed, 0)
	}
	return live, err
}

func (s *Store) putQuestion(hashed string, rec *record, from replacement) question {
	args := []any{s.userKeep(), hashed, from.old, cmp.Or(from.until, "0"), from.logout, rec.born, rec.issue, rec.user, rec.deadline, rec.idle, from.rivals, from.issue}
	size := 0
	for name, value := range rec.fields {
		args = append(args, name, value)
		size += len(name) + len(value)
	}
	return question{script: putScript, key: s.cfg.Prefix + hashed, args: args, size: size, now: time.Now(), write: true}
}

// userSlack is how long the log-outs of a user are kept after the last session
// has ended, in case clocks jump.
const userSlack = 24 * time.Hour

// userKeep returns how long the data of a user is kept after its last use, in
// ms.
func (s *Store) userKeep() int64 { return (s.cfg.Lifetime + userSlack).Milliseconds() }
