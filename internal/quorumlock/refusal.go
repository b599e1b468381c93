package quorumlock

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// How an attempt that cannot win ends, and what its error says.

// refuseLocked ends an attempt that can no longer win. Its grants are released
// at once, and its error is returned when the answers distinguish a holder from
// a split vote.
//
// Without a quorum of votes its release reserves nothing: that would wake this
// process, which may be the first in the queue, to fail once more. If the
// reason is grants that do not count, the attempt kept the key from others whose
// grants may count: this process leaves the queue, and the release wakes the
// next one.
func (h *Hold) refuseLocked(votes int) {
	h.abandonLocked(h.refusalLocked(votes))
	if errors.As(h.err, new(*NotAcquiredError)) {
		h.outvoted = h.outvotedLocked()
		if h.limit != nil {
			h.limit.requeue = h.queue
		}
		h.explainLocked()
		return
	}
	h.uncounted = slices.ContainsFunc(h.members, func(m nodeState) bool { return m.result == Granted && !m.vote })
	h.outvoted = !h.uncounted
	close(h.settled)
}

// Uncounted reports whether an attempt failed with err because grants of nodes
// do not count: the nodes restarted recently, or their fence counters are
// beyond this machine's clock. A notification from a node does not change that.
func Uncounted(err error) bool {
	return errors.As(err, new(*nodeset.QuorumError)) && (errors.Is(err, errQuarantine) || errors.Is(err, errFence))
}

// explainLocked settles an attempt that was refused, unless pending answers can
// still change whether one holder has a quorum. With an even number of nodes,
// half of them are enough to refuse an attempt and too few to hold the key: two
// attempts with one half each must learn that nobody holds it, or they would
// wait for each other. If no single holder can have a quorum, no answer is
// awaited: that is a split vote whatever the answers are.
func (h *Hold) explainLocked() {
	votes, open := 0, 0
	for i := range h.members {
		switch m := &h.members[i]; {
		case m.result == Granted && m.vote:
			votes++
		case m.result == Pending:
			open++
		}
	}
	most, quorum := h.mostLocked(true), h.r.c.Quorum()
	h.unclear = most < quorum && most+open >= quorum && len(h.members)-most < quorum
	if h.limit != nil {
		_, votes = h.limit.leader(h)
		h.unclear = h.limit.unclear(h, open)
	}
	h.err = h.refusalLocked(votes)
	if !h.unclear {
		close(h.settled)
	}
}

// outvotedLocked reports whether an attempt that was refused may have less than a quorum of the nodes. Others that they
// refused know that the votes were split, and look again without being woken. A wake for so little is of no use, because
// the woken process is outvoted in turn and wakes the next; and two that have a half each would reserve them for each
// other for ever.
func (h *Hold) outvotedLocked() bool {
	if h.limit != nil { // votes for several slots do not add up
		return true
	}
	own := 0
	for i := range h.members {
		if h.members[i].mayHold() {
			own++
		}
	}
	return own < h.r.c.Quorum()
}

// refusalLocked says why there is no quorum of votes: others hold the key, or too few nodes answer.
func (h *Hold) refusalLocked(votes int) error {
	answered, quarantined, taken, denied := 0, 0, 0, 0
	var denial error
	var mute []nodeset.NodeError
	for i, n := range h.r.c.Nodes() {
		switch m := &h.members[i]; {
		case m.result == Refused || m.result == Granted && m.vote:
			answered++
		case m.result == Granted && m.last().err == nil:
			quarantined++
			mute = append(mute, nodeset.NodeError{Node: n.Name(), Err: errQuarantine})
		case m.last().err != nil:
			mute = append(mute, nodeset.NodeError{Node: n.Name(), Err: m.last().err})
			if errors.As(m.last().err, new(wrongTypeError)) {
				taken++
			}
			if strings.HasPrefix(m.last().err.Error(), "NOPERM") {
				denied, denial = denied+1, m.last().err
			}
		}
	}
	if len(h.members)-denied < h.r.c.Quorum() {
		return configerr.Field("user", "%d nodes deny this user a command or the key %q (%v); grant it the rights that cluster.Rights lists", denied, h.key, denial)
	}
	if len(h.members)-taken < h.r.c.Quorum() {
		return configerr.Field("key", "%q cannot be locked: %d nodes hold something other than a lock under this name, such as a list; "+
			"delete it there, or choose another key or Config.Prefix", h.key, taken)
	}
	if quorum := h.r.c.Quorum(); len(h.members)-len(mute) < quorum {
		e := &nodeset.QuorumError{Op: "acquire", Key: h.key, Need: quorum, Got: answered, Nodes: mute, NotVoting: quarantined}
		if quarantined > 0 {
			e.VotesIn = max(h.r.c.QuorumIn(), 0)
		}
		return e
	}
	if err := h.otherLimitLocked(); err != nil {
		return err
	}
	return h.notAcquiredLocked(Reason{}, votes)
}

// wrongTypeError is the answer of a node on which the key is not a string, or a
// companion has another type.
type wrongTypeError struct{ reply error }

func (wrongTypeError) Error() string   { return "holds something other than a lock under this key" }
func (e wrongTypeError) Unwrap() error { return e.reply }

var errQuarantine = errors.New("restarted recently and may have lost locks; its vote does not count yet")

func (h *Hold) notAcquiredLocked(why Reason, votes int) *NotAcquiredError {
	e := &NotAcquiredError{Key: h.key, Need: h.r.c.Quorum(), Got: votes, Answers: h.answersLocked()}
	e.Holder = holderOf(e.Answers)
	e.retained = slices.ContainsFunc(h.members, func(m nodeState) bool { return m.result == Refused && retains(m.last().holder) })
	e.FreeIn, e.Split = h.outlookLocked()
	if h.limit != nil {
		h.limit.outlook(h, e)
	}
	e.readers = !e.Split && h.mostLocked(true) >= e.Need && h.mostLocked(false) < e.Need
	switch {
	case why != Reason{}:
	case e.Split:
		why = split
	case h.handle != nil:
		why = handleOver
	case h.limit != nil && h.limit.fullLocked(h):
		why = Reason{ClassHeld, fmt.Sprintf("all slots of Limit(%d) are taken", h.limit.n)}
	default:
		why = heldByAnother
	}
	e.Class, e.Reason = why.Class, why.Text
	return e
}

// outlookLocked works out when a quorum could be free. Nodes that refused
// become free when their key expires; the others are taken to be free. If no
// one holder has a quorum of the nodes, the attempts have split the votes, and
// the TTLs say nothing: the others are about to release their nodes.
func (h *Hold) outlookLocked() (freeIn time.Duration, split bool) {
	var lefts []time.Duration
	quorum := h.r.c.Quorum()
	for i := range h.members {
		if m := &h.members[i]; m.result == Refused {
			lefts = append(lefts, m.last().left)
		}
	}
	needed := quorum - (len(h.members) - len(lefts)) // so many of the refusing nodes have to come free
	if needed <= 0 {
		return 0, true
	}
	slices.SortFunc(lefts, unknownLast)
	return lefts[needed-1], h.mostLocked(true) < quorum
}

// unknownLast compares times that are left, of which negative ones are not known.
func unknownLast(a, b time.Duration) int {
	if (a < 0) != (b < 0) {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(max(a, 0), max(b, 0))
}

// mostLocked is how many nodes refused in favour of the same holder, the one with the most of them. readers says that the
// readers of all nodes count as one.
func (h *Hold) mostLocked(readers bool) (most int) {
	for i := range h.members {
		holder, same := h.members[i].last().holder, 0
		if holder == sharedMark && !readers {
			continue
		}
		for j := range h.members {
			if h.members[i].result == Refused && h.members[j].result == Refused && h.members[j].last().holder == holder {
				same++
			}
		}
		most = max(most, same)
	}
	return most
}
