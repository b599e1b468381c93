package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/telemetry"
)

// Cache keeps values of one type on the nodes of a Cluster. All methods may be called concurrently.
type Cache[V any] struct {
	cfg           Config[V]
	c             *cluster.Cluster
	nodes         []*node
	place         placement
	flights       flightGroup[V] // the loads under way in this process
	notifications notifications
	near          *near
	count         counters
	tagged        atomic.Bool // entries with tags were seen: reads run a script

	life    context.Context // ends with Close
	cancel  context.CancelFunc
	wait    func() // for the subscription
	unwatch func()
	mu      sync.Mutex
	closed  bool
	wg      sync.WaitGroup                                            // loads and waits
	ticker  func(time.Duration) (ticks <-chan time.Time, stop func()) // of renewals

	disclaim   func()   // of its Prefix
	refreshing sync.Map // keys that are loaded in the background
}

// New makes a Cache on the nodes of c. The caller must Close it, before c.
func New[V any](c *cluster.Cluster, cfg Config[V]) (*Cache[V], error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.validate(), c.Err()); err != nil {
		return nil, err
	}
	s := &Cache[V]{cfg: cfg, c: c, ticker: newTicker}
	var names []string
	for _, n := range c.Nodes() {
		names = append(names, n.Name())
		s.nodes = append(s.nodes, &node{Node: n, slack: c.Config().NodeTimeout, lanes: make(chan struct{}, lanes)})
	}
	s.place = newPlacement(names)
	if err := s.claim(); err != nil {
		return nil, err
	}
	s.life, s.cancel = context.WithCancel(context.Background())
	var err error
	if s.near, err = newNear(cfg.Near, s.nodes); err != nil {
		s.disclaim()
		return nil, err
	}
	s.wait = c.Subscribe(s.life, ears[V]{s}, s.channels()...)
	s.unwatch = c.Telemetry().Watch(telemetry.CachePrefix, cfg.Prefix, func(see telemetry.See) { s.Stats().see(see) })
	return s, nil
}

// errNil is the error of a program that ignored the one of New.
var errNil = fieldError("Cache", "is nil; see the error of cache.New")

// Close ends the contexts of loads, and waits for them, but for none longer than its Config.LoadTimeout lasts. It may be
// called again; every call waits. ctx bounds only the waiting.
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

// Stats says what was done so far.
func (s *Cache[V]) Stats() Stats {
	if s == nil {
		return Stats{}
	}
	return s.count.snapshot()
}

// spawn runs fn on a goroutine that Close waits for. It reports false, and does not, once the Cache is closed.
func (s *Cache[V]) spawn(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(fn)
	return true
}

// check is what is wrong with a call before anything is asked.
func (s *Cache[V]) check(ctx context.Context, key string) error {
	if s == nil {
		return errNil
	}
	if key == "" || len(key) > maxKey {
		return checkName("key", key)
	}
	if s.life.Err() != nil {
		return ErrClosed
	}
	return errs.Ended(ctx)
}

// route returns the node to ask about a key: its owner, or while that is down the one that stands in. nil: both are down.
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

// Get returns the value of key, if there is one that may be served. The error is ErrNotFound where it is known that there
// is none to be found, and otherwise says why the nodes could not be asked.
func (s *Cache[V]) Get(ctx context.Context, key string) (v V, ok bool, err error) {
	if err := s.check(ctx, key); err != nil {
		return v, false, err
	}
	if v, ok, err := s.nearest(key); ok || err != nil {
		return v, ok, err
	}
	h, err := s.read(ctx, key)
	if err != nil {
		return v, false, errs.Errorf("redlock: get %q: %w", key, err)
	}
	if !h.served() {
		s.count.misses.Add(1)
		return v, false, nil
	}
	return h.take(&s.count)
}

// nearest returns what this process's memory has of key.
func (s *Cache[V]) nearest(key string) (v V, ok bool, err error) {
	kept, negative, ok := s.near.get(key)
	switch {
	case !ok:
		return v, false, nil
	case negative:
		s.count.negative.Add(1)
		s.count.nearHits.Add(1)
		return v, false, ErrNotFound
	}
	s.count.nearHits.Add(1)
	v, _ = kept.(V) // no V is kept only where V is an interface and the value is nil
	return v, true, nil
}

// bring keeps in memory what the owner of a key has answered.
func (s *Cache[V]) bring(key string, t ticket, h *held[V]) {
	owner, _ := s.place.of(key)
	if s.near == nil || !h.served() || h.node != s.nodes[owner] {
		return
	}
	left := h.entry.hard
	if h.entry.soft > 0 {
		left = h.entry.soft
	}
	s.near.put(key, owner, t, h.value, &h.entry, left-h.entry.age(h.node.now()))
}

// held is what was found of a key.
type held[V any] struct {
	node    *node
	entry   entry
	found   bool // there is an entry that may be served, at least if a load fails
	expired bool // it may not, otherwise
	value   V
}

func (h *held[V]) served() bool { return h.found && !h.expired }

// take counts a hit and returns it.
func (h *held[V]) take(c *counters) (v V, ok bool, err error) {
	c.hits.Add(1)
	if h.entry.negative {
		c.negative.Add(1)
		return v, false, ErrNotFound
	}
	return h.value, true, nil
}

// read asks for an entry, and asks the stand-in if the owner fails to answer just now.
func (s *Cache[V]) read(ctx context.Context, key string) (h held[V], err error) {
	for range 2 {
		n, _ := s.route(key)
		if n == nil {
			break
		}
		var text string
		var found bool
		t := s.near.begin(key, n.Index())
		text, found, err = s.readAt(ctx, n, key)
		switch {
		case err == nil && found:
			s.decode(n.sight(), text, &h)
			s.bring(key, t, &h)
			return h, nil
		case err == nil:
			return held[V]{node: n}, nil
		case n.Up() || ctx.Err() != nil:
			return h, err
		}
	}
	return h, unreached(err)
}

// unreached is the error of a read for which no node is left. err is that of the last one asked, or nil.
func unreached(err error) error {
	if err == nil || errors.Is(err, cluster.ErrNodeDown) {
		return cmp.Or(err, cluster.ErrNodeDown)
	}
	return errs.Errorf("%w: %w", cluster.ErrNodeDown, err)
}

// readAt reads an entry with one question: a plain GET, or where tags are in use a script that looks at them too. The
// first entry with tags that is met is asked for twice.
func (s *Cache[V]) readAt(ctx context.Context, n *node, key string) (text string, found bool, err error) {
	if !s.tagged.Load() {
		text, found, err = n.get(ctx, s.entryName(key))
		if e, ok := parseEntry(text); !ok || !e.tagged {
			return text, found, err
		}
		s.tagged.Store(true)
	}
	run, after := n.limits()
	reply, err := n.run(ctx, readScript, []string{s.entryName(key)}, []any{after, run, s.tagPrefix()}, 0)
	if list, ok := reply.([]any); ok && len(list) == 1 {
		return n.text(list[0], err)
	} else if err == nil {
		err = unexpected(reply)
	}
	return "", false, err
}

// decode reads an entry that a node gave, into h, which is as it was made. What can not be read, or was stored in another
// life of the node, is none.
func (s *Cache[V]) decode(at sight, text string, h *held[V]) {
	h.node = at.node
	e, ok := parseEntry(text)
	if !ok {
		s.count.undecodable.Add(1)
		return
	}
	h.entry = e
	if e.stamp <= at.after || at.run != "-" && e.run != at.run {
		return
	}
	if !e.negative {
		if err := sound(func() error { return s.cfg.Codec.Decode(owned(e.data), &h.value) }); err != nil {
			s.count.undecodable.Add(1)
			return
		}
	}
	h.found, h.expired = true, e.expired(at.now)
}

// Set stores v under key, whatever is there, and ends a load that is under way for it. It returns nil once a node has it
// that is asked for the key; the error is ErrTooLarge or the codec's, and what was stored before stays, or an *UnreachedError.
func (s *Cache[V]) Set(ctx context.Context, key string, v V, opts ...Option) error {
	if s == nil {
		return errNil
	}
	req, err := s.request(opts)
	if err := errors.Join(err, s.check(ctx, key)); err != nil {
		return err
	}
	defer s.near.drop(key)
	data, err := s.encode(v)
	if err != nil {
		return errs.Errorf("redlock: set %q: %w", key, err)
	}
	owner, second := s.place.of(key)
	taker, other := owner, second
	if !s.nodes[owner].Up() && second >= 0 {
		taker, other = second, owner
	}
	run, _ := s.nodes[taker].limits()
	p := newMultiWrite("set", key)
	p.store(s.nodes[taker], s.storing(key, run, req, taker == second, kindValue, data, 0, s.nonce(), false), s.dropping(key))
	if other >= 0 {
		p.drop(s.nodes[other], s.dropping(key), s.pendingUntil(other == second))
	}
	return s.settle(ctx, p, func() bool { return p.took(s.nodes[taker]) })
}

func (s *Cache[V]) encode(v V) (data []byte, err error) {
	err = sound(func() (err error) { data, err = s.cfg.Codec.Encode(v); return err })
	if err == nil && len(data) > s.cfg.MaxValue {
		err = fmt.Errorf("%w: %d bytes; at most %d, Config.MaxValue", ErrTooLarge, len(data), s.cfg.MaxValue)
	}
	return data, err
}

// command is a script with what it is run on.
type command struct {
	script *cluster.Script
	keys   []string
	args   []any
	size   int
}

func (s *Cache[V]) dropping(keys ...string) command {
	var names []string
	for _, key := range keys {
		names = append(names, s.entryName(key), s.leaseName(key))
	}
	return command{script: dropScript, keys: names, args: []any{s.drops()}}
}

// storing is the command that stores an entry of this kind on a node, in this run of its server.
func (s *Cache[V]) storing(key, run string, req request, standsIn bool, kind string, data []byte, delta time.Duration, nonce string, fill bool) command {
	hard, soft := jitter(req.ttl), req.soft
	keep := hard + s.cfg.StaleFor
	if kind == kindNone {
		hard, soft = jitter(s.cfg.NegativeTTL), 0
		keep = hard
	}
	if standsIn {
		hard, keep = min(hard, standInTTL), min(keep, standInTTL)
	}
	args := []any{nonce, flag(fill), kind, soft.Milliseconds(), hard.Milliseconds(), delta.Milliseconds(), run,
		keep.Milliseconds(), s.drops(), data, s.tagPrefix(), s.cfg.lifetime().Milliseconds(), s.deletionPrefix()}
	return command{storeScript, s.names(key), appendTags(args, req.tags), len(data)}
}

// jitter spreads a TTL by 10 % to either side, but not below a millisecond.
func jitter(ttl time.Duration) time.Duration {
	return max(ttl+time.Duration((2*rand.Float64()-1)*jitterShare*float64(ttl)), time.Millisecond)
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return ""
}

func appendTags(args []any, tags []string) []any {
	for _, tag := range tags {
		args = append(args, tag)
	}
	return args
}
