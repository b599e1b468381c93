package lease

import (
	"context"
	"slices"
	"time"

	"github.com/venta-hq/redlock/mutex"
)

// lose ends the renewal of a key that nobody released.
func (r *renewer) lose(t *renewal, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(t, reason)
}

// endLocked ends the renewal of a key that nobody released, and its lease. What follows waits until every lease has
// ended whose time has come, for many may be lost together and their holders have to know before anybody else can have
// the keys: what is still ours is given back, the heir is notified, and the loss is logged.
func (r *renewer) endLocked(t *renewal, reason string) {
	r.dropLocked(t)
	if t.state == gone {
		return
	}
	overdue := t.state == maxHoldExceeded // that was reported
	t.state = gone
	l, lost := t.lease, t.hold.Lost(reason)
	t.loss = lost
	if l != nil {
		l.end(lost) // under mu: who finds the renewal gone finds out why
	}
	r.afterLocked(func() {
		t.hold.Abort(lost)
		r.over(t, l)
		if l != nil {
			r.s.reportEnd(l, "lost")
			if !overdue {
				r.s.reportLoss(t, reason)
			}
		}
	})
}

// doAfter does the first n of what is left to do, and reports whether there is
// more.
func (r *renewer) doAfter(n int) (more bool) {
	r.mu.Lock()
	n = min(n, len(r.after))
	some := r.after[:n:n]
	r.after = r.after[n:]
	if more = len(r.after) > 0; !more {
		r.after = nil
	}
	r.mu.Unlock()
	for _, do := range some {
		do()
	}
	return more
}

// afterLocked has run do this when no deadline is due.
func (r *renewer) afterLocked(do func()) {
	r.after = append(r.after, do)
	r.notify()
}

func (r *renewer) over(t *renewal, l *Lease) {
	if t.heir != nil {
		t.heir.Over(l)
	}
}

// lossOf is why t was lost, nil if it was not.
func (r *renewer) lossOf(t *renewal) *LostError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.loss
}

// cancel ends all leases with this cause. Nothing new is taken in afterwards.
func (r *renewer) cancel(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closing = true
	for _, t := range r.queue {
		if t.lease != nil {
			t.lease.end(cause)
		}
	}
}

// drain releases everything and stops the goroutine.
func (r *renewer) drain() {
	var leases []*Lease
	for _, l := range r.holders() {
		if !l.released.CompareAndSwap(false, true) {
			continue // its owner releases it, and inflight counts that
		}
		if idle := l.rest(); idle != nil {
			<-idle
		}
		if l.startRelease() == nil {
			leases = append(leases, l)
		}
	}
	for _, l := range leases {
		l.t.hold.AwaitRelease(context.Background())
	}
	r.s.inflight.wait()
	close(r.stop)
	r.wg.Wait()
	for _, t := range r.draining() {
		r.leaveBehind(t)
	}
	for r.doAfter(afterAtOnce) {
	}
}

func (r *renewer) holders() []*Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*Lease
	for _, t := range r.queue {
		if t.lease != nil {
			all = append(all, t.lease)
		}
	}
	return all
}

// draining is all that is renewed when no holder is left.
func (r *renewer) draining() []*renewal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.queue)
}

// leaveBehind gives a draining key the rest of its MinHold as its TTL, as far as a TTL can be, and forgets it.
func (r *renewer) leaveBehind(t *renewal) {
	r.mu.Lock()
	r.dropLocked(t)
	t.state = gone
	r.mu.Unlock()
	if rest := min(time.Until(t.minUntil()), r.s.c.Config().MaxTTL); rest >= t.ttl/2 {
		t.hold.Extend(rest, func(mutex.Verdict) {})
	}
	r.over(t, nil)
}
