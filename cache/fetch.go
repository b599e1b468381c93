package cache

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
)

// Loader reads a value from its source. It returns [ErrNotFound], alone or
// wrapped, if there is none.
type Loader[V any] func(ctx context.Context) (V, error)

// Fetch returns the value of key. If there is none that may be served, one
// caller in the fleet loads it while the others wait. load runs on a goroutine
// of its own. Its context has the values of ctx, and ends after
// [Config.LoadTimeout] or when the Cache is closed; ctx bounds only the
// waiting. An error of load is returned unchanged, unless a stale value may be
// served instead; a panic is returned as a [*PanicError].
//
// Fetch respects earlier deletions: if a Delete returned before the call, Fetch
// returns nothing that was loaded before that Delete. The package comment says
// when this holds.
//
// All callers that one load serves get the same value. So what it refers to (a
// map, a slice, a pointer) must not be modified, not even by load after it has
// returned. With [Config.Near] the same holds for [Cache.Get].
func (s *Cache[V]) Fetch(ctx context.Context, key string, load Loader[V], opts ...Option) (v V, err error) {
	if s == nil {
		return v, errNil
	}
	req, err := s.request(opts)
	if err := errors.Join(err, s.check(ctx, key)); err != nil {
		return v, err
	}
	if v, ok, err := s.getNear(key); ok || err != nil {
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

// miss joins the search for key that is in progress in this process, or begins
// one. It repeats this until it gets a result that is no older than this call.
// seen is the stamp of an entry that cannot be used.
func (s *Cache[V]) miss(ctx context.Context, key string, load Loader[V], req request, seen int64) (v V, err error) {
	if err := s.reentrant(ctx, key); err != nil {
		return v, err
	}
	for {
		c, joined, first := s.calls.join(key)
		if first && !s.spawn(func() { s.calls.finish(key, c, s.search(context.WithoutCancel(ctx), c, key, load, req, seen)) }) {
			s.calls.finish(key, c, result[V]{err: ErrClosed, moment: never})
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return v, errs.Errorf("redlock: fetch %q: %w", key, errs.Ended(ctx))
		}
		if c.result.moment > joined {
			return c.result.value, c.result.err
		}
	}
}

// search finds the result of a call: an entry of a node, or the value that load
// returns under a lease.
func (s *Cache[V]) search(ctx context.Context, c *call[V], key string, load Loader[V], req request, seen int64) result[V] {
	a := attempt[V]{s: s, key: key, load: load, req: req, nonce: s.nonce(), seen: seen, process: s.c.Process()}
	patience := time.NewTimer(s.cfg.LeaseTTL + s.cfg.LoadTimeout)
	defer patience.Stop()
	for failed := 0; failed < 2; {
		done := s.notifications.listen(s.entryName(key))
		moment := c.tick()
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
			return a.run(ctx, lease, c.tick)
		case lease.left > 0:
			s.count.waits.Add(1)
			if !s.pause(done, lease.left, patience) {
				failed = 2
			}
		default: // an entry that this process cannot use
			failed++
		}
		s.notifications.forget(s.entryName(key), done)
	}
	if s.ctx.Err() != nil {
		return result[V]{err: ErrClosed, moment: never}
	}
	s.count.unleased.Add(1)
	moment := c.tick()
	v, _, err := loaded(within(ctx, s, a.decide), s, load)
	return judged(v, err, moment)
}

// pause waits until the load of another process or call may be over. It reports
// false when patience has expired.
func (s *Cache[V]) pause(done <-chan struct{}, left time.Duration, patience *time.Timer) bool {
	expiry := time.NewTimer(left + rand.N(10*time.Millisecond))
	defer expiry.Stop()
	select {
	case <-done:
	case <-expiry.C:
	case <-patience.C:
		return false
	case <-s.ctx.Done():
		return false
	}
	return true
}

// refresh loads a key in the background, unless this process or another one
// already does. While another one does, and for a while after a failed load,
// this process does not try again.
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
	case <-s.ctx.Done():
	}
}
