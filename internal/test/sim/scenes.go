package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
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
	{"everything lost", everythingLost},
	{"another list", anotherList},
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
// wakes that are not used cost 420 ms, and the fourth its place. In a set of even size each half of the nodes may cost that,
// one after the other, and waiters look again a while later: of the span more than half is left.
func stoppedWaiter(w *world, all []*process, rng *rand.Rand) {
	const span = 3 * time.Second
	others, stopped := all[:len(all)-1], all[len(all)-1]
	alone := w.pass(others, span)
	l, called := w.obtainFree(others[0])
	if l == nil {
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

// obtainFree is p's lease of k0, which nobody has; nil, which is a violation, if it does not get it.
func (w *world) obtainFree(p *process) (l *lease.Lease, called time.Time) {
	l, called, err := p.obtain("k0", 5*time.Second)
	if err != nil {
		w.violate("client 0 does not get k0 from nobody: %v", err)
		return nil, called
	}
	return l, called
}

// everythingLost has all nodes come back empty at once while a process holds a key, and a process that has met none of them
// open the set right then. It gets the key when it is free, and no sooner.
func everythingLost(w *world, all []*process, rng *rand.Rand) {
	l, called := w.obtainFree(all[0])
	if l == nil {
		return
	}
	for _, n := range w.nodes {
		n.crash()
	}
	time.Sleep(time.Duration(1 + rng.Int64N(int64(nodeTimeout))))
	for _, n := range w.nodes {
		n.restart(lost)
	}
	w.log("all nodes have lost everything")
	var held sync.WaitGroup
	held.Go(func() { all[0].give(l, called, w.plan.ttl) })
	late := all[len(all)-1].c.open(context.Background(), 1000)
	if late == nil {
		w.violate("no process can open a set that has lost everything")
		return
	}
	defer late.close()
	if l, called, err := late.obtain("k0", 20*time.Second); err != nil {
		w.violate("client %d does not get k0 after everything was lost: %v", late.c.index, err)
	} else {
		late.give(l, called, 0)
	}
	held.Wait()
}

// anotherList has a process open a list that is not that of the set, while another holds a key. It is refused.
func anotherList(w *world, all []*process, rng *rand.Rand) {
	l, called := w.obtainFree(all[0])
	if l == nil {
		return
	}
	defer all[0].give(l, called, 0)
	set := w.members()
	list := set[:len(set)-1]
	if len(list) == 0 || rng.IntN(2) == 0 {
		list = append(slices.Clone(set), w.all[slices.IndexFunc(w.all, func(n *node) bool { return !slices.Contains(set, n) })])
	}
	c, clients := w.openList(list)
	for _, client := range clients {
		defer client.Close()
	}
	if c != nil {
		w.violate("a process opens a list of %d nodes, and the set has %d", len(list), len(set))
		c.Close(context.Background())
	}
}

// openList opens a list of nodes over ways of its own; it returns nil if that fails.
func (w *world) openList(list []*node) (*cluster.Cluster, map[string]redis.UniversalClient) {
	clients := map[string]redis.UniversalClient{}
	for i, n := range list {
		l := &link{w: w, n: n, seed: w.stream("another list", i).Uint64()}
		clients[fmt.Sprint("other", i)] = l.client()
	}
	c, err := cluster.Open(context.Background(), cluster.Config{Clients: clients, MaxTTL: maxTTL, NodeTimeout: nodeTimeout, Logger: quiet})
	if err != nil {
		w.log("a list of %d nodes is refused: %v", len(list), err)
		return nil, clients
	}
	return c, clients
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
