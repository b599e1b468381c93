package session

import (
	"context"
	"errors"
	"time"
)

// Load returns the session with this id, and extends its idle deadline. No
// later Load returns an older state. The error is
//
//	*GoneError             matches ErrSessionGone: the session never existed, was destroyed or logged out, or has expired
//	*cluster.QuorumError   too few nodes answered: deny the request, and keep the cookie
//	ctx.Err()              in the chain
func (s *Store) Load(ctx context.Context, id string) (*Session, error) {
	if s == nil {
		return nil, errNil
	}
	ss, err := s.load(ctx, id, s.cfg.Idle)
	return ss, s.tally(&s.counts.loaded, err)
}

// load is Load, but does not extend the idle deadline if idle is 0.
func (s *Store) load(ctx context.Context, id string, idle time.Duration) (*Session, error) {
	if !valid(id) {
		return nil, &GoneError{Op: "load"}
	}
	hashed := hash(id)
	rec, err := s.read(ctx, "load", hashed, idle)
	var gone *GoneError
	if errors.As(err, &gone) && gone.to != "" {
		id, hashed = "", gone.to
		rec, err = s.read(ctx, "load", hashed, idle)
	}
	if err != nil {
		return nil, err
	}
	return s.newSession(id, hashed, rec), nil
}

// read returns the merged record of a session from a quorum of nodes, and repairs the nodes that answered. If the
// answers disagree, it waits until a quorum has the result.
func (s *Store) read(ctx context.Context, op, hashed string, idle time.Duration) (*record, error) {
	return s.readFrom(ctx, op, hashed, idle, false)
}

// readFrom is like read. If all is true, it waits until all nodes have answered or failed.
func (s *Store) readFrom(ctx context.Context, op, hashed string, idle time.Duration, all bool) (*record, error) {
	if err := s.probe(ctx); err != nil {
		return nil, s.wrap(op, hashed, err)
	}
	var known []version // floors that the nodes had before they were asked
	for try := 1; ; try++ {
		r, v, err := s.look(ctx, op, hashed, idle, all)
		if err != nil {
			return nil, err
		}
		if v.mixed() {
			if !knowsAll(known, v.floors) && try < maxTries {
				known = append(known, v.floors...)
				continue
			}
			v.live = v.live.raised(s.clock.after(v.live.newest()), known)
		}
		live, err := r.conclude(ctx, op, v)
		switch {
		case errors.Is(err, ErrNoQuorum) && !all: // a node that answered refuses writes; the others may agree without it
			all = true
			continue
		case !errors.Is(err, errStale):
			return live, err
		case try >= maxTries:
			return nil, s.unsettled(op, hashed, len(r.answers))
		}
		known = append(known, v.floors...)
	}
}

// look asks the nodes once.
func (s *Store) look(ctx context.Context, op, hashed string, idle time.Duration, all bool) (*reading, verdict, error) {
	now := time.Now()
	r := &reading{s: s, hashed: hashed, now: now}
	p := s.newQuorumCall(question{script: loadScript, key: s.cfg.Prefix + hashed, args: touch(now, idle), now: now})
	r.p = p
	p.take, p.enough, p.late = r.take, func() bool { return !all && r.enough() }, r.late
	if err := p.run(ctx); err != nil {
		return nil, verdict{}, s.wrap(op, hashed, err)
	}
	v, err := r.settle(op)
	return r, v, err
}

// touch returns the arguments that extend an idle deadline once an eighth of idle has passed.
func touch(now time.Time, idle time.Duration) []any {
	if idle == 0 {
		return []any{"", ""}
	}
	next := now.Add(idle)
	return []any{stamp(next.UnixMicro()), stamp(next.Add(-idle / 8).UnixMicro())}
}
