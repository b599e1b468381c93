package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
)

// GetMany returns what Get would give of each key, where that is a value, with one question to each node. What it found is
// returned also with an error, which says which nodes could not be asked.
func (s *Cache[V]) GetMany(ctx context.Context, keys ...string) (map[string]V, error) {
	found := make(map[string]V, len(keys))
	all, err := s.readMany(ctx, s.nearMany(keys, found))
	near := len(found)
	s.takeMany(all, found)
	s.count.misses.Add(int64(len(all) - (len(found) - near)))
	return found, err
}

// nearMany puts what this process's memory has into values, and returns the keys of which it knows nothing.
func (s *Cache[V]) nearMany(keys []string, values map[string]V) (left []string) {
	if s.near == nil {
		return keys
	}
	for _, key := range keys {
		if v, ok, err := s.nearest(key); ok {
			values[key] = v
		} else if err == nil {
			left = append(left, key)
		}
	}
	return left
}

// takeMany counts what was found and may be served, and puts it into values. What is known not to exist it keeps in all only.
func (s *Cache[V]) takeMany(all map[string]held[V], values map[string]V) {
	for key, h := range all {
		if !h.served() {
			continue
		}
		if v, ok, _ := h.take(&s.count); ok {
			values[key] = v
		}
	}
}

// readMany asks for the keys, and once more for those whose node failed just now.
func (s *Cache[V]) readMany(ctx context.Context, keys []string) (map[string]held[V], error) {
	for _, key := range keys {
		if err := s.check(ctx, key); err != nil {
			return nil, err
		}
	}
	all := make(map[string]held[V], len(keys))
	var failed error
	for range 2 {
		var left []string
		if left, failed = s.readRound(ctx, keys, all); failed == nil || ctx.Err() != nil {
			break
		}
		keys = left
	}
	if failed != nil {
		failed = fmt.Errorf("redlock: get many: %w", failed)
	}
	return all, failed
}

// readRound asks each node for its keys, and puts what they have into all. It returns the keys of nodes that failed.
func (s *Cache[V]) readRound(ctx context.Context, keys []string, all map[string]held[V]) (left []string, failed error) {
	shares := map[*node][]string{}
	for _, key := range keys {
		n, _ := s.route(key)
		if n == nil {
			left, failed = append(left, key), cluster.ErrNodeDown
			continue
		}
		shares[n] = append(shares[n], key)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n, share := range shares {
		wg.Go(func() {
			found, err := s.readShare(ctx, n, share)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				left, failed = append(left, share...), errors.Join(failed, &cluster.NodeError{Node: n.Name(), Err: err})
			}
			for i, h := range found {
				all[share[i]] = h
			}
		})
	}
	wg.Wait()
	return left, failed
}

// readShare reads the entries of keys on n, in their order.
func (s *Cache[V]) readShare(ctx context.Context, n *node, keys []string) ([]held[V], error) {
	found := make([]held[V], len(keys))
	if n.Sharded() { // its servers each have their own keys
		for i, key := range keys {
			text, there, err := s.readAt(ctx, n, key)
			if err != nil {
				return nil, err
			}
			found[i] = s.judge(n, text, there)
		}
		return found, nil
	}
	tickets := make([]ticket, len(keys))
	for i, key := range keys {
		tickets[i] = s.near.begin(key, n.Index())
	}
	scripted := s.tagged.Load()
	list, err := s.listAt(ctx, n, keys, scripted)
	if err != nil {
		return nil, err
	}
	for i, item := range list {
		text, there, err := n.text(item, nil)
		if err != nil {
			return nil, err
		}
		found[i] = s.judge(n, text, there)
		if found[i].entry.tagged && !scripted {
			s.tagged.Store(true)
			return s.readShare(ctx, n, keys)
		}
		s.bring(keys[i], tickets[i], found[i])
	}
	return found, nil
}

// judge is decode for what may not be there.
func (s *Cache[V]) judge(n *node, text string, there bool) held[V] {
	if !there {
		return held[V]{node: n}
	}
	return s.decode(n, text)
}

// listAt asks n for entries with one MGET, or where tags are in use with one script.
func (s *Cache[V]) listAt(ctx context.Context, n *node, keys []string, scripted bool) (list []any, err error) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.entryName(key)
	}
	if scripted {
		run, after := n.limits()
		list, err = n.list(n.run(ctx, readScript, names, []any{after, run, s.tagPrefix()}, 0))
	} else {
		list, err = n.list(n.getMany(ctx, names))
	}
	if err == nil && len(list) != len(keys) {
		err = unexpected(list)
	}
	return list, err
}

// getMany is get for several entries.
func (n *node) getMany(ctx context.Context, names []string) (any, error) {
	words := make([]any, 1, 1+len(names))
	words[0] = "mget"
	for _, name := range names {
		words = append(words, name)
	}
	cmd := redis.NewCmd(ctx, words...)
	return n.fastest(ctx, n.small.Load() >= wary,
		func() (any, error) { err := n.Ask(ctx, cmd); return cmd.Val(), err },
		func(r cluster.Receiver) { n.Command(cmd, r) })
}

// list reads a reply that is a list.
func (n *node) list(reply any, err error) ([]any, error) {
	list, ok := reply.([]any)
	if err == nil && !ok {
		err = unexpected(reply)
	}
	return list, err
}

// DeleteMany is Delete for each key, with one question to each node.
func (s *Cache[V]) DeleteMany(ctx context.Context, keys ...string) error {
	shares, standing := map[*node][]string{}, map[*node][]string{}
	for _, key := range keys {
		if err := s.check(ctx, key); err != nil {
			return err
		}
		owner, second := s.place.of(key)
		shares[s.nodes[owner]] = append(shares[s.nodes[owner]], key)
		if second >= 0 {
			standing[s.nodes[second]] = append(standing[s.nodes[second]], key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	defer func() {
		for _, key := range keys {
			s.near.drop(key)
		}
	}()
	p := newPost("delete", keys[0])
	s.dropAll(p, shares, false)
	s.dropAll(p, standing, true)
	return s.settle(ctx, p, func() bool {
		for _, key := range keys {
			owner, second := s.place.of(key)
			if !p.took(s.nodes[owner]) && (second < 0 || !p.took(s.nodes[second])) {
				p.key = key
				return false
			}
		}
		return true
	})
}

func (s *Cache[V]) dropAll(p *post, shares map[*node][]string, standsIn bool) {
	for n, share := range shares {
		if !n.Sharded() {
			p.drop(n, s.dropping(share...), s.debtUntil(standsIn))
			continue
		}
		for _, key := range share {
			p.drop(n, s.dropping(key), s.debtUntil(standsIn))
		}
	}
}

// FetchMany is Fetch for each key, with one load for all that this call has to load. What load leaves out of its map is not
// found; so is it in what FetchMany returns. What there is of it is returned also with an error.
func (s *Cache[V]) FetchMany(ctx context.Context, keys []string, load func(ctx context.Context, missing []string) (map[string]V, error), opts ...Option) (map[string]V, error) {
	req, err := s.request(opts)
	if err != nil {
		return nil, err
	}
	b := &batch[V]{s: s, req: req, load: load, values: make(map[string]V, len(keys))}
	keys = s.nearMany(keys, b.values)
	all, err := s.readMany(ctx, keys)
	if err != nil && (all == nil || ctx.Err() != nil) {
		return nil, err
	}
	s.takeMany(all, b.values)
	var missing []string
	asked := map[string]bool{}
	for _, key := range keys {
		if h := all[key]; !h.served() && !asked[key] {
			asked[key] = true
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 {
		return b.values, nil
	}
	s.count.misses.Add(int64(len(missing)))
	done := make(chan error, 1)
	if !s.spawn(func() { done <- b.fetch(context.WithoutCancel(ctx), missing, all) }) {
		return nil, ErrClosed
	}
	select {
	case err := <-done:
		return b.values, err
	case <-ctx.Done():
		return nil, fmt.Errorf("redlock: fetch many: %w", ctx.Err())
	}
}

// batch is one FetchMany.
type batch[V any] struct {
	s    *Cache[V]
	req  request
	load func(ctx context.Context, missing []string) (map[string]V, error)

	mu     sync.Mutex
	values map[string]V
	errs   []error
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

// fetch loads together what it gets leases for, and only then waits for what others load, so that no two calls wait for
// each other.
func (b *batch[V]) fetch(ctx context.Context, missing []string, all map[string]held[V]) error {
	var mu sync.Mutex
	mine, others := map[string]mandate[V]{}, []string(nil)
	b.each(missing, func(key string) {
		h := all[key]
		a := &attempt[V]{s: b.s, key: key, req: b.req, nonce: b.s.nonce(), seen: h.entry.stamp}
		l, err := a.ask(ctx)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil && l.given:
			mine[key] = mandate[V]{a, l}
		case err == nil && l.held.served():
			v, _, err := l.held.take(&b.s.count)
			b.got(key, v, err)
		default:
			others = append(others, key)
		}
	})
	if len(mine) > 0 {
		b.loadMine(ctx, mine)
	}
	b.each(others, func(key string) {
		h := all[key]
		v, err := b.s.miss(ctx, key, func(ctx context.Context) (v V, err error) {
			found, err := b.load(ctx, []string{key})
			return pick(found, key, err)
		}, b.req, h.entry.stamp)
		b.got(key, v, err)
	})
	return errors.Join(b.errs...)
}

// mandate is the right to load a key.
type mandate[V any] struct {
	a *attempt[V]
	l lease[V]
}

func (b *batch[V]) loadMine(ctx context.Context, mine map[string]mandate[V]) {
	var keys []string
	for key := range mine {
		keys = append(keys, key)
	}
	found, took, err := loaded(ctx, b.s, func(ctx context.Context) (map[string]V, error) {
		return b.load(ctx, slices.Clone(keys)) // it may change them
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		b.mu.Lock()
		b.errs = append(b.errs, err)
		b.mu.Unlock()
	}
	b.each(keys, func(key string) {
		m := mine[key]
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

// pick is what one load for several gave of a key.
func pick[V any](found map[string]V, key string, err error) (V, error) {
	v, ok := found[key]
	if err == nil && !ok {
		err = ErrNotFound
	}
	return v, err
}

// each runs fn for all keys at once, so that what they send shares the way.
func (b *batch[V]) each(keys []string, fn func(key string)) {
	var wg sync.WaitGroup
	for _, key := range keys {
		wg.Go(func() { fn(key) })
	}
	wg.Wait()
}
