package lease

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/mutex"
)

// Listen opens this process's mailbox, so that other processes' releases and waits are heard of. The returned channel
// is closed when it stands. Waiting opens it by itself.
func (s *Leases) Listen() (opened <-chan struct{}) {
	opened = s.c.Listen(&s.waiting)
	s.waiting.hears.Store(true)
	return opened
}

// Await is Acquire with the options as a Request.
//
// While it waits, this process stands in a queue for the key on each node; who releases the key wakes the first in it, on
// each node that had granted it. When a quorum has said so, the key can be had. Behind the wakes runs a timer, for holders that
// crash: it fires when the holder's key expires, at the latest.
func (s *Leases) Await(ctx context.Context, key string, req Request) (*Lease, error) {
	if s == nil {
		return nil, errNil
	}
	s.inflight.begin()
	defer s.inflight.end()
	p, err := s.plan(ctx, key, req)
	if err != nil {
		return nil, err
	}
	me := s.waiting.join(p.lock)
	l, err := s.wait(ctx, me, p)
	s.waiting.leave(p.lock, me, err != nil || me.refused || l.t.hold.WasRefused(), func(others bool) {
		switch {
		case err == nil:
			l.t.hold.Dequeue(others)
		case !others:
			s.red.LeaveLock(p.lock)
		}
	})
	return l, err
}

// listening reports whether the mailbox stands somewhere and its messages reach these Leases, so that a first attempt can
// already queue. Other Leases of the process may have opened it: what nobody among them waits for is passed on.
func (s *Leases) listening() bool {
	if !s.waiting.hears.Load() {
		return false
	}
	for _, n := range s.c.Nodes() {
		if n.Listening() {
			return true
		}
	}
	return false
}

// wait looks at the key until it gets it, ctx ends, or the policy has had enough.
func (s *Leases) wait(ctx context.Context, me *waiter, p plan) (*Lease, error) {
	var last error             // why the last attempt failed
	var policy backoff.BackOff // from the first refusal on
	splits, queued := 0, s.listening()
	look, began := p, time.Time{}
	for {
		s.waiting.looks(me)
		if !began.IsZero() {
			look.req.TokenBlock = blockSince(p.req.TokenBlock, time.Since(began))
		}
		began = time.Now()
		l, err := s.attempt(ctx, look, queued)
		took := time.Since(began)
		switch {
		case err == nil:
			return l, nil
		case transient(err):
			last = s.noted(me, p.key, last, err)
		case ctx.Err() == nil:
			return nil, err
		case last == nil:
			last = &NotAcquiredError{Key: p.key, Need: s.c.Quorum(), FreeIn: -1, Reason: "the nodes had not answered"}
		}
		if ctx.Err() != nil {
			return nil, mutex.WaitEnded(last, errs.Ended(ctx))
		}
		me.refused = true
		if !queued { // nobody could wake us: look once more when they can
			select {
			case <-s.Listen():
			case <-ctx.Done():
				return nil, mutex.WaitEnded(last, errs.Ended(ctx))
			case <-s.closing:
				return nil, s.err(p.key)
			}
			queued = true
			continue
		}
		if policy == nil {
			policy = s.cfg.Backoff()
		}
		limit := policy.NextBackOff()
		if limit == backoff.Stop {
			return nil, mutex.WaitEnded(last, nil)
		}
		held := outlook(last)
		if held.Split {
			splits++
		} else {
			splits = 0
		}
		agreed, err := s.sleep(ctx, me, nextLook(held, limit, took, splits), took, p.key, last)
		if err != nil {
			return nil, err
		}
		if agreed {
			policy.Reset()
		}
	}
}

// sleep waits for d, or less if there is news for me, and reports whether there was so much that it should look at once.
// The error says that the wait for the key is over; last is its reason.
func (s *Leases) sleep(ctx context.Context, me *waiter, d, took time.Duration, key string, last error) (agreed bool, err error) {
	end := time.Now().Add(d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return false, nil
		case <-me.notified:
			missing, doubted, useful := s.waiting.missing(me)
			switch {
			case !useful:
				continue
			case missing == 0:
				return true, nil
			}
			now := time.Now()
			at := now.Add(grace(missing, took, s.red.Config().HandOver))
			if at.Before(doubted) {
				at = doubted
			}
			if at.Before(end) {
				end = at
				timer.Reset(end.Sub(now))
			}
		case <-ctx.Done():
			return false, mutex.WaitEnded(last, errs.Ended(ctx))
		case <-s.closing:
			return false, s.err(key)
		}
	}
}

// grace is how long a waiter whom some nodes have woken waits for so many missing ones of a quorum, which mostly follow at
// once: the release is on its way to them. Who looks before it is there gets in the way of others, in vain. Where the nodes
// do not agree on whose turn it is, who was woken by more of them comes first. The key is kept for handOver where it was woken.
// Waiters that hear the news at one moment do not look at one.
func grace(missing int, took, handOver time.Duration) time.Duration {
	return min(time.Duration(missing)*(time.Millisecond+took), handOver/2) - below(100*time.Microsecond)
}

// nextLook is when to look again if nobody wakes us: just after a quorum could be free, with jitter so that processes
// do not look in step, and not later than limit. Attempts that have split the votes are about to give them back, and
// look again at random, over a time that grows with each split from what the attempt took: the slower the nodes are, the
// longer attempts get in each other's way.
func nextLook(held *NotAcquiredError, limit, took time.Duration, splits int) time.Duration {
	d := limit
	if held.Split {
		d = time.Millisecond + below((2*time.Millisecond+took)<<min(splits, 5))
	} else if held.FreeIn >= 0 {
		d = held.FreeIn + time.Millisecond + below(4*time.Millisecond)
	}
	return min(d, limit)
}

// blockSince is how many tokens another look may ask for so long after the one before. A grant that makes no
// quorum raises the counter of its node all the same. The counter must not outrun the clock, from which it starts where it is
// new, however often and by however many processes the key is looked at.
func blockSince(block int, since time.Duration) int {
	const few, perToken = 64, 8 * time.Microsecond
	return min(block, max(few, int(since/perToken)))
}
