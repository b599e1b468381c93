package quorumlock

import (
	"cmp"
	"fmt"
	"slices"
)

// An exhaustive search of readers beside writers (shared.go). Requests arrive as late
// as they like, one of them twice; holders renew and become readers; keys expire at
// any moment, except that who relies on a key there has ended before. In each state
// it is checked that no writer holds the key beside another holder, that tokens are
// in order and those of writers unique, and that a reader does not pass a writer that
// waits.
//
// The links, and the steps to a token, are those of search_test.go.

// markedKey is a node's holder while readers have the key there.
const markedKey = searchAttempts + 1

// A sharedWorld is all that matters at one moment.
type sharedWorld struct {
	nodes    [searchNodes]sharedNode
	attempts [searchAttempts]sharedAttempt
	repeated bool // the one request that is delivered twice has been
}

type sharedNode struct {
	holder  uint8 // the writer that has the key, counted from 1; markedKey; 0: it is free
	first   uint8 // the reader that came first, counted from 1
	readers [searchAttempts]bool
	queued  [searchAttempts]bool // writers that wait
	fence   uint8
	links   [searchAttempts]sharedLink
}

type sharedLink struct {
	worldLink
	relied bool  // the deadline counts on this node
	round  uint8 // of a renewal or downgrade: see search_shared_overlap_test.go

	second  uint8 // of a downgrade that took the place of a renewal
	against bool  // the renewal found the key lost
}

type sharedAttempt struct {
	phase  attemptPhase
	reader bool
	writes bool // it holds the key as a writer
	behind bool // it began when a writer waited everywhere and another reader held the key
	spent  bool // it has renewed, or become a reader
	m      uint8
	floor  uint8 // the largest token of those that had won before it started

	second  bool  // it became a reader while it renewed
	since   uint8 // the largest token of those that had won before that
	revived bool  // that succeeded, though others had the key, and larger tokens, in between
}

// A sharedModel says what is searched.
type sharedModel struct {
	readers  string // a letter for each attempt: r or w
	spread   uint8  // the counters start anywhere up to this above 1
	untimed  bool   // keys expire also where somebody relies on them: only tokens are checked
	noExpiry bool
	rounds   bool // a holder may renew once
	lowers   bool // a writer may become a reader once
	repeats  bool
	forces   bool // the key may be taken from a holder: only tokens are checked, and downgrades overlap renewals

	// What a wrong protocol would do.
	noRaise     bool // a reader takes the largest counter of its quorum, and leaves the others
	early       bool // a reader takes the largest counter there was when it started, and raises none
	passes      bool // a reader does not look at the writers that wait
	firstLives  bool // the key expires with the reader that came first
	freesAll    bool // the release of one reader frees the key
	noMarker    bool // a writer is granted a key that others read
	writesLater bool // a holder writes until its downgrade is answered
	asksAll     bool // a downgrade is sent where a renewal is not answered yet
	forgets     bool // what a renewal found is forgotten when a downgrade takes its place

	won, refused int
	disorder     string // what order found
}

func (m *sharedModel) starts(w *sharedWorld, a int) bool {
	if w.attempts[a].phase != attemptIdle || a > 0 && w.attempts[a-1].phase == attemptIdle {
		return false
	}
	one := sharedAttempt{phase: attemptAsking, reader: m.readers[a] == 'r'}
	if m.early && one.reader {
		one.m = max(w.nodes[0].fence, w.nodes[1].fence, w.nodes[2].fence)
	}
	held := false
	for _, other := range w.attempts {
		if other.phase.won() {
			one.floor = max(one.floor, other.m)
		}
		held = held || other.phase == attemptHolding && other.reader
	}
	one.behind = one.reader && held && w.awaited() >= 0
	w.attempts[a] = one
	for n := range w.nodes {
		w.nodes[n].links[a].stage = linkAcquiring
	}
	return true
}

// awaited is a writer that waits on all nodes; -1: there is none.
func (w *sharedWorld) awaited() int {
	for a := range w.attempts {
		if w.nodes[0].queued[a] && w.nodes[1].queued[a] && w.nodes[2].queued[a] {
			return a
		}
	}
	return -1
}

// acquireArrives is acquire.lua, or share.lua.
func (m *sharedModel) acquireArrives(w *sharedWorld, a, n int, again bool) bool {
	node := &w.nodes[n]
	l, one := &node.links[a], &w.attempts[a]
	if again && (!m.repeats || w.repeated || one.phase == attemptIdle || l.stage == linkAcquiring) || !again && l.stage != linkAcquiring {
		return false
	}
	w.repeated = w.repeated || again
	read := node.holder == markedKey && node.readers != [searchAttempts]bool{}
	reads := m.readers[a] == 'r' // as it was sent, also if it is a downgraded holder by now
	switch {
	case reads && node.readers[a] && read, !reads && node.holder == holderMark(a):
		// delivered again
	case reads && (node.holder == 0 || node.holder == markedKey) && (!read || m.passes || !slices.Contains(node.queued[:], true)):
		if !read {
			node.readers, node.first = [searchAttempts]bool{}, holderMark(a)
		}
		node.holder, node.readers[a] = markedKey, true
	case !reads && (node.holder == 0 || m.noMarker && read):
		node.holder = holderMark(a)
		node.fence++
	default:
		if !again {
			*l = sharedLink{}
			node.queued[a] = !reads
			m.refused++
		}
		return true
	}
	switch {
	case again:
	case one.phase == attemptAsking:
		l.worldLink = worldLink{linkGranting, node.fence}
	default:
		l.stage = linkKept
	}
	return true
}

// quorumArrives brings the grants of all nodes but late to the client.
func (m *sharedModel) quorumArrives(w *sharedWorld, a, late int) bool {
	one := &w.attempts[a]
	var fences []int64
	for n := range w.nodes {
		if l := w.nodes[n].links[a]; n != late && l.stage == linkGranting {
			fences = append(fences, int64(l.fence))
		}
	}
	if one.phase != attemptAsking || len(fences) < searchQuorum {
		return false
	}
	top, exact := leading(fences)
	raises := !one.reader || !m.noRaise && !m.early
	if one.phase = attemptRaising; !one.reader || !m.early {
		one.m = uint8(top)
	}
	for n := range w.nodes {
		switch l := &w.nodes[n].links[a]; {
		case l.stage != linkGranting:
		case n == late:
			l.worldLink = worldLink{stage: linkKept}
		case int64(l.fence) < top && raises:
			l.stage, l.relied = linkRaising, true
		default:
			l.stage, l.relied = linkGranted, true
		}
	}
	m.conclude(w, a, exact)
	return true
}

func (m *sharedModel) conclude(w *sharedWorld, a, exact int) {
	one := &w.attempts[a]
	pending := w.count(a, linkRaising) + w.count(a, linkOwning) + w.count(a, linkDisowning)
	switch v := judge(searchQuorum, exact, w.count(a, linkRaised), pending); {
	case v == settled || one.reader && (m.noRaise || m.early):
		one.phase, one.writes = attemptHolding, !one.reader
		m.order(w, a)
		w.settle(a)
		m.won++
	case v == impossible:
		w.end(a, attemptFailed)
	}
}

// order checks what storages rely on (fence/seen.go): of two holders of which one
// writes, the second has the larger rank, also if it started first. A downgraded
// writer is both, with one token.
func (m *sharedModel) order(w *sharedWorld, a int) {
	one := w.attempts[a]
	for b, other := range w.attempts {
		if m.untimed || b == a || other.phase != attemptReleased || one.reader && m.readers[b] == 'r' {
			continue
		}
		if one.m < other.m || one.m == other.m && !one.reader {
			m.disorder = fmt.Sprintf("%s has token %d, and %s before it had %d", attemptName(a), one.m, attemptName(b), other.m)
		}
	}
}

// raiseArrives is bumpfence.lua, or sharebump.lua.
func (m *sharedModel) raiseArrives(w *sharedWorld, a, n int) bool {
	node := &w.nodes[n]
	l, one := &node.links[a], &w.attempts[a]
	if l.stage != linkRaising {
		return false
	}
	var owns bool
	if one.reader {
		owns = node.holder == markedKey && node.readers[a] && node.fence >= l.fence
	} else {
		owns = node.holder == holderMark(a) && node.fence >= l.fence && node.fence <= max(l.fence, one.m-1)
	}
	if owns {
		node.fence = max(node.fence, one.m)
	}
	l.fence, l.stage = 0, linkDisowning
	switch {
	case one.phase != attemptRaising:
		l.stage = linkKept
	case owns:
		l.stage = linkOwning
	}
	return true
}

func (m *sharedModel) raiseAnswered(w *sharedWorld, a, n int) bool {
	switch l := &w.nodes[n].links[a]; l.stage {
	case linkOwning:
		l.stage = linkRaised
	case linkDisowning:
		l.stage = linkKept
	default:
		return false
	}
	m.conclude(w, a, w.count(a, linkGranted))
	return true
}

// leaves ends an attempt, or a hold.
func (m *sharedModel) leaves(w *sharedWorld, a int) bool {
	switch w.attempts[a].phase {
	case attemptAsking, attemptRaising:
		w.end(a, attemptFailed)
	case attemptHolding:
		w.end(a, attemptReleased)
	default:
		return false
	}
	return true
}

// releaseArrives is release.lua, or sharerelease.lua.
func (m *sharedModel) releaseArrives(w *sharedWorld, a, n int) bool {
	node := &w.nodes[n]
	if !w.attempts[a].phase.ended() || node.links[a].stage != linkKept {
		return false
	}
	node.links[a].stage = linkQuiet
	m.drops(node, a, m.freesAll)
	return true
}

// drops takes what a has on a node: all that read, if it takes the key from them.
func (m *sharedModel) drops(node *sharedNode, a int, all bool) {
	switch {
	case node.holder == holderMark(a):
		node.holder = 0
	case node.holder == markedKey && node.readers[a]:
		node.readers[a] = false
		if all || node.readers == [searchAttempts]bool{} {
			node.holder, node.readers, node.first = 0, [searchAttempts]bool{}, 0
		}
	}
}

// round begins a renewal, or a downgrade, which is one that makes a reader.
func (m *sharedModel) round(w *sharedWorld, a int, lowers bool) bool {
	one := &w.attempts[a]
	if one.phase != attemptHolding || one.spent || m.forces && a > 0 || lowers && (!m.lowers || one.reader) || !lowers && !m.rounds {
		return false
	}
	one.spent = true
	if lowers {
		one.reader, one.writes = true, m.writesLater
	}
	for n := range w.nodes {
		w.nodes[n].links[a].round = roundSent
	}
	return true
}

// roundArrives is extend.lua, or shareextend.lua.
func (m *sharedModel) roundArrives(w *sharedWorld, a, n int) bool {
	node := &w.nodes[n]
	l, one := &node.links[a], &w.attempts[a]
	if l.round != roundSent {
		return false
	}
	l.round = 0
	var owned bool
	if one.reader && !one.second {
		owned = m.extendsReader(node, a)
	} else if owned = node.holder == holderMark(a); node.holder == 0 {
		node.holder = holderMark(a)
	}
	switch {
	case one.phase != attemptHolding:
	case owned:
		l.round = roundOwned
	case m.forces:
		l.round = roundLost
	}
	return true
}

// extendsReader is shareextend.lua. It reports whether the key was owned.
func (m *sharedModel) extendsReader(node *sharedNode, a int) (owned bool) {
	owned = node.holder == holderMark(a) || node.holder == markedKey && node.readers[a]
	switch {
	case node.holder != 0 && !owned && node.holder != markedKey:
	case node.holder == markedKey:
		node.readers[a] = true
	default:
		node.holder, node.first, node.readers = markedKey, holderMark(a), [searchAttempts]bool{}
		node.readers[a] = true
	}
	return owned
}

// roundAnswered has the deadline count on the nodes that a quorum of answers came from.
func (m *sharedModel) roundAnswered(w *sharedWorld, a, n int) bool {
	if w.nodes[n].links[a].round != roundOwned || w.attempts[a].phase != attemptHolding {
		return false
	}
	w.nodes[n].links[a].round = roundCounted
	m.lands(w, a, n, false)
	owned := 0
	for n := range w.nodes {
		if w.nodes[n].links[a].round == roundCounted {
			owned++
		}
	}
	if owned == searchQuorum {
		for n := range w.nodes {
			l := &w.nodes[n].links[a]
			l.relied = l.round == roundCounted
		}
		if w.attempts[a].reader {
			w.attempts[a].writes = false
		}
	}
	return true
}

// expires drops what a has on a node. Its deadline has passed before, if that counts on the node, and so has that of an
// attempt.
func (m *sharedModel) expires(w *sharedWorld, a, n int) bool {
	node := &w.nodes[n]
	reads := node.holder == markedKey && node.readers[a]
	if m.noExpiry || !reads && node.holder != holderMark(a) {
		return false
	}
	m.drops(node, a, m.firstLives && node.first == holderMark(a))
	switch phase := w.attempts[a].phase; {
	case m.untimed:
	case phase == attemptHolding && (node.links[a].relied || node.links[a].round >= roundOwned):
		w.end(a, attemptReleased)
	case phase == attemptAsking, phase == attemptRaising:
		w.end(a, attemptFailed)
	}
	return true
}

func (w *sharedWorld) count(a int, s linkStage) (n int) {
	for _, node := range w.nodes {
		if node.links[a].stage == s {
			n++
		}
	}
	return n
}

func (w *sharedWorld) end(a int, p attemptPhase) {
	w.attempts[a].phase, w.attempts[a].writes = p, false
	for n := range w.nodes {
		l := &w.nodes[n].links[a]
		l.relied, l.against = false, false
		if l.round >= roundOwned {
			l.round = 0
		}
		if l.second != secondSent {
			l.second = 0
		}
	}
	w.settle(a)
}

// settle drops what a's client has no more use for.
func (w *sharedWorld) settle(a int) {
	for n := range w.nodes {
		switch l := &w.nodes[n].links[a]; l.stage {
		case linkQuiet, linkAcquiring, linkRaising:
		default:
			l.worldLink = worldLink{stage: linkKept}
		}
	}
}

// violation says what is wrong, or nothing.
func (m *sharedModel) violation(w *sharedWorld) string {
	if m.disorder != "" {
		return m.disorder
	}
	for a, one := range w.attempts {
		if !one.phase.won() {
			continue
		}
		if one.revived {
			return fmt.Sprintf("%s is revived with token %d after token %d was given", attemptName(a), one.m, one.since)
		}
		if one.m < one.floor || m.readers[a] == 'w' && one.m == one.floor {
			return fmt.Sprintf("%s has token %d and started after token %d was given", attemptName(a), one.m, one.floor)
		}
		if one.behind && one.phase == attemptHolding && w.awaited() >= 0 && m.readsBeside(w, a) {
			return fmt.Sprintf("%s passes %s, which waits", attemptName(a), attemptName(w.awaited()))
		}
		for b, other := range w.attempts[:a] {
			if other.phase.won() && m.readers[a] == 'w' && m.readers[b] == 'w' && other.m == one.m {
				return fmt.Sprintf("%s and %s both have token %d", attemptName(b), attemptName(a), one.m)
			}
			if !m.untimed && !m.forces && one.phase == attemptHolding && other.phase == attemptHolding && (one.writes || other.writes) {
				return fmt.Sprintf("%s and %s hold the key at once", attemptName(b), attemptName(a))
			}
		}
	}
	return ""
}

// readsBeside reports whether another that began before a has read ever since.
func (m *sharedModel) readsBeside(w *sharedWorld, a int) bool {
	return slices.ContainsFunc(w.attempts[:a], func(o sharedAttempt) bool { return o.phase == attemptHolding && o.reader })
}

// A sharedStep is one thing that happened: what, to or by which attempt, and on which node.
type sharedStep struct {
	what    string
	attempt int
	node    int // -1: none
}

func (s sharedStep) String() string {
	if s.what == "" {
		return "at first"
	}
	text := attemptName(s.attempt) + " " + s.what
	if s.node >= 0 {
		text += fmt.Sprintf(" of node %d", s.node+1)
	}
	return text
}

// next calls step with each world after w, and what happened.
func (m *sharedModel) next(w *sharedWorld, step func(s sharedStep, after *sharedWorld)) {
	after := *w
	try := func(happened bool, what string, a, n int) {
		if happened {
			step(sharedStep{what, a, n}, &after)
			after = *w
		}
	}
	try(m.forced(&after), "loses the key by force", 0, -1)
	for a := range m.readers {
		try(m.starts(&after, a), "starts", a, -1)
		try(m.leaves(&after, a), "gives up or releases", a, -1)
		try(m.round(&after, a, false), "renews", a, -1)
		try(m.round(&after, a, true), "becomes a reader", a, -1)
		try(m.overlaps(&after, a), "becomes a reader while it renews", a, -1)
		for n := range searchNodes {
			try(m.acquireArrives(&after, a, n, false), "is the acquirer", a, n)
			try(m.acquireArrives(&after, a, n, true), "is once more the acquirer", a, n)
			try(m.quorumArrives(&after, a, n), "decides without the answer", a, n)
			try(m.raiseArrives(&after, a, n), "raises the counter", a, n)
			try(m.raiseAnswered(&after, a, n), "gets the answer to raise", a, n)
			try(m.releaseArrives(&after, a, n), "is released by the release", a, n)
			try(m.roundArrives(&after, a, n), "renews the key", a, n)
			try(m.roundAnswered(&after, a, n), "gets the answer to the renewal", a, n)
			try(m.lossAnswered(&after, a, n), "learns from the renewal of the loss", a, n)
			try(m.secondArrives(&after, a, n), "downgrades the key", a, n)
			try(m.secondAnswered(&after, a, n), "gets the answer to the downgrade", a, n)
			try(m.expires(&after, a, n), "loses by expiry the key", a, n)
		}
	}
}

// simplify makes worlds equal that differ only in what can have no consequence, and in the order of nodes.
func (m *sharedModel) simplify(w *sharedWorld) {
	for a := range w.attempts {
		one := &w.attempts[a]
		if one.phase == attemptAsking && w.count(a, linkAcquiring)+w.count(a, linkGranting) < searchQuorum {
			w.end(a, attemptFailed)
		}
		if one.phase == attemptHolding || one.phase.ended() {
			one.floor = 0
		}
		raises := w.count(a, linkRaising) > 0
		if one.phase == attemptFailed && !raises {
			one.m = 0
		}
		for n := range w.nodes {
			node := &w.nodes[n]
			if l := &node.links[a]; l.stage == linkKept && one.phase.ended() && node.holder != holderMark(a) && !node.readers[a] && l.round == 0 && l.second == 0 {
				l.stage = linkQuiet
			}
		}
	}
	slices.SortFunc(w.nodes[:], func(a, b sharedNode) int { return cmp.Compare(a.pack(), b.pack()) })
}

// pack writes words of these widths in bits behind each other.
func pack(words ...uint64) (all uint64) {
	for i := 0; i < len(words); i += 2 {
		all = all<<words[i+1] | words[i]
	}
	return all
}

func bits(all ...bool) (word uint64) {
	for _, on := range all {
		word <<= 1
		if on {
			word |= 1
		}
	}
	return word
}

func (n *sharedNode) pack() uint64 {
	all := pack(uint64(n.holder), 3, uint64(n.first), 2, uint64(n.fence), 4, bits(n.readers[:]...), 3, bits(n.queued[:]...), 3)
	for _, l := range n.links {
		all = all<<16 | pack(uint64(l.stage), 4, uint64(l.fence), 4, uint64(l.round), 3, uint64(l.second), 3, bits(l.relied, l.against), 2)
	}
	return all
}

func (w *sharedWorld) pack() [4]uint64 {
	all := bits(w.repeated)
	for _, a := range w.attempts {
		all = all<<21 | pack(uint64(a.phase), 3, bits(a.reader, a.writes, a.behind, a.spent, a.second, a.revived), 6, uint64(a.m), 4, uint64(a.floor), 4, uint64(a.since), 4)
	}
	return [4]uint64{w.nodes[0].pack(), w.nodes[1].pack(), w.nodes[2].pack(), all}
}

// explore visits all worlds, as searchModel.explore does.
func (m *sharedModel) explore() (states int, trace []string) {
	type visit struct {
		world sharedWorld
		from  int
		what  sharedStep
	}
	var all []visit
	seen := map[[4]uint64]bool{}
	add := func(w sharedWorld, from int, what sharedStep) {
		m.simplify(&w)
		if id := w.pack(); !seen[id] {
			seen[id] = true
			all = append(all, visit{w, from, what})
		}
	}
	for second := range m.spread + 1 {
		for third := second; third <= m.spread; third++ {
			var w sharedWorld
			w.nodes[0].fence, w.nodes[1].fence, w.nodes[2].fence = 1, 1+second, 1+third
			add(w, -1, sharedStep{})
		}
	}
	for i := 0; i < len(all) && trace == nil; i++ {
		world := all[i].world
		m.next(&world, func(what sharedStep, after *sharedWorld) {
			if wrong := m.violation(after); wrong != "" && trace == nil {
				trace = []string{what.String(), wrong}
				for at := i; at >= 0; at = all[at].from {
					trace = append([]string{all[at].what.String()}, trace...)
				}
			}
			add(*after, i, what)
		})
	}
	return len(all), trace
}
