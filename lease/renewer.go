package lease

import (
	"container/heap"
	"context"
	"math/rand"
	"slices"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/mutex"
)

// renewal is an acquisition that is kept alive. A lease is its holder's view of it; HandOver changes the holder.
//
//	live             a holder has it
//	draining         released before MinHold was over; renewed until then, then released
//	maxHoldExceeded  MaxHold was over; not renewed; released by its holder, or given up at its deadline
//	gone             released or lost; its lease has ended
type renewal struct {
	s     *Leases
	hold  *mutex.Hold // nil while it is being acquired
	lock  string      // the key on the nodes
	owner string
	ttl   time.Duration
	every time.Duration
	heir  Heir

	// Guarded by renewer.mu.
	state     state
	inRound   bool
	index     int32     // in renewer.queue; -1: not in it
	lease     *Lease    // the holder; nil when draining
	bounds    *bounds   // nil: neither MinHold nor MaxHold
	due       time.Time // when to look at it next
	contended time.Time
	loss      *mutex.LostError // why it was lost; nil if it was not
	refresh   *recordRefresh   // nil: no record is kept beside the key
}

// bounds is when a key may be released at the earliest, and when its lease ends at the latest. Most have neither: zero.
type bounds struct{ minUntil, maxUntil time.Time }

func (t *renewal) key() string { return t.lock[len(t.s.cfg.Prefix):] }

func (t *renewal) minUntil() time.Time {
	if t.bounds == nil {
		return time.Time{}
	}
	return t.bounds.minUntil
}

func (t *renewal) maxUntil() time.Time {
	if t.bounds == nil {
		return time.Time{}
	}
	return t.bounds.maxUntil
}

func (t *renewal) bind(minUntil, maxUntil time.Time) {
	t.bounds = nil
	if !minUntil.IsZero() || !maxUntil.IsZero() {
		t.bounds = &bounds{minUntil, maxUntil}
	}
}

type state uint8

const (
	live state = iota
	draining
	maxHoldExceeded
	gone
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
	closing bool                // nothing new is taken in, and nothing is handed over
	after   []func()            // what is left to do for renewals that have ended: see endLocked
	queue   queue               // by due
	next    time.Time           // when run looks at it next, unless it is notified before
	shared  map[string]*renewal // by lock key: those that can be handed over, or are being acquired for that
}

func (r *renewer) init(s *Leases) {
	r.s, r.notified, r.stop = s, make(chan struct{}, 1), make(chan struct{})
	r.shared = map[string]*renewal{}
}

// expect prepares a renewal for a hold that is about to be acquired, because another process may begin to wait for it
// before its last answer is in. What that process says before our mailbox stands is not heard, so it is taken as said.
func (r *renewer) expect(p plan) *renewal {
	t := &renewal{s: r.s, lock: p.lock, owner: p.req.Owner, ttl: p.req.TTL, every: p.every, heir: p.req.Heir, index: -1}
	if p.req.TokenBlock <= 1 {
		return t
	}
	if !r.s.listening() {
		t.contended = time.Now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shared[p.lock] == nil {
		r.shared[p.lock] = t
	}
	return t
}

// forget is for a renewal whose hold could not be acquired.
func (r *renewer) forget(t *renewal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(t)
}

// keep takes the hold of an expected renewal into care. It reports false, and leaves the hold to its caller, when nothing
// new is taken in.
func (r *renewer) keep(t *renewal, hold *mutex.Hold, p plan) (l *Lease, ok bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		r.dropLocked(t)
		return nil, false
	}
	t.hold, t.lock = hold, hold.LockKey() // the same, and one of them need not be kept
	t.lease = &Lease{t: t, token: hold.Token(), parent: r.s.dated(p.req.Parent)}
	var minUntil, maxUntil time.Time
	if p.req.MinHold > 0 {
		minUntil = now.Add(p.req.MinHold + tick) // what is due within a tick is done now, and this must not be early
	}
	if p.req.MaxHold > 0 {
		maxUntil = now.Add(p.req.MaxHold)
	}
	t.bind(minUntil, maxUntil)
	if hold.Waiters() > 0 && t.contended.IsZero() {
		t.contended = now
	}
	if !r.running {
		r.running = true
		r.wg.Go(r.run)
	}
	if p.req.TokenBlock > 1 {
		r.shared[t.lock] = t
	}
	r.scheduleLocked(t, now, now.Add(jittered(t.every)))
	return t.lease, true
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
	at = sooner(at, now.Add(cluster.Left(t.hold.Deadline(), now)-early))
	switch {
	case t.state == live && !t.maxUntil().IsZero():
		at = sooner(at, t.maxUntil())
	case t.state == draining:
		at = sooner(at, t.minUntil())
	}
	t.due = at
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
	}
	if r.shared[t.lock] == t {
		delete(r.shared, t.lock)
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
	var box mutex.Outbox
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
			if cluster.Left(t.hold.Deadline(), now) <= early+tick {
				r.endLocked(t, clockJumped)
			} else {
				r.scheduleLocked(t, now, now)
			}
		}
	}
	for len(r.queue) > 0 && !r.queue[0].due.After(now.Add(tick)) && len(renew) < renewAtOnce {
		t := r.queue[0]
		deadline := t.hold.Deadline()
		switch {
		case cluster.Left(deadline, now) <= early+tick:
			r.endLocked(t, expired)
		case t.state == draining && !t.minUntil().After(now.Add(tick)):
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
			t.inRound = true
			r.scheduleLocked(t, now, deadline)
			renew = append(renew, t)
		}
	}
	r.next = now.Add(time.Hour)
	if len(r.queue) > 0 {
		r.next = sooner(r.queue[0].due, now.Add(clockWatch))
	}
	return renew, r.next
}

// renew begins a round for each, and sends a node all of theirs at once.
func (r *renewer) renew(all []*renewal, box *mutex.Outbox) {
	for _, t := range all {
		t.hold.ExtendIn(box, t.ttl, r.s.observed(t, func(v mutex.Verdict) { r.settled(t, v) }))
	}
	box.Send()
}

// settled takes in how a round of renewal ended.
func (r *renewer) settled(t *renewal, v mutex.Verdict) {
	switch v {
	case mutex.Over:
		r.lose(t, t.hold.WhyOver())
		return
	case mutex.Late:
		r.lose(t, expired)
		return
	}
	r.mu.Lock()
	t.inRound = false
	if t.index < 0 || t.state == maxHoldExceeded {
		r.mu.Unlock()
		return
	}
	next := jittered(t.every)
	if v == mutex.Undecided {
		next = jittered(min(t.every/8, clockWatch))
	}
	now := time.Now()
	r.scheduleLocked(t, now, now.Add(next))
	st := t.refresh
	r.mu.Unlock()
	if st != nil {
		r.s.refreshRecord(t, st)
	}
}

// stands reports whether l's key is still kept for it, if only until its work has returned.
func (r *renewer) stands(t *renewal, l *Lease) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.state == live && t.lease == l && !cluster.Passed(t.hold.Deadline(), time.Now())
}

// releaseDraining releases what was kept for MinHold only.
func (r *renewer) releaseDraining(t *renewal) {
	t.hold.StartRelease()
	r.over(t, nil)
}

// leave takes t out of care because its holder l releases it, which ends l. It reports what is left to do: nothing when
// it was gone or is draining, to release it when it was live or past its MaxHold.
func (r *renewer) leave(t *renewal, l *Lease) (was state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.state == gone || t.lease != l {
		return gone
	}
	l.end(ErrReleased)
	if now := time.Now(); t.state == live && t.minUntil().After(now) {
		t.state, t.lease = draining, nil
		r.scheduleLocked(t, now, t.due)
		return draining
	}
	r.dropLocked(t)
	was, t.state = t.state, gone
	return was
}

// unkeep forgets t's MinHold, for a holder that is about to release it for good.
func (r *renewer) unkeep(t *renewal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.bind(time.Time{}, t.maxUntil())
}

func (r *renewer) handOver(l *Lease, parent context.Context, maxHold time.Duration) (*Lease, bool) {
	t, now := l.t, time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing || t.state != live || t.lease != l || cluster.Left(t.hold.Deadline(), now) < t.ttl/2 {
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
	t.bind(t.minUntil(), maxUntil)
	t.lease = &Lease{t: t, token: token, parent: r.s.dated(parent)}
	r.scheduleLocked(t, now, t.due)
	l.released.Store(true)
	l.end(ErrReleased)
	return t.lease, true
}
