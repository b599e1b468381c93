package keepalive

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/telemetry"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

// The errors of this package are those of the algorithm.
var (
	ErrNotAcquired = quorumlock.ErrNotAcquired
	ErrLost        = quorumlock.ErrLost
	ErrReleased    = quorumlock.ErrReleased
	ErrDetached    = quorumlock.ErrDetached
	ErrNoQuorum    = nodeset.ErrNoQuorum
	ErrClosed      = nodeset.ErrClosed
)

type (
	// NotAcquiredError names the holder of the key. It matches ErrNotAcquired.
	NotAcquiredError = quorumlock.NotAcquiredError
	// LostError says why a lease ended. It matches ErrLost.
	LostError = quorumlock.LostError
)

// Leases acquires leases and renews them, all on one goroutine. All methods may
// be called concurrently.
type Leases struct {
	c        *nodeset.Set
	tel      *telemetry.Telemetry // nil: nothing is reported
	red      *quorumlock.Redlock
	cfg      Config
	queues   *waitqueue.Queues // the set's
	mailbox  mailbox           // the set's
	opened   <-chan struct{}   // closed when the nodes that can be reached send messages
	stats    counters
	inflight inflight

	closing chan struct{} // closed when nothing new is accepted
	shut    sync.Once
	closed  chan struct{} // closed when everything is released
	once    sync.Once
	unwatch func()

	renewer
}

// New is lease.New.
func New(set *nodeset.Set, cfg Config) (*Leases, error) {
	if set == nil {
		return nil, set.Err()
	}
	cfg = cfg.withDefaults()
	red, err := quorumlock.NewRedlock(set, cfg.mutex())
	_, perr := cfg.pace("Config.TTL", cfg.TTL, set.Config().NodeTimeout)
	maxTTL := set.Config().MaxTTL
	if err := errors.Join(err, perr, cfg.checkDelay("Config.TTL", cfg.TTL, maxTTL), cfg.checkRecords(maxTTL), cfg.checkRetain(maxTTL)); err != nil {
		return nil, err
	}
	red.SetLockDelay(cfg.LockDelay)
	cfg.Prefix, cfg.Owner, cfg.FenceRetention = red.Config().Prefix, red.Config().Owner, red.Config().FenceRetention
	s := &Leases{c: set, tel: set.Telemetry(), red: red, cfg: cfg, queues: set.Queues(), mailbox: mailbox{set}, closing: make(chan struct{}), closed: make(chan struct{})}
	s.renewer.init(s)
	s.inflight.init()
	s.watch()
	s.opened = s.c.Listen(s.mailbox) // from now on it receives messages
	return s, nil
}

// errNil is the error of a program that ignored the one of New.
var errNil = configerr.Field("Leases", "is nil; see the error of lease.New")

// Config is the configuration with its defaults filled in.
func (s *Leases) Config() Config { return s.cfg }

// Redlock is the algorithm under these leases, with their prefix.
func (s *Leases) Redlock() *quorumlock.Redlock { return s.red }

// TryAcquire is lease.Leases.TryAcquire.
func (s *Leases) TryAcquire(ctx context.Context, key string, opts ...Option) (*Lease, error) {
	if s == nil {
		return nil, errNil
	}
	req := Options(opts)
	if req.Wait != 0 {
		return nil, configerr.Field("Wait", "%v for TryAcquire, which does not wait; call Acquire", req.Wait)
	}
	req.Bounded = true
	l, err := s.reported(ctx, key, req)
	if err != nil {
		return nil, err
	}
	return s.resume(ctx, l)
}

// Acquire is lease.Leases.Acquire.
func (s *Leases) Acquire(ctx context.Context, key string, opts ...Option) (l *Lease, err error) {
	if s == nil {
		return nil, errNil
	}
	req := Options(opts)
	req.Parent = context.WithoutCancel(ctx)
	err = req.Within(ctx, func(ctx context.Context) error {
		return s.persist(ctx, key, req, func() (err error) {
			if l, err = s.reported(ctx, key, req); err == nil {
				l, err = s.resume(ctx, l)
				err = orInterrupted(err)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// check refuses a request without asking the nodes: the error matches
// cluster.ErrConfig, or ErrClosed. It fills in what the request leaves open and
// returns how often the lease is to be renewed.
func (s *Leases) check(key string, req *Request) (every time.Duration, err error) {
	req.TTL, req.Owner = cmp.Or(req.TTL, s.cfg.TTL), cmp.Or(req.Owner, s.cfg.Owner)
	every, err = s.cfg.pace("TTL", req.TTL, s.c.Config().NodeTimeout)
	if maxTTL := s.c.Config().MaxTTL; req.TTL > maxTTL {
		err = configerr.Field("TTL", "%v is out of range; at most the Cluster's MaxTTL, %v", req.TTL, maxTTL)
	} else if err == nil {
		err = s.cfg.checkDelay("TTL", req.TTL, maxTTL)
	}
	if err := errors.Join(s.red.Check(key, quorumlock.Request{Owner: req.Owner, TokenBlock: req.TokenBlock, Limit: req.Limit}), err, req.check()); err != nil {
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
	queue *waitqueue.Queue // nil: the lease is handed over to nobody
	start int              // of a key with a limit: the slot to ask for, counted from 1; 0: any
}

func (s *Leases) plan(ctx context.Context, key string, req Request) (plan, error) {
	every, err := s.check(key, &req)
	if err != nil {
		return plan{}, err
	}
	if req.Parent == nil {
		req.Parent = context.WithoutCancel(ctx)
	}
	return plan{key: key, lock: s.red.LockKey(key), req: req, every: every}, nil
}

func (s *Leases) err(key string) error {
	select {
	case <-s.closing:
		return errs.Errorf("redlock: acquire %q: %w", key, ErrClosed)
	default:
		return nil
	}
}

// open reports whether the nodes that can be reached send messages.
func (s *Leases) open() bool {
	select {
	case <-s.opened:
		return true
	default:
		return false
	}
}

// attempt asks the nodes once; queues says that a refusal puts this process into
// their queues, first that it is the first look of a caller.
func (s *Leases) attempt(ctx context.Context, p plan, queues, first bool) (*Lease, error) {
	began := time.Now()
	if p.queue != nil { // what others announce while too few nodes send messages is lost, so it is taken as announced
		p.queue.BeginAttempt(!s.mailbox.onQuorum(), began)
	}
	hold, err := s.red.Acquire(ctx, p.key, quorumlock.Request{TTL: p.req.TTL, Owner: p.req.Owner, TokenBlock: p.req.TokenBlock, Queue: queues, First: first,
		Retains: p.queue != nil && s.cfg.Retain > 0 && p.req.Limit == 0 && !p.req.Shared, Limit: p.req.Limit, Start: p.start, Shared: p.req.Shared,
		Handle: p.req.handle, Sent: p.req.sent})
	if err != nil {
		return nil, err
	}
	l, ok := s.keep(hold, p)
	if !ok {
		err := errs.Errorf("redlock: acquire %q: %w", p.key, ErrClosed)
		hold.Abort(err)
		return nil, err
	}
	if p.req.Limit > 0 {
		p.queue.Granted(began, time.Now(), hold.Waiters() > 0)
	} else if hold.Waiters() > 0 {
		giveUpKept(s.queues.NoteRemoteWait(p.lock, time.Now()))
	}
	s.tel.Granted(p.key, hold.Waiters())
	return l, nil
}

// Cancel ends the contexts of all leases with this cause, without releasing
// them: they are still renewed, so that their work can finish. Keys that are
// only retained are released. New leases are refused, and all waits end with
// ErrClosed.
func (s *Leases) Cancel(cause error) {
	s.shut.Do(func() { close(s.closing) })
	s.renewer.cancel(cause)
	s.giveUpAllRetained()
}

// Close is lease.Leases.Close.
func (s *Leases) Close(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.Cancel(ErrClosed)
	s.once.Do(func() {
		go func() {
			defer close(s.closed)
			s.drain()
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
