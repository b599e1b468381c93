package cache

import (
	"context"
	"errors"
	"sync"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// GetMany is [Cache.Get] for many keys, which share commands to each node. Keys
// without a value are missing in the result. The error names the nodes that
// could not be asked; with an error GetMany also returns the values that it
// found.
func (s *Cache[V]) GetMany(ctx context.Context, keys ...string) (map[string]V, error) {
	if s == nil {
		return nil, errNil
	}
	found := make(map[string]V, len(keys))
	keys = s.getManyNear(keys, found)
	all, err := s.readMany(ctx, keys)
	for i := range all {
		if !s.takeOne(keys[i], &all[i], found) && all[i].node != nil {
			s.count.misses.Add(1)
		}
	}
	return found, err
}

// getManyNear copies the values in the local tier into values, and returns the
// keys that are not in the local tier.
func (s *Cache[V]) getManyNear(keys []string, values map[string]V) (left []string) {
	if s.near == nil {
		return keys
	}
	for _, key := range keys {
		if v, ok, err := s.getNear(key); ok {
			values[key] = v
		} else if err == nil {
			left = append(left, key)
		}
	}
	return left
}

// takeOne counts a result that may be served, and puts its value into values
// unless the value is known not to exist. It reports whether there is such a
// result.
func (s *Cache[V]) takeOne(key string, h *held[V], values map[string]V) bool {
	if !h.served() {
		return false
	}
	if v, ok, _ := h.take(&s.count); ok {
		values[key] = v
	}
	return true
}

// readMany reads the keys, and reads those whose node failed once more. The
// results are in the order of keys. The node of a result is nil if no node
// answered.
func (s *Cache[V]) readMany(ctx context.Context, keys []string) ([]held[V], error) {
	todo := make([]int, len(keys))
	for i, key := range keys {
		if err := s.check(ctx, key); err != nil {
			return nil, err
		}
		todo[i] = i
	}
	all := make([]held[V], len(keys))
	var failed error
	for range 2 {
		if todo, failed = s.readRound(ctx, keys, todo, all); failed == nil || ctx.Err() != nil {
			break
		}
	}
	if failed != nil {
		failed = errs.Errorf("redlock: get many: %w", failed)
	}
	return all, failed
}

// readRound asks each node for its share of the keys, and puts the results into
// all. todo and left are indexes of keys; left are the keys whose nodes failed.
func (s *Cache[V]) readRound(ctx context.Context, keys []string, todo []int, all []held[V]) (left []int, failed error) {
	shares := make([][]int, len(s.nodes))
	var asked []*node
	for _, i := range todo {
		n, _ := s.route(keys[i])
		if n == nil {
			left, failed = append(left, i), cluster.ErrNodeDown
			continue
		}
		if shares[n.Index()] == nil {
			shares[n.Index()] = make([]int, 0, len(todo))
			asked = append(asked, n)
		}
		shares[n.Index()] = append(shares[n.Index()], i)
	}
	var mu sync.Mutex
	each(asked, func(n *node) {
		share := shares[n.Index()]
		if err := s.readShare(ctx, n, keys, share, all); err != nil {
			mu.Lock()
			defer mu.Unlock()
			left, failed = append(left, share...), errors.Join(failed, &cluster.NodeError{Node: n.Name(), Err: err})
		}
	})
	return left, failed
}

// readShare reads the entries of a share of the keys on n, a piece at a time.
func (s *Cache[V]) readShare(ctx context.Context, n *node, keys []string, share []int, all []held[V]) error {
	if n.Sharded() { // its servers each have their own keys
		for _, i := range share {
			text, there, err := s.readAt(ctx, n, keys[i])
			if err != nil {
				return err
			}
			s.judge(n.sight(), text, there, &all[i])
		}
		return nil
	}
	for len(share) > 0 {
		piece := n.nextPiece()
		some := share[:min(piece, len(share))]
		largest, err := s.readPiece(ctx, n, keys, some, all)
		switch {
		case ctx.Err() != nil:
			return errs.Ended(ctx)
		case err != nil:
			n.piece.Store(1) // the piece may have been too large to be answered in time
			return err
		}
		n.learnPiece(piece, len(some), largest)
		share = share[len(some):]
	}
	return nil
}

// readPiece reads a piece of a share, and returns the size of the largest
// entry.
func (s *Cache[V]) readPiece(ctx context.Context, n *node, keys []string, share []int, all []held[V]) (largest int, _ error) {
	var tickets []ticket
	if s.near != nil {
		for _, i := range share {
			tickets = append(tickets, s.near.begin(keys[i], n.Index()))
		}
	}
	scripted := s.tagged.Load()
	list, err := s.listAt(ctx, n, keys, share, scripted)
	if err != nil {
		return 0, err
	}
	at := n.sight()
	for j, i := range share {
		text, there, err := n.text(list[j], nil)
		if err != nil {
			return 0, err
		}
		largest = max(largest, len(text))
		s.judge(at, text, there, &all[i])
		if all[i].entry.tagged && !scripted {
			s.tagged.Store(true)
			return s.readPiece(ctx, n, keys, share, all)
		}
		if tickets != nil {
			s.keepNear(keys[i], tickets[j], &all[i])
		}
	}
	return largest, nil
}

// judge calls decode unless the entry is missing.
func (s *Cache[V]) judge(at sight, text string, there bool, h *held[V]) {
	*h = held[V]{node: at.node}
	if there {
		s.decode(at, text, h)
	}
}

// listAt asks n for entries with one MGET, or with one script if tags are in
// use.
func (s *Cache[V]) listAt(ctx context.Context, n *node, keys []string, share []int, scripted bool) (list []any, err error) {
	names := make([]string, len(share))
	for j, i := range share {
		names[j] = s.entryName(keys[i])
	}
	if scripted {
		run, after := n.limits()
		list, err = n.list(n.run(ctx, readScript, names, []any{after, run, s.tagPrefix()}, 0))
	} else {
		list, err = n.list(n.getMany(ctx, names))
	}
	if err == nil && len(list) != len(share) {
		err = unexpected(list)
	}
	return list, err
}
