package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/lease"
)

// A scene is played when the faults are over, with one process of each client and all nodes well, and says whether
// waiting works as it should.
type scene struct {
	name string
	play func(w *world, all []*process, rng *rand.Rand)
}

var scenes = []scene{
	{"crowd", crowd},
	{"stopped waiter", stoppedWaiter},
}

// playScene waits for the processes that have outlived the faults, and has them play.
func (w *world) playScene() {
	defer close(w.played)
	all := make([]*process, w.plan.clients)
	for range all {
		if p := <-w.calm; p != nil {
			all[p.c.index] = p
		}
	}
	if slices.Contains(all, nil) {
		return
	}
	if s := w.plan.scene; s != nil {
		w.log("scene: %s", s.name)
		w.count("scene: " + s.name)
		s.play(w, all, w.stream("scene", 0))
	}
}

// crowd has one process hand a key over among its workers until it owns many tokens. Then that process, or another, loses
// its connections for a moment, while the others begin to wait. They are served soon.
func crowd(w *world, all []*process, rng *rand.Rand) {
	const workers, grows, soon = 4, 5500 * time.Millisecond, 3 * time.Second
	work, end := context.WithCancel(context.Background())
	var wg, waits sync.WaitGroup
	for i := range workers {
		own := w.stream("crowd", i)
		wg.Go(func() {
			for work.Err() == nil {
				all[0].taste(work, "k0", 5*time.Millisecond+time.Duration(own.Int64N(int64(10*time.Millisecond))))
			}
		})
	}
	time.Sleep(grows)
	broken := rng.IntN(2) * rng.IntN(len(all)) // mostly the process that holds the key
	reconnect := w.disconnect(broken, 0, len(w.nodes))
	lasts := time.Duration(1 + rng.Int64N(int64(w.plan.ttl/4)))
	for _, p := range all[1:] {
		pause := time.Duration(rng.Int64N(int64(lasts)))
		waits.Go(func() {
			time.Sleep(pause)
			if l, called, err := p.obtain("k0", soon); err != nil {
				w.violate("client %d waits without success for a key that another process hands over: %v", p.c.index, err)
			} else {
				p.give(l, called, 0)
			}
		})
	}
	time.Sleep(lasts)
	reconnect()
	waits.Wait()
	end()
	wg.Wait()
}

// stoppedWaiter has processes pass a key on to each other, first by themselves, then with another process first in the
// queues that is stopped: the nodes take it for a subscriber, and it does nothing. The others are not much slower: three
// wakes that are not used cost 420 ms, and the fourth its place.
func stoppedWaiter(w *world, all []*process, rng *rand.Rand) {
	const span = 2 * time.Second
	others, stopped := all[:len(all)-1], all[len(all)-1]
	alone := w.pass(others, span)
	l, called, err := others[0].obtain("k0", 5*time.Second)
	if err != nil {
		w.violate("client 0 does not get k0 from nobody: %v", err)
		return
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		l, called, err := stopped.obtain("k0", 20*time.Second)
		if err != nil {
			w.violate("client %d does not get k0 after it was stopped: %v", stopped.c.index, err)
			return
		}
		stopped.give(l, called, 0)
	})
	time.Sleep(20*w.plan.latency + time.Duration(rng.Int64N(int64(w.plan.latency))))
	goOn := w.stop(stopped.c)
	others[0].give(l, called, 0)
	beside := w.pass(others, span)
	goOn()
	w.log("%d locks in %v, and %d beside a stopped waiter", alone, span, beside)
	if beside < alone/2 {
		w.violate("%d locks in %v, and %d beside a stopped waiter", alone, span, beside)
	}
	wait.Wait()
}

// pass has each process lock and release a key for so long, and says how often they had it.
func (w *world) pass(all []*process, span time.Duration) int {
	ctx, cancel := context.WithTimeout(context.Background(), span)
	defer cancel()
	var had atomic.Int64
	var wg sync.WaitGroup
	for _, p := range all {
		rng := w.stream(fmt.Sprint("pass", time.Since(w.start)), p.c.index)
		wg.Go(func() {
			for ctx.Err() == nil {
				if p.taste(ctx, "k0", time.Duration(1+rng.Int64N(int64(2*time.Millisecond)))) {
					had.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(had.Load())
}

// taste locks key, holds it for so long, and reports whether it had it.
func (p *process) taste(ctx context.Context, key string, hold time.Duration) bool {
	called := time.Now()
	l, err := p.locker.Lock(ctx, key)
	if err != nil {
		time.Sleep(hold)
		return false
	}
	p.give(l, called, hold)
	return true
}

// give holds l for so long and gives it back.
func (p *process) give(l *lease.Lease, called time.Time, hold time.Duration) {
	t := p.c.w.judge.acquired(p.c.index, called, l, l.Context())
	rest(t.ctx, hold)
	if t.ctx.Err() == nil {
		p.c.w.judge.write(t)
	}
	p.c.w.judge.done(t)
	_ = l.Release(context.Background())
}
