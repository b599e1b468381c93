package sim

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// job is a lease with checkpoints, or that of a reader that looks for one.
func (p *process) job(ctx context.Context, key string, called time.Time, rng *rand.Rand) {
	var opts []lease.Option
	shared, kept := p.reads(rng), p.c.w.judge.keptNow(key)
	if shared {
		opts = append(opts, lock.Shared())
	}
	l, err := p.leases.Acquire(ctx, key, opts...)
	switch {
	case err != nil:
	case shared:
		p.c.w.judge.found(key, checkpointOf(l), kept) // one that came meanwhile is that of a holder who lost the key
		p.c.w.count("look")
		p.keep(l, called, rng, false)
	default:
		p.keep(l, called, rng, true)
	}
}

// checkpointOf is the number that a lease found.
func checkpointOf(l *lease.Lease) (n int) {
	if data, _, ok := l.LastCheckpoint(); ok {
		n, _ = strconv.Atoi(string(data))
	}
	return n
}

// keep holds a lease for a while.
func (p *process) keep(l *lease.Lease, called time.Time, rng *rand.Rand, checkpoints bool) {
	t := p.c.w.judge.acquired(p.c.index, called, l, l.Context())
	n := checkpointOf(l)
	if checkpoints {
		p.c.w.judge.found(l.Key(), n, p.c.w.judge.keptNow(l.Key()))
	}
	p.hold(rng, t)
	if checkpoints && rng.Float64() < 0.5 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if l.Checkpoint(ctx, []byte(strconv.Itoa(n+1))) == nil {
			p.c.w.judge.checkpoint(l.Key(), n+1)
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rng.Int64N(int64(time.Second))))
	defer cancel()
	if !checkpoints && !t.shared && p.reads(rng) {
		p.c.w.judge.endsWriting(t)
		if err := l.Downgrade(ctx); err == nil {
			p.c.w.judge.downgraded(t, l.Token())
			p.hold(rng, t)
		}
	}
	p.c.w.judge.done(t)
	if rng.Float64() < 0.3 {
		if handle, err := l.Detach(ctx); err == nil {
			p.c.w.log("client %d detaches %s, token %d", p.c.index, t.key, t.token)
			p.c.w.judge.detached(handle, t)
			return
		}
	}
	_ = l.Release(ctx) // whatever comes of it, the key expires
	p.c.w.log("client %d gives back %s, token %d", p.c.index, t.key, t.token)
}
