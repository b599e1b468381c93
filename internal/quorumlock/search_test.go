package quorumlock

import (
	"flag"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"
)

// An exhaustive search of the agreement on a token (agree.go). It visits every state that nodes, clients and the
// network between them can reach in any order of events, and checks in each that tokens are unique and in order.
// The clients decide with leading and judge, the functions that the library runs on.
//
// Read it from the top: the states (world), what can happen (the steps of searchModel), what must hold (violation), and
// the search (explore), which knows nothing of locks.

var searchFull = flag.Bool("search.full", false, "search the token agreement with three attempts and nothing left out: minutes, and some GiB")

const (
	searchNodes    = 3
	searchQuorum   = 2
	searchAttempts = 3
)

// A world is all that matters at one moment.
type world struct {
	nodes    [searchNodes]worldNode
	attempts [searchAttempts]worldAttempt
	repeated bool // the one acquire that is delivered twice has been
	lost     bool // the one counter that a node loses is lost
}

type worldNode struct {
	holder uint8                     // the attempt that holds the key here, counted from 1; 0: it is free
	fence  uint8                     // the fence counter; 0: there is none
	links  [searchAttempts]worldLink // to each attempt
}

// A worldLink is what one attempt and one node have to say to each other. Messages of a link arrive in order, those of
// different links in any order, and each as late as it likes.
type worldLink struct {
	stage linkStage
	fence uint8 // what the node reported, while that still matters
}

type linkStage uint8

const (
	linkQuiet     linkStage = iota // nothing on its way, nothing held: not started, refused, or released
	linkAcquiring                  // acquire is on its way to the node
	linkAgain                      // a transaction brought no vote, so the script is on its way
	linkSet                        // unwrapped: the key is set, and the increment is on its way
	linkGranting                   // the grant is on its way back
	linkGranted                    // the grant arrived in time, and reported m
	linkRaising                    // raise is on its way to the node
	linkOwning                     // "owned" is on its way back
	linkDisowning                  // "not owned" is on its way back
	linkRaised                     // "owned" arrived
	linkKept                       // granted, and nothing more to ask; release is on its way if the attempt has ended
)

type worldAttempt struct {
	phase attemptPhase
	m     uint8 // from the first quorum on: what it raises to, and its token if it wins
	floor uint8 // the largest token of those that had won before it started
}

type attemptPhase uint8

const (
	attemptIdle     attemptPhase = iota // not started
	attemptAsking                       // fewer than a quorum of grants have arrived
	attemptRaising                      // has a quorum of grants, needs raises
	attemptHolding                      // won, the token is m
	attemptReleased                     // won, and let go
	attemptFailed                       // gave up or could not win
)

func (p attemptPhase) open() bool {
	return p == attemptIdle || p == attemptAsking || p == attemptRaising
}
func (p attemptPhase) won() bool   { return p == attemptHolding || p == attemptReleased }
func (p attemptPhase) ended() bool { return p == attemptReleased || p == attemptFailed }

// floor is the fence floor of every node. A counter that a node keeps is never below it; one that was lost, and then
// incremented by transactions, is.
func (m *searchModel) floor() uint8 {
	if m.losses {
		return 5
	}
	return 1
}

// A client is what one attempt sends, and how many tokens it wants.
type client struct {
	native  bool  // it acquires by transaction, and by script where that brought no vote
	oldBump bool  // its bumps know the token only, not what the node reported
	more    uint8 // tokens beside the first
}

func (c client) block() uint8 { return c.more + 1 }

// A searchModel says what is searched.
type searchModel struct {
	attempts int                    // how many acquisitions there are, up to searchAttempts
	clients  [searchAttempts]client // what each of them sends
	spread   uint8                  // the counters start anywhere from the floor to this above it, each on its own

	// What does not happen, to keep a search small.
	pairs     bool // at most two attempts are under way at once
	noExpiry  bool // no key expires before it is released
	noLeaving bool // nobody gives up or releases; where keys expire, an expiry does all that a release could

	repeats bool // any one acquire may be delivered a second time, however late
	losses  bool // any one counter may be lost at any moment

	// limit is the largest fence that clients count; 0: they count every one. With
	// it one node starts above.
	limit   uint8
	noLimit bool // what a wrong protocol would leave out: that clients look at the limit

	// What a wrong protocol would leave out.
	noRaise      bool // the client takes m, whoever reported it
	noOwnerCheck bool // the node raises for everybody and answers "owned"
	noFenceCheck bool // the node raises for its holder also when its counter is above m
	noReported   bool // a bump is accepted below the block only, whatever the node reported
	equalRefused bool // a bump is accepted below m, whatever the node reported
	creates      bool // a bump raises a counter that was lost since it was reported
	noFloorCheck bool // the client counts what a transaction reports below the floor
	noDraw       bool // the script that follows a transaction reports the counter as it finds it, if the key is the client's
	unwrapped    bool // a native acquire is no transaction: the key is set first, and the counter incremented later

	// How often attempts were seen to win at once, to win after raises, and to fail because raises were refused;
	// and how often a transaction left the client without a vote.
	wonAtOnce, wonByRaise, wereRefused, askedAgain int
}

// The steps. Each changes w and says true if it can happen in w, and otherwise leaves w alone.

// starts sends acquire to all nodes. Attempts are alike, so that they may as well start in the order of their names.
func (m *searchModel) starts(w *world, a int) bool {
	if w.attempts[a].phase != attemptIdle || a > 0 && w.attempts[a-1].phase == attemptIdle {
		return false
	}
	var floor uint8
	underWay := 0
	for _, other := range w.attempts {
		switch {
		case other.phase.won():
			floor = max(floor, other.m)
		case other.phase == attemptAsking, other.phase == attemptRaising:
			underWay++
		}
	}
	if m.pairs && underWay == 2 {
		return false
	}
	w.attempts[a] = worldAttempt{phase: attemptAsking, floor: floor}
	for n := range w.nodes {
		w.nodes[n].links[a].stage = linkAcquiring
	}
	return true
}

// fresh is where a counter starts that there is none of: at the clock, which is far ahead of the counters that were kept.
const fresh = 9

// draw is what the script does with the counter of a node.
func (m *searchModel) draw(w *world, a, n int) {
	node := &w.nodes[n]
	if node.fence < m.floor() {
		node.fence = fresh
	}
	node.fence += m.clients[a].block()
}

// granted is what a grant of a's makes of its link to n.
func (m *searchModel) granted(w *world, a, n int) worldLink {
	node := &w.nodes[n]
	if w.attempts[a].phase != attemptAsking || m.limit > 0 && !m.noLimit && node.fence > m.limit {
		return worldLink{stage: linkKept}
	}
	return worldLink{stage: linkGranting, fence: node.fence}
}

// acquireArrives grants the key if it is free. A refusal needs no step of its own when it reaches the client: all the
// client could do then is to give up, which it may do at any moment anyway.
func (m *searchModel) acquireArrives(w *world, a, n int) bool {
	node := &w.nodes[n]
	if node.links[a].stage != linkAcquiring {
		return false
	}
	if m.clients[a].native {
		m.transactionArrives(w, a, n)
		return true
	}
	m.scriptArrives(w, a, n, false)
	return true
}

// scriptArrives is acquire.lua, which draws anew where a transaction came before.
func (m *searchModel) scriptArrives(w *world, a, n int, again bool) {
	node := &w.nodes[n]
	switch {
	case node.holder == holderMark(a) && (!again || m.noDraw): // delivered twice
	case node.holder != 0 && node.holder != holderMark(a):
		node.links[a] = worldLink{stage: linkQuiet}
		return
	default:
		m.draw(w, a, n)
		node.holder = holderMark(a)
	}
	node.links[a] = m.granted(w, a, n)
}

// transactionArrives sets the key if it is free and increments the counter in any case, also one that is not there. What
// it reports below the floor is no vote: the script follows, as it does after a refusal.
func (m *searchModel) transactionArrives(w *world, a, n int) {
	node := &w.nodes[n]
	free := node.holder == 0
	if m.unwrapped {
		switch {
		case free:
			node.holder = holderMark(a)
			node.links[a] = worldLink{stage: linkSet}
		case w.attempts[a].phase == attemptAsking:
			node.links[a] = worldLink{stage: linkAgain}
		default:
			node.links[a] = worldLink{stage: linkQuiet}
		}
		return
	}
	below := node.fence < m.floor()
	node.fence += m.clients[a].block()
	if free {
		node.holder = holderMark(a)
	}
	switch {
	case free && (!below || m.noFloorCheck):
		node.links[a] = m.granted(w, a, n)
	case w.attempts[a].phase == attemptAsking:
		node.links[a] = worldLink{stage: linkAgain}
		m.askedAgain++
	case free:
		node.links[a] = worldLink{stage: linkKept}
	default:
		node.links[a] = worldLink{stage: linkQuiet}
	}
}

// incrementArrives is the second half of a native acquire that is no transaction.
func (m *searchModel) incrementArrives(w *world, a, n int) bool {
	node := &w.nodes[n]
	if node.links[a].stage != linkSet {
		return false
	}
	node.fence += m.clients[a].block()
	node.links[a] = m.granted(w, a, n)
	return true
}

// againArrives is the script that follows a transaction.
func (m *searchModel) againArrives(w *world, a, n int) bool {
	if w.nodes[n].links[a].stage != linkAgain {
		return false
	}
	m.scriptArrives(w, a, n, true)
	return true
}

// acquireRepeats is a second copy of a request that was answered there before. Nobody takes in the answer.
func (m *searchModel) acquireRepeats(w *world, a, n int) bool {
	node := &w.nodes[n]
	stage := node.links[a].stage
	native := m.clients[a].native
	if !m.repeats || w.repeated || w.attempts[a].phase == attemptIdle || stage == linkAcquiring || stage == linkAgain ||
		node.holder != 0 && !native {
		return false
	}
	if native {
		node.fence += m.clients[a].block()
	} else {
		m.draw(w, a, n)
	}
	if node.holder == 0 {
		node.holder = holderMark(a)
	}
	w.repeated = true
	return true
}

// loses drops a counter, as a node does that evicts it, or an operator.
func (m *searchModel) loses(w *world, n int) bool {
	if !m.losses || w.lost || w.nodes[n].fence == 0 {
		return false
	}
	w.nodes[n].fence, w.lost = 0, true
	return true
}

// quorumArrives brings the first quorum of grants to the client, which decides. It is the grants of all nodes but late,
// whether that one refused or was slower. Grants that arrive one by one before that change nothing anybody could see, so
// they are not steps of their own.
func (m *searchModel) quorumArrives(w *world, a, late int) bool {
	var buf [searchNodes]int64
	fences := buf[:0]
	for n, node := range w.nodes {
		if n != late && node.links[a].stage == linkGranting {
			fences = append(fences, int64(node.links[a].fence))
		}
	}
	if len(fences) < searchQuorum {
		return false
	}
	top, exact := leading(fences)
	w.attempts[a].phase, w.attempts[a].m = attemptRaising, uint8(top)
	for n := range w.nodes {
		switch l := &w.nodes[n].links[a]; {
		case l.stage != linkGranting:
		case n == late:
			*l = worldLink{stage: linkKept}
		case int64(l.fence) < top:
			l.stage = linkRaising
		default:
			l.stage = linkGranted
		}
	}
	switch {
	case m.noRaise:
		w.win(a)
	case m.conclude(w, a, exact) == settled:
		m.wonAtOnce++
	}
	return true
}

// conclude ends the acquisition one way or the other if what the client knows is enough for it.
func (m *searchModel) conclude(w *world, a, exact int) verdict {
	pending := w.count(a, linkRaising) + w.count(a, linkOwning) + w.count(a, linkDisowning)
	v := judge(searchQuorum, exact, w.count(a, linkRaised), pending)
	switch v {
	case settled:
		w.win(a)
	case impossible:
		w.end(a, attemptFailed)
	}
	return v
}

// raiseArrives raises the counter if the node still knows this attempt as the holder, and its counter is as this attempt
// left it or so low that none of the block was given to anybody.
func (m *searchModel) raiseArrives(w *world, a, n int) bool {
	node := &w.nodes[n]
	l := &node.links[a]
	if l.stage != linkRaising {
		return false
	}
	top := w.attempts[a].m
	owns := (node.holder == holderMark(a) || m.noOwnerCheck) && (m.bumpable(a, node.fence, l.fence, top) || m.noFenceCheck)
	if owns {
		node.fence = max(node.fence, top)
	}
	l.fence = 0
	switch {
	case w.attempts[a].phase != attemptRaising:
		l.stage = linkKept
	case owns:
		l.stage = linkOwning
	default:
		l.stage = linkDisowning
	}
	return true
}

// bumpable is the check of a counter in bumpfence.lua, or in that of an old client.
func (m *searchModel) bumpable(a int, fence, reported, top uint8) bool {
	if fence < reported && !m.creates && !m.clients[a].oldBump {
		return false
	}
	switch below := top - m.clients[a].block(); {
	case m.clients[a].oldBump:
		return fence <= top
	case m.equalRefused:
		return fence < top
	case m.noReported:
		return fence <= below
	default:
		return fence <= max(reported, below)
	}
}

// raiseAnswered brings the answer to raise to the client.
func (m *searchModel) raiseAnswered(w *world, a, n int) bool {
	l := &w.nodes[n].links[a]
	switch l.stage {
	case linkOwning:
		l.stage = linkRaised
	case linkDisowning:
		l.stage = linkKept
	default:
		return false
	}
	switch m.conclude(w, a, w.count(a, linkGranted)) {
	case settled:
		m.wonByRaise++
	case impossible:
		m.wereRefused++
	}
	return true
}

// leaves ends an attempt: it gives up, or it releases what it won.
func (m *searchModel) leaves(w *world, a int) bool {
	switch {
	case m.noLeaving:
		return false
	case w.attempts[a].phase == attemptAsking, w.attempts[a].phase == attemptRaising:
		w.end(a, attemptFailed)
	case w.attempts[a].phase == attemptHolding:
		w.end(a, attemptReleased)
	default:
		return false
	}
	return true
}

// releaseArrives deletes the key if it is still the attempt's. It comes after the acquire or raise that is on its way.
func (m *searchModel) releaseArrives(w *world, a, n int) bool {
	node := &w.nodes[n]
	if !w.attempts[a].phase.ended() || node.links[a].stage != linkKept {
		return false
	}
	if node.holder == holderMark(a) {
		node.holder = 0
	}
	node.links[a].stage = linkQuiet
	return true
}

// expires deletes the key, whatever the holder believes: its clock may be slow, or the node's fast.
func (m *searchModel) expires(w *world, n int) bool {
	if m.noExpiry || w.nodes[n].holder == 0 {
		return false
	}
	w.nodes[n].holder = 0
	return true
}

func holderMark(a int) uint8 { return uint8(a + 1) }

// count returns how many of a's links are at s.
func (w *world) count(a int, s linkStage) (n int) {
	for _, node := range w.nodes {
		if node.links[a].stage == s {
			n++
		}
	}
	return n
}

func (w *world) win(a int) {
	w.attempts[a].phase = attemptHolding
	w.settleLinks(a)
}

// end sends release to all nodes but those that certainly do not hold the key for a.
func (w *world) end(a int, p attemptPhase) {
	w.attempts[a].phase = p
	w.settleLinks(a)
}

// settleLinks drops what a's client has no more use for. Requests on their way to nodes still arrive.
func (w *world) settleLinks(a int) {
	for n := range w.nodes {
		switch l := &w.nodes[n].links[a]; l.stage {
		case linkQuiet, linkAcquiring, linkAgain, linkSet, linkRaising:
		default:
			*l = worldLink{stage: linkKept}
		}
	}
}

// violation says what is wrong with the tokens, or nothing. An attempt owns a block of them, of which m is the largest.
func (m *searchModel) violation(w *world) string {
	for a, one := range w.attempts {
		if !one.phase.won() {
			continue
		}
		first := one.m - m.clients[a].more
		if first <= one.floor {
			return fmt.Sprintf("%s has token %d and started after token %d was given", attemptName(a), first, one.floor)
		}
		for b, other := range w.attempts[:a] {
			if other.phase.won() && other.m >= first && other.m-m.clients[b].more <= one.m {
				return fmt.Sprintf("%s and %s both have token %d", attemptName(b), attemptName(a), min(one.m, other.m))
			}
		}
	}
	return ""
}

// poisoned says which token, or counter of another node than the one that was so
// at first, came above the limit.
func (m *searchModel) poisoned(w *world) string {
	if m.limit == 0 {
		return ""
	}
	above := 0
	for _, node := range w.nodes {
		if node.fence > m.limit {
			above++
		}
	}
	if above > 1 {
		return fmt.Sprintf("%d nodes have counters above %d", above, m.limit)
	}
	for a, one := range w.attempts {
		if one.phase.won() && one.m > m.limit {
			return fmt.Sprintf("%s has token %d, above %d", attemptName(a), one.m, m.limit)
		}
	}
	return ""
}

// A searchStep is one thing that happened, for the trace.
type searchStep struct {
	what          string
	attempt, node int // -1: none
}

func (s searchStep) String() string {
	var words []string
	if s.attempt >= 0 {
		words = append(words, attemptName(s.attempt))
	}
	words = append(words, s.what)
	if s.node >= 0 {
		words = append(words, fmt.Sprintf("node %d", s.node+1))
	}
	return strings.Join(words, " ")
}

func attemptName(a int) string { return string(rune('A' + a)) }

// String shows the nodes and the winners: "A:3" is a node that A holds, with its counter at 3.
func (w *world) String() string {
	var words []string
	for _, node := range w.nodes {
		by := "-"
		if node.holder != 0 {
			by = attemptName(int(node.holder) - 1)
		}
		words = append(words, fmt.Sprintf("%s:%d", by, node.fence))
	}
	for a, one := range w.attempts {
		if one.phase.won() {
			words = append(words, fmt.Sprintf("token(%s)=%d", attemptName(a), one.m))
		}
	}
	return strings.Join(words, "  ")
}

// next yields every step that can happen in w and the world after it.
func (m *searchModel) next(w world) iter.Seq2[searchStep, world] {
	attemptSteps := [...]struct {
		what string
		do   func(*searchModel, *world, int) bool
	}{
		{"starts", (*searchModel).starts},
		{"gives up or releases", (*searchModel).leaves},
	}
	messageSteps := [...]struct {
		what string
		do   func(*searchModel, *world, int, int) bool
	}{
		{"acquire reaches", (*searchModel).acquireArrives},
		{"acquire reaches once more", (*searchModel).acquireRepeats},
		{"increment reaches", (*searchModel).incrementArrives},
		{"asks again by script", (*searchModel).againArrives},
		{"decides without", (*searchModel).quorumArrives},
		{"raise reaches", (*searchModel).raiseArrives},
		{"gets the answer to raise of", (*searchModel).raiseAnswered},
		{"release reaches", (*searchModel).releaseArrives},
	}
	return func(yield func(searchStep, world) bool) {
		after := w
		happened := func(s searchStep) bool { // and go on?
			world := after
			after = w
			return yield(s, world)
		}
		for a := range m.attempts {
			for _, s := range attemptSteps {
				if s.do(m, &after, a) && !happened(searchStep{s.what, a, -1}) {
					return
				}
			}
			for n := range searchNodes {
				for _, s := range messageSteps {
					if s.do(m, &after, a, n) && !happened(searchStep{s.what, a, n}) {
						return
					}
				}
			}
		}
		for n := range searchNodes {
			if m.expires(&after, n) && !happened(searchStep{"the key expires on", -1, n}) {
				return
			}
			if m.loses(&after, n) && !happened(searchStep{"the counter is lost on", -1, n}) {
				return
			}
		}
	}
}

// first yields the worlds in which a search begins. Only differences between counters matter: the lowest starts at the floor.
func (m *searchModel) first() iter.Seq[world] {
	return func(yield func(world) bool) {
		for second := range m.spread + 1 {
			for third := second; third <= m.spread; third++ {
				var w world
				w.nodes[0].fence, w.nodes[1].fence, w.nodes[2].fence = m.floor(), m.floor()+second, m.floor()+third
				if m.limit > 0 {
					w.nodes[2].fence = m.limit + third
				}
				if !yield(w) {
					return
				}
			}
		}
	}
}

// over says that nobody can win any more, so that nothing more can go wrong.
func (m *searchModel) over(w *world) bool {
	return !slices.ContainsFunc(w.attempts[:m.attempts], func(a worldAttempt) bool { return a.phase.open() })
}

// simplify makes worlds equal that differ only in what can have no consequence.
func (m *searchModel) simplify(w *world) {
	for a := range w.attempts {
		one := &w.attempts[a]
		if one.phase == attemptAsking && w.count(a, linkAcquiring)+w.count(a, linkAgain)+w.count(a, linkSet)+w.count(a, linkGranting) < searchQuorum {
			w.end(a, attemptFailed) // a client that does not know yet may as well have given up
		}
		mayRaise := false
		for n := range w.nodes {
			node := &w.nodes[n]
			l := &node.links[a]
			if l.stage == linkKept && (m.noLeaving || node.holder != holderMark(a)) {
				l.stage = linkQuiet // a release would find nothing of a's, or is never sent
			}
			mayRaise = mayRaise || l.stage == linkRaising
		}
		if one.phase != attemptAsking && one.phase != attemptRaising {
			one.floor = 0 // was checked when it won
		}
		if one.phase == attemptFailed && !mayRaise {
			one.m = 0
		}
	}
}

// A packedWorld takes 20 bytes, for the sake of the tens of millions that are kept. Nodes are alike, so they are
// sorted: worlds that differ only in the names of nodes are one.
type packedWorld struct {
	words [2]uint64
	rare  uint32 // what has happened that happens once
}

const (
	fenceBits   = 4 // counters stay below 16
	linkBits    = 4 + fenceBits
	nodeBits    = 2 + fenceBits + searchAttempts*linkBits
	attemptBits = 3 + 2*fenceBits

	repeatedBit = 1
	lostBit     = 2
)

func (w *world) pack() packedWorld {
	var nodes [searchNodes]uint64
	for n, node := range w.nodes {
		if node.fence >= 1<<fenceBits {
			panic("a fence counter outgrew fenceBits")
		}
		v := uint64(node.holder)<<fenceBits | uint64(node.fence)
		for _, l := range node.links {
			v = v<<linkBits | uint64(l.stage)<<fenceBits | uint64(l.fence)
		}
		nodes[n] = v
	}
	slices.Sort(nodes[:])
	var attempts uint64
	for _, a := range w.attempts {
		attempts = attempts<<attemptBits | uint64(a.phase)<<(2*fenceBits) | uint64(a.m)<<fenceBits | uint64(a.floor)
	}
	p := packedWorld{words: [2]uint64{nodes[0]<<nodeBits | nodes[1], nodes[2]<<(searchAttempts*attemptBits) | attempts}}
	if w.repeated {
		p.rare |= repeatedBit
	}
	if w.lost {
		p.rare |= lostBit
	}
	return p
}

func (p packedWorld) unpack() (w world) {
	const fence = 1<<fenceBits - 1
	w.repeated, w.lost = p.rare&repeatedBit != 0, p.rare&lostBit != 0
	lo, hi := p.words[0], p.words[1]
	nodes := [searchNodes]uint64{lo >> nodeBits, lo & (1<<nodeBits - 1), hi >> (searchAttempts * attemptBits)}
	for n, v := range nodes {
		node := &w.nodes[n]
		for a := searchAttempts - 1; a >= 0; a-- {
			node.links[a] = worldLink{stage: linkStage(v >> fenceBits & 15), fence: uint8(v & fence)}
			v >>= linkBits
		}
		node.holder, node.fence = uint8(v>>fenceBits), uint8(v&fence)
	}
	for a, v := searchAttempts-1, hi; a >= 0; a-- {
		w.attempts[a] = worldAttempt{phase: attemptPhase(v >> (2 * fenceBits) & 7), m: uint8(v >> fenceBits & fence), floor: uint8(v & fence)}
		v >>= attemptBits
	}
	return w
}

// visitedWorlds keeps worlds in the order in which they were found, each with the number of the one it was found from.
type visitedWorlds struct {
	pages [][]visitedWorld // each with room for visitedPage
	count uint32
	slots []uint32 // open addressing: 1 + the number of a world, or 0
}

type visitedWorld struct {
	words      [2]uint64
	rare, from uint32
}

func (v *visitedWorld) world() packedWorld { return packedWorld{v.words, v.rare} }

const visitedPage = 1 << 16

func (v *visitedWorlds) at(i uint32) *visitedWorld { return &v.pages[i/visitedPage][i%visitedPage] }

// add keeps p if it is new.
func (v *visitedWorlds) add(p packedWorld, from uint32) {
	if uint64(v.count)*3 >= uint64(len(v.slots))*2 {
		v.grow()
	}
	slot := v.find(p)
	if *slot != 0 {
		return
	}
	if v.count%visitedPage == 0 {
		v.pages = append(v.pages, make([]visitedWorld, 0, visitedPage))
	}
	last := &v.pages[len(v.pages)-1]
	*last = append(*last, visitedWorld{p.words, p.rare, from})
	v.count++
	*slot = v.count
}

// find returns the slot of p, or the empty one where it belongs.
func (v *visitedWorlds) find(p packedWorld) *uint32 {
	mask := uint64(len(v.slots) - 1)
	for i := p.hash() & mask; ; i = (i + 1) & mask {
		if slot := &v.slots[i]; *slot == 0 || v.at(*slot-1).world() == p {
			return slot
		}
	}
}

func (v *visitedWorlds) grow() {
	v.slots = make([]uint32, max(1<<12, 2*len(v.slots)))
	for i := range v.count {
		*v.find(v.at(i).world()) = i + 1
	}
}

func (p packedWorld) hash() uint64 {
	const odd = 0x9e3779b97f4a7c15
	h := (p.words[0]*odd ^ p.words[0]>>32 ^ p.words[1] ^ uint64(p.rare)<<48) * odd
	return (h ^ h>>29) * odd >> 16
}

// explore visits all worlds, those reached in fewer steps first, and stops at the first violation. It returns how many
// worlds it saw, and what led to the violation, a line for each step, or nothing.
func (m *searchModel) explore() (states int, trace []string) {
	var seen visitedWorlds
	for w := range m.first() {
		seen.add(w.pack(), noWorld)
	}
	for i := uint32(0); i < seen.count; i++ {
		w := seen.at(i).world().unpack()
		if m.over(&w) {
			continue
		}
		for _, after := range m.next(w) {
			wrong := m.violation(&after)
			if wrong == "" {
				wrong = m.poisoned(&after)
			}
			m.simplify(&after)
			seen.add(after.pack(), i)
			if wrong != "" {
				return int(seen.count), append(m.retrace(&seen, after.pack(), i), wrong)
			}
		}
	}
	return int(seen.count), nil
}

const noWorld = ^uint32(0)

// retrace tells the way to last, which was found from the world number from. Packing forgot which node is which, so it
// goes the whole way again with nodes that keep their names.
func (m *searchModel) retrace(seen *visitedWorlds, last packedWorld, from uint32) []string {
	way := []packedWorld{last}
	for i := from; i != noWorld; i = seen.at(i).from {
		way = append(way, seen.at(i).world())
	}
	slices.Reverse(way)
	w := way[0].unpack()
	trace := []string{fmt.Sprintf("%-38s %s", "at first", &w)}
	for _, p := range way[1:] {
		for s, after := range m.next(w) {
			m.simplify(&after)
			if after.pack() == p {
				trace = append(trace, fmt.Sprintf("%-38s %s", s, &after))
				w = after
				break
			}
		}
	}
	return trace
}

// searchAll explores and reports a violation, or that the search did not see what it is there to see.
func searchAll(t *testing.T, m searchModel) {
	t.Helper()
	begun := time.Now()
	states, trace := m.explore()
	t.Logf("%d states in %v; %d ways to win at once, %d to win by raising, %d to be refused a raise",
		states, time.Since(begun).Round(time.Millisecond), m.wonAtOnce, m.wonByRaise, m.wereRefused)
	if trace != nil {
		t.Fatalf("tokens are not unique and in order:\n%s", strings.Join(trace, "\n"))
	}
	if m.wonAtOnce == 0 || m.wonByRaise == 0 {
		t.Error("a search in which nobody wins shows nothing")
	}
	if m.wereRefused == 0 && !m.noExpiry {
		t.Error("no raise came too late, so the owner check was never put to the test")
	}
}

// What clients of these tests send: by script or by transaction, with the bump of today or that of old clients.
var (
	byScript      = client{}
	byTransaction = client{native: true}
	oldClient     = client{oldBump: true}
	oldBumps      = client{native: true, oldBump: true}
)

// wanting is c with a block of n tokens.
func (c client) wanting(n uint8) client {
	c.more = n - 1
	return c
}

func mixed(clients ...client) (all [searchAttempts]client) {
	copy(all[:], clients)
	return all
}

// About six million states without -search.full, in some ten seconds; with the race
// detector 172,746.
func TestSearch_TokenAgreementHolds(t *testing.T) {
	tests := []struct {
		name  string
		model searchModel
	}{
		{"two attempts", searchModel{attempts: 2, spread: 2}},                                                 // 172,746 states
		{"three attempts, two at a time, no leaving", searchModel{attempts: 3, pairs: true, noLeaving: true}}, // 487,333
		{"three attempts, no expiry", searchModel{attempts: 3, spread: 1, noExpiry: true}},                    // 422,202
		{"two attempts, an acquire delivered twice", searchModel{attempts: 2, spread: 1, repeats: true}},
		{"two attempts, a node whose counter is beyond the limit", searchModel{attempts: 2, spread: 1, limit: 8}},
		{"two transactions", searchModel{attempts: 2, spread: 1, clients: mixed(byTransaction, byTransaction)}},
		{"a script, then a transaction", searchModel{attempts: 2, spread: 1, clients: mixed(byScript, byTransaction)}},
		{"a transaction, then a script", searchModel{attempts: 2, spread: 1, clients: mixed(byTransaction, byScript)}},
		{"an old client, then a transaction", searchModel{attempts: 2, spread: 1, clients: mixed(oldClient, byTransaction)}},
		{"a transaction, then an old client", searchModel{attempts: 2, spread: 1, clients: mixed(byTransaction, oldClient)}},
		{"two transactions with old bumps", searchModel{attempts: 2, spread: 1, clients: mixed(oldBumps, oldBumps)}},
		{"transactions for two tokens and for one", searchModel{attempts: 2, spread: 1, clients: mixed(byTransaction.wanting(2), byTransaction)}},
		{"a transaction delivered twice", searchModel{attempts: 2, repeats: true, clients: mixed(byTransaction, byTransaction)}},
		{"transactions and a lost counter", searchModel{attempts: 2, losses: true, clients: mixed(byTransaction, byTransaction)}}, // 691,398
		{"a script, a transaction and a lost counter", searchModel{attempts: 2, losses: true, clients: mixed(byScript, byTransaction)}},
		{"a lost counter and an acquire delivered twice", searchModel{attempts: 2, losses: true, repeats: true}}, // 842,366
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if raceDetector && tt.name != "two attempts" && !*searchFull {
				t.Skip("one goroutine searches, so the race detector finds nothing and costs ten seconds: run it without, or with -search.full")
			}
			searchAll(t, tt.model)
		})
	}
	for _, full := range []struct {
		name  string
		model searchModel
	}{
		{"full", searchModel{attempts: 3, spread: 2}}, // some 70,000,000 states in about 5 GiB
		{"full, three transactions, two at a time", searchModel{attempts: 3, pairs: true, noLeaving: true, clients: mixed(byTransaction, byTransaction, byTransaction)}}, // 13,440,476
		{"full, a transaction, a lost counter and an acquire delivered twice", searchModel{attempts: 2, losses: true, repeats: true, clients: mixed(byTransaction, byScript)}},
	} {
		t.Run(full.name, func(t *testing.T) {
			if !*searchFull {
				t.Skip("takes minutes and some GiB: run it with -search.full")
			}
			searchAll(t, full.model)
		})
	}
}

func TestSearch_FindsAMissingBump(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, spread: 2, noRaise: true})
}

// Today's bump needs the holder for exclusion only: its check of the counter alone keeps tokens apart. That of an old
// client needs it for the tokens, too.
func TestSearch_FindsAMissingHolderCheck(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, spread: 2, noOwnerCheck: true, clients: mixed(oldClient, oldClient)})
}

func TestSearch_FindsAMissingFenceCheck(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, spread: 1, repeats: true, noFenceCheck: true})
}

func TestSearch_FindsAMissingLimit(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, spread: 1, limit: 8, noLimit: true})
}

// A bump that creates a counter has the node stand behind a token that it may have granted to another before.
func TestSearch_FindsACounterThatABumpCreates(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, losses: true, repeats: true, creates: true})
}

// A transaction increments a counter that was lost from nothing.
func TestSearch_FindsAMissingFloorCheckOfATransaction(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, losses: true, noFloorCheck: true, clients: mixed(byTransaction, byTransaction)})
}

// The script that follows finds the key its own.
func TestSearch_FindsAScriptThatDoesNotDrawAnew(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, losses: true, noDraw: true, clients: mixed(byTransaction, byTransaction)})
}

// Why SET and INCRBY are one transaction: beside the bumps of old clients, and under every simpler rule, they have to be.
func TestSearch_FindsTwoStepsWhereATransactionBelongs(t *testing.T) {
	for name, m := range map[string]searchModel{
		"with old bumps":        {attempts: 2, spread: 1, clients: mixed(oldBumps, oldBumps)},
		"beside an old client":  {attempts: 2, spread: 1, clients: mixed(byTransaction, oldClient)},
		"with equality refused": {attempts: 2, spread: 1, equalRefused: true, clients: mixed(byTransaction.wanting(2), byTransaction)},
	} {
		t.Run(name, func(t *testing.T) {
			m.unwrapped = true
			searchFinds(t, m)
		})
	}
}

// What the node reported has to be known: an attempt that nobody disturbs would be refused its bumps without.
func TestSearch_AnAttemptAloneIsRefusedNoBump(t *testing.T) {
	m := searchModel{attempts: 1, spread: 2, noExpiry: true, noLeaving: true, clients: mixed(byScript.wanting(2))}
	searchAll(t, m)
	if m.explore(); m.wereRefused > 0 {
		t.Errorf("%d bumps were refused", m.wereRefused)
	}
	m.noReported = true
	if m.explore(); m.wereRefused == 0 {
		t.Error("without what the nodes reported no bump was refused, so this search shows nothing")
	}
}

// Why only the first look at a key is a transaction: one that is refused raises the counter, and a winner's bump is refused
// for that.
func TestSearch_RefusedTransactionsDisturbWinners(t *testing.T) {
	for native, want := range map[bool]bool{false: false, true: true} {
		c := client{native: native}
		m := searchModel{attempts: 2, spread: 1, noExpiry: true, clients: mixed(c, c)}
		if m.explore(); (m.wereRefused > 0) != want {
			t.Errorf("native %t: %d bumps were refused, though no key expired", native, m.wereRefused)
		}
	}
}

// searchFinds fails if a wrong protocol passes.
func searchFinds(t *testing.T, m searchModel) {
	t.Helper()
	states, trace := m.explore()
	if trace == nil {
		t.Fatalf("no violation in %d states", states)
	}
	t.Logf("found after %d states:\n%s", states, strings.Join(trace, "\n"))
}
