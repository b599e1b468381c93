package keepalive

import (
	"context"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

// handOverNext hands l, which is being released, over to the next caller of this
// process, if there is one that it can serve.
func (s *Leases) handOverNext(l *Lease) bool {
	q := l.t.queue
	if q == nil || l.Err() != nil {
		return false
	}
	give := func(to waitqueue.Request) any {
		if next, ok := s.handOver(l, to.Parent, to.MaxHold); ok {
			return next
		}
		return nil
	}
	handed := false
	if l.Slot() >= 0 {
		handed = q.HandOverSlot(l.t.gives(), time.Now(), MaxLocalShare, give)
	} else {
		handed = q.HandOver(time.Now(), MaxLocalShare, give)
	}
	if handed {
		s.stats.handOvers.Add(1)
	}
	return handed
}

// handOver ends l as Release does, but gives the key on, with the next token, to a
// new lease whose context derives from parent. The nodes are not asked. It fails,
// and l goes on, when the tokens of its token block are used up, less than half its
// TTL is left, or it is over. maxHold as in Request.
func (r *renewer) handOver(l *Lease, parent context.Context, maxHold time.Duration) (*Lease, bool) {
	t, now := l.t, time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.state != live || t.lease != l {
		return nil, false
	}
	next, ok := r.nextLocked(t, now, parent, maxHold, t.releaseAt())
	if ok {
		l.released.Store(true)
		l.end(ErrReleased)
	}
	return next, ok
}

// gives is what a lease of t gives to the caller that it is handed over to.
func (t *renewal) gives() waitqueue.Want {
	return waitqueue.Want{By: t.s, TTL: t.ttl, Owner: t.owner, Limit: t.hold.Limit()}
}

// usable reports whether enough of the TTL is left for another holder.
func (t *renewal) usable(now time.Time) bool { return nodeset.Left(t.hold.Deadline(), now) >= t.ttl/2 }

// nextLocked makes the next lease of a key that is kept alive, with the next token.
func (r *renewer) nextLocked(t *renewal, now time.Time, parent context.Context, maxHold time.Duration, releaseAt time.Time) (*Lease, bool) {
	if r.closing || !t.usable(now) {
		return nil, false
	}
	token, ok := t.hold.NextToken()
	if !ok {
		return nil, false
	}
	var maxUntil time.Time
	if maxHold > 0 {
		maxUntil = now.Add(maxHold)
	}
	t.bind(releaseAt, maxUntil)
	t.lease = newLease(t, token, parent)
	t.state, t.kept = live, false
	r.scheduleLocked(t, now, t.due)
	return t.lease, true
}
