package keepalive

import (
	"context"
	"slices"
	"time"

	"github.com/venta-hq/redlock/internal/quorumlock"
)

// loseOf is lose where l is still the holder. It reports false, and ends nothing,
// if the key was handed over: the next holder has lost nothing.
func (r *renewer) loseOf(t *renewal, l *Lease, why quorumlock.Reason) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.lease != nil && t.lease != l {
		return false
	}
	r.endLocked(t, why)
	return true
}

// lose ends the renewal of a key that nobody released.
func (r *renewer) lose(t *renewal, why quorumlock.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(t, why)
}

// endLocked ends the renewal of a key that nobody released, and its lease. The
// rest waits until every lease that is due has ended, because many may be lost
// together, and their holders must know before another process can acquire the
// keys. Then the remaining nodes are released, the next caller is notified, and
// the loss is logged.
func (r *renewer) endLocked(t *renewal, why quorumlock.Reason) {
	r.dropLocked(t)
	if t.state == gone {
		return
	}
	overdue := t.state == maxHoldExceeded // that was reported
	t.state = gone
	l, lost := t.lease, t.hold.Lost(why)
	t.loss = lost
	if t.readers != nil {
		r.endReadersLocked(t, lost, func() {
			if !overdue {
				r.s.reportLoss(t, why)
			}
		})
		return
	}
	if l != nil {
		l.end(lost) // under mu: who finds the renewal gone finds out why
	}
	r.afterLocked(func() {
		t.giveUp(l, lost)
		r.over(t, l)
		if l != nil {
			r.s.reportEnd(l, "lost")
			if !overdue {
				r.s.reportLoss(t, why)
			}
		}
	})
}

// giveUp ends a hold that was lost. Its remaining nodes are released, unless
// others must wait for the lock delay because l expired. Without l the key had
// been released.
func (t *renewal) giveUp(l *Lease, lost *LostError) {
	expired := lost.Class == quorumlock.ClassExpired || lost.Class == quorumlock.ClassClock
	if l != nil && expired && t.s.cfg.LockDelay > 0 {
		t.hold.Forgo(lost)
		return
	}
	t.hold.Abort(lost)
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

// over notifies the wait queue that t is no longer this process's. l is its last
// lease; nil if that was released before.
func (r *renewer) over(t *renewal, l *Lease) {
	if l != nil && l.lost() != nil {
		r.s.stats.losses.Add(1)
	}
	if t.queue == nil {
		return
	}
	if t.kept {
		t.queue.KeptEnded(t)
		return
	}
	t.queue.Ended()
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
		for _, l := range t.leasesOfReaders() {
			l.end(cause)
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
		if idle := l.rest(ErrReleased); idle != nil {
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
	for _, t := range r.renewed() {
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
		all = append(all, t.leasesOfReaders()...)
	}
	return all
}

// renewed is all that is renewed.
func (r *renewer) renewed() []*renewal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.queue)
}

// leaveBehind, when no holder is left, keeps a draining key for the rest of its MinHold, as far as a TTL can be, and forgets
// it. The lock delay has no part in that: the key was released.
func (r *renewer) leaveBehind(t *renewal) {
	r.mu.Lock()
	r.dropLocked(t)
	t.state = gone
	r.mu.Unlock()
	if rest := min(time.Until(t.releaseAt()), r.s.c.Config().MaxTTL); rest > 0 {
		t.hold.Extend(rest-r.s.cfg.LockDelay, func(quorumlock.Verdict) {}) // which adds the delay
	} else {
		t.hold.StartRelease()
	}
	r.over(t, nil)
}
