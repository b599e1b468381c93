package cache

import (
	"math"
	"sync"
)

// moment orders the events of a call: a caller joins it at a moment, and its
// result is as of one.
type moment int

// never is later than any moment: a result that cannot be out of date.
const never moment = math.MaxInt

// result is the outcome of a call. It reflects every deletion before moment, so
// it is for the callers that joined before. A caller that joined later may have
// come after a deletion that the result does not reflect, and looks again.
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

// tick begins a new moment: callers that join from now on join at it, or later.
func (c *call[V]) tick() moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now++
	return c.now
}

// callGroup is the calls under way, by key.
type callGroup[V any] struct {
	mu  sync.Mutex
	all map[string]*call[V]
}

// join returns the call for key, and the moment of joining it. first: it is
// new, and the caller has to finish it.
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

// finish ends a call with its result. Nobody joins it any more by then.
func (g *callGroup[V]) finish(key string, c *call[V], r result[V]) {
	g.mu.Lock()
	delete(g.all, key)
	g.mu.Unlock()
	c.result = r
	close(c.done)
}
