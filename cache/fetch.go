package cache

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
)

// Loader gets a value from where it comes from. It returns ErrNotFound, alone or wrapped, where there is none.
type Loader[V any] func(ctx context.Context) (V, error)

// Fetch returns the value of key, and has it loaded if there is none that may be served: by one caller of the fleet, for
// whom the others wait. load runs on a goroutine of its own; its context ends after Config.LoadTimeout or when the Cache
// is closed, and keeps the values of ctx. An error of load is returned unchanged, unless a stale value may be served
// instead; a panic is a *PanicError. ctx ends only the waiting.
//
// What Fetch returns is no older than its call, as far as deletions go: had a Delete returned before, nothing that was
// loaded before that is returned (but see the package comment on when that holds).
//
// All callers that one load serves are given the same value, so what it refers to (a map, a slice, a pointer) must not be
// changed, nor by load once it has returned; with Config.Near that is so for Get as well.
func (s *Cache[V]) Fetch(ctx context.Context, key string, load Loader[V], opts ...Option) (v V, err error) {
	if s == nil {
		return v, errNil
	}
	req, err := s.request(opts)
	if err := errors.Join(err, s.check(ctx, key)); err != nil {
		return v, err
	}
	if v, ok, err := s.nearest(key); ok || err != nil {
		return v, err
	}
	h, err := s.read(ctx, key)
	switch {
	case err != nil && ctx.Err() != nil:
		return v, errs.Errorf("redlock: fetch %q: %w", key, errs.Ended(ctx))
	case h.served():
		if h.entry.due(h.node.now(), 1-rand.Float64()) {
			s.refresh(ctx, key, load, req, h)
		}
		v, _, err = h.take(&s.count)
		return v, err
	}
	s.count.misses.Add(1)
	return s.miss(ctx, key, load, req, h.entry.stamp)
}

// miss joins the load that is under way in this process, or begins one, until it gets a result that is no older than this
// call. seen is the stamp of an entry that was not good enough.
func (s *Cache[V]) miss(ctx context.Context, key string, load Loader[V], req request, seen int64) (v V, err error) {
	if err := s.reentrant(ctx, key); err != nil {
		return v, err
	}
	for {
		f, joined, first := s.flights.join(key)
		if first && !s.spawn(func() { s.flights.land(key, f, s.fly(context.WithoutCancel(ctx), f, key, load, req, seen)) }) {
			s.flights.land(key, f, result[V]{err: ErrClosed, moment: never})
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return v, errs.Errorf("redlock: fetch %q: %w", key, errs.Ended(ctx))
		}
		if f.result.moment > joined {
			return f.result.value, f.result.err
		}
	}
}

// fly finds a result for a flight: what a node has, or what load gives under a lease.
func (s *Cache[V]) fly(ctx context.Context, f *flight[V], key string, load Loader[V], req request, seen int64) result[V] {
	a := attempt[V]{s: s, key: key, load: load, req: req, nonce: s.nonce(), seen: seen, process: s.c.Process()}
	patience := time.NewTimer(s.cfg.LeaseTTL + s.cfg.LoadTimeout)
	defer patience.Stop()
	for failed := 0; failed < 2; {
		done := s.notifications.listen(s.entryName(key))
		moment := f.tick()
		lease, err := a.ask(ctx)
		switch {
		case err != nil:
			failed++
		case lease.held.served():
			s.notifications.forget(s.entryName(key), done)
			v, _, err := lease.held.take(&s.count)
			return result[V]{v, err, moment}
		case lease.given:
			s.notifications.forget(s.entryName(key), done)
			return a.run(ctx, lease, f.tick)
		case lease.left > 0:
			s.count.waits.Add(1)
			if !s.pause(done, lease.left, patience) {
				failed = 2
			}
		default: // an entry that is none to us
			failed++
		}
		s.notifications.forget(s.entryName(key), done)
	}
	if s.life.Err() != nil {
		return result[V]{err: ErrClosed, moment: never}
	}
	s.count.unleased.Add(1)
	moment := f.tick()
	v, _, err := loaded(within(ctx, s, a.decide), s, load)
	return judged(v, err, moment)
}

// pause waits until somebody else's load may be over. It reports false when patience is.
func (s *Cache[V]) pause(done <-chan struct{}, left time.Duration, patience *time.Timer) bool {
	lapse := time.NewTimer(left + rand.N(10*time.Millisecond))
	defer lapse.Stop()
	select {
	case <-done:
	case <-lapse.C:
	case <-patience.C:
		return false
	case <-s.life.Done():
		return false
	}
	return true
}

// refresh loads a key in the background, if nobody else does, in this process or another. While another does, and a while
// after a load that failed, this process does not try again.
func (s *Cache[V]) refresh(ctx context.Context, key string, load Loader[V], req request, h held[V]) {
	if _, underway := s.refreshing.LoadOrStore(key, true); underway {
		return
	}
	ctx = context.WithoutCancel(ctx)
	spawned := s.spawn(func() {
		defer s.refreshing.Delete(key)
		a := attempt[V]{s: s, key: key, load: load, req: req, nonce: s.nonce(), seen: h.entry.stamp}
		lease, err := a.ask(ctx)
		if lease.given {
			s.count.refreshes.Add(1)
			err = a.run(ctx, lease, func() moment { return 0 }).err
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			lease.left = s.cfg.LeaseTTL
		}
		s.rest(lease.left)
	})
	if !spawned {
		s.refreshing.Delete(key)
	}
}

func (s *Cache[V]) rest(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.life.Done():
	}
}
