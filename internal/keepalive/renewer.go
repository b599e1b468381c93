package keepalive

import (
	"container/heap"
	"math/rand"
	"slices"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

// renewal is an acquisition that is kept alive. A lease is its holder's view of it; HandOver changes the holder.
//
//	live             a holder has it
//	draining         released before MinHold was over; renewed until then, then released
//	retained         released, and kept for the next caller; renewed until Config.Retain is over, then released
//	maxHoldExceeded  MaxHold was over; not renewed; released by its holder, or given up at its deadline
//	gone             released or lost; its lease has ended
//
// A renewal that readers share has no holder. To one that was its holder until
// Downgrade, which may be called beside its release, leave says reading.
type renewal struct {
	s     *Leases
	hold  *quorumlock.Hold
	lock  string // the key on the nodes
	owner string
	ttl   time.Duration
	every time.Duration
	queue *waitqueue.Queue // of the callers to which the lease is handed over; nil: there are none

	// Guarded by renewer.mu.
	state   state
	counted int8 // where in renewer.byMode, from 1; 0: not counted
	inRound bool
	index   int32                 // in renewer.queue; -1: not in it
	lease   *Lease                // the holder; nil when draining or retained
	kept    bool                  // the wait queue keeps it for the next caller, or did when it went
	bounds  *bounds               // nil: neither MinHold nor MaxHold
	due     time.Time             // when to look at it next
	loss    *quorumlock.LostError // why it was lost; nil if it was not
	refresh *recordRefresh        // nil: no record is kept beside the key
	readers *readers              // that share it; nil: it is exclusive
}

// bounds are points in time that most renewals do not have: zero.
type bounds struct {
	releaseAt   time.Time // when a key that is draining or retained is released; a live one with MinHold not before
	maxUntil    time.Time // when the lease ends at the latest
	retainUntil time.Time // when retention ends that began with the first release since the nodes granted the key
}

func (t *renewal) key() string { return t.lock[len(t.s.cfg.Prefix):] }

func (t *renewal) releaseAt() time.Time {
	if t.bounds == nil {
		return time.Time{}
	}
	return t.bounds.releaseAt
}

func (t *renewal) maxUntil() time.Time {
	if t.bounds == nil {
		return time.Time{}
	}
	return t.bounds.maxUntil
}

func (t *renewal) retainUntil() time.Time {
	if t.bounds == nil {
		return time.Time{}
	}
	return t.bounds.retainUntil
}

func (t *renewal) bind(releaseAt, maxUntil time.Time) {
	b := bounds{releaseAt, maxUntil, t.retainUntil()}
	t.bounds = nil
	if b != (bounds{}) {
		kept := b // or b would be allocated each time
		t.bounds = &kept
	}
}

// bindFrom binds t to the MinHold and MaxHold of req, from now on.
func (t *renewal) bindFrom(now time.Time, req Request) {
	var releaseAt, maxUntil time.Time
	if req.MinHold > 0 {
		releaseAt = now.Add(req.MinHold + tick) // what is due within a tick is done now, and this must not be early
	}
	if req.MaxHold > 0 {
		maxUntil = now.Add(req.MaxHold)
	}
	t.bind(releaseAt, maxUntil)
}

type state uint8

const (
	live state = iota
	draining
	retained
	maxHoldExceeded
	gone
	reading // of leave only
)

const (
	// clockWatch is how often the clocks are compared while there are leases, to notice that the machine was suspended.
	clockWatch = 250 * time.Millisecond
	// clockJump is the difference between the clocks from which all leases are looked at.
	clockJump = 20 * time.Millisecond
	// early is how long before its deadline a lease is given up, for the time it takes to tell its holder.
	early = time.Millisecond
	// tick is how far ahead renewals are taken along, so that they share a write to each node.
	tick = 2 * time.Millisecond
)

// renewer renews all holds with one goroutine.
type renewer struct {
	s        *Leases
	notified chan struct{}
	stop     chan struct{}
	wg       sync.WaitGroup

	mu      sync.Mutex
	running bool
	closing bool                   // nothing new is taken in, and nothing is handed over
	after   []func()               // what is left to do for renewals that have ended: see endLocked
	queue   queue                  // by due
	byMode  [len(renewedModes)]int // of renewedModes: renewals in queue
	next    time.Time              // when run looks at it next, unless it is notified before
}

func (r *renewer) init(s *Leases) {
	r.s, r.notified, r.stop = s, make(chan struct{}, 1), make(chan struct{})
}

// keep takes a hold into care. It reports false, and leaves the hold to its caller,
// when nothing new is taken in.
func (r *renewer) keep(hold *quorumlock.Hold, p plan) (l *Lease, ok bool) {
	t := &renewal{s: r.s, hold: hold, lock: hold.LockKey(), owner: p.req.Owner, ttl: p.req.TTL, every: p.every, queue: p.queue, index: -1}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return nil, false
	}
	l = newLease(t, hold.Token(), p.req.Parent)
	if p.req.Shared {
		t.readers = &readers{}
		t.addReaderLocked(l, p.req.Owner, p.req.MaxHold)
	} else {
		t.lease = l
		t.bindFrom(now, p.req)
	}
	if !r.running {
		r.running = true
		r.wg.Go(r.run)
	}
	r.scheduleLocked(t, now, now.Add(jittered(t.every)))
	return l, true
}

// jittered is d, 10 % more or less, so that leases acquired together are not renewed together for ever.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + below(d/5+1)
}

// below is a random duration below d. The source is the one of math/rand, which a simulation can seed, as it can not that
// of math/rand/v2.
func below(d time.Duration) time.Duration { return time.Duration(rand.Int63n(int64(d))) }

// scheduleLocked sets when t is looked at next: at the given time, or when it has to end. The deadline counts by the clock
// that says it is nearer; timers and the heap know the monotonic one only.
func (r *renewer) scheduleLocked(t *renewal, now, at time.Time) {
	at = sooner(at, now.Add(nodeset.Left(t.hold.Deadline(), now)-early))
	switch {
	case t.state == live && !t.maxUntil().IsZero():
		at = sooner(at, t.maxUntil())
	case t.state == draining, t.state == retained:
		at = sooner(at, t.releaseAt())
	}
	t.due = at
	r.countLocked(t, t.placeLocked())
	if t.index < 0 {
		heap.Push(&r.queue, t)
	} else {
		heap.Fix(&r.queue, int(t.index))
	}
	if at.Before(r.next) {
		r.next = at
		r.notify()
	}
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (r *renewer) dropLocked(t *renewal) {
	if t.index >= 0 {
		heap.Remove(&r.queue, int(t.index))
		r.countLocked(t, 0)
	}
}

func (r *renewer) notify() {
	select {
	case r.notified <- struct{}{}:
	default:
	}
}

// run is the one goroutine.
func (r *renewer) run() {
	var box quorumlock.Outbox
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := time.Now()
	for {
		select {
		case <-timer.C:
		case <-r.notified:
		case <-r.stop:
			return
		}
		now := time.Now()
		drift := now.Round(0).Sub(last.Round(0)) - now.Sub(last)
		last = now
		renew, next := r.due(now, drift.Abs() > clockJump)
		r.renew(renew, &box)
		if r.doAfter(afterAtOnce) {
			next = now
		}
		timer.Reset(time.Until(next))
	}
}

const (
	// renewAtOnce and afterAtOnce are how many renewals begin, and how much of
	// what follows the end of a lease is done, before deadlines are looked at
	// again.
	renewAtOnce = 512
	afterAtOnce = 64
)

// due ends what has to end now, and says what is to be renewed and when to look again. When the clocks have drifted apart,
// what has survived that is renewed at once.
func (r *renewer) due(now time.Time, drifted bool) (renew []*renewal, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if drifted {
		for _, t := range slices.Clone(r.queue) {
			if nodeset.Left(t.hold.Deadline(), now) <= early+tick {
				r.endLocked(t, clockJumped)
			} else {
				r.scheduleLocked(t, now, now)
			}
		}
	}
	for len(r.queue) > 0 && !r.queue[0].due.After(now.Add(tick)) && len(renew) < renewAtOnce {
		if t := r.queue[0]; r.advanceLocked(t, now) {
			renew = append(renew, t)
		}
	}
	r.next = now.Add(time.Hour)
	if len(r.queue) > 0 {
		r.next = sooner(r.queue[0].due, now.Add(clockWatch))
	}
	return renew, r.next
}

// advanceLocked does what is due for t, which takes it out of the queue or to a
// later place in it. It reports whether t is to be renewed now.
func (r *renewer) advanceLocked(t *renewal, now time.Time) (renew bool) {
	deadline := t.hold.Deadline()
	switch {
	case nodeset.Left(deadline, now) <= early+tick:
		r.endLocked(t, expired)
	case t.state == draining && !t.releaseAt().After(now.Add(tick)),
		t.state == retained && (nodeset.Left(t.releaseAt(), now) <= tick || !r.s.mailbox.onQuorum()):
		r.dropLocked(t)
		t.state = gone
		r.afterLocked(func() { r.releaseDraining(t) })
	case t.state == live && !t.maxUntil().IsZero() && !t.maxUntil().After(now.Add(tick)):
		t.state = maxHoldExceeded
		t.lease.end(t.hold.Lost(heldTooLong))
		r.scheduleLocked(t, now, deadline)
		r.afterLocked(func() { r.s.reportLoss(t, heldTooLong) })
	case t.state == maxHoldExceeded || t.inRound: // the round that is under way has moved the deadline
		r.scheduleLocked(t, now, deadline)
	default:
		if t.readers != nil {
			t.readers.began = now
		}
		t.inRound = true
		r.scheduleLocked(t, now, deadline)
		return true
	}
	return false
}

// renew begins a round for each, and sends a node all of theirs at once.
func (r *renewer) renew(all []*renewal, box *quorumlock.Outbox) {
	for _, t := range all {
		t.hold.ExtendIn(box, t.ttl, r.s.observed(t, func(v quorumlock.Verdict) { r.settled(t, v) }))
	}
	box.Send()
}

// settled takes in how a round of renewal ended.
func (r *renewer) settled(t *renewal, v quorumlock.Verdict) {
	switch v {
	case quorumlock.Over:
		r.lose(t, t.hold.WhyOver())
		return
	case quorumlock.Late:
		r.lose(t, expired)
		return
	}
	if t.hold.Shared() && v == quorumlock.Extended {
		r.answered(t)
	}
	r.mu.Lock()
	t.inRound = false
	if t.index < 0 || t.state == maxHoldExceeded {
		r.mu.Unlock()
		return
	}
	next := jittered(t.every)
	if v == quorumlock.Undecided {
		next = jittered(min(t.every/8, clockWatch))
	}
	if t.readers != nil && t.readers.asked {
		next = min(next, jittered(clockWatch))
	}
	now := time.Now()
	r.scheduleLocked(t, now, now.Add(next))
	st := t.refresh
	r.mu.Unlock()
	if st != nil {
		r.s.refreshRecord(t, st)
	}
}

// keepsFor reports whether t's key is still kept for l, if only until its work has
// returned.
func (r *renewer) keepsFor(t *renewal, l *Lease) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.state == live && t.lease == l && !nodeset.Passed(t.hold.Deadline(), time.Now())
}

// releaseDraining releases what was kept for MinHold only, or for the next caller.
func (r *renewer) releaseDraining(t *renewal) {
	t.hold.StartRelease()
	r.over(t, nil)
}

// leave takes t out of care because its holder l releases or detaches it, which ends
// l with that cause. It reports what is left to do: nothing when it was gone or is
// draining, to detach it if asked to when it was live, to call endReading when a
// Downgrade that was under way has made l a reader, and to release it otherwise.
func (r *renewer) leave(t *renewal, l *Lease, cause error) (was state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case t.state != gone && t.readers != nil:
		return reading
	case t.state == gone || t.lease != l:
		return gone
	}
	l.end(cause)
	if now := time.Now(); cause != ErrDetached && t.state == live && t.releaseAt().After(now) {
		t.state, t.lease = draining, nil
		r.scheduleLocked(t, now, t.due)
		return draining
	}
	r.dropLocked(t)
	was, t.state = t.state, gone
	return was
}
