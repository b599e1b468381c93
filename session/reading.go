package session

import (
	"context"
	"sync/atomic"
	"time"
)

// reading holds the answers to one read.
type reading struct {
	s      *Store
	p      *quorumCall
	hashed string
	now    time.Time

	answers []answer // guarded by the quorumCall's mu, like the fields below
	settled verdict  // the verdict, by which late answers are repaired
	lates   []answer // the late answers
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

// voters returns the nodes that vote on the verdict, each with its memory. It
// is nil, which means all nodes, if a quorum has lost its data.
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

// settle returns the verdict of the answers. If all nodes have answered, it
// needs no quorum of votes: a quorum has lost its data, and the remaining data
// is the best available.
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

// have returns how many nodes have the result of the verdict.
func (r *reading) have(v *verdict) (n int) {
	for i := range r.answers {
		a := &r.answers[i]
		if v.ended() && a.record != nil && a.record.gone || !v.ended() && v.live != nil && !a.lagging(v.live) {
			n++
		}
	}
	return n
}

// late repairs a node that answered after the verdict.
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

// repair sends one node the parts of the result that it lacks. It does not
// wait.
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

// conclude acts on a verdict. A result that is not on a quorum is written to
// one first, so that no later read finds an older state.
func (r *reading) conclude(ctx context.Context, op string, v verdict) (*record, error) {
	now, settled := stamp(r.now.UnixMicro()), r.have(&v) >= r.s.c.Quorum() && !v.mixed()
	if settled {
		for i := range r.answers {
			r.repair(&r.answers[i], &v)
		}
		r.drop()
	}
	switch {
	case v.ended():
		return nil, r.ended(ctx, op, v, settled)
	case v.live == nil || v.live.over(now):
		gone := r.s.gone(op, r.hashed)
		gone.never = v.live == nil
		return nil, gone
	case settled:
		return v.live, nil
	}
	return r.restore(ctx, op, v)
}

// ended returns the error of a session that has been ended. If fewer than a
// quorum of nodes have a tombstone, it puts tombstones on a quorum first.
func (r *reading) ended(ctx context.Context, op string, v verdict, settled bool) error {
	if !settled {
		if err := r.s.tombstone(ctx, op, r.hashed, r.s.deadlineOf(v.live)); err != nil {
			return err
		}
	}
	gone := r.s.gone(op, r.hashed)
	if t := v.tombstone; t != nil && t.until > stamp(r.now.UnixMicro()) {
		gone.to = t.to
	}
	return gone
}

// restore writes the result to a quorum of the nodes that voted, and only then
// to nodes that lost their data: a quorum of the others would know if the user
// had been logged out.
func (r *reading) restore(ctx context.Context, op string, v verdict) (*record, error) {
	among := r.voters(&v)
	live, err := r.s.restore(ctx, op, r.hashed, v.live, among)
	if err != nil {
		return nil, err
	}
	r.s.counts.restored.Add(1)
	for i := range r.answers {
		if a := &r.answers[i]; among != nil && among[a.node] == "" {
			r.repair(a, &v)
		}
	}
	return live, nil
}

// restore writes the record that was read to a quorum of the nodes in among, or
// of all nodes if among is nil. A node that has begun a new memory since the
// read does not count, because it may have lost the end of the session.
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
