package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// store keeps orders. It is what a lock alone can not protect from a process that was stopped: so it remembers the
// newest token it has seen, in reading and in writing, and refuses older ones.
type store struct {
	mu       sync.Mutex
	newest   int64
	last     int // the last order that is done
	written  []write
	rejected int
}

// write is what was accepted.
type write struct {
	order int
	token int64
	who   string
}

// next is the order to do now.
func (s *store) next(token int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admitLocked(token); err != nil {
		return 0, err
	}
	return s.last + 1, nil
}

// finish writes that the order is done.
func (s *store) finish(token int64, order int, who string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admitLocked(token); err != nil {
		s.rejected++
		return err
	}
	s.last = order
	s.written = append(s.written, write{order, token, who})
	return nil
}

func (s *store) admitLocked(token int64) error {
	if token < s.newest {
		return fmt.Errorf("token %d is older than %d", token, s.newest)
	}
	s.newest = token
	return nil
}

// count is how many orders are done.
func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.written)
}

// audit goes through the writes without trusting the store's own check: what is wrong with each.
func audit(written []write) (stale, twice, missing []string) {
	var newest int64
	last := 0
	for _, w := range written {
		if w.token < newest {
			stale = append(stale, fmt.Sprintf("order %d by worker %s with token %d after token %d", w.order, w.who, w.token, newest))
		}
		newest = max(newest, w.token)
		switch {
		case w.order <= last:
			twice = append(twice, fmt.Sprintf("order %d by worker %s", w.order, w.who))
		case w.order > last+1:
			missing = append(missing, fmt.Sprintf("%d before order %d", w.order-1-last, w.order))
		}
		last = max(last, w.order)
	}
	return stale, twice, missing
}

// gauge stands at the door of what the lock protects and sees who goes in and out.
type gauge struct {
	mu       sync.Mutex
	inside   []*visit
	holds    int
	newest   int64
	overlaps []string
	disorder []string
	waiting  map[int64]chan visit // for the first visit after a token
}

type visit struct {
	who   string
	token int64
	at    time.Time
	ctx   context.Context
}

// enter notes a holder of the lock. Who is inside with a context that has not ended believes to be alone; there may
// be one such only. Who comes late, with a context that has ended, does not count.
func (g *gauge) enter(ctx context.Context, who string, token int64) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() != nil {
		return func() {}
	}
	me := &visit{who, token, time.Now(), ctx}
	for _, other := range g.inside {
		if other.ctx.Err() == nil {
			g.overlaps = append(g.overlaps, fmt.Sprintf("workers %s and %s, tokens %d and %d", other.who, who, other.token, token))
		}
	}
	if token <= g.newest {
		g.disorder = append(g.disorder, fmt.Sprintf("worker %s got %d after %d", who, token, g.newest))
	}
	g.newest = max(g.newest, token)
	g.holds++
	g.inside = append(g.inside, me)
	for old, ch := range g.waiting {
		if old < token {
			ch <- *me
			delete(g.waiting, old)
		}
	}
	return func() { g.leave(me) }
}

func (g *gauge) leave(me *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside = slices.DeleteFunc(g.inside, func(v *visit) bool { return v == me })
}

// after gives the next visit with a newer token.
func (g *gauge) after(token int64) <-chan visit {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting == nil {
		g.waiting = map[int64]chan visit{}
	}
	ch := make(chan visit, 1)
	g.waiting[token] = ch
	return ch
}
