package cache

import (
	"math"
	"sync"
)

// moment orders the events of a call: each caller joins at a moment, and the
// result reflects the state at a moment.
type moment int

// never is later than any moment. It marks a result that cannot be outdated.
const never moment = math.MaxInt

// result is the outcome of a call. It reflects every deletion before moment, so
// it is for the callers that joined before. A caller that joined later searches
// again, because the result may miss a deletion that returned before it joined.
type result[V any] struct {
	value  V
	err    error
	moment moment
}

// call is one search for a key's value, shared by all callers of this process.
type call[V any] struct {
	mu     sync.Mutex
	now    moment
	done   chan struct{}
	result result[V] // valid once done is closed
}

// tick begins a new moment. Callers that join from now on join at this moment
// or later.
func (c *call[V]) tick() moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now++
	return c.now
}

// callGroup holds the calls in progress, by key.
type callGroup[V any] struct {
	mu  sync.Mutex
	all map[string]*call[V]
}

// join returns the call for key and the moment at which the caller joined. If
// first is true, the call is new and the caller must finish it.
func (g *callGroup[V]) join(key string) (c *call[V], joined moment, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c = g.all[key]; c == nil {
		if g.all == nil {
			g.all = map[string]*call[V]{}
		}
		c = &call[V]{done: make(chan struct{})}
		g.all[key] = c
		return c, 0, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, c.now, false
}

// finish ends a call with its result. No caller can join it afterwards.
func (g *callGroup[V]) finish(key string, c *call[V], r result[V]) {
	g.mu.Lock()
	delete(g.all, key)
	g.mu.Unlock()
	c.result = r
	close(c.done)
}
