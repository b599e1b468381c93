package lease

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/mutex"
)

// waiting is the waiters in this process, by lock, and the messages that wake them.
type waiting struct {
	s     *Leases
	hears atomic.Bool // it is a listener of the mailbox
	mu    sync.Mutex
	at    map[string][]*waiter // by lock key
}

// waiter is one wait. notified gets a value when there is news for it.
type waiter struct {
	notified chan struct{}
	refused  bool // an attempt of this wait was

	// Guarded by waiting.mu.
	last  error    // why the last attempt failed
	look  bool     // since the last attempt began: it should look again, whatever the nodes say
	nodes []source // by node; nil until one of them has news
}

// source is what a waiter makes of one node's news. One node must not have it look as often as that node likes, because
// each look asks all nodes: after a look for news that only a minority sent, and that was refused, the node alone cannot
// cause another for a while, which doubles each time. Its news still counts towards a quorum.
type source struct {
	turn    bool      // since the last attempt began: it said that this process's turn has come
	gap     bool      // since the last attempt began: messages may have been lost, and it looks for that
	futile  int       // looks it alone was the reason of, since a quorum agreed with it
	doubted time.Time // until then it causes no look alone
}

// slowest is how long a node that was wrong causes no look alone, at the most. Waiters look by a timer as well.
const slowest = time.Second

func (w *waiting) init(s *Leases) { w.s, w.at = s, map[string][]*waiter{} }

func (w *waiting) join(lock string) *waiter {
	me := &waiter{notified: make(chan struct{}, 1)}
	w.s.c.AddWaiter(lock)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[lock] = append(w.at[lock], me)
	return me
}

// leave ends a wait; queued says that this process may stand in queues. The callback takes it out of the nodes' queues;
// its argument says whether others in this process, also in other Leases, wait for the lock. It is not called if none
// does and none of those that did may be queued.
func (w *waiting) leave(lock string, me *waiter, queued bool, leave func(others bool)) {
	w.mu.Lock()
	if all := slices.DeleteFunc(w.at[lock], func(x *waiter) bool { return x == me }); len(all) > 0 {
		w.at[lock] = all
	} else {
		delete(w.at, lock)
	}
	w.mu.Unlock()
	w.s.c.RemoveWaiter(lock, queued, leave)
}

// notifyAll makes all waiters for lock look again, and reports whether there are any.
func (w *waiting) notifyAll(lock string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, me := range w.at[lock] {
		me.lookLocked()
	}
	return len(w.at[lock]) > 0
}

// turn notifies all waiters for lock that n says it is this process's turn, and reports whether there are any.
func (w *waiting) turn(n *cluster.Node, lock string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, me := range w.at[lock] {
		if from := w.sourceLocked(me, n); !from.turn {
			from.turn = true
			me.notify()
		}
	}
	return len(w.at[lock]) > 0
}

func (w *waiting) sourceLocked(me *waiter, n *cluster.Node) *source {
	if me.nodes == nil {
		me.nodes = make([]source, len(w.s.c.Nodes()))
	}
	return &me.nodes[n.Index()]
}

func (me *waiter) lookLocked() {
	me.look = true
	me.notify()
}

func (me *waiter) notify() {
	select {
	case me.notified <- struct{}{}:
	default:
	}
}

// looks forgets the news that came before an attempt, and doubts the nodes that had news when no quorum had. If the
// attempt wins, the wait is over.
func (w *waiting) looks(me *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	agreed, now := w.missingLocked(me) == 0, time.Now()
	for i := range me.nodes {
		from := &me.nodes[i]
		switch {
		case from.turn && agreed:
			from.futile = 0
		case from.turn || from.gap:
			pause := min(w.s.red.Config().HandOver<<min(from.futile, 16), slowest) + below(100*time.Microsecond) // not all at one moment
			from.futile, from.doubted = from.futile+1, now.Add(pause)
		}
		from.turn, from.gap = false, false
	}
	me.look = false
	select {
	case <-me.notified:
	default:
	}
}

// missingLocked is how many nodes more have to say that it is me's turn to make a quorum.
func (w *waiting) missingLocked(me *waiter) int {
	missing := w.s.c.Quorum()
	for i := range me.nodes {
		if me.nodes[i].turn {
			missing--
		}
	}
	return max(missing, 0)
}

// missing is how many nodes more have to say that it is me's turn before it should look at once, and the time before
// which those that have said so are not worth a look. useful is false if no turn is: where grants of nodes do not count, a
// look at each turn would only keep the key from others.
func (w *waiting) missing(me *waiter) (missing int, doubted time.Time, useful bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.look {
		return 0, time.Time{}, true
	}
	found := false
	for i := range me.nodes {
		if from := &me.nodes[i]; from.turn && (!found || from.doubted.Before(doubted)) {
			found, doubted = true, from.doubted
		}
	}
	return w.missingLocked(me), doubted, !mutex.Uncounted(me.last)
}

// Message implements cluster.Listener.
func (w *waiting) Message(n *cluster.Node, text string) (claimed bool) {
	m, ok := mutex.ParseMessage(text)
	switch {
	case !ok:
		return false
	case m.Turn:
		return w.turn(n, m.Lock)
	}
	w.s.contend(m.Lock)
	return true
}

// Unclaimed implements cluster.Listener: a turn that nobody here wants is passed on.
func (w *waiting) Unclaimed(n *cluster.Node, text string) {
	m, ok := mutex.ParseMessage(text)
	if !ok || !m.Turn {
		return
	}
	if !w.s.c.UnlessWaiting(m.Lock, func() { w.s.red.LeaveLock(m.Lock, n) }) {
		w.notifyAll(m.Lock) // they joined just now
	}
}

// Gap implements cluster.Listener. A wake may have been lost, so all waiters look again. The announcement of another
// process's wait may have been lost too, so whatever is held is taken to be contended.
func (w *waiting) Gap(n *cluster.Node) {
	w.s.contendAll()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, lock := range slices.Sorted(maps.Keys(w.at)) { // in an order that a simulation can repeat
		for _, me := range w.at[lock] {
			if from := w.sourceLocked(me, n); !now.Before(from.doubted) {
				from.gap = true
				me.lookLocked()
			}
		}
	}
}

// contendAll notes that other processes may wait for any of the locks.
func (r *renewer) contendAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, t := range r.shared {
		if t.contended.IsZero() {
			t.contended = now
		}
	}
}

// contend notes that another process began to wait for a lock.
func (r *renewer) contend(lock string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.shared[lock]; t != nil && t.contended.IsZero() {
		t.contended = time.Now()
	}
}

func (r *renewer) contendedSince(t *renewal) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.contended
}
