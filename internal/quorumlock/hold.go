package quorumlock

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// Hold is the proof of one acquisition: the key was granted to its value by a quorum, until its deadline. It is not
// renewed by itself. All methods may be called concurrently; rounds of Extend follow one another.
//
// A hold goes through these phases, and an attempt that fails goes from the first two to failed:
//
//	voting -> [bumping ->] held -> released
type Hold struct {
	r     *Redlock
	key   string
	lock  string // the key on the nodes
	value string
	block int64
	ttl   time.Duration

	shared atomic.Bool // it is a reader's

	settled chan struct{} // closed when the phase is held or failed; nil when nobody waits for that any more

	mu        sync.Mutex
	phase     stage
	lost      bool         // a round found it over
	detaching bool         // Detach has begun, and no other round may
	writers   bool         // a process waits to write, as the round under way or the last one found
	outvoted  bool         // it was refused, and had less than a quorum
	uncounted bool         // it was refused, because grants do not count
	queue     bool         // it is to be queued where it is refused
	queued    bool         // of a reader: a node that granted it said that its process has a place in the queue
	unclear   bool         // it was refused, and the answers do not yet tell a holder from a split vote
	err       error        // why it failed
	voting    *votingRound // nil once the phase is held or failed
	deadline  time.Time
	expiry    time.Time // when the key is gone from every node that said it is ours; it never moves back
	token     int64     // while bumping: the token that is aimed at
	tokens    int64     // how many more tokens of the block there are after token
	waiters   int       // processes queued, as the nodes that granted said
	members   []nodeState
	round     *extension // of Extend; nil while none is under way
	release   releaseTally
	limit     *limited         // of a key that several hold at once; nil: it is exclusive
	handle    *Handle          // whose value it replaces, and returns to the handle if the attempt fails; nil: it acquires
	after     *nodeset.Command // sent to each node that was released; nil: nothing is
}

// votingRound is what is known while the phase is voting or bumping. Holds are many, and keep nothing of it.
type votingRound struct {
	start  time.Time // before any node was asked
	fences []int64   // of the members, as they granted
	bumps  bumpTally
}

type stage uint8

const (
	phaseVoting stage = iota
	phaseBumping
	phaseHeld
	phaseFailed
	phaseReleased
)

// nodeState is what is known of the hold on one node.
type nodeState struct {
	result         Result
	vote           bool       // its grant is one of those that decided
	pendingRelease bool       // is to be released as soon as nothing is in flight
	detached       bool       // was sent a detach, so it may have the handle's value
	forgot         bool       // was healed, and Forgot has not said so yet
	against        bool       // a round that is under way, or that it has replaced, found the key lost
	askLate        bool       // is to be asked by the round under way as soon as nothing is in flight
	inFlight       uint8      // acquires and extends whose answer is awaited: a release must not overtake them
	lastReply      *lastReply // what else it said last; nil if that is nothing
}

// lastReply is what a node said beside its result. Most nodes of most holds say nothing of the kind, and holds are many.
type lastReply struct {
	left   time.Duration // of another's key
	holder string        // whose value it has
	err    error
}

// last is what the node said last.
func (m *nodeState) last() lastReply {
	if m.lastReply == nil {
		return lastReply{}
	}
	return *m.lastReply
}

// say keeps what the node said.
func (m *nodeState) say(s lastReply) {
	m.lastReply = nil
	if s != (lastReply{}) {
		kept := s // or s would be allocated each time
		m.lastReply = &kept
	}
}

// mayHold reports whether the key may be ours on the node, or may become ours by what is in flight: also an extension of
// a key that was another's heals it, if it has come free by then.
func (m *nodeState) mayHold() bool {
	return m.inFlight > 0 || m.detached || m.result == Granted || m.result == Healed || m.result == Failed || m.result == Pending
}

// Key is the caller's key.
func (h *Hold) Key() string { return h.key }

// LockKey is the name of the key on the nodes.
func (h *Hold) LockKey() string { return h.lock }

// Value is the identity of this acquisition. Who knows it can release it.
func (h *Hold) Value() string { return h.value }

// TTL is how long the nodes keep the key after each extension.
func (h *Hold) TTL() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ttl
}

// Token is the fencing token: larger than that of every acquisition of this key that finished before this one began.
func (h *Hold) Token() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.token
}

// HasNextToken reports whether NextToken would.
func (h *Hold) HasNextToken() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tokens > 0
}

// NextToken moves on to the next token of the block that was acquired. ok is false when the block is used up.
func (h *Hold) NextToken() (token int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tokens == 0 {
		return h.token, false
	}
	h.tokens--
	h.token += h.limit.step()
	return h.token, true
}

// Deadline is the moment up to which nobody else can hold the key.
func (h *Hold) Deadline() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deadline
}

// Waiters is how many other processes were queued for the key when it was granted; one more where this process was queued
// too, and won before its turn.
func (h *Hold) Waiters() int { return h.waiters }

// WasRefused reports whether a node had refused when the hold was won. This process may be queued there.
func (h *Hold) WasRefused() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.members, func(m nodeState) bool { return m.result == Refused })
}

// WasQueued reports whether a node whose grant decided had this process's readers in
// its queue, such as by an earlier wait whose leave was lost. Such a place comes
// before every writer that waits, and has each later reader of the process pass them.
func (h *Hold) WasQueued() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.queued
}

// answersLocked is what each node said last.
func (h *Hold) answersLocked() []Answer {
	all := make([]Answer, len(h.members))
	for i, n := range h.r.c.Nodes() {
		m := &h.members[i]
		last := m.last()
		all[i] = Answer{Node: n.Name(), Result: m.result, Left: last.left, Err: last.err}
		if last.holder != "" {
			all[i].Holder = ownerLabel(last.holder)
		}
	}
	return all
}

// Lost makes the error of a hold that ended for this reason.
func (h *Hold) Lost(why Reason) *LostError {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &LostError{Key: h.key, Token: h.token, Class: why.Class, Reason: why.Text, Answers: h.answersLocked()}
}

// flush sends the pending releases to nodes on which nothing is in flight any more,
// and what the round under way has yet to ask them, and wakes Release when the
// answers suffice. What landed may have been the last that a release waited for.
func (h *Hold) flush() {
	h.mu.Lock()
	h.endReleaseLocked()
	ask, late := h.askLateLocked()
	var room [7]*nodeset.Node
	due := room[:0]
	for i := range h.members {
		if m := &h.members[i]; m.pendingRelease && m.inFlight == 0 {
			m.pendingRelease = false
			due = append(due, h.r.c.Nodes()[i])
		}
	}
	requeue := h.limit != nil && h.limit.requeue
	h.mu.Unlock()
	for _, n := range late {
		ask(n)
	}
	if len(due) == 0 {
		return
	}
	if h.uncounted {
		h.leave(due, false, &h.r.words.handOver)
	}
	cmd := h.releaseCommand(&h.value)
	for _, n := range due {
		release := h.releaseOn(n, cmd)
		if requeue && n.Listening() {
			release = h.requeuing(n, cmd)
		}
		n.Send(release, (*releaser)(h))
	}
}

// SendAfterRelease has cmd sent to each node once the key is released there, which
// waits for what is in flight.
func (h *Hold) SendAfterRelease(cmd nodeset.Command) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.after = &cmd
}

// releaseCommand is the release script for this hold, whose value is given: what is
// kept for long should not keep the hold. An attempt to attach returns the key to
// the handle: it stays locked, and can be attached again, but for no longer than
// without the attempt, or attempts that fail would lock it for ever.
func (h *Hold) releaseCommand(value *string) nodeset.Command {
	keys, reserve := namesOf(h.lock), &h.r.words.handOver
	if h.handle != nil {
		left := max(nodeset.Left(h.handle.Until, time.Now()), 0)
		return returnScript.Command(keys[:1], value, &h.handle.Value, millis(left))
	}
	if h.outvoted {
		reserve = new(int64)
	}
	if h.limit != nil {
		return h.limit.releaseCommand(h.r, h.lock, value, "", reserve)
	}
	if h.Shared() {
		all := sharedNames(h.lock)
		return shareReleaseScript.Command(all[:], value, reserve, "")
	}
	return releaseScript.Command(keys[:], value, reserve, "")
}

// Dequeue takes this process out of the nodes' queues now that it has won, or, if others in it still wait for the key, puts it
// to their end: its turn is taken. It does not wait for the answers.
//
// Of a key with a limit, more than its slot may have come free by then, with this process woken once more, or nobody. So the
// leave wakes the next waiter for a slot that is free. With each that wins doing so, all of them are woken.
func (h *Hold) Dequeue(others bool) {
	reserve := new(int64)
	if h.limit != nil {
		reserve = &h.r.words.handOver
	}
	h.leave(h.r.c.Nodes(), others, reserve)
	h.mu.Lock()
	over := h.phase != phaseHeld
	h.mu.Unlock()
	if over { // before it stepped out, maybe, and the release has given the turn to this process once more
		h.leave(h.r.c.Nodes(), others, &h.r.words.handOver)
	}
}

func (h *Hold) releaseOn(n *nodeset.Node, cmd nodeset.Command) nodeset.Command {
	if h.handle != nil {
		return cmd
	}
	return releaseOn(n, cmd)
}

// releaseOn is a release, or a leave, as n needs it.
func releaseOn(n *nodeset.Node, cmd nodeset.Command) nodeset.Command {
	if n.Sharded() {
		return cmd.With("1")
	}
	return cmd
}

// oursUntilLocked takes in that the key is ours on some node, for ttl and the lock delay from now at most. h.mu must be
// held.
func (h *Hold) oursUntilLocked(ttl time.Duration) {
	if until := time.Now().Add(ttl + h.r.delay); until.After(h.expiry) {
		h.expiry = until
	}
}

// landedLocked takes in that a request of this hold was answered, or will not be. h.mu must be held.
func (h *Hold) landedLocked(m *nodeState, result Result, err error) {
	m.inFlight--
	m.result = result
	m.say(lastReply{err: err})
	if !m.mayHold() {
		if m.pendingRelease && h.phase == phaseReleased {
			h.release.open--
			h.release.free++
		}
		m.pendingRelease = false
	}
}
