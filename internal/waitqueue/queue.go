package waitqueue

import (
	"container/list"
	"context"
	"time"
)

// Queue is what this process knows of one key.
//
//	idle    no caller asks or holds              dropped when no contender is left; readers may wait for one that writes
//	asking  the first caller asks the nodes      acquired: held; refused: the next asks
//	held    a lease of this process is valid     released: handed over, or the next asks
//
// A lease that is released while nobody waits may be kept for the next caller:
// then the state is held, and kept is set.
type Queue struct {
	qs   *Queues
	lock string

	// Guarded by Queues.mu.
	contenders []*Contender
	room       [1]*Contender // of contenders, mostly
	queued     [2]bool       // the process may stand in the queues of the nodes, to write and to read
	state      state
	reads      bool      // who asks is a reader
	ended      bool      // the lease that is being acquired ended before Acquired
	held       Want      // what the lease that is held gives
	shared     Shared    // what readers of this process hold; nil: they do not
	kept       any       // see Keep; nil: a caller holds the key
	used       int       // tokens of the lease that is held or was held last; 0: there was none
	remoteWait time.Time // since when another process is known to wait; zero: none is
	won        int64     // the place among the arrivals of the last contender that acquired the key to write
	callers    list.List // of *Caller
	limit      *limited  // of a key with a limit; nil: it is held by one
}

type state uint8

const (
	idle state = iota
	asking
	held
)

// Want is what a caller asks for, and a lease gives. A lease can be handed over to
// a caller that wants the same.
type Want struct {
	By    any // what keeps the lease alive
	TTL   time.Duration
	Owner string
	Alone bool // of a caller that no lease can be handed over to
	Limit int  // how many hold the key at once; 0: one, exclusively

	Shared bool // by a reader
}

// Request is what a lease that is handed over is made of.
type Request struct {
	Want    Want
	Parent  context.Context // what the lease's context derives from
	MaxHold time.Duration
}

// Caller is a place in a Queue.
type Caller struct {
	// Turn gets the lease that was handed over, or nil: it is the caller's turn to
	// ask the nodes; or Unqueued.
	Turn chan any

	req  Request
	came int64 // its place among the arrivals
	at   *list.Element
}

// Enter queues a caller for lock. It returns no Caller if the caller is the first:
// it asks the nodes and calls Acquired or Refused. If something was kept for it, it
// tries that before, and calls Retaken if it succeeds. Otherwise the caller waits at
// the Caller that it is given, if it would wait; ok is false if it would not.
func (qs *Queues) Enter(lock string, req Request, waits bool) (q *Queue, c *Caller, kept any, ok bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return qs.enterLocked(lock, req, waits)
}

func (qs *Queues) enterLocked(lock string, req Request, waits bool) (q *Queue, c *Caller, kept any, ok bool) {
	q = qs.queueLocked(lock)
	switch {
	case q.state == idle && q.callers.Len() == 0 && !q.heldBackLocked(req, qs.arrivals):
		q.state, q.reads, q.used = asking, req.Want.Shared, 0
		return q, nil, nil, true
	case q.kept != nil:
		kept = q.keepLocked(nil)
		q.state, q.reads = asking, req.Want.Shared
		return q, nil, kept, true
	case !waits:
		return q, nil, nil, false
	}
	c, _ = qs.callers.Get().(*Caller)
	if c == nil {
		c = &Caller{Turn: make(chan any, 1)}
	}
	c.req, c.came = req, qs.arrivals
	c.at = q.callers.PushBack(c)
	return q, c, nil, true
}

// Free takes back a place that its caller has left, or whose Turn has come.
func (qs *Queues) Free(c *Caller) {
	*c = Caller{Turn: c.Turn}
	qs.callers.Put(c)
}

// GiveUp gives up a place. If its turn came meanwhile, the next asks. A lease that
// was handed over meanwhile is returned: the caller has to release it.
func (q *Queue) GiveUp(c *Caller) (lease any) {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	select {
	case lease = <-c.Turn:
		if lease == nil {
			q.nextLocked()
		}
	default:
		q.callers.Remove(c.at)
		q.passLocked()
	}
	return lease
}

// BeginAttempt is called before each attempt of the first caller. The waits of
// other processes that are announced from now on are waits for the lease that it
// may bring. deaf says that announcements do not arrive: then another process is
// taken to wait.
func (q *Queue) BeginAttempt(deaf bool, now time.Time) {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	if q.limit == nil {
		q.remoteWait = time.Time{}
	}
	if deaf {
		q.announcedLocked(now)
	}
}

// Acquired says that the first caller holds the key. The lease may have ended
// already.
func (q *Queue) Acquired(gives Want) {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	if q.ended {
		q.nextLocked()
		return
	}
	q.state, q.held, q.used = held, gives, 1
}

// Refused says that the first caller has given up.
func (q *Queue) Refused() {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	q.nextLocked()
}

// HandOver gives the lease that is being released to the first caller, if that
// wants the same and no other process has waited for longer than share. give makes
// the lease of the new holder; nil means that it cannot be handed over. The nodes
// are not asked.
func (q *Queue) HandOver(now time.Time, share time.Duration, give func(Request) (lease any)) bool {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	front := q.callers.Front()
	if front == nil || !q.remoteWait.IsZero() && now.Sub(q.remoteWait) >= share {
		return false
	}
	c := front.Value.(*Caller)
	if c.req.Want.Alone || c.req.Want != q.held {
		return false
	}
	lease := give(c.req)
	if lease == nil {
		return false
	}
	q.used++
	q.callers.Remove(front)
	c.Turn <- lease
	return true
}

// Keep keeps the lease that is being released for the next caller, if nobody waits
// for the key, here or in another process. end ends the lease, and reports whether
// the key can be kept; kept is what the next caller gets it from.
func (q *Queue) Keep(kept any, end func() bool) bool {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	waited := q.callers.Len()+len(q.contenders) > 0 || !q.remoteWait.IsZero() || q.qs.askedLimitedLocked(q.lock)
	if q.state != held || q.kept != nil || q.held.Alone || waited || !end() {
		return false
	}
	q.keepLocked(kept)
	return true
}

// keepLocked keeps something else for the next caller, or nil, and returns what was
// kept before.
func (q *Queue) keepLocked(kept any) (before any) {
	before, q.kept = q.kept, kept
	if before != nil {
		q.qs.kept--
	}
	if kept != nil {
		q.qs.kept++
	}
	return before
}

// Retaken says that the first caller has a lease from what was kept for it.
func (q *Queue) Retaken() {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	if q.ended {
		q.nextLocked()
		return
	}
	q.state = held
	q.used++
}

// KeptEnded says that what was kept is no longer this process's. It does nothing
// if that is not kept any more.
func (q *Queue) KeptEnded(kept any) {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	if q.kept == kept {
		q.takeKeptLocked()
	}
}

// takeKeptLocked takes out what is kept for the next caller. No caller waits: the
// first would have taken it.
func (q *Queue) takeKeptLocked() (kept any) {
	if kept = q.keepLocked(nil); kept != nil {
		q.nextLocked()
	}
	return kept
}

// Ended says that the key is no longer this process's: it was released, or the
// lease was lost.
func (q *Queue) Ended() {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	if q.limit != nil {
		q.endedLocked()
		return
	}
	if q.state == asking {
		q.ended = true // before Acquired took it in
		return
	}
	q.nextLocked()
}

// nextLocked lets the next caller ask. Nobody may hold the key or be asking.
func (q *Queue) nextLocked() {
	if q.limit != nil {
		q.nextAskerLocked()
		return
	}
	q.ended, q.held, q.shared = false, Want{}, nil
	front := q.callers.Front()
	if front == nil || front.Value.(*Caller).heldBackLocked(q) {
		q.state = idle
		q.qs.dropLocked(q)
		return
	}
	c := q.callers.Remove(front).(*Caller)
	q.state, q.reads = asking, c.req.Want.Shared
	c.Turn <- nil
}

func (q *Queue) noteRemoteWaitLocked(now time.Time) {
	if q.state != idle || q.limit != nil {
		q.announcedLocked(now)
	}
}

// announcedLocked takes in that another process waits, or may.
func (q *Queue) announcedLocked(now time.Time) {
	if q.remoteWait.IsZero() {
		q.remoteWait = now
	}
	if q.limit != nil {
		q.limit.announced = now
	}
}

// Used is how many tokens the last lease used that was held through this queue, 0
// if there was none.
func (q *Queue) Used() int {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	return q.used
}

// Holder is the label of the lease that is held; ok is false while a caller asks.
func (q *Queue) Holder() (owner string, ok bool) {
	q.qs.mu.Lock()
	defer q.qs.mu.Unlock()
	return q.held.Owner, q.state == held
}
