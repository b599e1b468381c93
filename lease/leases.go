package lease

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/telemetry"
	"github.com/venta-hq/redlock/mutex"
)

// The errors of this package are those of the algorithm.
var (
	ErrNotAcquired = mutex.ErrNotAcquired
	ErrLost        = mutex.ErrLost
	ErrReleased    = mutex.ErrReleased
	ErrNoQuorum    = cluster.ErrNoQuorum
	ErrClosed      = cluster.ErrClosed
)

type (
	// NotAcquiredError says who has the key. It matches ErrNotAcquired.
	NotAcquiredError = mutex.NotAcquiredError
	// LostError says why a lease ended. It matches ErrLost.
	LostError = mutex.LostError
)

type parent = context.Context

// Leases acquires leases and keeps them alive: one goroutine renews them all. All methods may be called concurrently.
type Leases struct {
	c        *cluster.Cluster
	tel      *telemetry.Telemetry // nil: nothing is reported
	red      *mutex.Redlock
	cfg      Config
	waiting  waiting
	inflight inflight

	closing chan struct{} // closed when nothing new is accepted
	shut    sync.Once
	closed  chan struct{} // closed when everything is released
	once    sync.Once
	unwatch func()

	renewer
}

// New makes Leases on a set of nodes. The error matches cluster.ErrConfig and names every bad field.
func New(c *cluster.Cluster, cfg Config) (*Leases, error) {
	if c == nil {
		return nil, c.Err()
	}
	cfg = cfg.withDefaults()
	red, err := mutex.NewRedlock(c, cfg.mutex())
	_, perr := cfg.pace("Config.TTL", cfg.TTL, c.Config().NodeTimeout)
	if err := errors.Join(err, perr, cfg.checkRecords(c.Config().MaxTTL)); err != nil {
		return nil, err
	}
	cfg.Prefix, cfg.Owner, cfg.FenceRetention = red.Config().Prefix, red.Config().Owner, red.Config().FenceRetention
	s := &Leases{c: c, tel: c.Telemetry(), red: red, cfg: cfg, closing: make(chan struct{}), closed: make(chan struct{})}
	s.renewer.init(s)
	s.waiting.init(s)
	s.inflight.init()
	s.watch()
	return s, nil
}

// errNil is the error of a program that ignored the one of New.
var errNil = fieldError("Leases", "is nil; see the error of lease.New")

// Config is the configuration with its defaults filled in.
func (s *Leases) Config() Config { return s.cfg }

// Cluster is the set of nodes.
func (s *Leases) Cluster() *cluster.Cluster { return s.c }

// Redlock is the algorithm under these leases, with their prefix.
func (s *Leases) Redlock() *mutex.Redlock { return s.red }

// TryAcquire does not wait for key to come free. It makes one attempt, and a few more where attempts of several callers have
// split the votes and nobody holds the key: or all of them could fail at once. The error is one of
// mutex.Redlock.Acquire's, or a *LostError if it was lost before it was given out. The lease lives until it is released or lost; ctx bounds only the acquiring, its values are
// those of the lease's context.
func (s *Leases) TryAcquire(ctx context.Context, key string, opts ...Option) (*Lease, error) {
	if s == nil {
		return nil, errNil
	}
	l, err := s.reported(ctx, key, request(opts), s.Try)
	if err != nil {
		return nil, err
	}
	return s.resume(ctx, l)
}

// Acquire waits for key until ctx ends: while somebody else holds it, and while too few nodes answer. When ctx ends, the
// error is that of the last attempt, a *NotAcquiredError or a *cluster.QuorumError, with ctx.Err() in its chain. Acquire
// fails at once only with an error that waiting does not change: one that matches cluster.ErrConfig or ErrClosed, or a
// *LostError if it was lost before it was given out. Where too few nodes answer only when the last checkpoint is read, the
// key is given back and acquired anew.
func (s *Leases) Acquire(ctx context.Context, key string, opts ...Option) (*Lease, error) {
	if s == nil {
		return nil, errNil
	}
	req := request(opts)
	var l *Lease
	err := s.persist(ctx, key, func() error {
		got, err := s.reported(ctx, key, req, s.Await)
		if err == nil {
			got, err = s.resume(ctx, got)
			err = orInterrupted(err)
		}
		l = got
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func request(opts []Option) Request {
	var req Request
	for _, o := range opts {
		o.apply(&req)
	}
	return req
}

// Try is TryAcquire with the options as a Request.
func (s *Leases) Try(ctx context.Context, key string, req Request) (*Lease, error) {
	if s == nil {
		return nil, errNil
	}
	s.inflight.begin()
	defer s.inflight.end()
	p, err := s.plan(ctx, key, req)
	if err != nil {
		return nil, err
	}
	l, err := s.unsplit(ctx, p)
	if err == nil { // who waits in this process should not come before those of others because of that
		s.c.IfWaiting(p.lock, func() { l.t.hold.Dequeue(true) })
	}
	return l, err
}

// Check is the error with which Try and Await would refuse the request without asking the nodes: one that matches
// cluster.ErrConfig, or ErrClosed.
func (s *Leases) Check(key string, req Request) error {
	if s == nil {
		return errNil
	}
	_, err := s.check(key, &req)
	return err
}

// check is Check, and fills in what the request leaves open and says how often it is to be renewed.
func (s *Leases) check(key string, req *Request) (every time.Duration, err error) {
	req.TTL, req.Owner = cmp.Or(req.TTL, s.cfg.TTL), cmp.Or(req.Owner, s.cfg.Owner)
	every, err = s.cfg.pace("TTL", req.TTL, s.c.Config().NodeTimeout)
	if maxTTL := s.c.Config().MaxTTL; req.TTL > maxTTL {
		err = fieldError("TTL", "%v is out of range; at most the Cluster's MaxTTL, %v", req.TTL, maxTTL)
	}
	if err := errors.Join(s.red.Check(key, mutex.Request{Owner: req.Owner, TokenBlock: req.TokenBlock}), err, req.check()); err != nil {
		return 0, err
	}
	return every, s.err(key)
}

// plan is a checked request.
type plan struct {
	key   string
	lock  string // the key on the nodes
	req   Request
	every time.Duration
}

func (s *Leases) plan(ctx context.Context, key string, req Request) (plan, error) {
	every, err := s.check(key, &req)
	if err != nil {
		return plan{}, err
	}
	if req.Parent == nil {
		req.Parent = context.WithoutCancel(ctx)
	}
	return plan{key, s.red.LockKey(key), req, every}, nil
}

func (s *Leases) err(key string) error {
	select {
	case <-s.closing:
		return errs.Errorf("redlock: acquire %q: %w", key, ErrClosed)
	default:
		return nil
	}
}

// attempt asks the nodes once.
func (s *Leases) attempt(ctx context.Context, p plan, queue bool) (*Lease, error) {
	t := s.expect(p)
	hold, err := s.red.Acquire(ctx, p.key, mutex.Request{TTL: p.req.TTL, Owner: p.req.Owner, TokenBlock: p.req.TokenBlock, Queue: queue})
	if err != nil {
		s.forget(t)
		return nil, err
	}
	l, ok := s.keep(t, hold, p)
	if !ok {
		err := errs.Errorf("redlock: acquire %q: %w", p.key, ErrClosed)
		hold.Abort(err)
		return nil, err
	}
	s.tel.Granted(p.key, hold.Waiters())
	return l, nil
}

// Cancel ends the contexts of all leases with this cause, without releasing them: they are still renewed, so that
// their work can end in peace. New leases are refused, and all waits end with ErrClosed.
func (s *Leases) Cancel(cause error) {
	if s == nil {
		return
	}
	s.shut.Do(func() { close(s.closing) })
	s.renewer.cancel(cause)
}

// Close ends the contexts of all leases and all waits, with ErrClosed as the cause, waits for what Go runs, and releases
// the leases. What is kept by MinHold is left to expire. When it returns nil nothing of these Leases runs any more, and
// what had to be sent is sent. It may be called again; every call waits. ctx bounds only the waiting.
func (s *Leases) Close(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.Cancel(ErrClosed)
	s.once.Do(func() {
		go func() {
			defer close(s.closed)
			s.drain()
			s.c.Unlisten(&s.waiting)
			s.unwatch()
		}()
	})
	select {
	case <-s.closed:
		return nil
	case <-ctx.Done():
		return errs.Errorf("redlock: close: %w", errs.Ended(ctx))
	}
}
