package waitqueue

import (
	"slices"
	"time"
)

// Shared is a lease that readers of this process share. Its methods are called under
// the mutex of the Queues.
type Shared interface {
	// Join makes the lease of one more reader; nil means that it cannot be shared any
	// more, or not by this caller.
	Join(Request) (lease any)
	// Ask has the nodes asked whether another process still waits: a reader waits here
	// because of that. NobodyWaits takes in the answer.
	Ask()
}

// Unqueued has a reader ask the nodes without a part in the queue: readers of this
// process hold the key, or ask for it, and it cannot share their lease, or would not
// wait for them.
type Unqueued struct{}

// EnterShared is Enter for a reader. It gets a lease at once where readers of this
// process hold the key and nobody waits for it, here or in another process. lease
// may be Unqueued.
func (qs *Queues) EnterShared(lock string, req Request, waits bool) (lease any, q *Queue, c *Caller, kept any, ok bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q = qs.queueLocked(lock)
	if q.callers.Len() == 0 && !q.writtenLocked() {
		if lease = q.joinLocked(req, waits); lease != nil {
			return lease, q, nil, nil, true
		}
	}
	q, c, kept, ok = qs.enterLocked(lock, req, waits)
	return nil, q, c, kept, ok
}

// joinLocked is what a reader gets at once whom nobody precedes here; nil: nothing.
// Where another process waits, the nodes judge a reader that does not queue.
func (q *Queue) joinLocked(req Request, waits bool) (lease any) {
	switch {
	case q.shared == nil:
		if !waits && q.state == asking && q.reads {
			return Unqueued{}
		}
		return nil
	case q.held.By != req.Want.By:
		return Unqueued{}
	case q.remoteWait.IsZero():
		lease = q.shared.Join(req)
	default:
		q.shared.Ask()
	}
	if lease == nil && !waits {
		return Unqueued{}
	}
	return lease
}

// AcquiredShared is Acquired for a reader. The readers that wait behind it share the
// key, up to the next writer: they came before they knew of another process.
func (q *Queue) AcquiredShared(gives Want, s Shared) {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	if q.ended {
		q.nextLocked()
		return
	}
	q.state, q.held, q.used, q.shared = held, gives, 1, s
	q.admitLocked()
}

// Downgraded says that the lease that is held is shared from now on, if begin, which
// makes it so, reports true. The readers that wait first share it.
func (q *Queue) Downgraded(gives Want, s Shared, begin func() bool) bool {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	if q.state != held || q.kept != nil || !begin() {
		return false
	}
	q.held, q.shared = gives, s
	q.admitLocked()
	return true
}

// NobodyWaits says that no other process waits to write, as the nodes answered to a
// question that was sent at since. A wait that was announced later counts on: then
// it reports false.
func (q *Queue) NobodyWaits(since time.Time) bool {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	if q.shared == nil || !q.remoteWait.Before(since) {
		return false
	}
	q.remoteWait = time.Time{}
	q.admitLocked()
	return true
}

// Awaited reports whether somebody waits for the key, here or in another process.
func (q *Queue) Awaited() bool {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	return q.callers.Len() > 0 || !q.remoteWait.IsZero() || q.writtenLocked()
}

// writtenLocked reports whether a goroutine of this process asks the nodes for the
// key to write, with a part in the queue or without.
func (q *Queue) writtenLocked() bool { return q.contendedLocked(false) }

// contendedLocked reports whether a goroutine of this process asks the nodes to write,
// or to read.
func (q *Queue) contendedLocked(shared bool) bool {
	return slices.ContainsFunc(q.contenders, func(c *Contender) bool { return c.shared == shared })
}

// heldBackLocked reports whether a caller waits for goroutines of this process that
// have no part in the queue. The nodes know the process only, and refuse none of its
// readers because it waits to write. So a reader waits here until one writer has had
// the key since it came, or none is left that came before: without that, readers that
// overlap would keep the key from the writers for ever, or writers from the readers.
// came is the caller's place among the arrivals.
func (q *Queue) heldBackLocked(req Request, came int64) bool {
	return req.Want.Shared && came >= q.won && slices.ContainsFunc(q.contenders, func(c *Contender) bool { return !c.shared && c.came <= came })
}

func (c *Caller) heldBackLocked(q *Queue) bool { return q.heldBackLocked(c.req, c.came) }

// passLocked follows the end of a wait to write: what it kept from the key goes on.
func (q *Queue) passLocked() {
	front := q.callers.Front()
	switch {
	case front == nil || q.limit != nil:
	case q.state == idle:
		q.nextLocked()
	case q.remoteWait.IsZero():
		q.admitLocked()
	case front.Value.(*Caller).req.Want.Shared && q.shared != nil && !front.Value.(*Caller).heldBackLocked(q):
		q.shared.Ask() // it waits for the other process only, from now on
	}
}

// admitLocked has the readers that wait first share what is held, or ask the nodes.
func (q *Queue) admitLocked() {
	for front := q.callers.Front(); front != nil; front = q.callers.Front() {
		c := front.Value.(*Caller)
		if q.shared == nil || !c.req.Want.Shared || c.heldBackLocked(q) {
			return
		}
		lease := any(Unqueued{})
		if q.held.By == c.req.Want.By {
			lease = q.shared.Join(c.req)
		}
		if lease == nil {
			return
		}
		q.callers.Remove(front)
		c.Turn <- lease
	}
}

// UnlessWritten calls fn, as Leave calls leave, if no goroutine contends for lock to
// write.
func (qs *Queues) UnlessWritten(lock string, fn func()) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if q := qs.keys[lock]; q == nil || !q.writtenLocked() {
		fn()
	}
}

// ContendShared is Contend for a reader, for which the process has a place of its
// own in the queues of the nodes.
func (qs *Queues) ContendShared(lock string) *Contender { return qs.contend(lock, true) }
