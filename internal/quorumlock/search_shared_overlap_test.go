package quorumlock

// The part of the search of readers (search_shared_test.go) in which an operator
// takes the key from its holder, whose renewal is still under way when it becomes a
// reader. The downgrade takes the renewal's place. It must not revive what was lost,
// because its token is below those of writers that had the key in between.

// The ways of a renewal on a link. Where renewals and downgrades overlap, roundLost
// is on its way back as well.
const (
	roundSent uint8 = 1 + iota
	roundOwned
	roundCounted
	roundLost
)

// The ways of a downgrade that took the place of a renewal.
const (
	secondHeldBack uint8 = 1 + iota // until the renewal is answered
	secondSent
	secondOwned
	secondCounted
)

// forced is an operator who takes the key from the first attempt, which has a quorum
// and goes on.
func (m *sharedModel) forced(w *sharedWorld) bool {
	if !m.forces || w.attempts[0].phase != attemptHolding || w.attempts[0].second {
		return false
	}
	var has []*sharedNode
	for n := range w.nodes {
		if node := &w.nodes[n]; node.holder == holderMark(0) {
			has = append(has, node)
		}
	}
	if len(has) < searchQuorum {
		return false
	}
	for _, node := range has {
		node.holder = 0
	}
	return true
}

// overlaps begins a downgrade while a renewal is under way.
func (m *sharedModel) overlaps(w *sharedWorld, a int) bool {
	one := &w.attempts[a]
	if !m.forces || a > 0 || one.phase != attemptHolding || one.reader || !one.spent {
		return false
	}
	one.reader, one.writes, one.second = true, false, true
	for _, other := range w.attempts {
		if other.phase.won() {
			one.since = max(one.since, other.m)
		}
	}
	for n := range w.nodes {
		l := &w.nodes[n].links[a]
		l.second = secondSent
		if !m.asksAll && (l.round == roundSent || l.round == roundOwned || l.round == roundLost) {
			l.second = secondHeldBack
		}
		if l.round == roundCounted {
			l.round = 0
		}
		l.against = l.against && !m.forgets
	}
	return true
}

// lands says that the renewal was answered on a node.
func (m *sharedModel) lands(w *sharedWorld, a, n int, against bool) {
	l, second := &w.nodes[n].links[a], w.attempts[a].second
	l.against = l.against || against && !(second && m.forgets)
	if second {
		l.round = 0
		if l.second == secondHeldBack {
			l.second = secondSent
		}
	}
}

// lossAnswered is the answer of a node that had lost the key.
func (m *sharedModel) lossAnswered(w *sharedWorld, a, n int) bool {
	l := &w.nodes[n].links[a]
	if l.round != roundLost || w.attempts[a].phase != attemptHolding {
		return false
	}
	l.round = 0
	m.lands(w, a, n, true)
	return true
}

// secondArrives is shareextend.lua.
func (m *sharedModel) secondArrives(w *sharedWorld, a, n int) bool {
	node := &w.nodes[n]
	l := &node.links[a]
	if l.second != secondSent {
		return false
	}
	l.second = 0
	if m.extendsReader(node, a) && w.attempts[a].phase == attemptHolding {
		l.second = secondOwned
	}
	return true
}

// secondAnswered counts a node that owned the key, unless the renewal found it lost.
func (m *sharedModel) secondAnswered(w *sharedWorld, a, n int) bool {
	if w.nodes[n].links[a].second != secondOwned || w.attempts[a].phase != attemptHolding {
		return false
	}
	w.nodes[n].links[a].second = secondCounted
	owned := 0
	for n := range w.nodes {
		if l := &w.nodes[n].links[a]; l.second == secondCounted && !l.against {
			owned++
		}
	}
	one := &w.attempts[a]
	one.revived = one.revived || owned >= searchQuorum && one.m < one.since
	return true
}
