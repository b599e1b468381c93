package session

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Load returns the session of this id, as of a write that no later Load will miss, and sets its idle deadline forward. The
// error is
//
//	*GoneError             matches ErrSessionGone: it has never been, was destroyed or logged out, or is over
//	*cluster.QuorumError   too few nodes answered to tell: deny the request, and keep the cookie
//	ctx.Err()              in the chain
func (s *Store) Load(ctx context.Context, id string) (*Session, error) {
	if s == nil {
		return nil, errNil
	}
	ss, err := s.load(ctx, id, s.cfg.Idle)
	return ss, s.tally(&s.counts.loaded, err)
}

// load is Load; it leaves the idle deadline alone if idle is 0.
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

// read finds out what a quorum of nodes has of a session, and brings those that answered up to that. It returns only
// what is on a quorum: where the answers disagree, it waits until it is.
func (s *Store) read(ctx context.Context, op, hashed string, idle time.Duration) (*record, error) {
	return s.readFrom(ctx, op, hashed, idle, false)
}

// readFrom is read. It may wait until all nodes have answered, or failed to.
func (s *Store) readFrom(ctx context.Context, op, hashed string, idle time.Duration, all bool) (*record, error) {
	if err := s.meet(ctx); err != nil {
		return nil, s.wrap(op, hashed, err)
	}
	var known []version // floors that nodes had before they were asked
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
		live, err := s.decide(ctx, op, hashed, r, v)
		switch {
		case errors.Is(err, ErrNoQuorum) && !all: // a node that answered takes nothing; the others may agree without it
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

// touch is the arguments for setting an idle deadline forward once an eighth of the time has gone.
func touch(now time.Time, idle time.Duration) []any {
	if idle == 0 {
		return []any{"", ""}
	}
	next := now.Add(idle)
	return []any{stamp(next.UnixMicro()), stamp(next.Add(-idle / 8).UnixMicro())}
}

// reading is the answers to one load.
type reading struct {
	s      *Store
	p      *quorumCall
	hashed string
	now    time.Time

	answers []answer // guarded by the quorumCall, as are these
	settled verdict  // what was found, for answers that come late
	lates   []answer // those
	dropped bool
}

func (r *reading) take(re reply) error {
	var before *record
	if len(r.answers) > 0 {
		before = r.answers[len(r.answers)-1].record
	}
	a, err := parseAnswer(re, before)
	if err == nil {
		r.answers = append(r.answers, a)
	}
	return err
}

func parseAnswer(re reply, before *record) (answer, error) {
	if re.status != "ok" || len(re.rest) != 2 {
		return answer{}, errForeign
	}
	now := time.Now()
	if err := checkEpoch(re.word(0), now); err != nil {
		return answer{}, err
	}
	rec, err := parseRecord(re.rest[1], re.memory, now, before)
	return answer{re.node.Index(), re.memory, re.word(0), rec}, err
}

func (r *reading) judge() verdict { return r.s.judge(r.answers, r.now) }

func (s *Store) judge(answers []answer, now time.Time) verdict {
	return judge(answers, s.authoritative(now), s.apart())
}

// voters is the nodes that have a say about what was found, and in which memory, or all if a quorum of them has forgotten.
func (r *reading) voters(v *verdict) map[int]string {
	if v.votes < r.s.c.Quorum() {
		return nil
	}
	authoritative, voters := r.s.authoritative(r.now), map[int]string{}
	for i := range r.answers {
		if a := &r.answers[i]; a.counts(v.live, authoritative, r.s.apart()) {
			voters[a.node] = a.memory
		}
	}
	return voters
}

func (r *reading) enough() bool {
	quorum := r.s.c.Quorum()
	if len(r.answers) < quorum {
		return false
	}
	v := r.judge()
	return v.votes >= quorum
}

// settle is the verdict of the answers. If all nodes have answered it needs no votes: then a quorum has forgotten, and
// what is left is the best there is.
func (r *reading) settle(op string) (verdict, error) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	v := r.judge()
	if v.votes < r.s.c.Quorum() && len(r.answers) < len(r.s.c.Nodes()) {
		return v, r.s.noQuorum(op, r.hashed, v.votes, r.p.failed)
	}
	if v.live != nil {
		live := *v.live
		live.dropped = new(atomic.Pointer[string])
		v.live = &live
	}
	if v.ended() || r.have(&v) >= r.s.c.Quorum() && !v.mixed() {
		r.settled = v
	}
	return v, nil
}

// have is how many nodes have what was found.
func (r *reading) have(v *verdict) (n int) {
	for i := range r.answers {
		a := &r.answers[i]
		if v.ended() && a.record != nil && a.record.gone || !v.ended() && v.live != nil && !a.lagging(v.live) {
			n++
		}
	}
	return n
}

// late brings a node up that answered when the others had decided.
func (r *reading) late(re reply) {
	a, err := parseAnswer(re, nil)
	if err != nil {
		return
	}
	r.p.mu.Lock()
	v := r.settled
	r.lates = append(r.lates, a)
	r.p.mu.Unlock()
	r.repair(&a, &v)
	r.drop()
}

// repair gives one node what it lacks of what was found, without waiting for it.
func (r *reading) repair(a *answer, v *verdict) {
	s := r.s
	var q question
	switch ended := v.ended(); {
	case a.record != nil && a.record.gone:
		return
	case ended:
		q = s.tombstoneQuestion(r.hashed, s.deadlineOf(v.live))
	case v.live != nil && a.lagging(v.live) && !v.live.over(stamp(r.now.UnixMicro())):
		q = s.putQuestion(r.hashed, v.live, replacement{})
	default:
		return
	}
	n := s.c.Nodes()[a.node]
	s.send(n, q, s.common(q), n.MemoryID(), a.memory, nil)
}

// decide acts on a verdict. What is not on a quorum is brought there first: nobody may find it otherwise than we did.
func (s *Store) decide(ctx context.Context, op, hashed string, r *reading, v verdict) (*record, error) {
	now, settled := stamp(r.now.UnixMicro()), r.have(&v) >= s.c.Quorum() && !v.mixed()
	if settled {
		for i := range r.answers {
			r.repair(&r.answers[i], &v)
		}
		r.drop()
	}
	gone := s.gone(op, hashed)
	switch {
	case v.ended() && !settled:
		if err := s.tombstone(ctx, op, hashed, s.deadlineOf(v.live)); err != nil {
			return nil, err
		}
		fallthrough
	case v.ended():
		if v.grave != nil && v.grave.until > now {
			gone.to = v.grave.to
		}
		return nil, gone
	case v.live == nil || v.live.over(now):
		gone.never = v.live == nil
		return nil, gone
	case settled:
		return v.live, nil
	}
	// Nodes that have forgotten come last: a quorum of the others would know if the user had been logged out.
	among := r.voters(&v)
	live, err := s.restore(ctx, op, hashed, v.live, among)
	if err == nil {
		s.counts.restored.Add(1)
	}
	for i := range r.answers {
		if a := &r.answers[i]; err == nil && among != nil && among[a.node] == "" {
			r.repair(a, &v)
		}
	}
	return live, err
}

// restore brings what was read to a quorum of these nodes, or of all if there are none. One that has begun to remember anew
// since it was read may have forgotten how the session ended meanwhile, and does not count.
func (s *Store) restore(ctx context.Context, op, hashed string, live *record, among map[int]string) (*record, error) {
	w := s.newWrite(s.putQuestion(hashed, live, replacement{}))
	w.among = among
	c, failed, err := w.wait(ctx)
	switch {
	case err != nil:
		return nil, s.wrap(op, hashed, err)
	case c.gone > 0 || c.newest != "":
		return nil, s.confirm(ctx, op, hashed, live.deadline)
	case c.ok >= s.c.Quorum():
		return live, nil
	case c.stale > 0:
		return nil, errStale
	}
	return nil, s.noQuorum(op, hashed, c.ok, failed)
}
