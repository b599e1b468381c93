package mutex

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
}

type worldNode struct {
	holder uint8                     // the attempt that holds the key here, counted from 1; 0: it is free
	fence  uint8                     // the fence counter
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

// A searchModel says what is searched.
type searchModel struct {
	attempts int   // how many acquisitions there are, up to searchAttempts
	spread   uint8 // the counters start anywhere from 0 to here, each on its own

	// What does not happen, to keep a search small.
	pairs     bool // at most two attempts are under way at once
	noExpiry  bool // no key expires before it is released
	noLeaving bool // nobody gives up or releases; where keys expire, an expiry does all that a release could

	repeats bool // any one acquire may be delivered a second time, however late

	// limit is the largest fence that clients count; 0: they count every one. With
	// it one node starts above.
	limit   uint8
	noLimit bool // what a wrong protocol would leave out: that clients look at the limit

	// What a wrong protocol would leave out.
	noRaise      bool // the client takes m, whoever reported it
	noOwnerCheck bool // the node raises for everybody and answers "owned"
	noFenceCheck bool // the node raises for its holder also when its counter is above m

	// How often attempts were seen to win at once, to win after raises, and to fail because raises were refused.
	wonAtOnce, wonByRaise, wereRefused int
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

// acquireArrives grants the key if it is free. A refusal needs no step of its own when it reaches the client: all the
// client could do then is to give up, which it may do at any moment anyway.
func (m *searchModel) acquireArrives(w *world, a, n int) bool {
	node := &w.nodes[n]
	if node.links[a].stage != linkAcquiring {
		return false
	}
	switch {
	case node.holder != 0:
		node.links[a] = worldLink{stage: linkQuiet}
	case w.attempts[a].phase != attemptAsking, m.limit > 0 && !m.noLimit && node.fence+1 > m.limit:
		node.holder, node.fence = holderMark(a), node.fence+1
		node.links[a] = worldLink{stage: linkKept}
	default:
		node.holder, node.fence = holderMark(a), node.fence+1
		node.links[a] = worldLink{stage: linkGranting, fence: node.fence}
	}
	return true
}

// acquireRepeats grants a free key to an attempt that was answered there before, by a second copy of its request.
// Nobody takes in the answer.
func (m *searchModel) acquireRepeats(w *world, a, n int) bool {
	node := &w.nodes[n]
	if !m.repeats || w.repeated || node.holder != 0 ||
		w.attempts[a].phase == attemptIdle || node.links[a].stage == linkAcquiring {
		return false
	}
	node.holder, node.fence, w.repeated = holderMark(a), node.fence+1, true
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
			*l = worldLink{stage: linkRaising}
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

// raiseArrives raises the counter if the node still knows this attempt as the holder and has given m to nobody else.
func (m *searchModel) raiseArrives(w *world, a, n int) bool {
	node := &w.nodes[n]
	if node.links[a].stage != linkRaising {
		return false
	}
	stands := node.holder == holderMark(a) && (node.fence <= w.attempts[a].m || m.noFenceCheck)
	owns := stands || m.noOwnerCheck
	if owns {
		node.fence = max(node.fence, w.attempts[a].m)
	}
	switch {
	case w.attempts[a].phase != attemptRaising:
		node.links[a].stage = linkKept
	case owns:
		node.links[a].stage = linkOwning
	default:
		node.links[a].stage = linkDisowning
	}
	return true
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
		case linkQuiet, linkAcquiring, linkRaising:
		default:
			*l = worldLink{stage: linkKept}
		}
	}
}

// violation says what is wrong with the tokens, or nothing.
func (w *world) violation() string {
	for a, one := range w.attempts {
		if !one.phase.won() {
			continue
		}
		if one.m <= one.floor {
			return fmt.Sprintf("%s has token %d and started after token %d was given", attemptName(a), one.m, one.floor)
		}
		for b, other := range w.attempts[:a] {
			if other.phase.won() && other.m == one.m {
				return fmt.Sprintf("%s and %s both have token %d", attemptName(b), attemptName(a), one.m)
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
		}
	}
}

// first yields the worlds in which a search begins. Only differences between counters matter: the lowest starts at 0.
func (m *searchModel) first() iter.Seq[world] {
	return func(yield func(world) bool) {
		for second := range m.spread + 1 {
			for third := second; third <= m.spread; third++ {
				var w world
				w.nodes[1].fence, w.nodes[2].fence = second, third
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
		if one.phase == attemptAsking && w.count(a, linkAcquiring)+w.count(a, linkGranting) < searchQuorum {
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

// A packedWorld takes two words, for the sake of the tens of millions that are kept. Nodes are alike, so they are
// sorted: worlds that differ only in the names of nodes are one.
type packedWorld [2]uint64

const (
	fenceBits   = 4 // counters stay below 16
	linkBits    = 4 + fenceBits
	nodeBits    = 2 + fenceBits + searchAttempts*linkBits
	attemptBits = 3 + 2*fenceBits
	repeatedBit = 1 << (nodeBits + searchAttempts*attemptBits)
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
	p := packedWorld{nodes[0]<<nodeBits | nodes[1], nodes[2]<<(searchAttempts*attemptBits) | attempts}
	if w.repeated {
		p[1] |= repeatedBit
	}
	return p
}

func (p packedWorld) unpack() (w world) {
	const fence = 1<<fenceBits - 1
	w.repeated = p[1]&repeatedBit != 0
	p[1] &^= repeatedBit
	nodes := [searchNodes]uint64{p[0] >> nodeBits, p[0] & (1<<nodeBits - 1), p[1] >> (searchAttempts * attemptBits)}
	for n, v := range nodes {
		node := &w.nodes[n]
		for a := searchAttempts - 1; a >= 0; a-- {
			node.links[a] = worldLink{stage: linkStage(v >> fenceBits & 15), fence: uint8(v & fence)}
			v >>= linkBits
		}
		node.holder, node.fence = uint8(v>>fenceBits), uint8(v&fence)
	}
	for a, v := searchAttempts-1, p[1]; a >= 0; a-- {
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
	world packedWorld
	from  uint32
}

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
	*last = append(*last, visitedWorld{p, from})
	v.count++
	*slot = v.count
}

// find returns the slot of p, or the empty one where it belongs.
func (v *visitedWorlds) find(p packedWorld) *uint32 {
	mask := uint64(len(v.slots) - 1)
	for i := p.hash() & mask; ; i = (i + 1) & mask {
		if slot := &v.slots[i]; *slot == 0 || v.at(*slot-1).world == p {
			return slot
		}
	}
}

func (v *visitedWorlds) grow() {
	v.slots = make([]uint32, max(1<<12, 2*len(v.slots)))
	for i := range v.count {
		*v.find(v.at(i).world) = i + 1
	}
}

func (p packedWorld) hash() uint64 {
	const odd = 0x9e3779b97f4a7c15
	h := (p[0]*odd ^ p[0]>>32 ^ p[1]) * odd
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
		w := seen.at(i).world.unpack()
		if m.over(&w) {
			continue
		}
		for _, after := range m.next(w) {
			wrong := after.violation()
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
		way = append(way, seen.at(i).world)
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

// About a million states without -search.full, in a second; with the race detector
// 165,471.
func TestTokenAgreementSearch(t *testing.T) {
	tests := []struct {
		name  string
		model searchModel
	}{
		{"two attempts", searchModel{attempts: 2, spread: 2}},                                                 // 165,471 states
		{"three attempts, two at a time, no leaving", searchModel{attempts: 3, pairs: true, noLeaving: true}}, // 472,893
		{"three attempts, no expiry", searchModel{attempts: 3, spread: 1, noExpiry: true}},                    // 422,202
		{"two attempts, an acquire delivered twice", searchModel{attempts: 2, spread: 1, repeats: true}},
		{"two attempts, a node whose counter is beyond the limit", searchModel{attempts: 2, spread: 1, limit: 8}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if raceDetector && tt.name != "two attempts" && !*searchFull {
				t.Skip("one goroutine searches, so the race detector finds nothing and costs ten seconds: run it without, or with -search.full")
			}
			searchAll(t, tt.model)
		})
	}
	t.Run("full", func(t *testing.T) { // 67,820,639 states in at most 4.1 GiB
		if !*searchFull {
			t.Skip("takes minutes and some GiB: run it with -search.full")
		}
		searchAll(t, searchModel{attempts: 3, spread: 2})
	})
}

func TestTokenAgreementSearchFindsMissingRaise(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, spread: 2, noRaise: true})
}

func TestTokenAgreementSearchFindsMissingOwnerCheck(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, spread: 2, noOwnerCheck: true})
}

func TestTokenAgreementSearchFindsMissingFenceCheck(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, spread: 1, repeats: true, noFenceCheck: true})
}

func TestTokenAgreementSearchFindsAMissingLimit(t *testing.T) {
	searchFinds(t, searchModel{attempts: 2, spread: 1, limit: 8, noLimit: true})
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
