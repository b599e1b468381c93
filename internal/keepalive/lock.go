package keepalive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

const (
	// MinTokenBlock is how many tokens a lease of Lock owns at the least, and so how
	// often it can be handed over.
	MinTokenBlock = 64
	// MaxLocalShare is how long a key is handed over within this process once another
	// process waits for it. To change the process takes the nodes two round trips.
	MaxLocalShare = 10 * time.Millisecond
)

// Lock acquires key as Await or Try does, as req says, but behind the callers of
// this process that came before: while one of them asks the nodes or holds the key,
// the others wait here. A lease that is released is handed over to the next of them
// that asks for the same, with the next token and without a round trip, until
// another process has waited for MaxLocalShare.
func (s *Leases) Lock(ctx context.Context, key string, req Request) (*Lease, error) {
	s.inflight.begin()
	defer s.inflight.end()
	p, err := s.plan(ctx, key, req)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, s.refusal(key, quorumlock.ClassLate, "the context had ended before", "", errs.Ended(ctx))
	}
	if p.req.Limit > 0 {
		return s.lockSlot(ctx, key, p)
	}
	ctx, end := p.req.within(ctx)
	want := s.want(p.req)
	joined, q, place, kept, ok := s.enter(p, waitqueue.Request{Want: want, Parent: p.req.Parent, MaxHold: p.req.MaxHold})
	switch joined := joined.(type) {
	case *Lease:
		return joined, end(nil)
	case waitqueue.Unqueued:
		l, err := s.get(ctx, p)
		return l, end(err)
	}
	if !ok {
		reason, holder := standing(q)
		return nil, end(s.refusal(key, quorumlock.ClassHeld, reason, holder, nil))
	}
	if place != nil {
		s.stats.waits.Add(1)
		l, unqueued, err := s.await(ctx, q, place, key)
		if unqueued {
			l, err = s.get(ctx, p)
		}
		if l != nil || err != nil {
			return l, end(err)
		}
	}
	acquired := false
	defer func() {
		if !acquired { // also if Config.Backoff panics
			q.Refused()
		}
	}()
	if kept != nil {
		if l, ok := s.retake(kept, want, p.req); ok {
			acquired = true
			q.Retaken()
			end(nil)
			return l, nil
		}
	}
	p.queue, p.req.TokenBlock = q, blockAfter(q.Used())
	l, err := s.get(ctx, p)
	if err != nil {
		return nil, end(err)
	}
	acquired = true
	if p.req.Shared {
		q.AcquiredShared(want, l.t)
	} else {
		q.Acquired(want)
	}
	end(nil)
	return l, nil
}

// want is what a caller wants of the lease that it is handed over: the value on the
// nodes carries one TTL and one label.
func (s *Leases) want(req Request) waitqueue.Want {
	return waitqueue.Want{By: s, TTL: req.TTL, Owner: req.Owner, Alone: req.MinHold > 0, Limit: req.Limit, Shared: req.Shared}
}

// await waits at a place in the queue. Neither a lease nor an error means that it
// is the caller's turn to ask, unqueued that it asks without a part in the queue.
func (s *Leases) await(ctx context.Context, q *waitqueue.Queue, place *waitqueue.Caller, key string) (l *Lease, unqueued bool, err error) {
	s.stats.queued.Add(1)
	defer s.stats.queued.Add(-1)
	defer s.queues.Free(place)
	select {
	case handed := <-place.Turn:
		l, _ = handed.(*Lease)
		_, unqueued = handed.(waitqueue.Unqueued)
		if l != nil && ctx.Err() != nil {
			l.Release(ctx) // which does not wait
			return nil, false, s.gaveUp(q, key, errs.Ended(ctx))
		}
		return l, unqueued, nil
	case <-ctx.Done():
		s.giveUp(ctx, q, place)
		return nil, false, s.gaveUp(q, key, errs.Ended(ctx))
	case <-s.closing:
		s.giveUp(ctx, q, place)
		return nil, false, s.err(key)
	}
}

// giveUp gives up a place, and what was handed over to it meanwhile.
func (s *Leases) giveUp(ctx context.Context, q *waitqueue.Queue, place *waitqueue.Caller) {
	if l, ok := q.GiveUp(place).(*Lease); ok {
		l.Release(ctx)
	}
}

// gaveUp is the error of a caller that leaves the queue. If the caller that asks
// waits for a quorum, so did this one.
func (s *Leases) gaveUp(q *waitqueue.Queue, key string, why error) error {
	last := s.LastRefusal(key)
	if q.Limited() {
		last = s.LastRefusalOf(key)
	}
	if !errors.Is(last, ErrNotAcquired) && errors.Is(last, ErrNoQuorum) {
		return quorumlock.WaitEnded(last, why)
	}
	reason, holder := standing(q)
	return quorumlock.WaitEnded(s.refusal(key, quorumlock.ClassHeld, reason, holder, nil), why)
}

// refusal is the error of a call that did not come to ask the nodes.
func (s *Leases) refusal(key string, class quorumlock.Class, reason, holder string, why error) error {
	return &NotAcquiredError{Key: key, Need: s.c.Quorum(), FreeIn: -1, Class: class, Reason: reason, Holder: holder, Err: why}
}

// standing says why a call in this process does not get the key, and the label of
// the holder if that is in it too.
func standing(q *waitqueue.Queue) (reason, holder string) {
	if owner, held := q.Holder(); held {
		return fmt.Sprintf("held in this process by %q", owner), owner
	}
	return "waited for in this process by others that came before", ""
}

// blockAfter is the size of the token block that follows one of which used tokens
// were used: the hotter a key, the less it costs the nodes. A counter on the
// nodes must not outrun the clock that it starts from where it is new, so not much
// more is owned than was used; an attempt soon after a refusal asks for fewer (see
// blockSince).
func blockAfter(used int) int { return min(max(MinTokenBlock, 2*used), quorumlock.MaxTokenBlock) }
