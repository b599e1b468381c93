package keepalive

import (
	"context"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

// Retention: with Config.Retain, this process keeps a key for a while if nobody
// waits for it at its release, and the next caller acquires it without a round
// trip: a hand-over to a later caller.
//
// Another process that asks for the key ends it. Its refused attempt is announced
// to this process, and a gap in the messages counts as an announcement; without
// messages from a quorum of nodes nothing is retained. A caller that does not wait
// announces itself, too, where the holder's value says that it may retain the key.

// retain keeps the key of l, which is being released, for the next caller, and ends
// l as Release does.
func (s *Leases) retain(l *Lease) bool {
	t := l.t
	if s.cfg.Retain <= 0 || t.queue == nil || l.Err() != nil || !s.mailbox.onQuorum() {
		return false
	}
	return t.queue.Keep(t, func() bool { return s.beginRetention(l, s.cfg.Retain) })
}

// retake makes a lease from what was kept for the caller, with the next token. What
// does not fit it is released, before the nodes are asked.
func (s *Leases) retake(kept any, want waitqueue.Want, req Request) (*Lease, bool) {
	t := kept.(*renewal)
	if t.s == s && !want.Alone && !want.Shared && t.ttl == want.TTL && t.owner == want.Owner {
		if l, ok := s.endRetention(t, req.Parent, req.MaxHold); ok {
			s.stats.handOvers.Add(1)
			return l, true
		}
	}
	giveUpKept(t)
	return nil, false
}

// giveUpKept releases what was kept for a caller, without waiting; nil is nothing.
func giveUpKept(kept any) {
	if t, ok := kept.(*renewal); ok {
		t.s.giveUpRetained(t)
	}
}

// beginRetention ends l and keeps its key, for d at most after the first release
// since the nodes granted it: other processes that do not announce themselves find
// it free once in that time. It fails if the next caller could not use the key.
func (r *renewer) beginRetention(l *Lease, d time.Duration) bool {
	t, now := l.t, time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	until := t.retainUntil()
	if until.IsZero() {
		until = now.Add(d)
	}
	if r.closing || t.state != live || t.lease != l || nodeset.Passed(until, now) || !t.usable(now) || !t.hold.HasNextToken() {
		return false
	}
	t.state, t.lease, t.kept = retained, nil, true
	t.bounds = &bounds{releaseAt: until, retainUntil: until}
	r.scheduleLocked(t, now, t.due)
	l.end(ErrReleased)
	return true
}

// endRetention makes a new lease of a key that is retained. It fails under the
// conditions of handOver, and when the retention is over by either clock, whether or
// not a timer has fired.
func (r *renewer) endRetention(t *renewal, parent context.Context, maxHold time.Duration) (*Lease, bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.state != retained || nodeset.Passed(t.releaseAt(), now) {
		return nil, false
	}
	return r.nextLocked(t, now, parent, maxHold, time.Time{})
}

// giveUpRetained releases a key that is retained. The wait queue has let go of it.
func (r *renewer) giveUpRetained(t *renewal) {
	r.mu.Lock()
	was := t.state
	if was == retained {
		r.dropLocked(t)
		t.state = gone
	}
	r.mu.Unlock()
	if was == retained {
		t.hold.StartRelease()
	}
}

// giveUpAllRetained releases every key that is retained, without waiting. The wait
// queue may have let go of it already.
func (r *renewer) giveUpAllRetained() {
	for _, t := range r.renewed() {
		if t.queue != nil {
			t.queue.KeptEnded(t)
			r.giveUpRetained(t)
		}
	}
}

// MarkRetained says of each of all whether this process retains the key now. The
// nodes do not know it: a retained key is as its last holder left it, and to say
// more would cost a message for each retention.
func (s *Leases) MarkRetained(all []quorumlock.Inspection) {
	if !s.queues.KeepsAny() {
		return
	}
	for i := range all {
		if t, ok := s.queues.Kept(s.red.LockKey(all[i].Key)).(*renewal); ok && t.hold.IsNamedBy(all[i]) && t.s.retains(t) {
			all[i].Retained = true
		}
	}
}

// retains reports whether t is retained.
func (r *renewer) retains(t *renewal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.state == retained
}

// askRetainer asks for a key that its holder may only retain, on behalf of a caller
// that does not wait: the attempt is announced to the holder, whose release is
// awaited for a few times as long as the refused attempt took. refused is returned
// if it does not come. contend waits for the key without a timer.
func (s *Leases) askRetainer(ctx context.Context, took time.Duration, refused error, contend func(context.Context) (*Lease, error)) (*Lease, error) {
	bounded, cancel := context.WithTimeout(ctx, 4*min(took, s.c.Config().NodeTimeout)+2*s.red.Config().HandOver)
	defer cancel()
	l, err := contend(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return nil, refused
	}
	return l, err
}

// noBackoff is a Config.Backoff of a wait that its context bounds.
func noBackoff(int) time.Duration { return time.Hour }
