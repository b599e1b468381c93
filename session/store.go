package session

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// Store keeps sessions on a set of nodes. All methods may be called concurrently. The caller must Close it, before the
// Cluster or after it.
type Store struct {
	c             *cluster.Cluster
	cfg           Config
	salt          string
	memoryKey     string
	memories      memories
	meeting       chan struct{} // has room for the one that finds out whom to meet
	met           atomic.Bool
	bootstrapping atomic.Bool // a quorum of nodes had no memory when they were met, and this process has begun none
	clock         clock
	counts        counters
	unwatch       func()
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
func (s *Store) Close() {
	if s != nil {
		s.unwatch()
	}
}

// errNil is the error of a program that ignored the one of New.
var errNil = fieldError("Store", "is nil; see the error of session.New")

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
	if s == nil {
		return nil, errNil
	}
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
	made, err := s.put(ctx, "create", ss.hash, rec, replacement{})
	if s.tally(&s.counts.created, err) != nil {
		s.dispose(ss.hash, rec.deadline, false)
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

// replacement says whose place a new session takes.
type replacement struct {
	old    string  // hash
	until  string  // up to when old leads to the new one
	logout version // at which all other sessions of the user end, or ""
	rivals string  // that have lost: the hashes of sessions which others want to keep alone
	issue  version // of old
}

// maxRestarts is how often a session of which a quorum of nodes is sure is put in again because of others: a node that is
// wrong may always know of one.
const maxRestarts = 8

// put makes the session of rec, and returns it as it was made.
func (s *Store) put(ctx context.Context, op, hashed string, rec *record, from replacement) (*record, error) {
	var pace backoff.BackOff // of a contest that is open
	for tries := 0; ; {
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
			if pace == nil {
				pace = s.pace()
			}
			at := s.contested(hashed, c)
			switch stands := decide(at); {
			case stands == won && tries < maxRestarts:
				tries++
				from.rivals += strings.Join(slices.Collect(maps.Keys(c.out)), ",") + ","
				continue
			case stands == undecided && again(ctx, pace):
				continue
			case stands == lost, stands == undecided && ctx.Err() == nil && at.most >= at.quorum: // the rival had the time to concede
				err = s.gone(op, cmp.Or(from.old, hashed))
			default:
				err = &cluster.QuorumError{Op: op + " session", Key: s.label(hashed), Need: s.c.Quorum(), Got: c.ok, Nodes: failed, Err: errs.Ended(ctx)}
			}
		case err == nil && c.newest != "" && (c.ok < s.c.Quorum() || from.logout != "" && tries < maxRestarts): // by a clock ahead of ours, or just now
			tries++
			again := *rec
			if from.logout != "" {
				from.logout = s.clock.after(c.newest)
			}
			again.issue = s.clock.after(max(c.newest, from.logout))
			rec = &again
			continue
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
		case err == nil:
			err = s.noQuorum(op, hashed, c.ok, failed)
		default:
			err = s.wrap(op, hashed, err)
		}
		return nil, err
	}
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

// userSlack is for how long after the last of their sessions has ended it is kept when users were logged out, for the
// sake of clocks that jump.
const userSlack = 24 * time.Hour

// userKeep is for how long what concerns a user is kept from its last use, ms.
func (s *Store) userKeep() int64 { return (s.cfg.Lifetime + userSlack).Milliseconds() }
