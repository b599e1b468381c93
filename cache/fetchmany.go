package cache

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
)

// FetchMany is [Cache.Fetch] for each key, with one load for all keys that this
// call must load. Keys that are missing in the map of load are not found, and
// are missing in the result too. With an error it also returns the values that
// it found.
func (s *Cache[V]) FetchMany(ctx context.Context, keys []string, load func(ctx context.Context, missing []string) (map[string]V, error), opts ...Option) (map[string]V, error) {
	if s == nil {
		return nil, errNil
	}
	req, err := s.request(opts)
	if err != nil {
		return nil, err
	}
	b := &batch[V]{s: s, req: req, load: load, values: make(map[string]V, len(keys))}
	keys = s.getManyNear(keys, b.values)
	all, err := s.readMany(ctx, keys)
	if err != nil && (all == nil || ctx.Err() != nil) {
		return nil, err
	}
	var missing []missingKey
	asked := map[string]bool{}
	for i, key := range keys {
		if !s.takeOne(key, &all[i], b.values) && !asked[key] {
			if err := s.reentrant(ctx, key); err != nil {
				return nil, err
			}
			asked[key] = true
			missing = append(missing, missingKey{key, all[i].entry.stamp})
		}
	}
	if len(missing) == 0 {
		return b.values, nil
	}
	s.count.misses.Add(int64(len(missing)))
	done := make(chan error, 1)
	if !s.spawn(func() { done <- b.fetch(context.WithoutCancel(ctx), missing) }) {
		return nil, ErrClosed
	}
	select {
	case err := <-done:
		return b.values, err
	case <-ctx.Done():
		return nil, errs.Errorf("redlock: fetch many: %w", errs.Ended(ctx))
	}
}

// missingKey is a key without an entry to serve.
type missingKey struct {
	key  string
	seen int64 // stamp of an entry that cannot be used
}

// batch is one call of FetchMany.
type batch[V any] struct {
	s    *Cache[V]
	req  request
	load func(ctx context.Context, missing []string) (map[string]V, error)

	mu     sync.Mutex
	values map[string]V
	errs   []error
	leases *renewal[V]
}

func (b *batch[V]) got(key string, v V, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.values[key] = v
	case !errors.Is(err, ErrNotFound):
		b.errs = append(b.errs, err)
	}
}

// fetch loads all keys for which it gets leases with one call of load. Only
// then does it wait for the loads of other callers, so that no two calls wait
// for each other.
func (b *batch[V]) fetch(ctx context.Context, missing []missingKey) error {
	b.leases = b.s.newRenewal(ctx)
	defer b.leases.stop()
	var mu sync.Mutex
	mine, others := map[string]fillLease[V]{}, []missingKey(nil)
	each(missing, func(m missingKey) {
		a := &attempt[V]{s: b.s, key: m.key, req: b.req, nonce: b.s.nonce(), seen: m.seen}
		l, err := a.ask(ctx)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil && l.given:
			mine[m.key] = fillLease[V]{a, l}
			b.leases.add(mine[m.key])
		case err == nil && l.held.served():
			v, _, err := l.held.take(&b.s.count)
			b.got(m.key, v, err)
		default:
			others = append(others, m)
		}
	})
	if len(mine) > 0 {
		b.loadMine(ctx, mine)
	}
	each(others, func(m missingKey) {
		v, err := b.s.miss(ctx, m.key, func(ctx context.Context) (v V, err error) {
			found, err := b.load(ctx, []string{m.key})
			return pick(found, m.key, err)
		}, b.req, m.seen)
		b.got(m.key, v, err)
	})
	return errors.Join(b.errs...)
}

func (b *batch[V]) loadMine(ctx context.Context, mine map[string]fillLease[V]) {
	var keys []string
	for key := range mine {
		keys = append(keys, key)
	}
	decide := func(key string) *decided {
		if m, ok := mine[key]; ok {
			return &m.a.late
		}
		return nil
	}
	found, took, err := loaded(within(ctx, b.s, decide), b.s, func(ctx context.Context) (map[string]V, error) {
		return b.load(ctx, slices.Clone(keys)) // the load may change the slice
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		b.mu.Lock()
		b.errs = append(b.errs, err)
		b.mu.Unlock()
	}
	each(keys, func(key string) {
		m := mine[key]
		defer b.leases.remove(key)
		v, verr := pick(found, key, err)
		if verr != nil && !errors.Is(verr, ErrNotFound) {
			if r := m.a.giveUp(ctx, m.l.node, v, verr, func() moment { return 0 }); r.err == nil {
				b.got(key, r.value, nil)
			}
			return
		}
		m.a.keep(ctx, m.l, v, verr != nil, took/time.Duration(len(keys)))
		b.got(key, v, verr)
	})
}

// pick returns the result for one key of a load of several keys.
func pick[V any](found map[string]V, key string, err error) (V, error) {
	v, ok := found[key]
	if err == nil && !ok {
		err = ErrNotFound
	}
	return v, err
}

// each runs fn for all elements. Many run at once, so that their commands share
// round trips, but not so many that other callers wait long.
func each[T any](all []T, fn func(T)) {
	var next atomic.Int64
	work := func() {
		for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
			fn(all[i])
		}
	}
	var wg sync.WaitGroup
	for range min(len(all), askedAtOnce) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
