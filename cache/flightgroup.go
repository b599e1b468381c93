package cache

import (
	"math"
	"sync"
)

// moment orders what happens in a flight: a caller that joins does so at a moment, and a result is as of one.
type moment int

// never is later than any moment: a result that can not be out of date.
const never moment = math.MaxInt

// result is what a flight comes to. Everything that was deleted before moment is left out of it, so it is for those who
// joined before; who joined later may have come after a deletion that it knows nothing of, and has to look again.
type result[V any] struct {
	value  V
	err    error
	moment moment
}

// flight is one search for a key's value, for all callers of this process.
type flight[V any] struct {
	mu     sync.Mutex
	now    moment
	done   chan struct{}
	result result[V] // valid once done is closed
}

// tick begins a new moment: who joins from now on joined at it, or later.
func (f *flight[V]) tick() moment {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now++
	return f.now
}

// flightGroup is the flights under way.
type flightGroup[V any] struct {
	mu  sync.Mutex
	all map[string]*flight[V]
}

// join returns the flight for key, and the moment of joining it. first: it is new, and the caller has to see to it.
func (fl *flightGroup[V]) join(key string) (f *flight[V], joined moment, first bool) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if f = fl.all[key]; f == nil {
		if fl.all == nil {
			fl.all = map[string]*flight[V]{}
		}
		f = &flight[V]{done: make(chan struct{})}
		fl.all[key] = f
		return f, 0, true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f, f.now, false
}

// land ends a flight with its result. Nobody joins it any more by then.
func (fl *flightGroup[V]) land(key string, f *flight[V], r result[V]) {
	fl.mu.Lock()
	delete(fl.all, key)
	fl.mu.Unlock()
	f.result = r
	close(f.done)
}
