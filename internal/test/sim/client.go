package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// client is one process after another, with the same way to the nodes.
type client struct {
	w     *world
	index int
	rng   *rand.Rand

	mu      sync.Mutex
	halted  chan struct{} // closed when it goes on; nil while it runs
	endLife context.CancelFunc
	list    []int // of the nodes of its process, by index
}

func newClient(w *world, i int) *client {
	return &client{w: w, index: i, rng: w.stream("client", i), endLife: func() {}}
}

// halt stops the client's work. It reports false if it stands still already.
func (c *client) halt() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.halted != nil {
		return false
	}
	c.halted = make(chan struct{})
	return true
}

// end has the client's process end, and the next one begin.
func (c *client) end() {
	c.w.log("client %d's process ends", c.index)
	c.mu.Lock()
	end := c.endLife
	c.mu.Unlock()
	end()
}

func (c *client) goOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.halted)
	c.halted = nil
}

// step waits while the client stands still.
func (c *client) step() {
	c.mu.Lock()
	halted := c.halted
	c.mu.Unlock()
	if halted != nil {
		<-halted
	}
}

// live runs processes until ctx ends; the last one has to get every key before it ends.
func (c *client) live(ctx context.Context) {
	time.Sleep(time.Duration(1+c.rng.IntN(1e6)) * time.Nanosecond)
	for life := 0; ; life++ {
		p := c.open(ctx, life)
		if p == nil {
			c.w.violate("client %d: no process could be started", c.index)
			c.w.calm <- nil
			return
		}
		mortal, end := context.WithCancel(ctx)
		c.mu.Lock()
		c.endLife = end
		c.mu.Unlock()
		p.work(mortal)
		end()
		last := ctx.Err() != nil
		if last {
			time.Sleep(2*maxTTL + time.Second + time.Duration(c.rng.IntN(1e6))) // longer than the quarantine, and any pace of probing
			c.w.calm <- p
			<-c.w.played
			time.Sleep(time.Duration(1+c.rng.IntN(1e6)) * time.Nanosecond)
			p.lap()
		}
		p.close()
		if last {
			return
		}
	}
}

// process is one life of a client.
type process struct {
	c       *client
	life    int
	cluster *cluster.Cluster
	locker  *lock.Locker
	leases  *lease.Leases
	clients map[string]redis.UniversalClient
}

var quiet = slog.New(slog.DiscardHandler)

// open starts a process, and tries as long as the faults last and a while longer.
func (c *client) open(ctx context.Context, life int) *process {
	p := &process{c: c, life: life}
	for tries := 0; tries < 100; tries++ {
		p.list(c.w.list())
		cl, err := cluster.Open(context.WithoutCancel(ctx), cluster.Config{
			Clients: p.clients, MaxTTL: maxTTL, NodeTimeout: nodeTimeout, Logger: quiet,
		})
		if err == nil {
			p.cluster = cl
			break
		}
		time.Sleep(time.Duration(100+c.rng.IntN(100)) * time.Millisecond)
	}
	if p.cluster == nil {
		return nil
	}
	// The owner label stands in every value; its default is this machine's name.
	cfg := lease.Config{TTL: c.w.plan.ttl, Retain: min(c.w.plan.retain, maxTTL), Owner: strconv.Itoa(c.index), Backoff: p.backoff()}
	var err, err2 error
	p.locker, err = lock.New(p.cluster, lock.Config(cfg))
	p.leases, err2 = lease.New(p.cluster, cfg)
	if err := errors.Join(err, err2); err != nil {
		panic(err)
	}
	c.w.log("client %d starts process %d", c.index, life)
	return p
}

// backoff is the library's own pauses, with seeded jitter.
func (p *process) backoff() func(attempt int) time.Duration {
	var mu sync.Mutex
	rng := p.c.w.stream("backoff", p.c.index*1000+p.life)
	return func(attempt int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		d := min(100*time.Millisecond<<min(attempt-1, 5), 2*time.Second)
		return d - d/4 + time.Duration(rng.Int64N(int64(d/2)))
	}
}

func (p *process) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(p.locker.Close(ctx), p.leases.Close(ctx), p.cluster.Close(ctx)); err != nil {
		p.c.w.violate("client %d: close: %v", p.c.index, err)
	}
	p.closeClients()
	stats := p.locker.Stats()
	p.c.w.tally(func(t *Totals) { t.HandOvers += int(stats.HandOvers) })
}

// work runs the workers until mortal ends.
func (p *process) work(mortal context.Context) {
	var wg sync.WaitGroup
	for i := range p.c.w.plan.workers {
		rng := p.c.w.stream("worker", (p.c.index*100+i)*1000+p.life)
		late := time.Duration(1 + rng.IntN(1e6)) // what ends at one instant would end in no order
		wg.Go(func() {
			ctx, end := context.WithCancel(context.Background())
			defer end()
			defer context.AfterFunc(mortal, func() { time.Sleep(late); end() })()
			for ctx.Err() == nil {
				rest(ctx, time.Duration(1+rng.ExpFloat64()*float64(300*time.Millisecond)))
				p.c.step()
				if ctx.Err() == nil {
					p.operate(ctx, rng)
				}
			}
		})
	}
	wg.Wait()
}

// rest waits for d or for the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// operate does one of the things that the library is for, with a context that ends at a moment drawn at random.
func (p *process) operate(ctx context.Context, rng *rand.Rand) {
	p.c.w.tally(func(t *Totals) { t.Operations++ })
	key := fmt.Sprint("k", rng.IntN(p.c.w.plan.keys))
	patience := time.Duration(1 + rng.ExpFloat64()*float64(maxTTL))
	if rng.Float64() < 0.1 {
		patience = time.Duration(1 + rng.Int64N(int64(3*p.c.w.plan.latency)))
		p.c.w.count("cancel")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	called := time.Now()
	if p.c.w.plan.limit > 0 && rng.Float64() < 0.4 {
		p.slot(ctx, called, rng)
		return
	}
	switch pick := rng.Float64(); {
	case pick < 0.1:
		p.several(ctx, called, rng)
	case pick < 0.2:
		d := p.c.w.judge.handed()
		if l, err := p.leases.Attach(ctx, d.handle); err == nil {
			p.c.w.judge.attached(l, d)
			p.keep(l, called, rng, false)
		}
	case pick < 0.5:
		opts := []lock.Option{}
		if rng.Float64() < 0.2 {
			opts = append(opts, lock.NoWait())
		}
		if p.reads(rng) {
			opts = append(opts, lock.Shared())
		}
		_ = p.locker.WithLock(ctx, key, func(ctx context.Context) error {
			l, _ := lease.FromContext(ctx)
			// The caller's context ends the work's too, while the lock is still held.
			t := p.c.w.judge.acquired(p.c.index, called, l, ctx)
			defer p.c.w.judge.done(t)
			p.hold(rng, t)
			return nil
		}, opts...)
	case pick < 0.7:
		var opts []lock.Option
		if p.reads(rng) {
			opts = append(opts, lock.Shared())
		}
		if l, err := p.locker.Lock(ctx, key, opts...); err == nil {
			p.keep(l, called, rng, false)
		}
	default:
		p.job(ctx, "job:"+key, called, rng)
	}
}

// reads draws whether an acquisition is that of a reader.
func (p *process) reads(rng *rand.Rand) bool {
	return p.c.w.plan.shared > 0 && rng.Float64() < p.c.w.plan.shared
}

// several holds two or three keys for a while, named in any order.
func (p *process) several(ctx context.Context, called time.Time, rng *rand.Rand) {
	var keys []string
	for _, i := range rng.Perm(p.c.w.plan.keys) {
		keys = append(keys, fmt.Sprint("k", i))
	}
	all, err := p.locker.LockAll(ctx, keys[:min(len(keys), 2+rng.IntN(2))])
	if err != nil {
		return
	}
	var held []*tenancy
	for _, key := range all.Keys() {
		held = append(held, p.c.w.judge.acquired(p.c.index, called, oneOf{all, key}, all.Context()))
	}
	p.hold(rng, held...)
	for _, t := range held {
		p.c.w.judge.done(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rng.Int64N(int64(time.Second))))
	defer cancel()
	_ = all.Release(ctx)
	p.c.w.log("client %d gives back %v", p.c.index, all.Keys())
}

// oneOf is one of several keys.
type oneOf struct {
	*lock.Locks
	key string
}

func (o oneOf) Key() string  { return o.key }
func (o oneOf) Token() int64 { return o.Locks.Token(o.key) }

// hold is the work under a lock. Careless work does not look at its context, and writes with an old token.
func (p *process) hold(rng *rand.Rand, held ...*tenancy) {
	ctx := held[0].ctx // that of all
	careless := rng.Float64() < 0.3
	for range 1 + rng.IntN(3) {
		d := time.Duration(1 + rng.ExpFloat64()*float64(150*time.Millisecond))
		switch long := rng.Float64(); {
		case careless && long < 0.25:
			d += 2 * p.c.w.plan.ttl
		case long < 0.1:
			d += p.c.w.plan.ttl
		}
		if careless {
			time.Sleep(d)
		} else {
			rest(ctx, d)
		}
		p.c.step()
		if ctx.Err() != nil && !careless {
			return
		}
		for _, t := range held {
			p.c.w.judge.write(t)
		}
	}
}

// lap takes every key once, after the faults.
func (p *process) lap() {
	p.lapSlot()
	for i := range p.c.w.plan.keys {
		shared := fmt.Sprint("k", i)
		for n, key := range []string{shared, fmt.Sprint("job:k", i), shared} {
			var opts []lock.Option
			if n == 2 {
				opts = append(opts, lock.Shared())
			}
			l, called, err := p.obtain(key, 20*time.Second, opts...)
			if err != nil {
				p.c.w.violate("client %d does not get %s after the faults: %v", p.c.index, key, err)
				continue
			}
			t := p.c.w.judge.acquired(p.c.index, called, l, l.Context())
			p.c.w.judge.write(t)
			if err := l.Err(); err != nil {
				p.c.w.violate("client %d loses %s after the faults: %v", p.c.index, key, err)
			}
			p.c.w.judge.done(t)
			if err := l.Release(context.Background()); err != nil {
				p.c.w.violate("client %d cannot release %s after the faults: %v", p.c.index, key, err)
			}
		}
	}
}

// obtain waits for key for so long, with every node at its disposal. It also says when the call began that got it.
func (p *process) obtain(key string, patience time.Duration, opts ...lock.Option) (l *lease.Lease, called time.Time, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	called = time.Now()
	l, err = p.locker.Lock(ctx, key, opts...)
	return l, called, err
}
