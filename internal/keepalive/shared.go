package keepalive

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

// Sharing: a process reads a key once on the nodes, however many of its goroutines
// do. But each Leases has a hold of its own, and a reader that does not wait asks the
// nodes itself where it would have to wait for the others. While the hold lasts and
// nobody waits for the key, one more reader asks no node; otherwise it waits in line.
// The last to leave releases the key. A loss ends them all.
//
// Another process that waits to write is announced to this one, and renewals report
// whether one does, so a lost announcement costs a renewal's time. A reader that
// waits for that has the nodes asked more often, since the writer may have given up.

// readers are the leases that share a hold. Guarded by renewer.mu.
type readers struct {
	leases []*Lease
	active int       // of them, how many are not overdue
	asked  bool      // a reader waits because another process is said to wait
	began  time.Time // when the last round of renewal began
}

// reader is the part of a lease that shares a hold.
type reader struct {
	owner string

	// Guarded by renewer.mu.
	slot    int  // in readers.leases; -1: it has left
	overdue bool // its MaxHold is over
	limit   *time.Timer
}

func newLease(t *renewal, token int64, parent context.Context) *Lease {
	l := &Lease{t: t, parent: t.s.dated(parent)}
	l.token.Store(token)
	return l
}

// refuseShared is the error of a call whose lease nobody shares, and why that is so.
func (req Request) refuseShared(call, why string) error {
	if !req.Shared {
		return nil
	}
	return configerr.Field("Shared", "for %s: %s", call, why)
}

// Shared reports whether the lease is a reader's.
func (l *Lease) Shared() bool { return l.t.hold.Shared() }

// enter is the place of a caller of Lock in the queue. A reader gets the lease with
// which it joins others instead, or waitqueue.Unqueued.
func (s *Leases) enter(p plan, req waitqueue.Request) (joined any, q *waitqueue.Queue, place *waitqueue.Caller, kept any, ok bool) {
	if !p.req.Shared {
		q, place, kept, ok = s.queues.Enter(p.lock, req, p.req.Waits())
		return nil, q, place, kept, ok
	}
	return s.queues.EnterShared(p.lock, req, p.req.Waits())
}

func (s *Leases) contender(p plan) *waitqueue.Contender {
	if p.req.Shared {
		return s.queues.ContendShared(p.lock)
	}
	return s.queues.Contend(p.lock)
}

// addReaderLocked takes in one more reader.
func (t *renewal) addReaderLocked(l *Lease, owner string, maxHold time.Duration) {
	all := t.readers
	if l.reader == nil {
		l.reader = &reader{}
	}
	l.reader.owner, l.reader.slot = owner, len(all.leases)
	all.leases = append(all.leases, l)
	all.active++
	t.s.renewer.boundLocked(l, maxHold)
}

// boundLocked has a reader's MaxHold begin now; 0: it has none.
func (r *renewer) boundLocked(l *Lease, maxHold time.Duration) {
	if maxHold > 0 && l.reader.slot >= 0 {
		l.reader.limit = time.AfterFunc(maxHold, func() { r.outstay(l) })
	}
}

// dropReaderLocked takes a reader out, and reports whether it was in.
func (t *renewal) dropReaderLocked(l *Lease) bool {
	one, all := l.reader, t.readers
	if one.slot < 0 {
		return false
	}
	last := all.leases[len(all.leases)-1]
	last.reader.slot, all.leases[one.slot] = one.slot, last
	all.leases[len(all.leases)-1] = nil
	all.leases = all.leases[:len(all.leases)-1]
	one.slot = -1
	if !one.overdue {
		all.active--
	}
	if one.limit != nil {
		one.limit.Stop()
	}
	return true
}

// labelOf is the label of a reader.
func (r *renewer) labelOf(l *Lease) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return l.reader.owner
}

// leasesOfReaders is the leases that share t. renewer.mu must be held.
func (t *renewal) leasesOfReaders() []*Lease {
	if t.readers == nil {
		return nil
	}
	return slices.Clone(t.readers.leases)
}

// Join implements waitqueue.Shared: one more reader, unless the deadline has passed.
func (t *renewal) Join(req waitqueue.Request) (lease any) {
	now, r := time.Now(), &t.s.renewer
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing || t.state != live || nodeset.Passed(t.hold.Deadline(), now) {
		return nil
	}
	both := &struct { // in one piece
		Lease
		reader
	}{}
	l := &both.Lease
	l.t, l.parent, l.reader = t, t.s.dated(req.Parent), &both.reader
	l.token.Store(t.hold.Token())
	t.addReaderLocked(l, req.Want.Owner, req.MaxHold)
	t.s.stats.handOvers.Add(1)
	return l
}

// Ask implements waitqueue.Shared.
func (t *renewal) Ask() {
	r := &t.s.renewer
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.state != live || t.readers.asked {
		return
	}
	t.readers.asked = true
	if !t.inRound {
		now := time.Now()
		r.scheduleLocked(t, now, now)
	}
}

// answered takes in what a round of renewal found: whether a process waits to write.
func (r *renewer) answered(t *renewal) {
	r.mu.Lock()
	var began time.Time
	if t.readers != nil {
		began = t.readers.began
	}
	r.mu.Unlock()
	switch {
	case t.queue == nil || began.IsZero():
	case t.hold.WritersWait():
		giveUpKept(r.s.queues.NoteRemoteWait(t.lock, time.Now()))
	default:
		r.mu.Lock()
		asked := t.readers.asked
		t.readers.asked = false // first: one that comes now asks again
		r.mu.Unlock()
		if !t.queue.NobodyWaits(began) {
			r.mu.Lock()
			t.readers.asked = t.readers.asked || asked
			r.mu.Unlock()
		}
	}
}

// outstay ends a reader whose MaxHold is over. The key is renewed for the others. If
// there are none, it expires, or is released with the last.
func (r *renewer) outstay(l *Lease) {
	r.mu.Lock()
	t := l.t
	over := t.state == gone || l.reader.slot < 0
	if !over {
		l.reader.overdue = true
		t.readers.active--
		l.end(t.hold.Lost(heldTooLong))
		r.idleLocked(t)
	}
	r.mu.Unlock()
	if !over {
		r.s.reportLoss(t, heldTooLong)
	}
}

// idleLocked stops the renewal of a key whose readers are all overdue.
func (r *renewer) idleLocked(t *renewal) {
	if t.state == live && t.readers.active == 0 {
		t.state = maxHoldExceeded
		r.scheduleLocked(t, time.Now(), t.hold.Deadline())
	}
}

// endReading ends a reader that releases its lease. The last one sends the release.
func (r *renewer) endReading(l *Lease) error {
	t := l.t
	r.giveWay(l) // and lock mu
	if t.state == gone || !t.dropReaderLocked(l) {
		r.mu.Unlock()
		return l.ended()
	}
	l.end(ErrReleased)
	others := len(t.readers.leases) > 0
	if others {
		r.idleLocked(t)
	} else {
		r.dropLocked(t)
		t.state = gone
	}
	r.mu.Unlock()
	if others {
		if l.lost() != nil {
			r.s.stats.losses.Add(1)
		}
		r.s.reportEnd(l, "released")
		return errSettled
	}
	err := t.hold.StartRelease()
	r.s.reportEnd(l, "released")
	r.over(t, l)
	return err
}

// giveWays is how often the only reader gives way to goroutines that may be about
// to read.
const giveWays = 4

// giveWay has goroutines that are ready to run go first, where l is the only reader
// and nobody waits: without that, a key that many of them read, each for a moment,
// would be acquired anew again and again. mu is held when it returns.
func (r *renewer) giveWay(l *Lease) {
	t := l.t
	r.mu.Lock()
	for range giveWays {
		if t.state != live || len(t.readers.leases) > 1 || r.closing || t.queue == nil {
			return
		}
		r.mu.Unlock()
		awaited := t.queue.Awaited()
		if !awaited {
			runtime.Gosched()
		}
		r.mu.Lock()
		if awaited {
			return
		}
	}
}

// endReadersLocked ends all readers of a key that was lost. report is called after
// that, as endLocked does.
func (r *renewer) endReadersLocked(t *renewal, lost *quorumlock.LostError, report func()) {
	all := t.leasesOfReaders()
	for _, l := range all {
		t.dropReaderLocked(l)
		l.end(lost)
	}
	r.afterLocked(func() {
		for i, l := range all {
			if i == 0 {
				t.giveUp(l, lost)
				r.over(t, l)
			} else {
				r.s.stats.losses.Add(1)
			}
			r.s.reportEnd(l, "lost")
		}
		report()
	})
}

// Downgrade is lease.Lease.Downgrade.
func (l *Lease) Downgrade(ctx context.Context) error {
	t := l.t
	switch {
	case l.recordTaken:
		return configerr.Field("Downgrade", "the lease on %q is that of an election or a job, which nobody shares", l.Key())
	case l.Shared():
		return l.sharedAlready()
	}
	if err := l.Err(); err != nil {
		return errs.Errorf("redlock: downgrade %q: %w", l.Key(), err)
	}
	begin := func() bool { return t.s.beginReading(l) }
	begun := false
	if t.queue == nil {
		begun = begin()
	} else {
		begun = t.queue.Downgraded(waitqueue.Want{By: t.s, TTL: t.ttl, Owner: t.owner, Shared: true}, t, begin)
	}
	if !begun {
		return l.notDowngraded()
	}
	err := t.hold.ShareNow(ctx)
	if errors.Is(err, ErrLost) {
		why := t.hold.WhyOver()
		if nodeset.Passed(t.hold.Deadline(), time.Now()) {
			why = expired
		}
		t.s.lose(t, why)
		return l.Err()
	}
	return err
}

// notDowngraded is why beginReading failed.
func (l *Lease) notDowngraded() error {
	err := l.Err()
	if err == nil && l.released.Load() { // and its work has not returned
		err = ErrReleased
	}
	switch {
	case err != nil:
		return errs.Errorf("redlock: downgrade %q: %w", l.Key(), err)
	case l.Shared(): // by another call, meanwhile
		return l.sharedAlready()
	}
	return configerr.Field("Downgrade", "the lease on %q has a MinHold; readers share one hold, so leave MinHold out", l.Key())
}

func (l *Lease) sharedAlready() error {
	return configerr.Field("Downgrade", "the lease on %q is shared already", l.Key())
}

// beginReading makes a holder the first reader of its key. It fails if it is not the
// holder any more, if Close has begun, or if the key is bound to it by MinHold. A
// release that begins now finds a reader: see leave.
func (r *renewer) beginReading(l *Lease) bool {
	t, now := l.t, time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing || t.state != live || t.lease != l || !t.releaseAt().IsZero() || l.released.Load() {
		return false
	}
	var maxHold time.Duration
	if until := t.maxUntil(); !until.IsZero() {
		maxHold = max(until.Sub(now), time.Nanosecond)
	}
	l.token.Store(t.hold.EndWriting())
	t.lease, t.bounds, t.readers = nil, nil, &readers{}
	t.addReaderLocked(l, t.owner, maxHold)
	r.scheduleLocked(t, now, t.due)
	return true
}
