package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// gauge records each visit of a holder to the protected resource, and every
// overlap of two visits.
type gauge struct {
	mu       sync.Mutex
	inside   []*visit
	holds    int
	newest   int64
	overlaps []string
	disorder []string
	waiting  map[int64]chan visit // by token: receives the first visit with a newer token
}

type visit struct {
	who   string
	token int64
	at    time.Time
	ctx   context.Context
}

// enter records a holder of the lock. At most one visitor may have a context
// that has not ended. A visitor whose context has ended on entry knows of its
// loss, and does not count.
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

// after returns a channel that receives the first visit with a newer token.
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
