package cache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/telemetry"
)

// Cache stores values of one type on the nodes of a Cluster. All methods may be
// called concurrently.
type Cache[V any] struct {
	cfg           Config[V]
	c             *nodeset.Set
	nodes         []*node
	place         placement
	calls         callGroup[V] // searches in progress in this process
	notifications notifications
	near          *near
	count         counters
	tagged        atomic.Bool // an entry with tags was seen, so reads run a script

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wait    func() // for the subscription to end
	unwatch func()
	mu      sync.Mutex
	closed  bool
	wg      sync.WaitGroup                                            // loads and background waits
	ticker  func(time.Duration) (ticks <-chan time.Time, stop func()) // for renewals

	disclaim   func()   // releases the claim of its Prefix
	refreshing sync.Map // keys that are being loaded in the background
}

// New returns a Cache on the nodes of c. The error matches [cluster.ErrConfig]
// and names every bad field. The caller must Close the Cache before c.
func New[V any](c *cluster.Cluster, cfg Config[V]) (*Cache[V], error) {
	cfg = cfg.withDefaults()
	set := face.In(c)
	if err := errors.Join(cfg.validate(), set.Err()); err != nil {
		return nil, err
	}
	s := &Cache[V]{cfg: cfg, c: set, ticker: newTicker}
	var names []string
	for _, n := range set.Nodes() {
		names = append(names, n.Name())
		s.nodes = append(s.nodes, &node{Node: n, slack: set.Config().NodeTimeout, lanes: make(chan struct{}, lanes)})
	}
	s.place = newPlacement(names)
	if err := s.claim(); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var err error
	if s.near, err = newNear(cfg.Near, s.nodes); err != nil {
		s.disclaim()
		return nil, err
	}
	s.wait = set.Subscribe(s.ctx, subscriber[V]{s}, s.channels()...)
	s.unwatch = set.Telemetry().Watch(telemetry.CachePrefix, cfg.Prefix, func(see telemetry.See) { s.Stats().see(see) })
	return s, nil
}

// errNil is the error of every method of a nil Cache, which a program has if it
// ignored the error of New.
var errNil = configerr.Field("Cache", "is nil; see the error of cache.New")

// Close ends the contexts of all loads and waits for them, for each at most
// until its [Config.LoadTimeout]. It may be called again; every call waits. If
// ctx ends first, Close returns an error with ctx.Err() in its chain, and
// closing continues in the background.
func (s *Cache[V]) Close(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.wg.Wait()
		s.wait()
		s.near.close()
		s.unwatch()
		s.disclaim()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errs.Ended(ctx)
	}
}

// Stats returns the counts so far. They are not read at one instant.
func (s *Cache[V]) Stats() Stats {
	if s == nil {
		return Stats{}
	}
	return s.count.snapshot()
}

// spawn runs fn on a goroutine that Close waits for. It reports false, and does
// not run fn, once the Cache is closed.
func (s *Cache[V]) spawn(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(fn)
	return true
}

// check validates the arguments of a call before any node is asked.
func (s *Cache[V]) check(ctx context.Context, key string) error {
	if s == nil {
		return errNil
	}
	if key == "" || len(key) > maxKey {
		return checkName("key", key)
	}
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	return errs.Ended(ctx)
}

// route returns the node to ask about a key: its owner, or its stand-in while
// the owner is down. The node is nil if both are down.
func (s *Cache[V]) route(key string) (n *node, standsIn bool) {
	owner, second := s.place.of(key)
	switch {
	case s.nodes[owner].Up():
		return s.nodes[owner], false
	case second >= 0 && s.nodes[second].Up():
		s.count.standIns.Add(1)
		return s.nodes[second], true
	}
	return nil, false
}

// standsIn reports whether n stands in for the owner of key.
func (s *Cache[V]) standsIn(n *node, key string) bool {
	owner, _ := s.place.of(key)
	return n != s.nodes[owner]
}
