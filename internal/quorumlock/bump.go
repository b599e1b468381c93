package quorumlock

import "github.com/venta-hq/redlock/internal/nodeset"

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
		token, reported := h.token, int64(0)
		if below {
			reported = h.voting.fences[i]
		}
		h.mu.Unlock()
		switch {
		case below && h.limit != nil:
			n.Send(h.limit.raiseCommand(h, reported, token), (*bumper)(h))
		case below && h.Shared():
			h.sendShareBump(n, token, reported)
		case below:
			n.Run(bumpFenceScript, keys[:], []any{h.value, token, &h.r.words.retention, reported, &h.block}, (*bumper)(h))
		}
	}
}

// bumper takes in the answers to a bump.
type bumper Hold

func (a *bumper) Receive(_ *nodeset.Node, reply any, err error) {
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
