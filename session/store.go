package session

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// Store keeps sessions on a set of nodes. All methods may be called
// concurrently. The caller must Close it, before or after the Cluster.
type Store struct {
	c             *nodeset.Set
	cfg           Config
	salt          string
	memoryKey     string
	memories      memories
	probing       chan struct{} // held by the caller that is probing
	probed        atomic.Bool
	bootstrapping atomic.Bool // the probe found a quorum of nodes without a memory, and this process has begun none
	clock         clock
	counts        counters
	unwatch       func()
}

// New returns a Store on a set of nodes. The error matches [cluster.ErrConfig]
// and names every bad field.
func New(c *cluster.Cluster, cfg Config) (*Store, error) {
	set := face.In(c)
	if set == nil {
		return nil, set.Err()
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(set); err != nil {
		return nil, err
	}
	s := &Store{
		c: set, cfg: cfg, salt: cfg.Salt, memoryKey: cfg.Prefix + "memory", memories: make(memories, len(set.Nodes())),
		probing: make(chan struct{}, 1),
	}
	s.watch()
	return s, nil
}

// Close ends the Store's reports to the Cluster's metrics. It may be called
// again. The sessions stay, and the Store can still be used.
func (s *Store) Close() {
	if s != nil {
		s.unwatch()
	}
}

// errNil is the error of every method of a nil Store, which a program has if it
// ignored the error of New.
var errNil = configerr.Field("Store", "is nil; see the error of session.New")

// Option configures a session that is created.
type Option interface{ apply(*request) }

type option func(*request)

func (o option) apply(r *request) { o(r) }

type request struct{ lifetime time.Duration }

// Lifetime replaces [Config.Lifetime] for one session; it can only be shorter.
func Lifetime(d time.Duration) Option { return option(func(r *request) { r.lifetime = d }) }

// Create creates a session for user, or without a user if user is "", with data
// as its fields. After it has returned a nil error, every Load finds the
// session until it ends. If it fails, no usable session is left. The error is a
// [*cluster.QuorumError], has ctx.Err() in its chain, or matches
// [cluster.ErrConfig].
func (s *Store) Create(ctx context.Context, user string, data map[string]any, opts ...Option) (*Session, error) {
	if s == nil {
		return nil, errNil
	}
	req := request{lifetime: s.cfg.Lifetime}
	for _, o := range opts {
		o.apply(&req)
	}
	if req.lifetime <= 0 || req.lifetime > s.cfg.Lifetime {
		return nil, configerr.Field("Lifetime", "%v is out of range; more than 0, at most Config.Lifetime, %v", req.lifetime, s.cfg.Lifetime)
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
