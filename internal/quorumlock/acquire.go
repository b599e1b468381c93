package quorumlock

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// Request tweaks one attempt. Zero fields mean what Config says.
type Request struct {
	TTL        time.Duration
	Owner      string
	TokenBlock int // tokens to own, 1 to MaxTokenBlock; 0 means 1
	// Queue: take a place in the key's queue on each node that refuses and can send this process a message, until Leave
	// or Hold.Dequeue.
	Queue bool
	// First: this is the caller's first look at the key. It may be sent as a
	// transaction to nodes where this process has lately found the key free and
	// nobody waiting for it.
	First bool
	// Retains: this process may keep the key after its holder has released it. The
	// value says so: see MayBeRetained.
	Retains bool
	// Limit is how many may hold the key at once, up to MaxLimit, if all of them
	// ask for this Limit; 0: one, exclusively.
	Limit int
	// Start is the slot from which on nodes look for a free one, counted from 1;
	// 0: any. See NextSlot.
	Start int
	// Shared: the key is held beside other readers, and by no writer.
	Shared bool
	// Handle is what to attach with; nil acquires the key as usual.
	Handle *Handle
	// Sent is called when every node was sent the attempt; nil: nothing is.
	Sent func()
}

// Acquire makes one attempt on all nodes at once and returns as soon as a quorum granted the key, or no longer can. It
// never waits for the key to come free. The error is
//
//	*NotAcquiredError      somebody else has it, or several attempts split the votes
//	*cluster.QuorumError   too few nodes answered to tell, or the grants of too few count
//	cluster.ErrClosed, cluster.ErrConfig
//	ctx.Err()              in the chain, when ctx ended first
//
// Whatever was, or may have been, granted to an attempt that fails is given back, also after ctx has ended and after
// Acquire has returned.
func (r *Redlock) Acquire(ctx context.Context, key string, req Request) (*Hold, error) {
	tel := r.c.Telemetry()
	began := tel.Now()
	h, err := r.attempt(ctx, key, req)
	r.note(err)
	if tel != nil {
		tel.Attempted(ctx, key, string(req.Mode()), began, RefusalClass(err))
	}
	return h, err
}

// note has the set know whether a quorum decided. An attempt that ended for
// another reason says nothing of that.
func (r *Redlock) note(err error) {
	var held *NotAcquiredError
	switch {
	case err == nil, errors.As(err, &held) && (held.Class == ClassHeld || held.Split):
		r.c.Attempted(nil)
	case held == nil && errors.Is(err, nodeset.ErrNoQuorum):
		r.c.Attempted(err)
	}
}

func (r *Redlock) attempt(ctx context.Context, key string, req Request) (*Hold, error) {
	h, err := r.newHold(key, req)
	if err != nil {
		return nil, err
	}
	if err := r.c.Err(); err != nil {
		return nil, errs.Errorf("redlock: acquire %q: %w", key, err)
	}
	if ctx.Err() != nil {
		return nil, errs.Errorf("redlock: acquire %q: %w", key, errs.Ended(ctx))
	}
	h.queue = req.Queue
	h.ask(req.First)
	if req.Sent != nil {
		req.Sent()
	}
	select {
	case <-h.settled:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		h.Abort(errs.Errorf("redlock: acquire %q: %w", key, errs.Ended(ctx)))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settled = nil
	if h.err != nil {
		return nil, h.err
	}
	if h.limit != nil {
		h.limit.said = nil
	}
	if h.handle != nil {
		h.handle = nil // used: a release frees the key
	}
	return h, nil
}

// Check is the error of a key or request that Acquire would refuse without asking the nodes. It matches cluster.ErrConfig.
func (r *Redlock) Check(key string, req Request) error {
	return r.check(key, r.completed(req))
}

// completed is req with what it leaves open.
func (r *Redlock) completed(req Request) Request {
	req.TTL, req.Owner, req.TokenBlock = cmp.Or(req.TTL, r.cfg.TTL), cmp.Or(req.Owner, r.cfg.Owner), cmp.Or(req.TokenBlock, 1)
	return req
}

func (r *Redlock) check(key string, req Request) error {
	err := errors.Join(r.checkKey(key), checkTTL("TTL", req.TTL, r.c.Config().MaxTTL))
	if req.Owner != r.cfg.Owner { // which was checked when it was configured
		err = errors.Join(err, checkOwner("Owner", req.Owner))
	}
	if req.Shared && req.Handle != nil {
		err = errors.Join(err, configerr.Field("Shared", "a key that was detached is attached as it was held; downgrade its lease"))
	}
	if req.TokenBlock < 1 || req.TokenBlock > MaxTokenBlock {
		err = errors.Join(err, configerr.Field("Request.TokenBlock", "%d is out of range; from 1 to %d", req.TokenBlock, MaxTokenBlock))
	}
	return errors.Join(err, checkLimit(req))
}

func (r *Redlock) newHold(key string, req Request) (*Hold, error) {
	req = r.completed(req)
	if err := r.check(key, req); err != nil {
		return nil, err
	}
	h := &Hold{
		r: r, key: key, lock: r.LockKey(key), value: r.newValue(req.Owner, req.Retains),
		block: int64(req.TokenBlock), ttl: req.TTL,
		settled: make(chan struct{}), members: make([]nodeState, len(r.c.Nodes())), handle: req.Handle,
		voting: &votingRound{fences: make([]int64, len(r.c.Nodes()))},
	}
	if req.Limit > 0 {
		h.limit = newLimited(req, len(h.members))
	}
	if req.Shared {
		h.shared.Store(true)
		h.block = 1
	}
	return h, nil
}

// ask sends the attempt to every node that can be asked. The time of the start is taken first, so that validity never
// counts time that a node did not.
func (h *Hold) ask(first bool) {
	start, native := time.Now(), uint64(0)
	if first && h.handle == nil && h.limit == nil && !h.Shared() {
		native = h.r.sightings.of(h.lock, start)
	}
	h.mu.Lock()
	h.voting.start = start
	for i := range h.members {
		h.members[i].inFlight = 1
	}
	h.mu.Unlock()
	var script, transaction nodeset.Command
	var to nodeset.Receiver = (*acquirer)(h)
	if h.limit != nil {
		to = (*slotAcquirer)(h)
	}
	if native != 0 {
		transaction = h.transaction()
	}
	for i, n := range h.r.c.Nodes() {
		switch {
		case h.over():
			h.take(n, false, grant{}, errUnasked)
		case native>>i&1 == 1 && n.Transacts() && n.FenceFloor() > 0:
			n.Send(transaction, (*nativeAcquirer)(h))
		default:
			if script.IsZero() {
				script = h.acquireCommand(start)
			}
			n.Send(script.WithTwo(n.FenceFloor(), h.queueWord(n)), to)
		}
	}
}

// errUnasked stands for the answer of a node that was not asked, because the attempt had failed by then.
var errUnasked = errors.New("not asked: the attempt had already failed")

func (h *Hold) over() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.phase == phaseFailed && !h.unclear
}

// acquirer receives the answers to acquire scripts.
type acquirer Hold

func (a *acquirer) Receive(n *nodeset.Node, reply any, err error) {
	h := (*Hold)(a)
	var granted bool
	var g grant
	if h.Shared() {
		granted, g, err = readShare(reply, err)
	} else {
		granted, g, err = readGrant(reply, err, h.block)
	}
	switch {
	case err == nil && h.Shared():
	case err == nil:
		h.sight(n, granted, g)
		if !granted && g.holder == sharedMark && h.queue && n.Listening() {
			h.announceOn(n)
		}
	case errors.Is(err, errFence):
		n.FenceUnusable(h.key)
	}
	h.take(n, granted, g, err)
}

// take counts a node's answer to the attempt, whichever way it was asked.
func (h *Hold) take(n *nodeset.Node, granted bool, g grant, err error) {
	var beyond error
	if granted {
		beyond = h.checkFence(n, g.fence)
	}
	h.mu.Lock()
	m := &h.members[n.Index()]
	switch {
	case errors.Is(err, errUnasked) || err != nil && nodeset.Unsent(err):
		h.landedLocked(m, Unasked, err)
	case err != nil:
		h.landedLocked(m, Failed, err)
	case granted:
		h.landedLocked(m, Granted, beyond)
		h.oursUntilLocked(h.ttl)
		m.vote = n.Counts() && beyond == nil && (h.phase == phaseVoting || h.unclear)
		h.limit.granted(n.Index(), g)
		if h.phase == phaseVoting {
			h.voting.fences[n.Index()] = g.fence
			h.waiters = max(h.waiters, g.waiters)
			h.queued = h.queued || g.queued
		}
	default:
		h.landedLocked(m, Refused, nil)
		m.say(lastReply{left: g.left, holder: g.holder})
		h.limit.refused(n.Index(), g)
	}
	elected := h.phase == phaseVoting && h.countLocked()
	if h.unclear {
		h.explainLocked()
	}
	h.mu.Unlock()
	if elected {
		h.sendBumps()
	}
	h.leaveOtherSlots()
	h.flush()
}

// countLocked looks whether the votes decide. It reports whether counters have to be bumped.
func (h *Hold) countLocked() (bump bool) {
	if h.limit != nil {
		return h.countSlotsLocked()
	}
	var buf [9]int64
	votes, open, quorum := buf[:0], 0, h.r.c.Quorum()
	for i := range h.members {
		switch m := &h.members[i]; {
		case m.result == Granted && m.vote:
			votes = append(votes, h.voting.fences[i])
		case m.result == Pending:
			open++
		}
	}
	switch {
	case len(votes) >= quorum:
		return h.electLocked(votes)
	case len(votes)+open < quorum:
		h.refuseLocked(len(votes))
	}
	return false
}

// electLocked finds the token among the votes of the first quorum. Grants that arrive later take no part.
func (h *Hold) electLocked(votes []int64) (bump bool) {
	m, exact := leading(votes)
	h.token = m
	h.voting.bumps = bumpTally{exact: int16(exact), pending: int16(len(votes) - exact)}
	if judge(h.r.c.Quorum(), exact, 0, len(votes)-exact) == settled {
		h.winLocked()
		return false
	}
	h.phase = phaseBumping
	return true
}

// winLocked makes the attempt a hold, unless its time is over already.
func (h *Hold) winLocked() {
	h.deadline = nodeset.Deadline(h.voting.start, h.ttl)
	if nodeset.Passed(h.deadline, time.Now()) {
		h.failLocked(h.notAcquiredLocked(tooLate, h.voting.bumps.standing()))
		return
	}
	h.tokens = h.block - 1
	h.token = h.limit.last(h.token) - h.tokens*h.limit.step()
	h.phase, h.voting = phaseHeld, nil
	close(h.settled)
}

// failLocked ends the attempt. What was granted, or may be, is owed back; what is pending is decided by its answer.
func (h *Hold) failLocked(err error) {
	h.abandonLocked(err)
	close(h.settled)
}

func (h *Hold) abandonLocked(err error) {
	h.phase, h.err, h.voting = phaseFailed, err, nil
	for i := range h.members {
		h.members[i].pendingRelease = h.members[i].mayHold()
	}
}

// Abort ends an attempt, or a hold, that nobody wants any more, and gives back what it has without waiting.
func (h *Hold) Abort(why error) {
	h.mu.Lock()
	switch h.phase {
	case phaseVoting, phaseBumping:
		h.failLocked(why)
	case phaseHeld:
		h.phase, h.err = phaseFailed, why
		h.endRoundLocked()
		for i := range h.members {
			h.members[i].pendingRelease = h.members[i].mayHold()
		}
	case phaseFailed:
		if h.unclear {
			h.unclear, h.err = false, why
			close(h.settled)
		}
	}
	h.mu.Unlock()
	h.flush()
}
