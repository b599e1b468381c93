// Package waitqueue keeps which goroutines of this process wait for which key of
// one set of nodes. Package keepalive acts on what it says.
//
// A key has a [Queue] while somebody of this process waits for it, asks the nodes
// for it, or holds it for others to share. There are two kinds of waiters:
//
//   - A [Caller] waits behind the caller of this process that asks the nodes or
//     holds the key. It costs the nodes nothing. It is served in FIFO order: by a
//     hand-over of the lease, or by its turn to ask.
//   - A [Contender] asks the nodes. A key has at most one that was a caller before,
//     so a thousand callers load the nodes no more than one. Messages of the nodes
//     notify it: see [Queues.Turn] and [Queues.Gap].
//
// The nodes know the process only: it stands in their queues once, however many of
// its goroutines wait. [Queues.Leave] says when the last of them is gone.
//
// All of it is data under one mutex: it asks no node, reads no clock and starts no
// goroutine. Functions that it is given run under that mutex. They may send without
// waiting, and lock what a lease and its renewal have, but must not call back here.
package waitqueue

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Queues are the wait queues of one set of nodes, by the keys' names on the nodes.
// All methods of it, its Queues and Contenders may be called concurrently.
type Queues struct {
	nodes, quorum int

	mu         sync.Mutex
	keys       map[string]*Queue
	limits     map[string]*Queue // of callers with a limit
	callers    sync.Pool         // of *Caller: on a hot key each call needs one
	contenders sync.Pool         // of *Contender: each lock that is not handed over needs one
	kept       int               // queues that keep something for the next caller
	arrivals   int64             // of contenders, and how many of them won
}

// New makes the wait queues for a set of this number of nodes, of which quorum
// decide.
func New(nodes, quorum int) *Queues {
	return &Queues{nodes: nodes, quorum: quorum, keys: map[string]*Queue{}, limits: map[string]*Queue{}}
}

func (qs *Queues) queueLocked(lock string) *Queue {
	q := qs.keys[lock]
	if q == nil {
		q = &Queue{qs: qs, lock: lock}
		q.contenders = q.room[:0]
		qs.keys[lock] = q
	}
	return q
}

// dropLocked forgets a queue that nobody has a part in.
func (qs *Queues) dropLocked(q *Queue) {
	if q.limit != nil {
		qs.dropLimitedLocked(q)
		return
	}
	if q.state == idle && len(q.contenders) == 0 && qs.keys[q.lock] == q {
		delete(qs.keys, q.lock)
	}
}

// Contend adds a goroutine that is about to ask the nodes for lock, until Leave.
func (qs *Queues) Contend(lock string) *Contender { return qs.contend(lock, false) }

func (qs *Queues) contend(lock string, shared bool) *Contender {
	c := qs.newContender()
	qs.mu.Lock()
	defer qs.mu.Unlock()
	qs.arrivals++
	c.shared, c.came = shared, qs.arrivals
	c.q = qs.queueLocked(lock)
	c.q.contenders = append(c.q.contenders, c)
	return c
}

func (qs *Queues) newContender() *Contender {
	c, _ := qs.contenders.Get().(*Contender)
	if c == nil {
		c = &Contender{Notified: make(chan struct{}, 1)}
	}
	return c
}

// Leave ends what Contend began; queued says that the process may stand in the
// queues of the nodes. It calls leave and reports to it whether other contenders
// for the key are left that want the same, to write or to read. If none is, it calls
// leave only if the process may be queued, by any of them since the first. leave must
// only send: Contend waits for it, so that what a new contender sends comes behind.
func (qs *Queues) Leave(c *Contender, queued bool, leave func(others bool)) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := c.q
	if c.Won && !c.shared {
		qs.arrivals++
		q.won = qs.arrivals
	}
	shared, place := c.shared, &q.queued[0]
	if shared {
		place = &q.queued[1]
	}
	q.contenders = slices.DeleteFunc(q.contenders, func(other *Contender) bool { return other == c })
	c.reset()
	qs.contenders.Put(c)
	*place = *place || queued
	if q.contendedLocked(shared) {
		leave(true)
	} else {
		if *place {
			leave(false)
		}
		*place = false
	}
	if !shared {
		q.passLocked()
	}
	qs.dropLocked(q)
}

// LeaveUnqueued calls leave, as Leave does, for a goroutine that asked the nodes once
// and does not contend. others are the contenders that want the same, to write or to
// read: the process has a place for each.
func (qs *Queues) LeaveUnqueued(lock string, shared bool, leave func(others bool)) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.keys[lock]
	leave(q != nil && q.contendedLocked(shared))
}

// UnlessContended calls fn, as Leave calls leave, if no goroutine contends for
// lock, and reports whether it did.
func (qs *Queues) UnlessContended(lock string, fn func()) bool {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if qs.contendedLocked(lock) {
		return false
	}
	fn()
	return true
}

func (qs *Queues) contendedLocked(lock string) bool {
	q, limited := qs.keys[lock], qs.limits[lock]
	return q != nil && len(q.contenders) > 0 || limited != nil && len(limited.contenders) > 0
}

// Turn notifies all contenders for lock that a node says it is this process's
// turn, and reports whether there are any.
func (qs *Queues) Turn(node int, lock string) bool {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.keys[lock]
	if q == nil {
		return false
	}
	qs.turnLocked(q, node)
	return len(q.contenders) > 0
}

func (qs *Queues) turnLocked(q *Queue, node int) {
	for _, c := range q.contenders {
		if from := qs.sourceLocked(c, node); !from.turn {
			from.turn = true
			c.notify()
		}
	}
}

// Retry makes all contenders for lock ask again.
func (qs *Queues) Retry(lock string) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	for _, q := range []*Queue{qs.keys[lock], qs.limits[lock]} {
		if q == nil {
			continue
		}
		for _, c := range q.contenders {
			c.retryLocked()
		}
	}
}

// NoteRemoteWait notes that another process began to wait for lock: see
// [Queue.HandOver]. What was kept for the next caller has to be released.
func (qs *Queues) NoteRemoteWait(lock string, now time.Time) (kept any) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if q := qs.limits[lock]; q != nil {
		q.noteRemoteWaitLocked(now)
	}
	if q := qs.keys[lock]; q != nil {
		q.noteRemoteWaitLocked(now)
		kept = q.takeKeptLocked()
	}
	return kept
}

// Kept is what is kept for the next caller for lock; nil: nothing is.
func (qs *Queues) Kept(lock string) (kept any) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if q := qs.keys[lock]; q != nil {
		kept = q.kept
	}
	return kept
}

// KeepsAny reports whether anything is kept for a next caller.
func (qs *Queues) KeepsAny() bool {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return qs.kept > 0
}

// TakeKept takes out what is kept for the next caller for lock, so that it can be
// released; nil: nothing is.
func (qs *Queues) TakeKept(lock string) (kept any) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if q := qs.keys[lock]; q != nil {
		kept = q.takeKeptLocked()
	}
	return kept
}

// Gap notes that messages of a node may have been lost. A turn may be among them,
// so all contenders ask again: at once or, if the node is doubted, when the doubt
// ends. The announcement of another process's wait may be lost too, so every key is
// taken to be waited for, and what is kept has to be released.
func (qs *Queues) Gap(node int, now time.Time) (kept []any) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	var concerned []*Queue
	for _, keys := range []map[string]*Queue{qs.keys, qs.limits} {
		for _, q := range keys {
			q.noteRemoteWaitLocked(now)
			if len(q.contenders) > 0 || q.kept != nil {
				concerned = append(concerned, q)
			}
		}
	}
	slices.SortFunc(concerned, inOrder) // so that a simulation can repeat it
	for _, q := range concerned {
		if one := q.takeKeptLocked(); one != nil {
			kept = append(kept, one)
		}
		for _, c := range q.contenders {
			from := qs.sourceLocked(c, node)
			if from.gap = true; now.Before(from.doubted) {
				c.notify()
			} else {
				c.retryLocked()
			}
		}
	}
	return kept
}

// LastRefusal is why the last attempt of a contender for lock failed; nil if there
// is none, or none has failed yet.
func (qs *Queues) LastRefusal(lock string) error {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return refusalOf(qs.keys[lock])
}

func refusalOf(q *Queue) error {
	if q != nil {
		for _, c := range q.contenders {
			if c.refusal != nil {
				return c.refusal
			}
		}
	}
	return nil
}

// inOrder orders queues by the names of their locks.
func inOrder(a, b *Queue) int {
	if order := strings.Compare(a.lock, b.lock); order != 0 || a.limit == b.limit {
		return order
	}
	if a.limit == nil {
		return -1
	}
	return 1
}

// Snapshot is what is known of a key, for tests: it may be stale at once.
type Snapshot struct {
	Callers, Contenders int
	RemoteWait          time.Time // since when another process is known to wait; zero: none is
	Pauses              bool      // of a key with a limit: the asker waits because all slots are taken, and a lease can be handed over to it
}

// Snapshot returns what is known of a key, of callers that want it whole.
func (qs *Queues) Snapshot(lock string) Snapshot {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return qs.keys[lock].snapshotLocked()
}

// SnapshotLimited is Snapshot for callers with a limit.
func (qs *Queues) SnapshotLimited(lock string) Snapshot {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return qs.limits[lock].snapshotLocked()
}

func (q *Queue) snapshotLocked() Snapshot {
	if q == nil {
		return Snapshot{}
	}
	pauses := q.limit != nil && q.limit.taken && slices.ContainsFunc(q.contenders, func(c *Contender) bool { return c.pauses && c.handed == nil })
	return Snapshot{q.callers.Len(), len(q.contenders), q.remoteWait, pauses}
}

// Keys is how many keys have a queue, for tests.
func (qs *Queues) Keys() int {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return len(qs.keys) + len(qs.limits)
}
