package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// limited is the key that several hold at once, in worlds that have one.
const limited = "s0"

// slot holds a slot of the key with a limit, or now and then the whole of it.
func (p *process) slot(ctx context.Context, called time.Time, rng *rand.Rand) {
	opts := []lock.Option{lock.Limit(p.c.w.plan.limit)}
	switch pick := rng.Float64(); {
	case pick < 0.1:
		opts = nil
	case pick < 0.3:
		opts = append(opts, lock.NoWait())
	}
	l, err := p.locker.Lock(ctx, limited, opts...)
	if err != nil {
		return
	}
	t := p.c.w.judge.acquired(p.c.index, called, slotted{l}, l.Context())
	p.hold(rng, t)
	p.c.w.judge.done(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rng.Int64N(int64(time.Second))))
	defer cancel()
	_ = l.Release(ctx)
	p.c.w.log("client %d gives back %s, token %d", p.c.index, t.key, t.token)
}

// lapSlot takes a slot once, after the faults.
func (p *process) lapSlot() {
	if p.c.w.plan.limit == 0 {
		return
	}
	called := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	l, err := p.locker.Lock(ctx, limited, lock.Limit(p.c.w.plan.limit))
	if err != nil {
		p.c.w.violate("client %d does not get a slot of %s after the faults: %v", p.c.index, limited, err)
		return
	}
	t := p.c.w.judge.acquired(p.c.index, called, slotted{l}, l.Context())
	p.c.w.judge.write(t)
	p.c.w.judge.done(t)
	if err := l.Release(context.Background()); err != nil {
		p.c.w.violate("client %d can not release a slot of %s after the faults: %v", p.c.index, limited, err)
	}
}

// slotted is a lease whose slot is part of what the judge calls its key.
type slotted struct{ *lease.Lease }

func (s slotted) Key() string {
	if s.Slot() < 0 {
		return s.Lease.Key()
	}
	return fmt.Sprintf("%s#%d", s.Lease.Key(), s.Slot())
}

// beside looks at the other slots of a key, or at all of them where t has the
// whole key. j.mu must be held.
func (j *judge) besideLocked(t *tenancy) {
	whole, slot, isSlot := strings.Cut(t.key, "#")
	if whole != limited {
		return
	}
	if isSlot && slot >= fmt.Sprint(j.w.plan.limit) {
		j.w.violate("%s: client %d has a slot beyond the limit of %d", t.key, t.client, j.w.plan.limit)
	}
	for i := -1; i < j.w.plan.limit; i++ {
		key := fmt.Sprintf("%s#%d", whole, i)
		if i < 0 {
			key = whole
		}
		for _, o := range j.held[key] {
			switch {
			case key == t.key: // that is looked at for every key
			case o.token == t.token:
				j.w.violate("%s, %s: clients %d and %d both have token %d", key, t.key, o.client, t.client, t.token)
			case (i < 0 || !isSlot) && !o.over && o.ctx.Err() == nil && t.ctx.Err() == nil:
				j.w.violate("%s: client %d (token %d) and client %d (%s, token %d) hold it at once", key, o.client, o.token, t.client, t.key, t.token)
			}
		}
	}
}
