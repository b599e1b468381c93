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
	// leastSpan is how many tokens an acquisition owns, and so how often its hold can be handed over, at the least.
	leastSpan = 64
	// sharing is how long a hold goes on being handed over in this process once another process waits for the key. To
	// change the process takes the nodes two round trips.
	sharing = 10 * time.Millisecond
)

// line is who in this process has a key or wants it. Nobody asks the nodes while another in the process has it, and
// only the head asks otherwise, so a thousand waiters cost the nodes what one costs.
//
//	idle     nobody                                    the line is forgotten
//	asking   the head asks the nodes                   it gets the key: held; it gives up: the next asks
//	held     a lease of this process stands            released with somebody in line: handed over, or the next asks
//
// It is the lease's heir. All fields are guarded by Locker.mu.
type line struct {
	k       *Locker
	key     string
	asking  bool
	held    bool
	over    bool      // the lease that is being acquired ended before it was taken in
	owner   string    // the label of the lease that is held
	used    int       // tokens of the span that is held
	span    int       // of the next acquisition
	waiting list.List // of *spot
}

// spot is a place in line.
type spot struct {
	turn   chan *lease.Lease // gets the lease, or nil: your turn to ask
	parent context.Context
	req    lease.Request
}

// join stands in line for key. It returns nil if the caller is the head and has to ask; otherwise the place to wait at,
// unless the caller would not wait.
func (k *Locker) join(key string, parent context.Context, req lease.Request, wait bool) (ln *line, at *list.Element, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ln = k.lines[key]
	if ln == nil {
		ln = &line{k: k, key: key, span: leastSpan}
		k.lines[key] = ln
	}
	if !ln.asking && !ln.held {
		ln.asking = true
		return ln, nil, true
	}
	if !wait {
		return ln, nil, false
	}
	sp, _ := k.spots.Get().(*spot)
	if sp == nil {
		sp = &spot{turn: make(chan *lease.Lease, 1)}
	}
	sp.parent, sp.req = parent, req
	return ln, ln.waiting.PushBack(sp), true
}

// clear takes back a place that its caller has left, or from which it was called.
func (k *Locker) clear(sp *spot) {
	sp.parent, sp.req = nil, lease.Request{}
	k.spots.Put(sp)
}

// leave gives up a place in line. What the place was given meanwhile is passed on.
func (ln *line) leave(ctx context.Context, at *list.Element) {
	ln.k.mu.Lock()
	sp := at.Value.(*spot)
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
func (ln *line) asked(l *lease.Lease) {
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
func (ln *line) standing() (reason, holder string) {
	ln.k.mu.Lock()
	defer ln.k.mu.Unlock()
	if ln.held {
		return fmt.Sprintf("held in this process by %q", ln.owner), ln.owner
	}
	return "waited for in this process by others that came before", ""
}

// nextLocked lets the next in line ask, or forgets the line. Nobody may have the key or be asking.
func (ln *line) nextLocked() {
	if ln.held {
		ln.span = spanAfter(ln.used)
	}
	ln.asking, ln.held = false, false
	front := ln.waiting.Front()
	if front == nil {
		if ln.k.lines[ln.key] == ln {
			delete(ln.k.lines, ln.key)
		}
		return
	}
	ln.asking = true
	ln.waiting.Remove(front).(*spot).turn <- nil
}

// spanAfter is the span that follows one of which so many tokens were used: the hotter a key, the less it costs the nodes.
// A counter on the nodes must not outrun the clock that it starts from where it is new, so not much more is owned than was
// used; who looks again after a refusal asks for less (see package lease).
func spanAfter(used int) int { return min(max(leastSpan, 2*used), mutex.MaxSpan) }

// TakeOver implements lease.Heir: who releases gives the lease to the next in line, and the nodes are not asked, as
// long as the others wait no longer than is fair.
func (ln *line) TakeOver(l *lease.Lease) bool {
	ln.k.mu.Lock()
	defer ln.k.mu.Unlock()
	front := ln.waiting.Front()
	if front == nil || ln.k.closing || !sharable(l, time.Now()) {
		return false
	}
	sp := front.Value.(*spot)
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
	return since.IsZero() || now.Sub(since) < sharing
}

// alike reports whether req asks for what l is: its value on the nodes carries one TTL and one label.
func alike(req lease.Request, l *lease.Lease) bool {
	return req.TTL == l.TTL() && req.Owner == l.Owner() && req.MinHold == 0
}

// Over implements lease.Heir.
func (ln *line) Over(l *lease.Lease) {
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
