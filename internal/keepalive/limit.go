package keepalive

import (
	"context"
	"errors"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

// Keys with a limit. Callers of one process hold several slots at once, so a
// holder keeps no other from asking the nodes; one caller at a time waits there.
// A slot that is released is handed over with the next token of its block.

// Limit is lock.Limit.
func Limit(n int) Option { return option(func(r *Request) { r.Limit, r.limited = n, true }) }

// checkLimit reports what does not go with Limit.
func (req Request) checkLimit() error {
	switch {
	case !req.limited:
		return nil
	case req.Limit < 1 || req.Limit > quorumlock.MaxLimit:
		return configerr.Field("Limit", "%d is out of range; from 1 to %d", req.Limit, quorumlock.MaxLimit)
	case req.MinHold > 0:
		return configerr.Field("Limit", "%d and MinHold, %v: a slot is free when it is released; give one of them", req.Limit, req.MinHold)
	case req.Shared:
		return configerr.Field("Limit", "%d and Shared: a key is held by readers or by slots; give one of them", req.Limit)
	}
	return nil
}

// refuseLimit is the error of a call that has one holder, and no Limit.
func (req Request) refuseLimit(call string) error {
	if !req.limited {
		return nil
	}
	return configerr.Field("Limit", "%d for %s; several hold a key only by Lock, TryLock, WithLock and Do of package lock", req.Limit, call)
}

// Slot is lease.Lease.Slot.
func (l *Lease) Slot() int { return l.t.hold.Slot() }

// exclusive is the error of what a lease with a slot cannot do.
func (l *Lease) exclusive(call string) error {
	if l.Slot() < 0 {
		return nil
	}
	return configerr.Field(call, "the lease on %q has a slot of a key with a limit; only the lease of an exclusive lock can do that", l.Key())
}

// lockSlot is Lock for a key with a limit.
func (s *Leases) lockSlot(ctx context.Context, key string, p plan) (*Lease, error) {
	ctx, end := p.req.within(ctx)
	want, waits := s.want(p.req), p.req.Waits()
	q, place, ok := s.queues.EnterLimited(p.lock, waitqueue.Request{Want: want, Parent: p.req.Parent, MaxHold: p.req.MaxHold}, waits)
	if !ok {
		return nil, end(s.slotRefusal(key))
	}
	giveUpKept(s.queues.TakeKept(p.lock)) // it is for callers that want the whole key; from now on none is kept
	if place != nil {
		s.stats.waits.Add(1)
		if l, _, err := s.await(ctx, q, place, key); l != nil || err != nil {
			return l, end(err)
		}
	}
	granted := false
	defer func() { q.Asked(waits, granted) }() // also if Config.Backoff panics
	now := time.Now()
	since, ok := q.SinceGranted(now)
	p.queue, p.req.TokenBlock = q, slotBlock(p.req.Limit, q.Used(), since, ok)
	l, handed, err := s.getSlot(ctx, p)
	if err != nil {
		return nil, end(err)
	}
	granted = !handed
	end(nil)
	return l, nil
}

// slotRefusal is the error of a caller that does not wait, while another of this
// process waits at the nodes. If that one waits for a quorum, so would this one.
func (s *Leases) slotRefusal(key string) error {
	const reason = "all its slots are taken, and others of this process wait for one"
	if last := s.LastRefusalOf(key); !errors.Is(last, ErrNotAcquired) && errors.Is(last, ErrNoQuorum) {
		return last
	}
	return s.refusal(key, quorumlock.ClassHeld, reason, "", nil)
}

// getSlot is get for a key with a limit. handed says that the lease was handed
// over by another caller of this process.
func (s *Leases) getSlot(ctx context.Context, p plan) (l *Lease, handed bool, err error) {
	if p.req.Waits() {
		return s.contendSlot(ctx, p, s.cfg.Backoff)
	}
	began := time.Now()
	l, err = s.unsplit(ctx, p)
	if quorumlock.MayBeRetained(err) {
		l, err = s.askRetainer(ctx, time.Since(began), err, func(ctx context.Context) (*Lease, error) {
			l, _, err := s.contendSlot(ctx, p, noBackoff)
			return l, err
		})
	}
	return l, false, err
}

// contendSlot is contend for a key with a limit.
func (s *Leases) contendSlot(ctx context.Context, p plan, backoff func(int) time.Duration) (l *Lease, handed bool, err error) {
	w := waiting{s: s, p: p, backoff: backoff, me: s.queues.ContendLimited(p.lock), queues: s.open()}
	defer func() {
		queued := w.queues && (l == nil || handed || w.refused || l.t.hold.WasRefused())
		s.queues.Leave(w.me, queued, func(others bool) {
			switch {
			case l != nil:
				l.t.hold.Dequeue(others)
			case !others:
				s.red.LeaveLimit(p.lock)
			}
		})
	}()
	defer func() {
		if late, _ := w.handed(); late != nil { // while the wait ended, also if Config.Backoff panics
			giveUpAll([]*Lease{late})
		}
	}()
	for l == nil && err == nil {
		var slot int
		if l, slot = w.handed(); l != nil {
			return l, true, nil
		}
		if w.p.start = slot; slot == 0 {
			w.p.start = quorumlock.NextSlot(w.last)
		}
		if l, err = w.attempt(ctx); l == nil && err == nil {
			if w.queues && p.req.Waits() { // or it waits for messages, which nothing interrupts
				s.queues.Pauses(w.me, time.Now(), outlook(w.last).Split)
			}
			err = w.pause(ctx)
		}
	}
	return l, false, err
}

// handed is the lease that was handed over to the caller since its last attempt,
// or the slot that nodes have named, counted from 1.
func (w *waiting) handed() (l *Lease, slot int) {
	lease, slot := w.s.queues.Attempts(w.me)
	l, _ = lease.(*Lease)
	return l, slot
}

// slotBlock is blockAfter for a slot, of which each token takes a number of the
// fence counter for each class of slots. Many slots of one key are acquired beside
// each other, so what is owned is bounded by the time since the last acquisition,
// too: a key must not go through more numbers than the clock.
func slotBlock(limit, used int, since time.Duration, known bool) int {
	const perNumber = 4 * time.Microsecond
	classes := quorumlock.Classes(limit)
	numbers := max(MinTokenBlock, 2*used*classes)
	if !known {
		since = 0
	}
	return max(min(numbers, max(MinTokenBlock, int(since/perNumber)), quorumlock.MaxTokenBlock)/classes, 1)
}

// LastRefusalOf is LastRefusal of a key with a limit.
func (s *Leases) LastRefusalOf(key string) error {
	return s.queues.LastRefusalLimited(s.red.LockKey(key))
}
