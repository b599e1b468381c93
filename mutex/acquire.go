package mutex

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// Request tweaks one attempt. Zero fields mean what Config says.
type Request struct {
	TTL   time.Duration
	Owner string
	Span  int // tokens to own, 1 to MaxSpan; 0 means 1
	// Queue: stand in line for the key, on each node that refuses and can send this process a message, until Leave or
	// Hold.StepOut.
	Queue bool
}

// Acquire makes one attempt on all nodes at once and returns as soon as a quorum granted the key, or no longer can. It
// never waits for the key to come free. The error is
//
//	*NotAcquiredError      somebody else has it, or several attempts split the votes
//	*cluster.QuorumError   too few nodes answered to tell
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
		h.GiveUp(errs.Errorf("redlock: acquire %q: %w", key, errs.Ended(ctx)))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settled = nil
	if h.err != nil {
		return nil, h.err
	}
	return h, nil
}

func (r *Redlock) newHold(key string, req Request) (*Hold, error) {
	if req.TTL == 0 {
		req.TTL = r.cfg.TTL
	}
	if req.Owner == "" {
		req.Owner = r.cfg.Owner
	}
	if req.Span == 0 {
		req.Span = 1
	}
	err := errors.Join(r.CheckKey(key), checkTTL("TTL", req.TTL, r.c.Config().MaxTTL), checkOwner("Owner", req.Owner))
	if req.Span < 1 || req.Span > MaxSpan {
		err = errors.Join(err, fieldError("Request.Span", "%d is out of range; from 1 to %d", req.Span, MaxSpan))
	}
	if err != nil {
		return nil, err
	}
	return &Hold{
		r: r, key: key, lock: r.LockKey(key), value: r.newValue(req.Owner),
		span: int64(req.Span), ttl: req.TTL,
		settled: make(chan struct{}), members: make([]member, len(r.c.Nodes())),
		ballot: &ballot{fences: make([]int64, len(r.c.Nodes()))},
	}, nil
}

// ask sends the attempt to every node that can be asked. The time of the start is taken first, so that validity never
// counts time that a node did not.
func (h *Hold) ask(queue bool) {
	start := time.Now()
	h.mu.Lock()
	h.ballot.start = start
	for i := range h.members {
		h.members[i].flying = 1
	}
	h.mu.Unlock()
	cmd := h.acquireCommand(start)
	for _, n := range h.r.c.Nodes() {
		if h.over() {
			(*acquirer)(h).Receive(n, nil, errUnasked)
			continue
		}
		n.Send(cmd.WithTwo(n.BootFloor(), oneIf(queue && n.Listening())), (*acquirer)(h))
	}
}

// errUnasked stands for the answer of a node that was not asked, because the attempt had failed by then.
var errUnasked = errors.New("not asked: the attempt had already failed")

func (h *Hold) over() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.phase == phaseFailed
}

// acquirer takes in the answers to an attempt.
type acquirer Hold

func (a *acquirer) Receive(n *cluster.Node, reply any, err error) {
	h := (*Hold)(a)
	granted, words, err := readGrant(reply, err, h.span)
	h.mu.Lock()
	m := &h.members[n.Index()]
	switch {
	case errors.Is(err, errUnasked) || err != nil && cluster.Unsent(err):
		h.landedLocked(m, Unasked, err)
	case err != nil:
		h.landedLocked(m, Failed, err)
	case granted:
		h.landedLocked(m, Granted, nil)
		h.oursUntilLocked(h.ttl)
		if h.phase == phaseVoting {
			m.vote = n.Counts()
			h.ballot.fences[n.Index()] = words.number
			h.waiters = max(h.waiters, words.waiters)
		}
	default:
		h.landedLocked(m, Refused, nil)
		m.say(said{left: time.Duration(words.number) * time.Millisecond, holder: words.holder})
	}
	elected := h.phase == phaseVoting && h.countLocked()
	h.mu.Unlock()
	if elected {
		h.sendRaises()
	}
	h.flush()
}

// countLocked looks whether the votes decide. It reports whether counters have to be raised.
func (h *Hold) countLocked() (raise bool) {
	var buf [9]int64
	votes, open, quorum := buf[:0], 0, h.r.c.Quorum()
	for i := range h.members {
		switch m := &h.members[i]; {
		case m.result == Granted && m.vote:
			votes = append(votes, h.ballot.fences[i])
		case m.result == Pending:
			open++
		}
	}
	switch {
	case len(votes) >= quorum:
		return h.electLocked(votes)
	case len(votes)+open < quorum:
		h.failLocked(h.refusalLocked(len(votes)))
		h.outvoted = h.outvotedLocked()
	}
	return false
}

// electLocked finds the token among the votes of the first quorum. Grants that arrive later take no part.
func (h *Hold) electLocked(votes []int64) (raise bool) {
	m, exact := leading(votes)
	h.token = m
	h.ballot.raise = raiseTally{exact: int16(exact), pending: int16(len(votes) - exact)}
	if judge(h.r.c.Quorum(), exact, 0, len(votes)-exact) == settled {
		h.winLocked()
		return false
	}
	h.phase = phaseRaising
	return true
}

// winLocked makes the attempt a hold, unless its time is over already.
func (h *Hold) winLocked() {
	h.deadline = cluster.Deadline(h.ballot.start, h.ttl)
	if cluster.Passed(h.deadline, time.Now()) {
		h.failLocked(h.notAcquiredLocked(tooLate, h.ballot.raise.standing()))
		return
	}
	h.tokens = h.span - 1
	h.token -= h.tokens
	h.phase, h.ballot = phaseHeld, nil
	close(h.settled)
}

// failLocked ends the attempt. What was granted, or may be, is owed back; what is pending is decided by its answer.
func (h *Hold) failLocked(err error) {
	h.phase, h.err, h.ballot = phaseFailed, err, nil
	for i := range h.members {
		h.members[i].owes = h.members[i].mayHold()
	}
	close(h.settled)
}

// GiveUp ends an attempt, or a hold, that nobody wants any more, and gives back what it has without waiting.
func (h *Hold) GiveUp(why error) {
	h.mu.Lock()
	switch h.phase {
	case phaseVoting, phaseRaising:
		h.failLocked(why)
	case phaseHeld:
		h.phase, h.err = phaseFailed, why
		h.endRoundLocked()
		for i := range h.members {
			h.members[i].owes = h.members[i].mayHold()
		}
	}
	h.mu.Unlock()
	h.flush()
}

// refusalLocked says why a quorum cannot be had: others have the key, or too few nodes answer.
func (h *Hold) refusalLocked(votes int) error {
	answered, quarantined, taken := 0, 0, 0
	var mute []cluster.NodeError
	for i, n := range h.r.c.Nodes() {
		switch m := &h.members[i]; {
		case m.result == Refused || m.result == Granted && m.vote:
			answered++
		case m.result == Granted:
			quarantined++
			mute = append(mute, cluster.NodeError{Node: n.Name(), Err: errQuarantine})
		case m.last().err != nil:
			mute = append(mute, cluster.NodeError{Node: n.Name(), Err: m.last().err})
			if errors.As(m.last().err, new(wrongTypeError)) {
				taken++
			}
		}
	}
	if len(h.members)-taken < h.r.c.Quorum() {
		return fieldError("key", "%q can not be locked: %d nodes hold something else under this name, such as a list; "+
			"delete it there, or choose another key or Config.Prefix", h.key, taken)
	}
	if quorum := h.r.c.Quorum(); len(h.members)-len(mute) < quorum {
		e := &cluster.QuorumError{Op: "acquire", Key: h.key, Need: quorum, Got: answered, Nodes: mute, NotVoting: quarantined}
		if quarantined > 0 {
			e.VotesIn = max(h.r.c.QuorumIn(), 0)
		}
		return e
	}
	return h.notAcquiredLocked("", votes)
}

// wrongTypeError is the answer of a node on which the key, or one that belongs to it, is no string, or no queue of ours.
type wrongTypeError struct{ reply error }

func (wrongTypeError) Error() string   { return "holds something else than a lock under this key" }
func (e wrongTypeError) Unwrap() error { return e.reply }

var errQuarantine = errors.New("restarted lately and may have forgotten locks; its vote does not count yet")

func (h *Hold) notAcquiredLocked(reason string, votes int) *NotAcquiredError {
	e := &NotAcquiredError{Key: h.key, Need: h.r.c.Quorum(), Got: votes, Reason: reason, Answers: h.answersLocked()}
	e.Holder = holderOf(e.Answers)
	e.FreeIn, e.Split = h.outlookLocked()
	if reason == "" {
		e.Reason = "held by another"
		if e.Split {
			e.Reason = "several attempts have parts of it"
		}
	}
	return e
}

// outlookLocked works out when a quorum could be free. Nodes that refused become free when their key expires; the others
// are taken to be free. If no one holder has so many nodes that a quorum could not be had without it, the attempts
// have split the votes, and the TTLs say nothing: the others are about to give back what they have.
func (h *Hold) outlookLocked() (freeIn time.Duration, split bool) {
	var lefts []time.Duration
	most, quorum := 0, h.r.c.Quorum()
	for i := range h.members {
		m := &h.members[i]
		if m.result != Refused {
			continue
		}
		same := 0
		for j := range h.members {
			if h.members[j].result == Refused && h.members[j].last().holder == m.last().holder {
				same++
			}
		}
		most = max(most, same)
		lefts = append(lefts, m.last().left)
	}
	needed := quorum - (len(h.members) - len(lefts)) // so many of the refusing nodes have to come free
	if needed <= 0 {
		return 0, true
	}
	slices.SortFunc(lefts, func(a, b time.Duration) int {
		switch { // what is not known sorts last
		case a < 0 && b < 0 || a == b:
			return 0
		case a < 0:
			return 1
		case b < 0:
			return -1
		case a < b:
			return -1
		}
		return 1
	})
	return lefts[needed-1], len(h.members)-most >= quorum
}

// The reasons of attempts that failed although nobody else has the key.
const (
	tooLate   = "the answers came too late"
	unsettled = "it expired on too many nodes before its token was settled"
)

// grant is a parsed reply of the acquire script.
type grant struct {
	number  int64 // the fence, or how many ms are left of the holder's TTL
	waiters int
	holder  string
}

// readGrant reads a reply. Whatever does not look exactly like a grant is none.
func readGrant(reply any, err error, span int64) (granted bool, g grant, _ error) {
	if err != nil {
		if !cluster.Unsent(err) && strings.Contains(err.Error(), "WRONGTYPE") {
			err = wrongTypeError{err}
		}
		return false, g, err
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
		if !ok || number < span || number >= 1<<53 {
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

// raiseTally counts the answers to a raise.
type raiseTally struct{ exact, owned, pending int16 }

// standing is how many nodes are known to stand behind the token.
func (t *raiseTally) standing() int { return int(t.exact + t.owned) }

// sendRaises lifts the counters that reported less than the token, on the nodes that decided.
func (h *Hold) sendRaises() {
	keys := namesOf(h.lock)
	for i, n := range h.r.c.Nodes() {
		h.mu.Lock()
		m := &h.members[i]
		below := h.phase == phaseRaising && m.vote && h.ballot.fences[i] < h.token
		token := h.token
		h.mu.Unlock()
		if below {
			n.Run(raiseScript, keys[:], []any{h.value, token, millis(h.r.cfg.FenceRetention)}, (*raiser)(h))
		}
	}
}

// raiser takes in the answers to a raise.
type raiser Hold

func (a *raiser) Receive(_ *cluster.Node, reply any, err error) {
	h := (*Hold)(a)
	h.mu.Lock()
	if h.phase == phaseRaising {
		t := &h.ballot.raise
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
