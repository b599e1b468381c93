package web

import (
	"context"
	"sync"
	"time"

	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// detailsPerRound is how many locks are inspected one by one in each round, for
// all open pages together.
const detailsPerRound = 20

// details inspects the locks whose pages are open. Pages of one lock share the
// answers.
type details struct {
	src   source
	every time.Duration
	ctx   context.Context // ends with the handler
	wg    *sync.WaitGroup

	mu    sync.Mutex
	looks map[string]*look
	round time.Time // when the current round began
	asked int       // in this round
}

// look is one inspection.
type look struct {
	done chan struct{} // closed when the rest is filled in
	at   time.Time     // when it was asked for
	lock lock.Inspection
	err  error

	checkpoint *lease.CheckpointInfo // nil: there is none, or it is not known
}

// of is the newest inspection of a lock, nil if there is none before ctx ends.
func (d *details) of(ctx context.Context, key string) *look {
	l := d.begin(key)
	if l == nil {
		return nil
	}
	select {
	case <-l.done:
		return l
	default:
	}
	select {
	case <-l.done:
		return l
	case <-ctx.Done():
		return nil
	}
}

// begin is an inspection that is recent, or one that begins now, or, if the
// round has used up its inspections, the last one.
func (d *details) begin(key string) *look {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	l := d.looks[key]
	if l != nil && now.Sub(l.at) < d.every*3/4 {
		return l
	}
	if now.Sub(d.round) >= d.every {
		d.round, d.asked = now, 0
		d.forget(now)
	}
	if d.asked >= detailsPerRound || d.ctx.Err() != nil {
		return l
	}
	d.asked++
	l = &look{done: make(chan struct{}), at: now}
	d.looks[key] = l
	d.wg.Go(func() {
		defer close(l.done)
		if l.lock, l.err = d.src.Inspect(d.ctx, key); l.err != nil {
			return
		}
		if info, ok, err := d.src.CheckpointInfo(d.ctx, key); err == nil && ok {
			l.checkpoint = &info
		}
	})
	return l
}

// forget drops inspections that no page has asked for lately.
func (d *details) forget(now time.Time) {
	for key, l := range d.looks {
		if now.Sub(l.at) > 4*d.every {
			delete(d.looks, key)
		}
	}
}

// drop has the next page of a lock inspect it anew, even if the round has used
// up its inspections.
func (d *details) drop(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.looks, key)
	d.asked--
}

// stop lets no inspection begin after end, which ends d.ctx.
func (d *details) stop(end context.CancelFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end()
}
