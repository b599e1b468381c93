package mutex

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// Request tweaks one attempt. Zero fields mean what Config says.
type Request struct {
	TTL        time.Duration
	Owner      string
	TokenBlock int // tokens to own, 1 to MaxTokenBlock; 0 means 1
	// Queue: take a place in the key's queue on each node that refuses and can send this process a message, until Leave
	// or Hold.Dequeue.
	Queue bool
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
	if tel != nil {
		tel.Attempted(ctx, key, began, RefusalClass(err))
	}
	return h, err
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
	h.ask(req.Queue)
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
	if req.TokenBlock < 1 || req.TokenBlock > MaxTokenBlock {
		err = errors.Join(err, fieldError("Request.TokenBlock", "%d is out of range; from 1 to %d", req.TokenBlock, MaxTokenBlock))
	}
	return err
}

func (r *Redlock) newHold(key string, req Request) (*Hold, error) {
	req = r.completed(req)
	if err := r.check(key, req); err != nil {
		return nil, err
	}
	return &Hold{
		r: r, key: key, lock: r.LockKey(key), value: r.newValue(req.Owner),
		block: int64(req.TokenBlock), ttl: req.TTL,
		settled: make(chan struct{}), members: make([]nodeState, len(r.c.Nodes())),
		voting: &votingRound{fences: make([]int64, len(r.c.Nodes()))},
	}, nil
}

// ask sends the attempt to every node that can be asked. The time of the start is taken first, so that validity never
// counts time that a node did not.
func (h *Hold) ask(queue bool) {
	start := time.Now()
	h.mu.Lock()
	h.voting.start = start
	for i := range h.members {
		h.members[i].inFlight = 1
	}
	h.mu.Unlock()
	cmd := h.acquireCommand(start)
	for _, n := range h.r.c.Nodes() {
		if h.over() {
			(*acquirer)(h).Receive(n, nil, errUnasked)
			continue
		}
		n.Send(cmd.WithTwo(n.FenceFloor(), oneIf(queue && n.Listening())), (*acquirer)(h))
	}
}

// errUnasked stands for the answer of a node that was not asked, because the attempt had failed by then.
var errUnasked = errors.New("not asked: the attempt had already failed")

func (h *Hold) over() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.phase == phaseFailed && !h.unclear
}

// acquirer takes in the answers to an attempt.
type acquirer Hold

func (a *acquirer) Receive(n *cluster.Node, reply any, err error) {
	h := (*Hold)(a)
	granted, words, err := readGrant(reply, err, h.block)
	var beyond error
	switch {
	case granted:
		beyond = h.checkFence(n, words.number)
	case errors.Is(err, errFence):
		n.FenceUnusable(h.key)
	}
	h.mu.Lock()
	m := &h.members[n.Index()]
	switch {
	case errors.Is(err, errUnasked) || err != nil && cluster.Unsent(err):
		h.landedLocked(m, Unasked, err)
	case err != nil:
		h.landedLocked(m, Failed, err)
	case granted:
		h.landedLocked(m, Granted, beyond)
		h.oursUntilLocked(h.ttl)
		m.vote = n.Counts() && beyond == nil && (h.phase == phaseVoting || h.unclear)
		if h.phase == phaseVoting {
			h.voting.fences[n.Index()] = words.number
			h.waiters = max(h.waiters, words.waiters)
		}
	default:
		h.landedLocked(m, Refused, nil)
		m.say(lastReply{left: time.Duration(words.number) * time.Millisecond, holder: words.holder})
	}
	elected := h.phase == phaseVoting && h.countLocked()
	if h.unclear {
		h.explainLocked()
	}
	h.mu.Unlock()
	if elected {
		h.sendBumps()
	}
	h.flush()
}

// countLocked looks whether the votes decide. It reports whether counters have to be bumped.
func (h *Hold) countLocked() (bump bool) {
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
	h.deadline = cluster.Deadline(h.voting.start, h.ttl)
	if cluster.Passed(h.deadline, time.Now()) {
		h.failLocked(h.notAcquiredLocked(tooLate, h.voting.bumps.standing()))
		return
	}
	h.tokens = h.block - 1
	h.token -= h.tokens
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

// grant is a parsed reply of the acquire script.
type grant struct {
	number  int64 // the fence, or how many ms are left of the holder's TTL
	waiters int
	holder  string
}

// readGrant reads a reply. Whatever does not look exactly like a grant is none.
func readGrant(reply any, err error, block int64) (granted bool, g grant, _ error) {
	if err != nil {
		if !cluster.Unsent(err) && strings.Contains(err.Error(), "WRONGTYPE") {
			err = wrongTypeError{err}
		}
		return false, g, fenceRefused(err)
	}
	words, ok := reply.([]any)
	if !ok || len(words) != 3 {
		return false, g, badReply("acquire", reply)
	}
	kind, ok1 := words[0].(int64)
	number, ok2 := words[1].(int64)
	if !ok1 || !ok2 {
		return false, g, badReply("acquire", reply)
	}
	g.number = number
	switch kind {
	case 1:
		waiters, ok := words[2].(int64)
		if !ok || number < block || number >= maxFence {
			return false, g, badReply("acquire", reply)
		}
		g.waiters = int(min(max(waiters, 0), 1<<20))
		return true, g, nil
	case 0:
		if g.holder, ok = words[2].(string); !ok {
			return false, g, badReply("acquire", reply)
		}
		if number == -2 { // PTTL of no key: where time goes on during a script, as on embedded nodes, it expired just then
			number = 0
		}
		g.number = min(max(number, -1), 1<<40)
		return false, g, nil
	}
	return false, g, badReply("acquire", reply)
}

// badReply names the type only: a reply may hold another's value.
func badReply(op string, reply any) error {
	return fmt.Errorf("unexpected reply to %s (%T); is something else answering at this address?", op, reply)
}

// bumpTally counts the answers to a bump.
type bumpTally struct{ exact, owned, pending int16 }

// standing is how many nodes are known to stand behind the token.
func (t *bumpTally) standing() int { return int(t.exact + t.owned) }

// sendBumps lifts the counters that reported less than the token, on the nodes that decided.
func (h *Hold) sendBumps() {
	keys := namesOf(h.lock)
	for i, n := range h.r.c.Nodes() {
		h.mu.Lock()
		m := &h.members[i]
		below := h.phase == phaseBumping && m.vote && h.voting.fences[i] < h.token
		token := h.token
		h.mu.Unlock()
		if below {
			n.Run(bumpFenceScript, keys[:], []any{h.value, token, millis(h.r.cfg.FenceRetention)}, (*bumper)(h))
		}
	}
}

// bumper takes in the answers to a bump.
type bumper Hold

func (a *bumper) Receive(_ *cluster.Node, reply any, err error) {
	h := (*Hold)(a)
	h.mu.Lock()
	if h.phase == phaseBumping {
		t := &h.voting.bumps
		t.pending--
		if err == nil && reply == int64(1) {
			t.owned++
		}
		switch judge(h.r.c.Quorum(), int(t.exact), int(t.owned), int(t.pending)) {
		case settled:
			h.winLocked()
		case impossible:
			h.failLocked(h.notAcquiredLocked(unsettled, t.standing()))
		}
	}
	h.mu.Unlock()
	h.flush()
}
