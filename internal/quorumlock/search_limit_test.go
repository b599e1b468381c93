package quorumlock

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// An exhaustive search of the slots of a key with a limit (limit.go), as
// search_test.go is of the token agreement: three nodes, two or three attempts,
// two slots, in any order of events. The clients decide with leading and judge.

const (
	limitSlots    = 2
	limitAttempts = 3
)

// A limitWorld is all that matters at one moment.
type limitWorld struct {
	nodes    [searchNodes]limitNode
	attempts [limitAttempts]limitAttempt
	repeated bool // the one acquire that is delivered twice has been
	lost     bool // the one counter that a node loses is lost
}

type limitNode struct {
	fence uint8
	slots [limitSlots]limitSlot
	last  [limitSlots]uint8 // by class: the largest number that somebody stands behind
	links [limitAttempts]limitLink
}

type limitSlot struct {
	holder uint8 // the attempt, counted from 1; 0: it is free
	told   uint8
}

type limitLink struct {
	stage linkStage
	slot  uint8 // that was granted, while that matters
	told  uint8
}

type limitAttempt struct {
	phase       attemptPhase
	start, slot uint8
	m           uint8
	floor       uint8 // the largest token of those that had won before it started
}

// A limitModel says what is searched.
type limitModel struct {
	attempts int
	classes  uint8
	spread   uint8 // the counters start up to this apart
	expiry   bool  // any slot may expire at any moment, which does all that a release could: tokens are searched; without, that slots are exclusive
	repeats  bool
	losses   bool

	// What a wrong protocol would leave out.
	noRaise   bool // the client takes m, whoever reported it
	anySlot   bool // votes for several slots count together
	drawsOne  bool // an attempt draws one number for all classes
	noClass   bool // a raise is accepted whatever the node granted to others of the class
	noLast    bool // a grant is not kept as the last number of its class
	noTold    bool // a raise looks at the value in the slot, and not at what it was told
	noOwner   bool // a raise looks at the class only
	creates   bool // a raise lifts a counter that was lost
	freesOne  bool // a release frees the slot that the attempt settled on, and no other
	nodeStart bool // each node starts where it likes

	wins, splits, raised, refused int
}

func (m *limitModel) drawn() uint8 {
	if m.drawsOne {
		return 1
	}
	return m.classes
}

const limitFloor = 4 // counters that were not lost are never below

// token is that of an attempt that has settled.
func (m *limitModel) token(a limitAttempt) uint8 {
	if m.drawsOne {
		return a.m
	}
	return uint8((&limited{n: int(m.classes), slot: int(a.slot % m.classes)}).last(int64(a.m)))
}

// acquires executes an acquire of a's on a node, and returns the slot; it is false
// if none is free.
func (m *limitModel) acquires(w *limitWorld, a int, n, start uint8) (slot uint8, ok bool) {
	node := &w.nodes[n]
	for s := range node.slots {
		if node.slots[s].holder == holderMark(a) {
			return uint8(s), true // delivered again
		}
	}
	for i := range uint8(limitSlots) {
		s := (start + i) % limitSlots
		if node.slots[s].holder != 0 {
			continue
		}
		if node.fence < limitFloor {
			node.fence = fresh
		}
		node.fence += m.drawn()
		node.slots[s] = limitSlot{holderMark(a), node.fence}
		if !m.noLast {
			node.last[s%m.classes] = node.fence
		}
		return s, true
	}
	return 0, false
}

// raises executes a raise of a's on a node.
func (m *limitModel) raises(w *limitWorld, a int, n uint8) bool {
	node, one := &w.nodes[n], w.attempts[a]
	link, slot, class := &node.links[a], &node.slots[one.slot], one.slot%m.classes
	last := &node.last[class]
	switch {
	case slot.holder != holderMark(a) && !m.noOwner,
		slot.told != link.told && !m.noTold && !m.noOwner,
		node.fence < link.told && !m.creates,
		!m.noClass && *last != link.told && *last+m.drawn() > one.m:
		return false
	}
	node.fence, *last = max(node.fence, one.m), one.m
	if slot.holder == holderMark(a) {
		slot.told = one.m
	}
	return true
}

// next calls yield with every world that can follow w.
func (m *limitModel) next(w limitWorld, yield func(what string, after limitWorld)) {
	for a := range m.attempts {
		one := w.attempts[a]
		if one.phase == attemptIdle && (a == 0 || w.attempts[a-1].phase != attemptIdle) {
			for start := range uint8(min(a+1, limitSlots)) { // slots are alike for the first
				after := w
				after.start(m, a, start)
				yield(fmt.Sprintf("%s starts at slot %d", attemptName(a), start), after)
			}
		}
		if !m.expiry && (one.phase == attemptAsking || one.phase == attemptRaising || one.phase == attemptHolding) {
			after := w
			after.end(a)
			yield(attemptName(a)+" gives up or releases", after)
		}
		for n := range uint8(searchNodes) {
			m.messages(w, a, n, yield)
		}
	}
	for n := range w.nodes {
		for s := range w.nodes[n].slots {
			if m.expiry && w.nodes[n].slots[s].holder != 0 {
				after := w
				after.nodes[n].slots[s] = limitSlot{}
				yield(fmt.Sprintf("slot %d expires on node %d", s, n+1), after)
			}
		}
		if m.losses && !w.lost && w.nodes[n].fence > 0 {
			after := w
			after.nodes[n].fence, after.lost = 0, true
			yield(fmt.Sprintf("the counter is lost on node %d", n+1), after)
		}
	}
}

// messages yields what may reach a node, or come from it.
func (m *limitModel) messages(w limitWorld, a int, n uint8, yield func(string, limitWorld)) {
	one, link := w.attempts[a], w.nodes[n].links[a]
	say := func(what string, after limitWorld) {
		yield(fmt.Sprintf("%s %s node %d", attemptName(a), what, n+1), after)
	}
	starts := []uint8{one.start}
	if m.nodeStart {
		starts = []uint8{0, 1}
	}
	switch link.stage {
	case linkAcquiring:
		for _, start := range starts {
			after := w
			l := &after.nodes[n].links[a]
			*l = limitLink{}
			if slot, ok := m.acquires(&after, a, n, start); ok {
				l.stage = linkKept
				if one.phase == attemptAsking {
					*l = limitLink{linkGranting, slot, after.nodes[n].fence}
				}
			}
			say("acquire reaches", after)
		}
	case linkGranting:
		m.decides(w, a, n, say)
	case linkRaising:
		after := w
		l := &after.nodes[n].links[a]
		owns := m.raises(&after, a, n)
		switch {
		case one.phase != attemptRaising:
			*l = limitLink{stage: linkKept}
		case owns:
			l.stage = linkOwning
		default:
			l.stage = linkDisowning
		}
		say("raise reaches", after)
	case linkOwning, linkDisowning:
		after := w
		l := &after.nodes[n].links[a]
		if l.stage = linkKept; link.stage == linkOwning {
			l.stage = linkRaised
			m.raised++
		} else {
			m.refused++
		}
		m.conclude(&after, a)
		say("gets the answer to raise of", after)
	case linkKept:
		if one.phase.ended() {
			after := w
			after.nodes[n].links[a] = limitLink{}
			for s := range after.nodes[n].slots {
				if slot := &after.nodes[n].slots[s]; slot.holder == holderMark(a) && (!m.freesOne || uint8(s) == one.slot) {
					*slot = limitSlot{}
				}
			}
			say("release reaches", after)
		}
	}
	if m.repeats && !w.repeated && one.phase != attemptIdle && link.stage != linkAcquiring {
		after := w
		after.repeated = true
		if _, ok := m.acquires(&after, a, n, one.start); ok {
			say("acquire once more reaches", after)
		}
	}
}

// decides yields what the client does when a quorum of grants for one slot has
// arrived: those of all nodes that granted it, or all but n.
func (m *limitModel) decides(w limitWorld, a int, n uint8, say func(string, limitWorld)) {
	if w.attempts[a].phase != attemptAsking {
		return
	}
	for _, late := range []int{-1, int(n)} {
		for slot := range uint8(limitSlots) {
			var fences []int64
			var of []int
			for i := range w.nodes {
				l := w.nodes[i].links[a]
				if i != late && l.stage == linkGranting && (l.slot == slot || m.anySlot) {
					fences, of = append(fences, int64(l.told)), append(of, i)
				}
			}
			if len(fences) < searchQuorum {
				if late < 0 && w.count(a, linkGranting) >= searchQuorum {
					m.splits++
				}
				continue
			}
			top, _ := leading(fences)
			after := w
			one := &after.attempts[a]
			one.phase, one.m, one.slot = attemptRaising, uint8(top), slot
			for i := range after.nodes {
				switch l := &after.nodes[i].links[a]; {
				case l.stage != linkGranting:
				case !slices.Contains(of, i):
					// Granted late, or another slot, which is left; where the message is lost it is a slot that leaks until its TTL.
					*l = limitLink{stage: linkKept}
				case int64(l.told) < top:
					l.stage = linkRaising
				default:
					l.stage = linkGranted
				}
			}
			if m.noRaise {
				m.win(&after, a)
			} else {
				m.conclude(&after, a)
			}
			say("decides because of", after)
		}
	}
}

func (m *limitModel) conclude(w *limitWorld, a int) {
	pending := w.count(a, linkRaising) + w.count(a, linkOwning) + w.count(a, linkDisowning)
	switch judge(searchQuorum, w.count(a, linkGranted), w.count(a, linkRaised), pending) {
	case settled:
		m.win(w, a)
	case impossible:
		w.end(a)
	}
}

func (m *limitModel) win(w *limitWorld, a int) {
	m.wins++
	w.attempts[a].phase = attemptHolding
	w.settle(a)
}

func (w *limitWorld) start(m *limitModel, a int, start uint8) {
	var floor uint8
	for _, other := range w.attempts {
		if other.phase.won() {
			floor = max(floor, m.token(other))
		}
	}
	w.attempts[a] = limitAttempt{phase: attemptAsking, start: start, floor: floor}
	for n := range w.nodes {
		w.nodes[n].links[a] = limitLink{stage: linkAcquiring}
	}
}

// end has an attempt give up, or release what it has won.
func (w *limitWorld) end(a int) {
	one := &w.attempts[a]
	if one.phase == attemptHolding {
		one.phase = attemptReleased
	} else {
		one.phase, one.m = attemptFailed, 0
	}
	w.settle(a)
}

// settle drops what a's client has no more use for.
func (w *limitWorld) settle(a int) {
	for n := range w.nodes {
		switch l := &w.nodes[n].links[a]; {
		case l.stage == linkQuiet, l.stage == linkAcquiring:
		case l.stage == linkRaising && w.attempts[a].phase != attemptFailed:
		default:
			*l = limitLink{stage: linkKept}
		}
	}
}

func (w *limitWorld) count(a int, s linkStage) (n int) {
	for i := range w.nodes {
		if w.nodes[i].links[a].stage == s {
			n++
		}
	}
	return n
}

// violation says what is wrong, or nothing.
func (m *limitModel) violation(w *limitWorld) string {
	holders := 0
	for a, one := range w.attempts {
		if !one.phase.won() {
			continue
		}
		token := m.token(one)
		if token <= one.floor {
			return fmt.Sprintf("%s has token %d and started after token %d was given", attemptName(a), token, one.floor)
		}
		if one.phase == attemptHolding {
			holders++
		}
		for b, other := range w.attempts[:a] {
			if other.phase.won() && m.token(other) == token {
				return fmt.Sprintf("%s and %s both have token %d", attemptName(b), attemptName(a), token)
			}
			if !m.expiry && !m.anySlot && one.phase == attemptHolding && other.phase == attemptHolding && other.slot == one.slot {
				return fmt.Sprintf("%s and %s both hold slot %d", attemptName(b), attemptName(a), one.slot)
			}
		}
	}
	if holders > limitSlots && !m.expiry {
		return fmt.Sprintf("%d hold %d slots", holders, limitSlots)
	}
	return m.leftover(w)
}

// leftover says which slot nobody will release.
func (m *limitModel) leftover(w *limitWorld) string {
	if m.expiry || m.repeats {
		return ""
	}
	for n := range w.nodes {
		for s, slot := range w.nodes[n].slots {
			if slot.holder == 0 {
				continue
			}
			a := int(slot.holder) - 1
			if w.attempts[a].phase.ended() && w.nodes[n].links[a].stage == linkQuiet {
				return fmt.Sprintf("slot %d of node %d is %s's for ever", s, n+1, attemptName(a))
			}
		}
	}
	return ""
}

// explore visits all worlds, and stops at the first violation.
func (m *limitModel) explore() (states int, trace []string) {
	type from struct {
		world limitWorld
		what  string
	}
	seen := map[limitWorld]from{}
	var queue []limitWorld
	add := func(w limitWorld, f from) bool {
		if _, there := seen[w]; there {
			return false
		}
		seen[w] = f
		queue = append(queue, w)
		return true
	}
	for second := range m.spread + 1 {
		for third := second; third <= m.spread; third++ {
			var w limitWorld
			w.nodes[0].fence, w.nodes[1].fence, w.nodes[2].fence = limitFloor, limitFloor+second, limitFloor+third
			add(w, from{})
		}
	}
	for i := 0; i < len(queue); i++ {
		w := queue[i]
		if !slices.ContainsFunc(w.attempts[:m.attempts], func(a limitAttempt) bool { return a.phase.open() }) && m.expiry {
			continue
		}
		m.next(w, func(what string, after limitWorld) {
			wrong := m.violation(&after)
			after.simplify(m)
			if trace != nil || !add(after, from{w, what}) && wrong == "" || wrong == "" {
				return
			}
			trace = []string{what, wrong}
			for at := w; ; at = seen[at].world {
				if seen[at].what == "" {
					break
				}
				trace = append([]string{seen[at].what}, trace...)
			}
		})
		if trace != nil {
			break
		}
	}
	return len(seen), trace
}

// simplify makes worlds equal that differ only in what can have no consequence.
func (w *limitWorld) simplify(m *limitModel) {
	for a := range w.attempts {
		one := &w.attempts[a]
		if one.phase != attemptAsking && one.phase != attemptRaising {
			one.floor = 0
		}
		if one.phase == attemptAsking && w.count(a, linkAcquiring)+w.count(a, linkGranting) < searchQuorum {
			w.end(a) // it cannot win, and may as well know it
		}
		if one.phase != attemptAsking {
			one.start = 0
		}
		if one.phase == attemptFailed && !m.freesOne {
			one.slot = 0
		}
		for n := range w.nodes {
			l := &w.nodes[n].links[a]
			if m.expiry && l.stage == linkKept {
				*l = limitLink{}
			}
			if l.stage != linkGranting && l.stage != linkRaising {
				l.slot, l.told = 0, 0
			}
		}
	}
	slices.SortFunc(w.nodes[:], compareLimitNodes)
}

func compareLimitNodes(a, b limitNode) int {
	var one, other [32]uint8
	return slices.Compare(a.key(one[:0]), b.key(other[:0]))
}

func (n *limitNode) key(all []uint8) []uint8 {
	all = append(all, n.fence)
	for _, s := range n.slots {
		all = append(all, s.holder, s.told)
	}
	all = append(all, n.last[:]...)
	for _, l := range n.links {
		all = append(all, uint8(l.stage), l.slot, l.told)
	}
	return all
}

func TestSearchLimit_SlotsAreExclusiveAndTokensUnique(t *testing.T) {
	for _, tt := range []struct {
		name  string
		model limitModel
	}{
		{"two attempts, a class for each slot", limitModel{attempts: 2, classes: 2, spread: 1, expiry: true}},
		{"two attempts, one class", limitModel{attempts: 2, classes: 1, spread: 1, expiry: true}},
		{"two attempts, one class, an acquire delivered twice", limitModel{attempts: 2, classes: 1, expiry: true, repeats: true}},
		{"two attempts, one class, a lost counter", limitModel{attempts: 2, classes: 1, expiry: true, losses: true}},
		{"two attempts, no expiry", limitModel{attempts: 2, classes: 2, spread: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if raceDetector && tt.model.expiry && !*searchFull {
				t.Skip("one goroutine searches, so the race detector finds nothing: run it without, or with -search.full")
			}
			states, trace := tt.model.explore()
			t.Logf("%d states; %d ways to win, %d split votes, %d raises, %d refused", states, tt.model.wins, tt.model.splits, tt.model.raised, tt.model.refused)
			if trace != nil {
				t.Fatal(strings.Join(trace, "\n"))
			}
			if tt.model.wins == 0 || tt.model.splits == 0 || tt.model.raised == 0 {
				t.Error("too little happened to show anything")
			}
		})
	}
}

// What a rule is for shows where it is left out.
func TestSearchLimit_FindsEachRuleThatIsLeftOut(t *testing.T) {
	for name, m := range map[string]limitModel{
		"no raise":                               {attempts: 2, classes: 1, spread: 1, expiry: true, noRaise: true},
		"a raise beside another of the class":    {attempts: 2, classes: 1, spread: 1, noClass: true},
		"the last number of a class is not kept": {attempts: 2, classes: 1, spread: 1, noLast: true},
		"one number for all classes":             {attempts: 2, classes: 2, spread: 1, drawsOne: true},
		"a raise of a slot that was lost":        {attempts: 2, classes: 2, spread: 2, expiry: true, noClass: true, noOwner: true},
		"a raise of a slot that came again":      {attempts: 2, classes: 2, spread: 0, expiry: true, repeats: true, noClass: true, noTold: true},
		"a release that frees one slot":          {attempts: 2, classes: 2, freesOne: true},
		"votes that add up over slots":           {attempts: 3, classes: 2, anySlot: true},
	} {
		t.Run(name, func(t *testing.T) {
			states, trace := m.explore()
			if trace == nil {
				t.Fatalf("no violation in %d states", states)
			}
			t.Logf("found after %d states:\n%s", states, strings.Join(trace, "\n"))
		})
	}
}
