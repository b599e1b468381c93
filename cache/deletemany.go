package cache

import (
	"context"
	"slices"
	"sync"
)

// DeleteMany is [Cache.Delete] for each key. It sends each node commands with
// many keys each, between which the node can serve other callers. All are sent
// even if ctx ends earlier.
func (s *Cache[V]) DeleteMany(ctx context.Context, keys ...string) error {
	if s == nil {
		return errNil
	}
	shares := make([]share, len(s.nodes))
	for _, key := range keys {
		if err := s.check(ctx, key); err != nil {
			return err
		}
		owner, second := s.place.of(key)
		shares[owner].owned = append(shares[owner].owned, key)
		if second >= 0 {
			shares[second].standing = append(shares[second].standing, key)
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
	p := newMultiWrite("delete", keys[0])
	begun := s.spawn(func() {
		defer p.close()
		var wg sync.WaitGroup
		for i, sh := range shares {
			wg.Go(func() {
				s.dropAll(p, s.nodes[i], sh.owned, false)
				s.dropAll(p, s.nodes[i], sh.standing, true)
			})
		}
		wg.Wait()
	})
	if !begun {
		return ErrClosed
	}
	return s.await(ctx, p, func() bool {
		for _, key := range keys {
			if !s.confirmed(p, key) {
				p.key = key
				return false
			}
		}
		return true
	})
}

// share holds the keys that one node owns and those for which it stands in.
type share struct{ owned, standing []string }

// dropAll makes n drop the keys piece by piece, with a few pieces in flight at
// a time.
func (s *Cache[V]) dropAll(p *multiWrite, n *node, keys []string, standsIn bool) {
	size, atOnce := maxPiece/2, droppedAtOnce // each key has two names
	if n.Sharded() {                          // its servers each have their own keys
		size, atOnce = 1, askedAtOnce
	}
	slots := make(chan struct{}, atOnce)
	for piece := range slices.Chunk(keys, size) {
		slots <- struct{}{}
		p.dropThen(n, s.dropping(piece...), s.pendingUntil(standsIn), func() { <-slots })
	}
}
