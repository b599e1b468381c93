package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
)

// loading describes a load in progress, in the load's context.
type loading struct {
	cache  any                       // *Cache
	of     func(key string) *decided // returns nil if it does not load key
	parent *loading
}

type loadingKey struct{}

// within returns the context of a load.
func within(ctx context.Context, cache any, of func(key string) *decided) context.Context {
	parent, _ := ctx.Value(loadingKey{}).(*loading)
	return context.WithValue(ctx, loadingKey{}, &loading{cache, of, parent})
}

// loadOf returns the load of key to which ctx belongs, or nil.
func (s *Cache[V]) loadOf(ctx context.Context, key string) *decided {
	for l, _ := ctx.Value(loadingKey{}).(*loading); l != nil; l = l.parent {
		if l.cache == any(s) {
			if d := l.of(key); d != nil {
				return d
			}
		}
	}
	return nil
}

// reentrant returns an error if ctx belongs to a load of key, which would wait
// for itself.
func (s *Cache[V]) reentrant(ctx context.Context, key string) error {
	if s.loadOf(ctx, key) == nil {
		return nil
	}
	return errs.Errorf("redlock: fetch %q: %w", key, ErrReentrant)
}

// decided holds the options that a load has set for its value.
type decided struct {
	mu   sync.Mutex
	opts []Option
}

// Decide sets options for the value that a load is about to return for key.
// They replace those of Fetch or FetchMany, except [Tags], which are added. The
// load calls it with its context, or with one derived from it. A value is not
// stored if one of its tags was deleted since the load began. The error matches
// [cluster.ErrConfig] if an option cannot be used, or is [ErrNoLoad] if ctx is
// not that of a load of key; in both cases nothing changes.
func (s *Cache[V]) Decide(ctx context.Context, key string, opts ...Option) error {
	if s == nil {
		return errNil
	}
	d := s.loadOf(ctx, key)
	if d == nil {
		return errs.Errorf("redlock: decide on %q: %w", key, ErrNoLoad)
	}
	if _, err := s.request(opts); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opts = append(d.opts, opts...)
	return nil
}

// over returns req with the options that the load has set. Of the tags it has
// only those that the load has set.
func (d *decided) over(req request) request {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := req
	r.tags, r.softGiven = nil, false
	for _, o := range d.opts {
		o.apply(&r)
	}
	if !r.softGiven {
		r.soft = time.Duration(float64(req.soft) * (float64(r.ttl) / float64(req.ttl)))
	}
	r.soft = min(r.soft, r.ttl)
	return r
}

// grace is how long a load may take to return once its context has ended: a
// tenth of LoadTimeout, but no longer than this.
const grace = 100 * time.Millisecond

// loaded runs load and measures its duration. load may panic, end its
// goroutine, or never return.
func loaded[V, T any](ctx context.Context, s *Cache[V], load func(context.Context) (T, error)) (v T, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LoadTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	s.count.loads.Add(1)
	began := time.Now()
	type outcome struct {
		v   T
		err error
	}
	done := make(chan outcome, 1)
	go func() { // a separate goroutine, so that runtime.Goexit ends only this one
		o := outcome{err: errExit}
		defer func() {
			if p := recover(); p != nil {
				o.err = &PanicError{p, debug.Stack()}
			}
			done <- o
		}()
		o.v, o.err = load(ctx)
	}()
	hung := time.NewTimer(s.cfg.LoadTimeout + min(grace, s.cfg.LoadTimeout/10))
	defer hung.Stop()
	select {
	case o := <-done:
		v, err = o.v, o.err
	case <-hung.C:
		err = fmt.Errorf("redlock: the load has not returned within Config.LoadTimeout, %v, and continues in the background: %w",
			s.cfg.LoadTimeout, context.DeadlineExceeded)
	}
	took = time.Since(began)
	s.count.loadTime.Add(int64(took))
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.count.loadErrors.Add(1)
	}
	return v, took, err
}
