package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// Store keeps sessions on a set of nodes. All methods may be called concurrently. The caller must Close it, before the
// Cluster or after it.
type Store struct {
	c         *cluster.Cluster
	cfg       Config
	salt      string
	memoryKey string
	memories  memories
	meeting   chan struct{} // has room for the one that finds out whom to meet
	met       atomic.Bool
	founding  atomic.Bool // a quorum of nodes had no memory when they were met, and this process has begun none
	clock     clock
	counts    counters
	unwatch   func()
}

// New makes a Store on a set of nodes. The error matches cluster.ErrConfig and names every bad field.
func New(c *cluster.Cluster, cfg Config) (*Store, error) {
	if c == nil {
		return nil, c.Err()
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(c); err != nil {
		return nil, err
	}
	s := &Store{
		c: c, cfg: cfg, salt: cfg.Salt, memoryKey: cfg.Prefix + "memory", memories: make(memories, len(c.Nodes())),
		meeting: make(chan struct{}, 1),
	}
	s.watch()
	return s, nil
}

// Close ends what the Store reports to the Cluster's metrics, and may be called twice. The sessions stay, and what is still asked of
// the Store is answered.
func (s *Store) Close() { s.unwatch() }

// Option tweaks a session that is created.
type Option interface{ apply(*request) }

type option func(*request)

func (o option) apply(r *request) { o(r) }

type request struct{ lifetime time.Duration }

// Lifetime overrules Config.Lifetime for one session; it can only be shorter.
func Lifetime(d time.Duration) Option { return option(func(r *request) { r.lifetime = d }) }

// Create makes a session of this user, or of nobody if user is "", with data as its fields. When it has returned nil, every
// Load finds the session until it ends. One that failed leaves nothing that has an owner. The error is a
// *cluster.QuorumError, has ctx.Err() in its chain, or matches cluster.ErrConfig.
func (s *Store) Create(ctx context.Context, user string, data map[string]any, opts ...Option) (*Session, error) {
	req := request{lifetime: s.cfg.Lifetime}
	for _, o := range opts {
		o.apply(&req)
	}
	if req.lifetime <= 0 || req.lifetime > s.cfg.Lifetime {
		return nil, fieldError("Lifetime", "%v is out of range; more than 0, at most Config.Lifetime, %v", req.lifetime, s.cfg.Lifetime)
	}
	if err := checkUser(user); err != nil {
		return nil, err
	}
	id := newID()
	ss := s.newSession(id, hash(id), &record{})
	for name, v := range data {
		if err := ss.Set(name, v); err != nil {
			return nil, err
		}
	}
	now := time.Now()
	rec := s.newRecord(user, now, now.Add(req.lifetime), now.Add(s.cfg.Idle))
	ver := rec.issue
	for name, value := range ss.changes {
		rec.fields[name] = ver + value
	}
	made, err := s.put(ctx, "create", ss.hash, rec, succession{})
	if s.tally(&s.counts.created, err) != nil {
		s.dispose(ss.hash, rec.deadline)
		return nil, err
	}
	ss.changes = nil
	ss.adopt(made)
	return ss, nil
}

func (s *Store) newRecord(user string, now, deadline, idle time.Time) *record {
	if idle.After(deadline) {
		idle = deadline
	}
	return &record{
		born: stamp(now.UnixMicro()), issue: s.clock.after(""), user: user,
		deadline: stamp(deadline.UnixMicro()), idle: stamp(idle.UnixMicro()), fields: map[string]string{},
	}
}

// succession says whose place a new session takes.
type succession struct {
	old    string  // hash
	until  string  // up to when old leads to the new one
	logout version // at which all other sessions of the user end, or ""
	rivals string  // that have lost: the hashes of sessions which others want to keep alone
}

// put makes the session of rec, and returns it as it was made.
func (s *Store) put(ctx context.Context, op, hashed string, rec *record, from succession) (*record, error) {
	for {
		w := s.newWrite(s.putQuestion(hashed, rec, from))
		if from.logout != "" { // a rival that is not heard may have ended it
			w.enough = func() bool { return false }
		}
		c, failed, err := w.wait(ctx)
		switch {
		case err == nil && from.old != "" && len(c.floors) > 0 && (c.ok >= s.c.Quorum() || c.gone == 0):
			return nil, &droppedError{c.floors, c.ok + c.stale}
		case err == nil && c.gone > 0 && c.ok < s.c.Quorum(): // else whoever ends it does so under its new id
			err = s.gone(op, cmp.Or(from.old, hashed))
		case err == nil && len(c.out) > 0 && c.newest == "":
			if err = s.contest(op, hashed, from, c, failed); err == nil {
				from.rivals += strings.Join(slices.Collect(maps.Keys(c.out)), ",") + ","
				continue
			}
		case err == nil && c.ok >= s.c.Quorum() && len(c.more) > 0: // each node put in only what it had itself
			live, err := s.restore(ctx, op, hashed, merge(rec, &record{
				born: rec.born, issue: rec.issue, deadline: rec.deadline, idle: rec.idle, fields: c.more,
			}), nil)
			if errors.Is(err, errStale) { // somebody reads it already
				return s.read(ctx, op, hashed, 0)
			}
			return live, err
		case err == nil && c.ok >= s.c.Quorum():
			return rec, nil
		case err == nil && c.newest != "": // by a clock ahead of ours, or just now
			again := *rec
			if from.logout != "" {
				from.logout = s.clock.after(c.newest)
			}
			again.issue = s.clock.after(max(c.newest, from.logout))
			rec = &again
			continue
		case err == nil:
			err = s.noQuorum(op, hashed, c.ok, failed)
		default:
			err = s.wrap(op, hashed, err)
		}
		return nil, err
	}
}

// contest finds out whether a session is the one to be kept alone, where others were to be at the same time. On each node the
// first one was taken, and a node does not change its mind but for the winner. It is who has a quorum; else, of
// those who have a node, the one with the largest hash. That is certain only if no node is missing.
func (s *Store) contest(op, hashed string, from succession, c count, failed []cluster.NodeError) error {
	quorum, answered, most, wins := s.c.Quorum(), c.ok, 0, c.ok > 0
	for rival, nodes := range c.out {
		answered += nodes
		most = max(most, nodes)
		wins = wins && rival < hashed
	}
	switch whole := answered == len(s.c.Nodes()); {
	case c.ok >= quorum, most < quorum && whole && wins:
		return nil
	case most >= quorum, whole:
		return s.gone(op, cmp.Or(from.old, hashed))
	}
	return s.noQuorum(op, hashed, c.ok, failed)
}

func (s *Store) putQuestion(hashed string, rec *record, from succession) question {
	args := []any{s.userKeep(), hashed, from.old, cmp.Or(from.until, "0"), from.logout, rec.born, rec.issue, rec.user, rec.deadline, rec.idle, from.rivals}
	size := 0
	for name, value := range rec.fields {
		args = append(args, name, value)
		size += len(name) + len(value)
	}
	return question{script: putScript, key: s.cfg.Prefix + hashed, args: args, size: size, now: time.Now(), write: true}
}

// userSlack is for how long after the last of their sessions has ended it is kept when users were logged out, for the
// sake of clocks that jump.
const userSlack = 24 * time.Hour

// userKeep is for how long what concerns a user is kept from its last use, ms.
func (s *Store) userKeep() int64 { return (s.cfg.Lifetime + userSlack).Milliseconds() }

// Load returns the session of this id, as of a write that no later Load will miss, and sets its idle deadline forward. The
// error is
//
//	*GoneError             matches ErrSessionGone: it has never been, was destroyed or logged out, or is over
//	*cluster.QuorumError   too few nodes answered to tell: deny the request, and keep the cookie
//	ctx.Err()              in the chain
func (s *Store) Load(ctx context.Context, id string) (*Session, error) {
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
	p := s.newPoll(question{script: loadScript, key: s.cfg.Prefix + hashed, args: touch(now, idle), now: now})
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
	p      *poll
	hashed string
	now    time.Time

	answers []answer // guarded by the poll, as are these
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
	return judge(answers, s.elder(now), s.apart())
}

// voters is the nodes that have a say about what was found, and in which memory, or all if a quorum of them has forgotten.
func (r *reading) voters(v *verdict) map[int]string {
	if v.votes < r.s.c.Quorum() {
		return nil
	}
	elder, voters := r.s.elder(r.now), map[int]string{}
	for i := range r.answers {
		if a := &r.answers[i]; a.counts(v.live, elder, r.s.apart()) {
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
		q = s.buryQuestion(r.hashed, s.deadlineOf(v.live))
	case v.live != nil && a.lagging(v.live) && !v.live.over(stamp(r.now.UnixMicro())):
		q = s.putQuestion(r.hashed, v.live, succession{})
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
		if err := s.bury(ctx, op, hashed, s.deadlineOf(v.live)); err != nil {
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
	w := s.newWrite(s.putQuestion(hashed, live, succession{}))
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

// confirm makes sure that a session that one node knows to be gone is so for everybody, and returns the *GoneError.
func (s *Store) confirm(ctx context.Context, op, hashed, deadline string) error {
	if err := s.bury(ctx, op, hashed, deadline); err != nil {
		return err
	}
	return s.gone(op, hashed)
}

// deadlineOf is when a session ends at the latest, also one of which nothing but a tombstone is known.
func (s *Store) deadlineOf(live *record) string {
	if live == nil {
		return stamp(time.Now().Add(s.cfg.Lifetime).UnixMicro())
	}
	return live.deadline
}

// bury puts tombstones on a quorum.
func (s *Store) bury(ctx context.Context, op, hashed, deadline string) error {
	c, failed, err := s.write(ctx, s.buryQuestion(hashed, deadline))
	switch {
	case err != nil:
		return s.wrap(op, hashed, err)
	case c.ok < s.c.Quorum():
		return s.noQuorum(op, hashed, c.ok, failed)
	}
	return nil
}

func (s *Store) buryQuestion(hashed, deadline string) question {
	return question{script: buryScript, key: s.cfg.Prefix + hashed, args: []any{hashed, deadline}, now: time.Now(), write: true}
}

// dispose buries what a failed attempt may have left, and has no owner, without waiting for it. A node of whose memory nothing
// is known has written nothing.
func (s *Store) dispose(hashed, deadline string) {
	q := s.buryQuestion(hashed, deadline)
	common := s.common(q)
	for _, n := range s.c.Nodes() {
		if memory := s.memories.of(n.Index()); memory != "" {
			s.send(n, q, common, n.MemoryID(), memory, nil)
		}
	}
}

// Destroy ends the session of this id, or handle, for good. When it has returned nil, the session is never read again, and
// nothing that is written to it brings it back. That there is no such session is no error. The error is a
// *cluster.QuorumError or has ctx.Err() in its chain: then the session may live on, or not.
func (s *Store) Destroy(ctx context.Context, idOrHandle string) error {
	hashed, ok := target(idOrHandle)
	if !ok {
		return nil
	}
	return s.tally(&s.counts.destroyed, s.destroy(ctx, hashed))
}

// maxSuccessors bounds how many renewals of a session Destroy follows. Nodes that make up more are not followed for ever.
const maxSuccessors = 100

// destroy ends a session, and whatever has replaced it: who has the old id means the new session.
func (s *Store) destroy(ctx context.Context, hashed string) error {
	for range maxSuccessors {
		next, err := s.end(ctx, hashed)
		if next == "" || err != nil {
			return err
		}
		hashed = next
	}
	return s.wrap("destroy", hashed, fmt.Errorf("it was renewed more than %d times", maxSuccessors))
}

// end asks the nodes that have the session to bury it, and returns the one that has replaced it. Only if one had it are
// those that had not given a tombstone too: else whoever makes up ids could fill the nodes with them.
func (s *Store) end(ctx context.Context, hashed string) (next string, err error) {
	quorum := s.c.Quorum()
	w := s.newWrite(s.buryQuestion(hashed, ""))
	w.enough = func() bool { return w.count.ok >= quorum || w.count.ok == 0 && s.never(w.count.none) >= quorum }
	c, failed, err := w.wait(ctx)
	switch {
	case err != nil:
		return "", s.wrap("destroy", hashed, err)
	case c.ok >= quorum:
	case c.ok > 0:
		if err := s.bury(ctx, "destroy", hashed, cmp.Or(c.deadline, s.deadlineOf(nil))); err != nil {
			return "", err
		}
	case s.never(c.none) < quorum && len(c.none) < len(s.c.Nodes()):
		return "", s.noQuorum("destroy", hashed, s.never(c.none), failed)
	}
	return c.next, nil
}

// never is how many of those who have nothing of a session can say that it is not.
func (s *Store) never(none []answer) int {
	v := s.judge(none, time.Now())
	return v.votes
}

// commit writes fields to a session, above every version that it finds there, and returns their versions. seen is the
// largest version that the caller has read. The idle deadline is set to idle if that is later, for Put, and nothing is written
// if the session ends before. With a token, the fencing token of the session's lock, it gives up with
// errOvertaken where it finds something newer.
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
			return "", fieldError("Put", "until %v is later than the session ends, %v; it lives for Config.Lifetime, %v, from when it was first put: "+
				"make that longer, or go on under a new id", moment(idle), moment(c.late), s.cfg.Lifetime)
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
		case c.absent > 0 && try < maxTries: // some nodes have to be brought up first
			try++
			if _, err := s.read(ctx, op, hashed, 0); err != nil {
				return "", err
			}
		default:
			return "", s.noQuorum(op, hashed, c.ok, failed)
		}
	}
}

// maxTries bounds how often a commit brings nodes up, and finds them lacking the session again.
const maxTries = 4

var errOvertaken = errors.New("redlock: written to by somebody else meanwhile")

func (s *Store) commitQuestion(hashed string, ver version, changes map[string]string, idle string) question {
	args := []any{idle}
	size := 0
	for name, value := range changes {
		args = append(args, name, ver+value)
		size += len(name) + len(value) + versionWidth
	}
	return question{script: commitScript, key: s.cfg.Prefix + hashed, args: args, size: size, now: time.Now(), write: true}
}
