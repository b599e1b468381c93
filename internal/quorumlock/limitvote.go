package quorumlock

import (
	"errors"
	"math/rand"
	"slices"
	"time"
)

// How the votes for the slots of a key are counted, and what a refusal says.

// granted takes in which slot a node granted.
func (l *limited) granted(node int, g grant) {
	if l == nil {
		return
	}
	l.slots[node] = int16(g.slot)
	l.refused(node, g)
}

// refused takes in what a node says of its slots.
func (l *limited) refused(node int, g grant) {
	if l != nil && l.said != nil {
		l.said[node] = slotsSaid{g.slots, g.left}
	}
}

// countSlotsLocked is countLocked for a key with a limit: the votes for one slot
// decide.
func (h *Hold) countSlotsLocked() (bump bool) {
	open, quorum := 0, h.r.c.Quorum()
	for i := range h.members {
		if h.members[i].result == Pending {
			open++
		}
	}
	switch slot, votes := h.limit.leader(h); {
	case votes >= quorum:
		return h.electSlotLocked(slot)
	case votes+open < quorum:
		h.refuseLocked(votes)
	}
	return false
}

// leader is the slot with the most votes.
func (l *limited) leader(h *Hold) (slot int16, votes int) {
	for i := range h.members {
		same := 0
		for j := range h.members {
			if m := &h.members[j]; m.result == Granted && m.vote && l.slots[j] == l.slots[i] {
				same++
			}
		}
		if same > votes {
			slot, votes = l.slots[i], same
		}
	}
	return slot, votes
}

// electSlotLocked settles on a slot.
func (h *Hold) electSlotLocked(slot int16) (bump bool) {
	h.limit.slot = int(slot)
	var fences []int64
	for i := range h.members {
		m := &h.members[i]
		m.vote = m.vote && h.limit.slots[i] == slot
		if m.result == Granted && m.vote {
			fences = append(fences, h.voting.fences[i])
		}
	}
	return h.electLocked(fences)
}

// A tally is what the nodes say of the slots of a key.
type tally struct {
	most  []int // by slot: on how many nodes the same holder may have it, the one with the most of them
	taken []int // by slot: on how many nodes it is taken
}

func (l *limited) tally(h *Hold) (t tally) {
	t.most, t.taken = make([]int, l.n), make([]int, l.n)
	var said []int // the nodes that say who has which
	blocked, start := 0, 0
	for i := range h.members {
		switch r := h.members[i].result; {
		case (r == Granted || r == Refused) && len(l.said) > i && l.said[i].slots != "":
			said = append(said, i)
		case r == Refused:
			blocked++
		case r == Granted && l.n > mapLimit && int(l.slots[i]) == l.start:
			blocked, start = blocked+1, start+1 // any other slot may be anybody's, and the one that it granted was free
		}
	}
	for s := range l.n {
		for at, i := range said {
			if l.said[i].tag(s) == freeTag {
				continue
			}
			same := 1
			for _, other := range said[:at] {
				if l.sameHolder(h, s, i, other) {
					same++
				}
			}
			t.taken[s]++
			t.most[s] = max(t.most[s], same)
		}
		t.most[s] += blocked
		t.taken[s] += blocked
	}
	t.most[l.start] -= start
	t.taken[l.start] -= start
	return t
}

// sameHolder reports whether a slot has the same holder on two nodes, as far as
// their tags tell it, and, of the slot from which on they looked for a free one,
// the values.
func (l *limited) sameHolder(h *Hold, slot, i, j int) bool {
	if l.said[i].tag(slot) != l.said[j].tag(slot) {
		return false
	}
	one, other := h.members[i].last().holder, h.members[j].last().holder
	return slot != l.start || one == "" || other == "" || one == other
}

// unclear reports whether answers that are still to come can tell slots that
// others hold from votes that are split.
func (l *limited) unclear(h *Hold, open int) bool {
	if open == 0 {
		return false
	}
	t, quorum, held := l.tally(h), h.r.c.Quorum(), true
	for _, most := range t.most {
		if most+open < quorum {
			return false
		}
		held = held && most >= quorum
	}
	return !held
}

// outlook fills in whether the votes are split, and from which slot on the next
// attempt is to look: one that nobody has a quorum of, and that is taken on as
// few nodes as possible.
func (l *limited) outlook(h *Hold, e *NotAcquiredError) {
	t, quorum := l.tally(h), h.r.c.Quorum()
	e.Split = false
	least, among := len(h.members)+1, 0
	for s, most := range t.most {
		switch {
		case most >= quorum:
			continue
		case t.taken[s] < least:
			least, among = t.taken[s], 0
		case t.taken[s] > least:
			continue
		}
		e.Split = true
		if among++; rand.Intn(among) == 0 {
			e.next = s + 1
		}
	}
	e.FreeIn = l.freeIn(h, slices.Min(t.taken))
}

// freeIn is when a slot could be free on a quorum, if the one that is taken on the
// fewest nodes is taken on so many: when one has come free on enough of the nodes,
// also of those that granted another.
func (l *limited) freeIn(h *Hold, taken int) time.Duration {
	needed := taken - (len(h.members) - h.r.c.Quorum())
	var lefts []time.Duration
	for i := range h.members {
		if r := h.members[i].result; r == Granted || r == Refused {
			lefts = append(lefts, l.said[i].left)
		}
	}
	if needed <= 0 || needed > len(lefts) {
		return 0
	}
	slices.SortFunc(lefts, unknownLast)
	return lefts[needed-1]
}

// fullLocked reports whether the attempt was refused because slots are taken, and
// not the whole key.
func (l *limited) fullLocked(h *Hold) bool {
	for i := range h.members {
		if h.members[i].result == Refused && l.said[i].slots == "" {
			return false
		}
	}
	return true
}

// NextSlot is the Request.Start of the attempt that follows one that failed with
// err.
func NextSlot(err error) int {
	var held *NotAcquiredError
	if errors.As(err, &held) {
		return held.next
	}
	return 0
}
