package quorumlock

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"
)

// An exhaustive search of a release by force (force.go) beside a holder that
// acquires and renews the key, and another that acquires it. Requests and
// answers arrive as late as they like or not at all, in any order. In each
// state it is checked that one at a time holds the key, and that after a
// release that succeeded the holder does not hold the key for longer than the
// caller was told.
//
// Time is counted in the deadlines of the holder's rounds: the acquisition is
// round 1, and deadline r is a TTL after round r began. A key that a node was
// given when r rounds had begun outlives deadline r, and may expire at any
// moment after it.

const forceMarked = searchNodes - searchQuorum + 1 // nodes that keep a quorum from the holder

// A forceWorld is all that matters at one moment.
type forceWorld struct {
	nodes [searchNodes]forceNode

	rounds   uint8 // that the holder has begun
	passed   uint8 // deadlines that have passed
	deadline uint8 // the holder's
	holder   forceHolder
	open     bool // the last round is not decided

	release forceRelease
	pass    uint8 // over the nodes, of the release
	block   uint8 // how long this pass keeps the key: until which deadline
	until   uint8 // the latest deadline that a node has named

	other forceOther

	lost, failed uint8 // how often the holder gave up on a node, and the release failed on one
}

type forceNode struct {
	key      forceKey
	life     uint8     // the deadline that the key outlives
	link     forceLink // to the holder
	round    uint8     // of what is on its way there; 0: of no round that is open
	vote     forceVote // in the open round
	late     bool      // a request that the holder has given up on is on its way
	answer   forceAnswer
	answered bool // it answered the pass before
	asks     bool // the other's acquire is on its way
}

type forceKey uint8

const (
	forceFree forceKey = iota
	forceHolders
	forceMark
	forceOthers
)

type forceLink uint8

const (
	forceQuiet     forceLink = iota
	forceAcquiring           // an acquire is on its way to the node
	forceExtending           // a renewal is on its way to the node
	forceOwning              // "granted" or "owned" is on its way back
	forceDisowning           // "refused" or "healed" is on its way back
)

type forceVote uint8

const (
	forceNoVote forceVote = iota
	forceFor
	forceAgainst
)

type forceHolder uint8

const (
	forceVoting forceHolder = iota
	forceHolding
	forceEnded
)

type forceAnswer uint8

const (
	forceNotAsked forceAnswer = iota
	forceAsked
	forceTaken // marked now
	forceKept  // marked before
	forceGone
	forceAnothers
	forceFailed
)

type forceRelease uint8

const (
	forceIdle forceRelease = iota
	forcePassing
	forceSucceeded
	forceRefused
)

type forceOther uint8

const (
	forceWaits forceOther = iota
	forceTries
	forceHas
	forceLeft
)

// A forceModel says what is searched.
type forceModel struct {
	rounds uint8 // of the holder
	passes uint8 // of the release
	other  bool  // another acquires the key
	delays bool  // answers to the holder arrive as late as they like, and not at once
	losses uint8 // how often the holder may give up on a node, up to 1
	fails  uint8 // how often the release may fail on a node, up to 2
	now    bool  // ForceReleaseNow

	// What a wrong protocol would do.
	onePass     bool // the nodes are asked again only if too few had the key
	noConfirm   bool // the second pass is the last, whatever it finds
	setConfirms bool // a mark that is set where the key was gone needs no later pass
	noProlong   bool // a mark that is there stays as it is
	anyAnswer   bool // nor does one that is there on a node that did not answer the pass before
	others      bool // a node where another has the key keeps it from the holder

	succeeded, renewed int // how often a release succeeded, and a renewal did
}

// The steps, as in search_test.go.

// renews begins a round.
func (m *forceModel) renews(w *forceWorld) bool {
	if w.holder != forceHolding || w.rounds == m.rounds {
		return false
	}
	w.rounds++
	w.open = true
	asked := false
	for n := range w.nodes {
		node := &w.nodes[n]
		node.vote = forceNoVote
		if node.round = 0; node.link == forceQuiet {
			node.link, node.round, asked = forceExtending, w.rounds, true
		}
	}
	return asked
}

// requestArrives is acquire.lua or extend.lua.
func (m *forceModel) requestArrives(w *forceWorld, n int) bool {
	node := &w.nodes[n]
	if node.link != forceAcquiring && node.link != forceExtending {
		return false
	}
	votes := node.key == forceHolders || node.key == forceFree && node.link == forceAcquiring
	if node.key == forceHolders || node.key == forceFree {
		node.key, node.life = forceHolders, w.rounds
	}
	if node.link = forceDisowning; votes {
		node.link = forceOwning
	}
	if !m.delays {
		m.answerArrives(w, n)
	}
	return true
}

// lateArrives is the same for a request whose answer nobody takes in.
func (m *forceModel) lateArrives(w *forceWorld, n int) bool {
	node := &w.nodes[n]
	if !node.late {
		return false
	}
	node.late = false
	if node.key == forceHolders || node.key == forceFree {
		node.key, node.life = forceHolders, w.rounds
	}
	return true
}

func (m *forceModel) answerArrives(w *forceWorld, n int) bool {
	node := &w.nodes[n]
	if node.link != forceOwning && node.link != forceDisowning {
		return false
	}
	counts := w.open && node.round == w.rounds
	if counts {
		if node.vote = forceAgainst; node.link == forceOwning {
			node.vote = forceFor
		}
	}
	node.link, node.round = forceQuiet, 0
	if counts {
		m.decide(w)
	}
	return true
}

func (m *forceModel) decide(w *forceWorld) {
	count := func(v forceVote) (n int) {
		for _, node := range w.nodes {
			if node.vote == v {
				n++
			}
		}
		return n
	}
	switch {
	case count(forceFor) >= searchQuorum:
		w.open, w.holder, w.deadline = false, forceHolding, w.rounds
		if w.rounds > 1 {
			m.renewed++
		}
	case searchNodes-count(forceAgainst) < searchQuorum:
		w.open, w.holder = false, forceEnded
	}
}

// timesOut has the holder give up on what is on its way to or from a node.
func (m *forceModel) timesOut(w *forceWorld, n int) bool {
	node := &w.nodes[n]
	if node.link == forceQuiet || w.lost == m.losses {
		return false
	}
	w.lost++
	node.late = node.late || node.link == forceAcquiring || node.link == forceExtending
	node.link, node.round = forceQuiet, 0
	return true
}

func (m *forceModel) timePasses(w *forceWorld) bool {
	if w.passed == w.rounds {
		return false
	}
	if w.passed++; w.passed == max(w.deadline, 1) {
		w.holder = forceEnded
	}
	return true
}

func (m *forceModel) expires(w *forceWorld, n int) bool {
	node := &w.nodes[n]
	if node.key != forceHolders && node.key != forceMark || node.life > w.passed {
		return false
	}
	node.key = forceFree
	return true
}

// The release.

func (m *forceModel) forces(w *forceWorld) bool {
	if w.release != forceIdle || !slices.ContainsFunc(w.nodes[:], func(n forceNode) bool { return n.key == forceHolders }) {
		return false
	}
	w.release = forcePassing
	m.beginPass(w)
	return true
}

func (m *forceModel) beginPass(w *forceWorld) {
	w.pass++
	w.block = w.until
	for n := range w.nodes {
		node := &w.nodes[n]
		node.answered = node.answer != forceNotAsked && node.answer != forceFailed
		node.answer = forceAsked
	}
}

// forceArrives is seize.lua, or release.lua. If the answer is lost, the release
// learns of a failure.
func (m *forceModel) forceArrives(w *forceWorld, n int, lost bool) bool {
	node := &w.nodes[n]
	if node.answer != forceAsked || lost && w.failed == m.fails {
		return false
	}
	switch {
	case m.now && node.key == forceHolders:
		node.answer, node.key = forceTaken, forceFree
	case node.key == forceHolders:
		node.answer, node.key = forceTaken, forceMark
		node.life = max(node.life, w.block)
	case node.key == forceMark:
		node.answer = forceKept
		if !m.noProlong {
			node.life = max(node.life, w.block)
		}
	case node.key == forceOthers:
		node.answer = forceAnothers
	case w.pass == 1:
		node.answer = forceGone
	default:
		node.answer, node.key, node.life = forceTaken, forceMark, w.block
		if m.setConfirms {
			node.answer = forceKept
		}
	}
	if (node.answer == forceTaken || node.answer == forceKept) && !lost {
		w.until = max(w.until, node.life)
	}
	if lost {
		w.failed++
		node.answer = forceFailed
	}
	m.judge(w)
	return true
}

func (m *forceModel) forceFails(w *forceWorld, n int) bool {
	if w.nodes[n].answer != forceAsked || w.failed == m.fails {
		return false
	}
	w.failed++
	w.nodes[n].answer = forceFailed
	m.judge(w)
	return true
}

// judge ends the release, or begins its next pass, when each node has answered.
func (m *forceModel) judge(w *forceWorld) {
	var marked, confirmed, others, failed int
	for _, node := range w.nodes {
		switch node.answer {
		case forceAsked:
			return
		case forceTaken:
			marked++
		case forceKept:
			marked++
			if w.pass > 1 && (node.answered || m.anyAnswer) {
				confirmed++
			}
		case forceAnothers:
			others++
		case forceFailed:
			failed++
		}
	}
	switch {
	case m.others && w.pass > 1:
		marked, confirmed = marked+others, confirmed+others
	case m.noConfirm && w.pass > 1, m.onePass:
		confirmed = marked
	}
	switch {
	case searchNodes-failed < searchQuorum, w.pass == 1 && marked == 0:
		w.release = forceRefused
	case m.now && marked+others < forceMarked:
		w.release = forceRefused
	case m.now, confirmed >= forceMarked:
		w.release = forceSucceeded
		m.succeeded++
	case w.pass > 1 && marked < forceMarked, w.pass == m.passes:
		w.release = forceRefused
	default:
		m.beginPass(w)
	}
}

// The other.

func (m *forceModel) starts(w *forceWorld) bool {
	if !m.other || w.other != forceWaits {
		return false
	}
	w.other = forceTries
	for n := range w.nodes {
		w.nodes[n].asks = true
	}
	return true
}

func (m *forceModel) otherArrives(w *forceWorld, n int) bool {
	node := &w.nodes[n]
	if !node.asks {
		return false
	}
	node.asks = false
	if node.key == forceFree {
		node.key = forceOthers
	}
	has := 0
	for _, node := range w.nodes {
		if node.key == forceOthers {
			has++
		}
	}
	if w.other == forceTries && has >= searchQuorum {
		w.other = forceHas
	}
	return true
}

func (m *forceModel) otherLeaves(w *forceWorld) bool {
	if w.other != forceTries && w.other != forceHas {
		return false
	}
	w.other = forceLeft
	return true
}

func (m *forceModel) otherGone(w *forceWorld, n int) bool {
	if w.other != forceLeft || w.nodes[n].key != forceOthers {
		return false
	}
	w.nodes[n].key = forceFree
	return true
}

// violation says what is wrong, or nothing.
func (m *forceModel) violation(w *forceWorld) string {
	switch {
	case w.holder != forceHolding:
	case w.other == forceHas:
		return "two hold the key at once"
	case w.release == forceSucceeded && w.deadline > w.until:
		return "the holder has renewed the key that was released by force"
	}
	return ""
}

// over says that nothing more can go wrong.
func (m *forceModel) over(w *forceWorld) bool {
	return w.holder == forceEnded || w.release == forceRefused && (!m.other || w.other == forceLeft)
}

// simplify makes worlds equal that differ only in what can have no consequence.
func (m *forceModel) simplify(w *forceWorld) {
	decided := w.release == forceSucceeded || w.release == forceRefused
	if decided {
		w.pass, w.block = 0, 0
	}
	if w.release == forceRefused {
		w.until = 0
	}
	if w.release != forceIdle && decided {
		w.failed = m.fails
	}
	for n := range w.nodes {
		node := &w.nodes[n]
		if node.key == forceFree || node.key == forceOthers || node.life <= w.passed {
			node.life = 0
		}
		if !w.open {
			node.round, node.vote = 0, forceNoVote
		}
		if decided {
			node.answer, node.answered = forceNotAsked, false
		}
	}
}

// packedForce is a world in two words. Nodes are alike, so they are sorted.
type packedForce [2]uint64

func (w *forceWorld) pack() packedForce {
	var nodes [searchNodes]uint64
	bit := func(on bool) uint64 {
		if on {
			return 1
		}
		return 0
	}
	for n, node := range w.nodes {
		v := uint64(node.key)<<3 | uint64(node.life)
		v = v<<3 | uint64(node.link)
		v = v<<3 | uint64(node.round)
		v = v<<2 | uint64(node.vote)
		v = v<<3 | uint64(node.answer)
		nodes[n] = v<<3 | bit(node.late)<<2 | bit(node.answered)<<1 | bit(node.asks)
	}
	slices.Sort(nodes[:])
	v := uint64(w.holder)<<1 | bit(w.open)
	v = v<<2 | uint64(w.release)
	v = v<<2 | uint64(w.other)
	for _, number := range []uint8{w.rounds, w.passed, w.deadline, w.pass, w.block, w.until, w.lost*3 + w.failed} {
		v = v<<3 | uint64(number)
	}
	return packedForce{nodes[0]<<32 | nodes[1], nodes[2]<<32 | v}
}

// next yields every step that can happen in w and the world after it.
func (m *forceModel) next(w forceWorld) iter.Seq2[string, forceWorld] {
	return func(yield func(string, forceWorld) bool) {
		stop := false
		try := func(what string, happens func(*forceWorld) bool) {
			after := w
			if !stop && happens(&after) {
				stop = !yield(what, after)
			}
		}
		try("the holder renews", m.renews)
		try("a deadline passes", m.timePasses)
		try("the release begins", m.forces)
		try("the other begins", m.starts)
		try("the other leaves", m.otherLeaves)
		for _, s := range []struct {
			what    string
			happens func(*forceWorld, int) bool
		}{
			{"the holder's request reaches", m.requestArrives},
			{"the holder learns the answer of", m.answerArrives},
			{"the holder gives up on", m.timesOut},
			{"a late request reaches", m.lateArrives},
			{"the key expires on", m.expires},
			{"the release reaches", func(w *forceWorld, n int) bool { return m.forceArrives(w, n, false) }},
			{"the release reaches, unanswered,", func(w *forceWorld, n int) bool { return m.forceArrives(w, n, true) }},
			{"the release fails on", m.forceFails},
			{"the other's request reaches", m.otherArrives},
			{"the other has left", m.otherGone},
		} {
			for n := range searchNodes {
				try(s.what+" "+string(rune('1'+n)), func(w *forceWorld) bool { return s.happens(w, n) })
			}
		}
	}
}

func (w *forceWorld) String() string {
	var words []string
	for _, node := range w.nodes {
		word := [...]string{"-", "holder", "mark", "other"}[node.key]
		if node.life > 0 {
			word += fmt.Sprintf(" to %d", node.life)
		}
		words = append(words, fmt.Sprintf("%-12s", word))
	}
	words = append(words, [...]string{"voting", "holding", "ended"}[w.holder]+fmt.Sprintf(" to %d", w.deadline))
	if w.release == forcePassing {
		words = append(words, fmt.Sprintf("pass %d", w.pass))
	}
	if w.release == forceSucceeded {
		words = append(words, fmt.Sprintf("released, free after %d", w.until))
	}
	return strings.Join(words, " ")
}

// explore visits all worlds and stops at the first violation. It returns how
// many it saw, and what led to the violation.
func (m *forceModel) explore() (states int, trace []string) {
	type visit struct {
		world forceWorld
		from  int32
	}
	var all []visit
	seen := map[packedForce]struct{}{}
	add := func(w forceWorld, from int) {
		p := w.pack()
		if _, known := seen[p]; !known {
			seen[p] = struct{}{}
			all = append(all, visit{w, int32(from)})
		}
	}
	first := forceWorld{rounds: 1, open: true}
	for n := range first.nodes {
		first.nodes[n] = forceNode{link: forceAcquiring, round: 1}
	}
	add(first, -1)
	for i := 0; i < len(all); i++ {
		if m.over(&all[i].world) {
			continue
		}
		for _, after := range m.next(all[i].world) {
			wrong := m.violation(&after)
			m.simplify(&after)
			if wrong == "" {
				add(after, i)
				continue
			}
			all = append(all, visit{after, int32(i)})
			for at := len(all) - 1; all[at].from >= 0; at = int(all[at].from) {
				for step, w := range m.next(all[all[at].from].world) {
					if m.simplify(&w); w == all[at].world {
						trace = append(trace, fmt.Sprintf("%-36s %s", step, &w))
						break
					}
				}
			}
			slices.Reverse(trace)
			return len(seen), append(trace, wrong)
		}
	}
	return len(seen), nil
}

// Counters play no part: a release by force neither reads nor changes them.
func TestSearch_ForceReleaseHolds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		full  bool
		model forceModel
	}{
		{"four rounds", false, forceModel{rounds: 4, passes: 4}},
		{"requests are lost", false, forceModel{rounds: 3, passes: 3, losses: 1, fails: 1}},
		{"answers are late", false, forceModel{rounds: 3, passes: 3, delays: true}},
		{"another acquires", false, forceModel{rounds: 3, passes: 3, other: true}},
		{"another acquires, the release fails on a node", false, forceModel{rounds: 2, passes: 3, other: true, fails: 1}},
		{"full, five rounds, the release fails twice", true, forceModel{rounds: 5, passes: 5, fails: 2}},
		{"full, another acquires, requests are lost", true, forceModel{rounds: 3, passes: 3, other: true, losses: 1, fails: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			oneThread(t)
			if tt.full && !*searchFull {
				t.Skip("takes long: run it with -search.full")
			}
			m, begun := tt.model, time.Now()
			states, trace := m.explore()
			t.Logf("%d states in %v; released in %d ways, renewed in %d", states, time.Since(begun).Round(time.Millisecond), m.succeeded, m.renewed)
			if trace != nil {
				t.Fatalf("a release by force is not safe:\n%s", strings.Join(trace, "\n"))
			}
			if m.succeeded == 0 || m.renewed == 0 {
				t.Error("a search in which nothing is released or renewed shows nothing")
			}
		})
	}
}

// What is found if a rule is left out, and what ForceReleaseNow does not
// promise.
func TestSearch_FindsWhatIsWrongWithForceRelease(t *testing.T) {
	const renewed, two = "the holder has renewed the key", "two hold the key at once"
	for name, tt := range map[string]struct {
		model forceModel
		want  string
	}{
		"one pass is enough":                  {forceModel{rounds: 3, passes: 3, onePass: true}, renewed},
		"the second pass is the last":         {forceModel{rounds: 4, passes: 3, noConfirm: true}, renewed},
		"a mark that is set confirms":         {forceModel{rounds: 4, passes: 3, setConfirms: true}, renewed},
		"a mark stays as it is":               {forceModel{rounds: 4, passes: 3, noProlong: true}, renewed},
		"any answer confirms":                 {forceModel{rounds: 4, passes: 3, fails: 1, anyAnswer: true}, renewed},
		"another's key keeps it from holders": {forceModel{rounds: 3, passes: 3, other: true, fails: 1, others: true}, renewed},
		"now":                                 {forceModel{rounds: 3, passes: 1, now: true}, renewed},
		"now, and another acquires":           {forceModel{rounds: 1, passes: 1, other: true, now: true}, two},
	} {
		t.Run(name, func(t *testing.T) {
			oneThread(t)
			begun := time.Now()
			states, trace := tt.model.explore()
			if trace == nil {
				t.Fatalf("no violation in %d states", states)
			}
			t.Logf("found after %d states in %v:\n%s", states, time.Since(begun).Round(time.Millisecond), strings.Join(trace, "\n"))
			if got := trace[len(trace)-1]; !strings.HasPrefix(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}
