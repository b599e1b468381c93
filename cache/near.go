package cache

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// Near configures a local tier: entries that are kept in this process's memory.
// Every process announces the keys that it stores or deletes to all others,
// which drop them from their memory. Callers share the values, so what they
// refer to (a map, a slice, a pointer) must not be modified. Zero fields mean
// their defaults.
type Near struct {
	// Size is how many entries are kept. Default 10,000.
	Size int
	// Bytes bounds the keys and encoded values of the entries together.
	// Default 64 MiB.
	Bytes int64
	// TTL is how long an entry is served from memory. Default 10 s; at most
	// 30 s.
	TTL time.Duration
}

const (
	// maxSilence is how long a node may be silent before its entries in memory
	// are no longer served, because a message may be delayed. The node is asked
	// every nodeset.HeardEvery.
	maxSilence = time.Second
	stripes    = 256
)

// near is the local tier of one Cache. A nil near is empty. It is not generic,
// because the store inside would be compiled again for each type of value.
type near struct {
	ttl   time.Duration
	share uint64 // the least cost of an entry in bytes, so that there are at most Size entries
	born  time.Time
	items *otter.Cache[string, *nearItem]
	nodes []nearNode
	tags  atomic.Uint64 // grows when a tag is deleted

	// drops counts the dropped entries, by a hash of the key. A caller that
	// wants to keep an entry reads the count before it asks the node. It does
	// not keep the entry if the count has grown since, because the answer may
	// be from before the drop.
	drops [stripes]struct {
		mu sync.Mutex
		n  uint64
	}
}

// nearNode is the state of one node's messages.
type nearNode struct {
	gaps  atomic.Uint64 // grows when messages may have been missed
	heard atomic.Int64  // the time since born up to which all messages have arrived; 0: messages may be missed
	node  *node
}

type nearItem struct {
	value    any
	negative bool
	tagged   bool
	node     int
	weight   uint32
	until    time.Duration // since born
	ticket
}

// ticket is the state from before a command was sent.
type ticket struct {
	drops, gaps, tags uint64
	back              time.Time // when the node last recovered
}

func newNear(cfg *Near, nodes []*node) (*near, error) {
	if cfg == nil {
		return nil, nil
	}
	items, err := otter.New(&otter.Options[string, *nearItem]{
		MaximumWeight:    uint64(cfg.Bytes),
		Weigher:          func(_ string, item *nearItem) uint32 { return item.weight },
		ExpiryCalculator: otter.ExpiryWriting[string, *nearItem](cfg.TTL),
	})
	m := &near{ttl: cfg.TTL, share: max(1, uint64(cfg.Bytes)/uint64(cfg.Size)), born: time.Now(), items: items, nodes: make([]nearNode, len(nodes))}
	for i, n := range nodes {
		m.nodes[i].node = n
	}
	return m, err
}

// get returns the entry of key in memory, if every message of its node that
// could drop it has arrived.
func (m *near) get(key string) (v any, negative, ok bool) {
	if m == nil {
		return nil, false, false
	}
	item, ok := m.items.GetIfPresent(key)
	if !ok {
		return nil, false, false
	}
	now, n := time.Since(m.born), &m.nodes[item.node]
	if now >= item.until || item.gaps != n.gaps.Load() || now-time.Duration(n.heard.Load()) > maxSilence ||
		item.tagged && item.tags != m.tags.Load() || item.back != n.node.Incarnation().Back {
		return nil, false, false
	}
	return item.value, item.negative, true
}

// begin returns the state to pass to put. It must be called before the node is
// asked.
func (m *near) begin(key string, node int) (t ticket) {
	if m == nil {
		return t
	}
	d := &m.drops[fnv(key)%stripes]
	d.mu.Lock()
	t.drops = d.n
	d.mu.Unlock()
	t.gaps, t.tags, t.back = m.nodes[node].gaps.Load(), m.tags.Load(), m.nodes[node].node.Incarnation().Back
	return t
}

// put keeps the answer of a node, unless the key was dropped since begin. left
// is how long the answer may be served.
func (m *near) put(key string, node int, t ticket, v any, e *entry, left time.Duration) {
	if m == nil || left <= 0 || m.nodes[node].heard.Load() == 0 {
		return
	}
	weight := uint32(min(max(uint64(len(key)+len(e.data)), m.share), math.MaxUint32))
	item := &nearItem{v, e.negative, e.tagged, node, weight, time.Since(m.born) + min(m.ttl, left), t}
	d := &m.drops[fnv(key)%stripes]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n == t.drops {
		m.items.Set(key, item)
	}
}

func (m *near) drop(key string) {
	if m == nil {
		return
	}
	d := &m.drops[fnv(key)%stripes]
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	m.items.Invalidate(key)
}

func (m *near) dropTagged() {
	if m != nil {
		m.tags.Add(1)
	}
}

func (m *near) close() {
	if m != nil {
		m.items.StopAllGoroutines()
	}
}
