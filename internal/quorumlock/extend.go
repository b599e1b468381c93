package quorumlock

import (
	"context"
	"errors"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// Verdict is how a round of extension ended.
type Verdict uint8

const (
	Extended  Verdict = iota // a quorum owned the key: the deadline has moved
	Undecided                // too many nodes were silent: the deadline stands, try again
	Over                     // the key is gone or another's on so many nodes that a quorum is impossible
	Late                     // the answers came after the old deadline
)

func (v Verdict) String() string { return [...]string{"extended", "undecided", "over", "late"}[v] }

// Extend asks every node to keep the key for ttl from now on, and calls settle once, when the round is decided, on a
// goroutine that must not be blocked (or on the caller's). A node that had lost the key is given it again; it counts
// from the next round on, never in the round that healed it, because somebody else may have held it in between.
// A hold that a round found to be over is not revived by a later one, though its nodes are healed: somebody else may have
// had the key, and a larger token, in between.
// A round that begins before this one was settled takes its place; this one is undecided then. On a hold that is
// released, settle is not called.
func (h *Hold) Extend(ttl time.Duration, settle func(Verdict)) {
	var box Outbox
	h.ExtendIn(&box, ttl, settle)
	box.Send()
}

// ExtendIn is Extend without sending: the requests leave when box is sent, which must be soon.
func (h *Hold) ExtendIn(box *Outbox, ttl time.Duration, settle func(Verdict)) {
	h.extend(box, &extension{h: h, ttl: ttl, start: time.Now(), settle: settle, over: make(chan struct{})})
}

// extend reports whether the round has begun.
func (h *Hold) extend(box *Outbox, e *extension) bool {
	ask, ok := h.begin(e, false)
	shared := h.Shared()
	cmd := h.extendCommand(e.ttl)
	for _, n := range ask {
		if shared {
			cmd = releaseOn(n, cmd)
		}
		box.add(n, letter{cmd, e})
	}
	return ok
}

// extendCommand is the command of a renewal.
func (h *Hold) extendCommand(ttl time.Duration) nodeset.Command {
	switch {
	case h.limit != nil:
		return h.limit.extendCommand(h, ttl)
	case h.Shared():
		return h.shareExtendCommand(ttl)
	}
	return extendScript.Command([]string{h.lock}, &h.value, h.r.keptFor(ttl))
}

// begin makes e the hold's round and returns the nodes to ask: all, or those on
// which nothing is in flight. The others are stuck or slow, and another request
// would only queue up behind; a round with askLate is asked of them when that has
// landed. ok is false if the hold is held no more: a renewal must not take the
// place of a detach, which asks all, either.
//
// What was found against a round that is replaced counts against e as well, also if
// it is answered later: a node that the one healed is owned by the next.
func (h *Hold) begin(e *extension, all bool) (ask []*nodeset.Node, ok bool) {
	h.mu.Lock()
	if h.phase != phaseHeld || h.detaching && !all {
		h.mu.Unlock()
		return nil, false
	}
	if h.lost {
		h.mu.Unlock()
		e.settle(Over)
		return nil, true
	}
	replaced := h.round
	h.round, h.writers = e, false
	if until := nodeset.Deadline(e.start, e.ttl); until.Before(h.deadline) {
		h.deadline = until // a shorter TTL may take effect even if the round does not
	}
	ask = make([]*nodeset.Node, 0, len(h.members))
	for i, n := range h.r.c.Nodes() {
		m := &h.members[i]
		m.against, m.askLate = m.against && replaced != nil, false
		switch {
		case all || m.inFlight == 0:
			ask = append(ask, n)
			m.inFlight++
			m.detached = m.detached || h.detaching
		case e.askLate != nil:
			m.askLate = true
			e.open++
		}
	}
	e.open += len(ask)
	verdict, decided := e.judgeLocked(time.Now())
	h.mu.Unlock()
	if replaced != nil {
		replaced.settle(Undecided)
	}
	if decided {
		e.settle(verdict)
	}
	return ask, true
}

// askLateLocked takes out the nodes that the round under way has yet to ask, and on
// which nothing is in flight any more.
func (h *Hold) askLateLocked() (ask func(*nodeset.Node), due []*nodeset.Node) {
	for i := range h.members {
		m := &h.members[i]
		if !m.askLate || m.inFlight > 0 {
			continue
		}
		m.askLate = false
		if h.round != nil && h.round.askLate != nil {
			m.inFlight++
			ask, due = h.round.askLate, append(due, h.r.c.Nodes()[i])
		}
	}
	return ask, due
}

// endRoundLocked ends the round that is under way, if any, because the hold is over. h.mu must be held.
func (h *Hold) endRoundLocked() {
	if h.round != nil {
		close(h.round.over)
		h.round = nil
	}
}

// extension is one round. It is under way while it is its hold's round.
type extension struct {
	h      *Hold
	ttl    time.Duration
	start  time.Time
	settle func(Verdict)
	over   chan struct{} // closed if the hold is over before the round is settled

	askLate func(*nodeset.Node) // asks a node on which something was in flight; nil: it is not asked

	// Guarded by h.mu.
	owned, open int
}

func (e *extension) Receive(n *nodeset.Node, reply any, err error) {
	h := e.h
	var result Result
	var holder string
	var writers bool
	if h.Shared() {
		result, holder, writers, err = readShareExtension(reply, err)
	} else {
		result, holder, err = readExtension(reply, err)
	}
	h.mu.Lock()
	h.writers = h.writers || writers
	m := &h.members[n.Index()]
	if err != nil && nodeset.Unsent(err) && m.result != Failed {
		h.landedLocked(m, m.result, err) // it was not asked: what was known of it still is
	} else {
		h.landedLocked(m, result, err)
	}
	if holder != "" {
		m.say(lastReply{holder: holder})
	}
	if result == Granted || result == Healed {
		h.oursUntilLocked(e.ttl)
	}
	m.forgot = m.forgot || result == Healed
	e.open--
	switch {
	case err != nil:
	case result == Granted && n.Counts() && !m.against:
		e.owned++
	case result == Granted: // and does not count, so it speaks neither for nor against
	default:
		m.against = true
	}
	round := h.round // which has taken e's place, maybe
	var verdict Verdict
	var decided bool
	if round != nil {
		verdict, decided = round.judgeLocked(time.Now())
	}
	h.mu.Unlock()
	if decided {
		round.settle(verdict)
	}
	h.flush()
}

func (e *extension) judgeLocked(now time.Time) (v Verdict, decided bool) {
	h, quorum, against := e.h, e.h.r.c.Quorum(), 0
	for i := range h.members {
		if h.members[i].against {
			against++
		}
	}
	switch {
	case e.owned >= quorum && nodeset.Passed(h.deadline, now):
		v = Late
	case e.owned >= quorum:
		v = Extended
		h.ttl = e.ttl
		h.deadline = nodeset.Deadline(e.start, e.ttl)
	case len(h.members)-against < quorum:
		v, h.lost = Over, true
	case e.open == 0:
		v = Undecided
	default:
		return 0, false
	}
	h.round = nil
	return v, true
}

// readExtension reads a reply of the extend script. Whatever does not look exactly like "owned" is not.
func readExtension(reply any, err error) (r Result, holder string, _ error) {
	if err != nil {
		return Failed, "", err
	}
	words, _ := reply.([]any)
	switch {
	case len(words) == 1 && words[0] == any(int64(1)):
		return Granted, "", nil
	case len(words) == 1 && words[0] == any(int64(2)):
		return Healed, "", nil
	case len(words) == 2 && words[0] == any(int64(0)):
		if holder, ok := words[1].(string); ok {
			return Refused, holder, nil
		}
	}
	return Failed, "", badReply("extend", reply)
}

// Forgot is the nodes that had lost the key, and were given it again by a round, since Forgot was called last: what else
// they were told they may have lost as well.
func (h *Hold) Forgot() []*nodeset.Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	var nodes []*nodeset.Node
	for i, n := range h.r.c.Nodes() {
		if h.members[i].forgot {
			h.members[i].forgot = false
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// ExtendNow runs one round and waits for it, at most until ctx ends or the deadline passes. It returns nil when the
// deadline moved, a *LostError when the hold is over, ErrReleased when it is released, also meanwhile, ctx.Err() in the
// chain when ctx ended first, and otherwise a *cluster.QuorumError: the hold still stands.
func (h *Hold) ExtendNow(ctx context.Context, ttl time.Duration) error {
	if err := checkTTL("TTL", ttl, h.r.c.Config().MaxTTL); err != nil {
		return err
	}
	return h.roundNow(ctx, "extend", ttl, func(e *extension) bool {
		var box Outbox
		defer box.Send()
		return h.extend(&box, e)
	})
}

// roundNow is ExtendNow for a round that begins with ask.
func (h *Hold) roundNow(ctx context.Context, op string, ttl time.Duration, ask func(*extension) (begun bool)) error {
	if ctx.Err() != nil {
		return errs.Errorf("redlock: %s %q: %w", op, h.key, errs.Ended(ctx))
	}
	h.mu.Lock()
	deadline, held := h.deadline, h.phase == phaseHeld
	h.mu.Unlock()
	if held && nodeset.Passed(deadline, time.Now()) {
		return h.Lost(Expired)
	}
	verdict := make(chan Verdict, 1)
	e := &extension{h: h, ttl: ttl, start: time.Now(), settle: func(v Verdict) { verdict <- v }, over: make(chan struct{})}
	if !ask(e) {
		return errs.Errorf("redlock: %s %q: %w", op, h.key, ErrReleased)
	}
	expired := time.NewTimer(nodeset.Left(deadline, time.Now()))
	defer expired.Stop()
	select {
	case v := <-verdict:
		switch v {
		case Extended:
			return nil
		case Over:
			return h.Lost(h.WhyOver())
		case Late:
			return h.Lost(Expired)
		}
		return h.silent(op, func(m *nodeState) bool { return m.result == Granted })
	case <-e.over:
		return errs.Errorf("redlock: %s %q: %w", op, h.key, ErrReleased)
	case <-expired.C:
		return h.Lost(Expired)
	case <-ctx.Done():
		return errs.Errorf("redlock: %s %q: %w", op, h.key, errs.Ended(ctx))
	}
}

var errUnanswered = errors.New("an earlier request is not answered yet")

// silent is the error of a step to which too few nodes gave an answer that counts.
func (h *Hold) silent(op string, counts func(*nodeState) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := &nodeset.QuorumError{Op: op, Key: h.key, Need: h.r.c.Quorum()}
	for i, n := range h.r.c.Nodes() {
		switch m := &h.members[i]; {
		case m.last().err != nil:
			e.Nodes = append(e.Nodes, nodeset.NodeError{Node: n.Name(), Err: m.last().err})
		case m.inFlight > 0:
			e.Nodes = append(e.Nodes, nodeset.NodeError{Node: n.Name(), Err: errUnanswered})
		case counts(m):
			e.Got++
		}
	}
	return e
}
