package waitqueue

import (
	"slices"
	"time"
)

// A key with a limit is held by several at once, so its Queue has no one state:
// while leases are held, callers ask the nodes for more. One caller at a time
// waits at the nodes, the asker, and the others behind it. A lease that is
// released is handed over to the first of those if it wants the same; to the asker
// itself if no other waits here, or it has waited for longer than share: the
// messages that its place in the nodes' queues has cost are not wasted on each
// release, and it is not overtaken for ever. Callers that do not wait ask beside
// it, unless the asker knows that there is nothing to have.
//
// Another process's wait is known until an acquisition shows that none waits. A
// Queue of a key with a limit is apart from that of callers which want the whole
// key.
type limited struct {
	// Guarded by Queues.mu.
	asker *Caller   // asks the nodes, or waits there; nil: nobody does
	since time.Time // when the asker was refused first; zero: it was not
	taken bool      // the asker was refused last because all slots are taken, not for a split vote
	loose int       // callers that ask and do not wait
	held  int       // leases
	last  time.Time // when the nodes granted a lease

	announced time.Time // when a wait of another process was announced last
}

// dropLimitedLocked forgets a queue that nobody has a part in.
func (qs *Queues) dropLimitedLocked(q *Queue) {
	l := q.limit
	if l.asker == nil && l.loose == 0 && l.held <= 0 && len(q.contenders) == 0 && qs.limits[q.lock] == q {
		delete(qs.limits, q.lock)
	}
}

// limitedLocked is the queue of lock for callers with a limit.
func (qs *Queues) limitedLocked(lock string) *Queue {
	q := qs.limits[lock]
	if q == nil {
		q = &Queue{qs: qs, lock: lock, limit: &limited{}}
		q.contenders = q.room[:0]
		qs.limits[lock] = q
	}
	return q
}

// askedLimitedLocked reports whether a caller with a limit asks for lock.
func (qs *Queues) askedLimitedLocked(lock string) bool {
	q := qs.limits[lock]
	return q != nil && (q.limit.asker != nil || q.limit.loose > 0)
}

// Limited reports whether the queue is of callers with a limit.
func (q *Queue) Limited() bool { return q.limit != nil }

// EnterLimited is Enter for a key with a limit. It returns no Caller if the caller
// is to ask the nodes: the asker, or one that does not wait.
func (qs *Queues) EnterLimited(lock string, req Request, waits bool) (q *Queue, c *Caller, ok bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q = qs.limitedLocked(lock)
	l := q.limit
	switch {
	case !waits && l.taken && l.asker.req.Want.Limit == req.Want.Limit:
		return q, nil, false
	case !waits:
		l.loose++
		return q, nil, true
	}
	c, _ = qs.callers.Get().(*Caller)
	if c == nil {
		c = &Caller{Turn: make(chan any, 1)}
	}
	c.req = req
	if l.asker == nil {
		l.asker = c
		return q, nil, true
	}
	c.at = q.callers.PushBack(c)
	return q, c, true
}

// Asked ends the asking of a caller, one that waits or one that does not. granted
// says that the nodes have granted it a lease.
func (q *Queue) Asked(waits, granted bool) {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	l := q.limit
	if granted {
		l.held++
		q.used = 1
	}
	if !waits {
		l.loose--
		q.qs.dropLocked(q)
		return
	}
	q.nextAskerLocked()
}

// nextAskerLocked has the next caller ask.
func (q *Queue) nextAskerLocked() {
	l := q.limit
	if c := l.asker; c != nil {
		l.asker, l.since, l.taken = nil, time.Time{}, false
		if c.at == nil { // its Turn is nobody's
			q.qs.freeLocked(c)
		}
	}
	front := q.callers.Front()
	if front == nil {
		q.qs.dropLocked(q)
		return
	}
	c := q.callers.Remove(front).(*Caller)
	l.asker = &Caller{req: c.req, at: front} // the caller frees its own
	c.Turn <- nil
}

func (qs *Queues) freeLocked(c *Caller) {
	*c = Caller{Turn: c.Turn}
	qs.callers.Put(c)
}

// Granted says that the nodes granted a lease at now to an attempt that began at
// began, and whether other processes waited then. Their share of time begins anew.
// A wait that was announced since may not be among those.
func (q *Queue) Granted(began, now time.Time, others bool) {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	l := q.limit
	l.last, q.remoteWait = now, time.Time{}
	switch {
	case others:
		q.remoteWait = now
	case !l.announced.Before(began):
		q.remoteWait = l.announced
	}
}

// SinceGranted is how long ago the nodes granted a lease that this process asked
// for through this queue; ok is false if they did not.
func (q *Queue) SinceGranted(now time.Time) (d time.Duration, ok bool) {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	return now.Sub(q.limit.last), !q.limit.last.IsZero()
}

// HandOverSlot is HandOver for a lease on a key with a limit, which gives this.
func (q *Queue) HandOverSlot(gives Want, now time.Time, share time.Duration, give func(Request) (lease any)) bool {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	if !q.remoteWait.IsZero() && now.Sub(q.remoteWait) >= share {
		return false
	}
	if l := q.limit; l.asker != nil && l.asker.req.Want != gives && !l.since.IsZero() && now.Sub(l.since) >= share {
		return false // it is released, which wakes the asker
	}
	return q.handToAskerLocked(gives, now, share, give) || q.handToFirstLocked(gives, give)
}

func (q *Queue) handToFirstLocked(gives Want, give func(Request) any) bool {
	front := q.callers.Front()
	if front == nil || front.Value.(*Caller).req.Want != gives {
		return false
	}
	c := front.Value.(*Caller)
	lease := give(c.req)
	if lease == nil {
		return false
	}
	q.used++
	q.callers.Remove(front)
	c.Turn <- lease
	return true
}

// handToAskerLocked hands the lease over to the asker, if it pauses between two
// attempts.
func (q *Queue) handToAskerLocked(gives Want, now time.Time, share time.Duration, give func(Request) any) bool {
	l := q.limit
	if l.asker == nil || l.since.IsZero() || l.asker.req.Want != gives ||
		q.callers.Len() > 0 && now.Sub(l.since) < share {
		return false
	}
	i := slices.IndexFunc(q.contenders, func(c *Contender) bool { return c.pauses && c.handed == nil })
	if i < 0 {
		return false
	}
	lease := give(l.asker.req)
	if lease == nil {
		return false
	}
	q.used++
	q.contenders[i].handed = lease
	q.contenders[i].notify()
	return true
}

// endedLocked says that a lease on a key with a limit is no longer this process's.
func (q *Queue) endedLocked() {
	q.limit.held--
	q.qs.dropLocked(q)
}

// ContendLimited is Contend for the asker of a key with a limit.
func (qs *Queues) ContendLimited(lock string) *Contender {
	c := qs.newContender()
	qs.mu.Lock()
	defer qs.mu.Unlock()
	c.q = qs.limitedLocked(lock)
	c.q.contenders = append(c.q.contenders, c)
	return c
}

// Attempts says that the asker is about to ask the nodes, or is done: from now on
// nothing is handed over to it. It returns what was, and otherwise the slot that
// nodes have named since, counted from 1; 0 is none.
func (qs *Queues) Attempts(c *Contender) (handed any, slot int) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	handed, slot = c.handed, c.slot
	c.pauses, c.handed, c.slot = false, nil, 0
	return handed, slot
}

// Pauses says that the nodes have refused the asker; split says that attempts have
// split the votes, so a slot may be free.
func (qs *Queues) Pauses(c *Contender, now time.Time, split bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	c.pauses = true
	l := c.q.limit
	l.taken = !split
	if l.since.IsZero() {
		l.since = now
	}
}

// HandedOver reports whether a lease was handed over to the asker.
func (qs *Queues) HandedOver(c *Contender) bool {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return c.handed != nil
}

// TurnSlot is Turn for the asker of a key with a limit. slot is the one that came
// free, counted from 1; 0: the node names none.
func (qs *Queues) TurnSlot(node int, lock string, slot int) bool {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.limits[lock]
	if q == nil {
		return false
	}
	qs.turnLocked(q, node)
	for _, c := range q.contenders {
		if slot > 0 {
			c.slot = slot
		}
	}
	return len(q.contenders) > 0
}

// LastRefusalLimited is LastRefusal of a key with a limit.
func (qs *Queues) LastRefusalLimited(lock string) error {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return refusalOf(qs.limits[lock])
}

// Held is how many leases of a key with a limit this process holds, for tests and
// for messages.
func (q *Queue) Held() int {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	return q.limit.held
}

// UnlessLimited calls fn, as Leave calls leave, if no goroutine contends for a slot
// of lock.
func (qs *Queues) UnlessLimited(lock string, fn func()) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if q := qs.limits[lock]; q == nil || len(q.contenders) == 0 {
		fn()
	}
}
