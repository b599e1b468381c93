package lock

import (
	"container/list"
	"context"
	"fmt"
	"time"

	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/mutex"
)

const (
	// minTokenBlock is how many tokens an acquisition owns, and so how often its hold can be handed over, at the least.
	minTokenBlock = 64
	// maxLocalShare is how long a hold goes on being handed over in this process once another process waits for the
	// key. To change the process takes the nodes two round trips.
	maxLocalShare = 10 * time.Millisecond
)

// waitQueue holds the callers of this process that want a key, behind the one that holds it. No caller asks the nodes while
// another of the process holds the key, and only the head asks otherwise, so a thousand waiters load the nodes no more than one.
//
//	idle     nobody                                    the queue is dropped
//	asking   the head asks the nodes                   it gets the key: held; it gives up: the next asks
//	held     a lease of this process is valid          released while callers wait: handed over, or the next asks
//
// It is the lease's heir. All fields are guarded by Locker.mu.
type waitQueue struct {
	k       *Locker
	key     string
	asking  bool
	held    bool
	over    bool      // the lease that is being acquired ended before it was taken in
	owner   string    // the label of the lease that is held
	used    int       // tokens of the block that is held
	block   int       // of the next acquisition
	waiting list.List // of *waiter
}

// waiter is a place in the queue.
type waiter struct {
	turn   chan *lease.Lease // gets the lease, or nil: your turn to ask
	parent context.Context
	req    lease.Request
}

// join queues for key. It returns nil if the caller is the head and has to ask; otherwise the place to wait at,
// unless the caller would not wait.
func (k *Locker) join(key string, parent context.Context, req lease.Request, wait bool) (ln *waitQueue, at *list.Element, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ln = k.queues[key]
	if ln == nil {
		ln = &waitQueue{k: k, key: key, block: minTokenBlock}
		k.queues[key] = ln
	}
	if !ln.asking && !ln.held {
		ln.asking = true
		return ln, nil, true
	}
	if !wait {
		return ln, nil, false
	}
	sp, _ := k.waiters.Get().(*waiter)
	if sp == nil {
		sp = &waiter{turn: make(chan *lease.Lease, 1)}
	}
	sp.parent, sp.req = parent, req
	return ln, ln.waiting.PushBack(sp), true
}

// clear takes back a place that its caller has left, or from which it was called.
func (k *Locker) clear(sp *waiter) {
	sp.parent, sp.req = nil, lease.Request{}
	k.waiters.Put(sp)
}

// leave gives up a place in the queue. What the place was given meanwhile is passed on.
func (ln *waitQueue) leave(ctx context.Context, at *list.Element) {
	ln.k.mu.Lock()
	sp := at.Value.(*waiter)
	select {
	case l := <-sp.turn:
		if l == nil {
			ln.nextLocked()
		}
		ln.k.mu.Unlock()
		if l != nil {
			l.Release(ctx)
		}
	default:
		ln.waiting.Remove(at)
		ln.k.mu.Unlock()
	}
}

// asked takes in what the head got from the nodes.
func (ln *waitQueue) asked(l *lease.Lease) {
	ln.k.mu.Lock()
	defer ln.k.mu.Unlock()
	ln.asking = false
	if l != nil && !ln.over {
		ln.held, ln.used, ln.owner = true, 1, l.Owner()
		return
	}
	ln.over = false
	ln.nextLocked()
}

// standing says why a call in this process does not get the key, and the label of the holder if that is in it too.
func (ln *waitQueue) standing() (reason, holder string) {
	ln.k.mu.Lock()
	defer ln.k.mu.Unlock()
	if ln.held {
		return fmt.Sprintf("held in this process by %q", ln.owner), ln.owner
	}
	return "waited for in this process by others that came before", ""
}

// nextLocked lets the next caller ask, or drops the queue. Nobody may hold the key or be asking.
func (ln *waitQueue) nextLocked() {
	if ln.held {
		ln.block = blockAfter(ln.used)
	}
	ln.asking, ln.held = false, false
	front := ln.waiting.Front()
	if front == nil {
		if ln.k.queues[ln.key] == ln {
			delete(ln.k.queues, ln.key)
		}
		return
	}
	ln.asking = true
	ln.waiting.Remove(front).(*waiter).turn <- nil
}

// blockAfter is the size of the block that follows one of which so many tokens were used: the hotter a key, the less it
// costs the nodes. A counter on the nodes must not outrun the clock that it starts from where it is new, so not much
// more is owned than was used; who looks again after a refusal asks for less (see package lease).
func blockAfter(used int) int { return min(max(minTokenBlock, 2*used), mutex.MaxTokenBlock) }

// TakeOver implements lease.Heir: a release gives the lease to the next caller, and the nodes are not asked, as
// long as the others wait no longer than is fair.
func (ln *waitQueue) TakeOver(l *lease.Lease) bool {
	ln.k.mu.Lock()
	defer ln.k.mu.Unlock()
	front := ln.waiting.Front()
	if front == nil || ln.k.closing || !sharable(l, time.Now()) {
		return false
	}
	sp := front.Value.(*waiter)
	if !alike(sp.req, l) {
		return false
	}
	next, ok := l.HandOver(sp.parent, sp.req.MaxHold)
	if !ok {
		return false
	}
	ln.k.stats.handOvers.Add(1)
	ln.used++
	ln.waiting.Remove(front)
	sp.turn <- next
	return true
}

// sharable reports whether no other process has waited too long.
func sharable(l *lease.Lease, now time.Time) bool {
	since := l.Contended()
	return since.IsZero() || now.Sub(since) < maxLocalShare
}

// alike reports whether req asks for what l is: its value on the nodes carries one TTL and one label.
func alike(req lease.Request, l *lease.Lease) bool {
	return req.TTL == l.TTL() && req.Owner == l.Owner() && req.MinHold == 0
}

// Over implements lease.Heir.
func (ln *waitQueue) Over(l *lease.Lease) {
	if l != nil && isLost(l.Err()) {
		ln.k.stats.losses.Add(1)
	}
	ln.k.mu.Lock()
	defer ln.k.mu.Unlock()
	if !ln.held {
		ln.over = true // before asked took it in
		return
	}
	ln.nextLocked()
}
