package cache

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// GetMany returns what Get would give of each key, where that is a value, in questions of many keys to each node. What it found is
// returned also with an error, which says which nodes could not be asked.
func (s *Cache[V]) GetMany(ctx context.Context, keys ...string) (map[string]V, error) {
	if s == nil {
		return nil, errNil
	}
	found := make(map[string]V, len(keys))
	keys = s.nearMany(keys, found)
	all, err := s.readMany(ctx, keys)
	for i := range all {
		if !s.takeOne(keys[i], &all[i], found) && all[i].node != nil {
			s.count.misses.Add(1)
		}
	}
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

// takeOne counts what was found and may be served, and puts it into values, unless it is known not to exist. It reports
// false where nothing was found.
func (s *Cache[V]) takeOne(key string, h *held[V], values map[string]V) bool {
	if !h.served() {
		return false
	}
	if v, ok, _ := h.take(&s.count); ok {
		values[key] = v
	}
	return true
}

// readMany asks for the keys, and once more for those whose node failed just now. What it returns is in their order, and
// without a node where none answered.
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

// readRound asks each node for those of the keys that are its, by their indexes, and puts what they have into all. It
// returns the indexes of keys whose nodes failed.
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
			n.piece.Store(1) // there was no answer in time, perhaps
			return err
		}
		n.learnPiece(piece, len(some), largest)
		share = share[len(some):]
	}
	return nil
}

// A node does nothing else while it does a piece of a batch, so that has to be a small part of the time it has to answer.
const (
	maxPiece      = 256     // keys
	firstPiece    = 64      // keys to read, when nothing is known of the size of entries
	pieceBytes    = 1 << 20 // to read, by the largest entry of the piece before
	droppedAtOnce = 2       // pieces that are dropped on their way to one node
	askedAtOnce   = 128     // keys of a FetchMany
)

// nextPiece is how many keys to read at once.
func (n *node) nextPiece() int { return cmp.Or(int(n.piece.Load()), firstPiece) }

// learnPiece fits the next piece to one that was read: twice as many keys if that was a whole one and entries are not so
// large.
func (n *node) learnPiece(piece, read, largest int) {
	if read == piece {
		piece *= 2
	}
	n.piece.Store(int32(max(1, min(piece, maxPiece, pieceBytes/max(largest, 1)))))
}

// readPiece reads a piece of a share, and returns the size of the largest entry.
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
			s.bring(keys[i], tickets[j], &all[i])
		}
	}
	return largest, nil
}

// judge is decode for what may not be there.
func (s *Cache[V]) judge(at sight, text string, there bool, h *held[V]) {
	*h = held[V]{node: at.node}
	if there {
		s.decode(at, text, h)
	}
}

// listAt asks n for entries with one MGET, or where tags are in use with one script.
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

// DeleteMany is Delete for each key, in questions of many keys to each node, which leave it time for others. They are
// asked to the end also if ctx ends before.
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
			owner, second := s.place.of(key)
			if !p.took(s.nodes[owner]) && (second < 0 || !p.took(s.nodes[second])) {
				p.key = key
				return false
			}
		}
		return true
	})
}

// share is the keys that one node owns of many, and those for which it stands in.
type share struct{ owned, standing []string }

// dropAll has n drop the keys, a piece after the other, a few of which are under way at a time.
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
