package lease

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/mutex"
)

// waiting is who in this process waits for which lock, and the messages that wake them.
type waiting struct {
	s     *Leases
	hears atomic.Bool // it is a listener of the mailbox
	mu    sync.Mutex
	at    map[string][]*waiter // by lock key
}

// waiter is one wait. Its bell rings when there is news for it.
type waiter struct {
	bell    chan struct{}
	refused bool // an attempt of this wait was

	last error // why the last attempt failed; guarded by waiting.mu

	// Since the last attempt began; guarded by waiting.mu.
	look  bool   // it should look again, whatever the nodes say
	turns []bool // by node: it said that this process's turn has come
}

func (w *waiting) init(s *Leases) { w.s, w.at = s, map[string][]*waiter{} }

func (w *waiting) join(lock string) *waiter {
	me := &waiter{bell: make(chan struct{}, 1)}
	w.s.c.Attend(lock)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[lock] = append(w.at[lock], me)
	return me
}

// part ends a wait. leave takes this process out of the nodes' queues; it is told whether others in it, also in other Leases,
// wait for the lock, and not called if none does and none of those who did may stand there.
func (w *waiting) part(lock string, me *waiter, stands bool, leave func(others bool)) {
	w.mu.Lock()
	if all := slices.DeleteFunc(w.at[lock], func(x *waiter) bool { return x == me }); len(all) > 0 {
		w.at[lock] = all
	} else {
		delete(w.at, lock)
	}
	w.mu.Unlock()
	w.s.c.Depart(lock, stands, leave)
}

// ring makes everybody who waits for lock look again, and reports whether there was anybody.
func (w *waiting) ring(lock string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, me := range w.at[lock] {
		me.lookLocked()
	}
	return len(w.at[lock]) > 0
}

// turn tells everybody who waits for lock that n says it is this process's turn, and reports whether there was anybody.
func (w *waiting) turn(n *cluster.Node, lock string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, me := range w.at[lock] {
		if me.turns == nil {
			me.turns = make([]bool, len(w.s.c.Nodes()))
		}
		me.turns[n.Index()] = true
		me.ring()
	}
	return len(w.at[lock]) > 0
}

func (me *waiter) lookLocked() {
	me.look = true
	me.ring()
}

func (me *waiter) ring() {
	select {
	case me.bell <- struct{}{}:
	default:
	}
}

// looks forgets the news that came before an attempt.
func (w *waiting) looks(me *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	me.look = false
	clear(me.turns)
	select {
	case <-me.bell:
	default:
	}
}

// missing is how many nodes more have to say that it is me's turn before it should look.
func (w *waiting) missing(me *waiter) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.look {
		return 0
	}
	missing := w.s.c.Quorum()
	for _, turn := range me.turns {
		if turn {
			missing--
		}
	}
	return max(missing, 0)
}

// Message implements cluster.Listener.
func (w *waiting) Message(n *cluster.Node, text string) (claimed bool) {
	m, ok := mutex.ParseMessage(text)
	switch {
	case !ok:
		return false
	case m.Turn:
		return w.turn(n, m.Lock)
	}
	w.s.contend(m.Lock)
	return true
}

// Unclaimed implements cluster.Listener: a turn that nobody here wants is passed on.
func (w *waiting) Unclaimed(n *cluster.Node, text string) {
	m, ok := mutex.ParseMessage(text)
	if !ok || !m.Turn {
		return
	}
	if !w.s.c.Unattended(m.Lock, func() { w.s.red.LeaveLock(m.Lock, n) }) {
		w.ring(m.Lock) // they joined just now
	}
}

// Gap implements cluster.Listener: a wake may have been lost, so everybody looks again.
func (w *waiting) Gap(*cluster.Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, all := range w.at {
		for _, me := range all {
			me.lookLocked()
		}
	}
}

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
	s.errands.begin()
	defer s.errands.end()
	p, err := s.plan(ctx, key, req)
	if err != nil {
		return nil, err
	}
	me := s.waiting.join(p.lock)
	l, err := s.wait(ctx, me, p)
	s.waiting.part(p.lock, me, err != nil || me.refused || l.t.hold.WasRefused(), func(others bool) {
		switch {
		case err == nil:
			l.t.hold.StepOut(others)
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
			look.req.Span = spanSince(p.req.Span, time.Since(began))
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
			return nil, gaveUp(last, errs.Ended(ctx))
		}
		me.refused = true
		if !queued { // nobody could wake us: look once more when they can
			select {
			case <-s.Listen():
			case <-ctx.Done():
				return nil, gaveUp(last, errs.Ended(ctx))
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
			return nil, gaveUp(last, nil)
		}
		held := outlook(last)
		if held.Split {
			splits++
		} else {
			splits = 0
		}
		rung, err := s.sleep(ctx, me, nextLook(held, limit, took, splits), took, p.key, last)
		if err != nil {
			return nil, err
		}
		if rung {
			policy.Reset()
		}
	}
}

// sleep waits for d, or less if me is rung. The error says that the wait for the key is over; last is its reason.
func (s *Leases) sleep(ctx context.Context, me *waiter, d, took time.Duration, key string, last error) (rung bool, err error) {
	end := time.Now().Add(d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return rung, nil
		case <-me.bell:
			missing := s.waiting.missing(me)
			if missing == 0 {
				return true, nil
			}
			now := time.Now()
			if at := now.Add(grace(missing, took, s.red.Config().HandOver)); at.Before(end) {
				end = at
				timer.Reset(end.Sub(now))
			}
			rung = true
		case <-ctx.Done():
			return false, gaveUp(last, errs.Ended(ctx))
		case <-s.closing:
			return false, s.err(key)
		}
	}
}

// grace is how long a waiter whom some nodes have woken waits for so many missing ones of a quorum, which mostly follow at
// once: the release is on its way to them. Who looks before it is there gets in the way of others, in vain. Where the nodes
// do not agree on whose turn it is, who was woken by more of them comes first. The key is kept for handOver where it was woken.
func grace(missing int, took, handOver time.Duration) time.Duration {
	return min(time.Duration(missing)*(time.Millisecond+took), handOver/2)
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

// spanSince is how many tokens another look may ask for so long after the one before. What a node grants in vain raises its
// counter as well, and that must not outrun the clock, which it starts from where it is new, however often and by however many
// processes the key is looked at.
func spanSince(span int, since time.Duration) int {
	const few, perToken = 64, 8 * time.Microsecond
	return min(span, max(few, int(since/perToken)))
}
