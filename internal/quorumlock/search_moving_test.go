package quorumlock

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"
)

// An exhaustive search of moving a held key to another process (attach.go): an
// owner detaches, takers attach with its handle, and another acquires the key
// as ever. Requests arrive as late as they like, and one of them twice. A key
// expires on a node at any moment, except while somebody relies on it there:
// who does so ends before. In each state it is checked that one at a time holds
// the key, that tokens are unique and in order, and that who attaches comes
// right after the owner.
//
// What one taker and one node have to say to each other is a worldLink of
// search_test.go, and so are the steps to a token.

const (
	movingTakers = 3 // the first acquires, the others attach
	movingToken  = 2 // of the owner

	freeKey   = 0
	oldKey    = 1 // the owner's value
	handleKey = 2 // the value of the handle
)

// A movingWorld is all that matters at one moment.
type movingWorld struct {
	nodes    [searchNodes]movingNode
	owner    ownerPhase
	twice    bool // the owner has detached a second time
	takers   [movingTakers]worldAttempt
	repeated bool // the one request that is delivered twice has been
}

type movingNode struct {
	key    uint8 // freeKey, oldKey, handleKey, or a taker's
	fence  uint8
	relied bool    // the owner's deadline counts on this node
	renew  bool    // the owner's last renewal is on its way
	detach [2]bool // so is the first detach, or the second
	said   bool    // it has answered the last detach: the handle's value is there
	links  [movingTakers]worldLink
}

type ownerPhase uint8

const (
	ownerHolding ownerPhase = iota
	ownerDetaching
	ownerDetachingAgain // with a larger number
	ownerDetached       // there is a handle
	ownerLost           // or it could not detach
)

func (p ownerPhase) detaching() bool { return p == ownerDetaching || p == ownerDetachingAgain }

// limit is the number to which a detach lifts the counters.
func (p ownerPhase) limit() uint8 {
	if p == ownerDetachingAgain {
		return movingToken + 4
	}
	return movingToken + 2
}

func takerKey(a int) uint8 { return uint8(handleKey + 1 + a) }

// A movingModel says what is searched.
type movingModel struct {
	takers   [movingTakers]bool // who takes part
	spread   bool               // the third node may be free at first, and its counter may differ
	native   bool               // the first looks by transaction, which raises the counter where it is refused, too
	again    bool               // the owner may detach a second time, with a larger number
	repeats  bool
	noExpiry bool

	// What a wrong protocol would do.
	noCounter     bool // a detach does not look at the counter
	atAttach      bool // the counter is compared with the owner's token, and only when it is attached
	believes      bool // the owner believes to hold the key after it has detached
	noSwap        bool // attaching leaves the value as it is
	noHandle      bool // detaching does
	winnersReturn bool // who has attached and released gives the key back to the handle

	attached, refused int // how often a taker attached; how often one was refused the handle's value
}

// The steps, as in search_test.go.

func (m *movingModel) renewalArrives(w *movingWorld, n int, repeat bool) bool {
	node := &w.nodes[n]
	if node.renew == repeat || !m.may(w, repeat) {
		return false
	}
	node.renew = false
	if node.key == freeKey {
		node.key = oldKey
	}
	return true
}

// may uses up the one repetition, if this is it.
func (m *movingModel) may(w *movingWorld, repeat bool) bool {
	if repeat && (!m.repeats || w.repeated) {
		return false
	}
	w.repeated = w.repeated || repeat
	return true
}

func (m *movingModel) detaches(w *movingWorld) bool {
	switch {
	case w.owner == ownerHolding:
		w.owner = ownerDetaching
	case w.owner == ownerDetaching && m.again:
		w.owner, w.twice = ownerDetachingAgain, true
	default:
		return false
	}
	for n := range w.nodes {
		w.nodes[n].said, w.nodes[n].detach[w.owner-ownerDetaching] = false, true
	}
	return true
}

// detachArrives is detach.lua.
func (m *movingModel) detachArrives(w *movingWorld, n, round int, repeat bool) bool {
	node, sent := &w.nodes[n], ownerDetaching+ownerPhase(round)
	if w.owner < sent || round == 1 && !w.twice || node.detach[round] == repeat || !m.may(w, repeat) {
		return false
	}
	node.detach[round] = false
	limit := sent.limit()
	checks := !m.noCounter && !m.atAttach
	if node.key != handleKey && (node.key != oldKey || checks && node.fence >= limit) {
		return true
	}
	if checks {
		node.fence = max(node.fence, limit)
	}
	if !m.noHandle {
		node.key = handleKey
	}
	node.said = node.said || w.owner == sent && !repeat
	return true
}

func (m *movingModel) detached(w *movingWorld) bool {
	said := 0
	for _, node := range w.nodes {
		if node.said {
			said++
		}
	}
	if !w.owner.detaching() || said < searchQuorum {
		return false
	}
	w.owner = ownerDetached
	return true
}

// loses is the owner's deadline.
func (m *movingModel) loses(w *movingWorld) bool {
	if w.owner == ownerDetached || w.owner == ownerLost {
		return false
	}
	w.owner = ownerLost
	return true
}

func (m *movingModel) starts(w *movingWorld, a int) bool {
	if !m.takers[a] || w.takers[a].phase != attemptIdle || a > 0 && w.owner != ownerDetached {
		return false
	}
	if a > 1 && m.takers[1] && w.takers[1].phase == attemptIdle {
		return false // attaching takers are alike
	}
	floor := uint8(movingToken)
	for _, other := range w.takers {
		if other.phase.won() {
			floor = max(floor, other.m)
		}
	}
	w.takers[a] = worldAttempt{phase: attemptAsking, floor: floor}
	for n := range w.nodes {
		w.nodes[n].links[a].stage = linkAcquiring
	}
	return true
}

// requestArrives is acquire.lua, or a transaction before it, or attach.lua.
func (m *movingModel) requestArrives(w *movingWorld, a, n int, repeat bool) bool {
	node := &w.nodes[n]
	l := &node.links[a]
	if repeat && w.takers[a].phase == attemptIdle || (l.stage == linkAcquiring) == repeat || !m.may(w, repeat) {
		return false
	}
	before, from := node.key, uint8(freeKey)
	switch {
	case a > 0 && m.noHandle:
		from = oldKey
	case a > 0:
		from = handleKey
	}
	if a == 0 && m.native && before != freeKey {
		node.fence++
	}
	switch {
	case before == takerKey(a): // delivered again
	case before != from || a > 0 && m.atAttach && node.fence > movingToken:
		if before == from {
			m.refused++
		}
		if !repeat {
			*l = worldLink{stage: linkQuiet}
		}
		return true
	default:
		node.fence++
		if a == 0 || !m.noSwap {
			node.key = takerKey(a)
		}
	}
	switch {
	case repeat: // nobody takes in the answer
	case w.takers[a].phase == attemptAsking:
		*l = worldLink{stage: linkGranting, fence: node.fence}
	default:
		*l = worldLink{stage: linkKept}
	}
	return true
}

func (m *movingModel) quorumArrives(w *movingWorld, a, late int) bool {
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
	w.takers[a].phase, w.takers[a].m = attemptRaising, uint8(top)
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
	m.conclude(w, a, exact)
	return true
}

func (m *movingModel) conclude(w *movingWorld, a, exact int) {
	pending := w.count(a, linkRaising) + w.count(a, linkOwning) + w.count(a, linkDisowning)
	switch judge(searchQuorum, exact, w.count(a, linkRaised), pending) {
	case settled:
		w.end(a, attemptHolding)
		if a > 0 {
			m.attached++
		}
	case impossible:
		w.end(a, attemptFailed)
	}
}

// raiseArrives is bumpfence.lua.
func (m *movingModel) raiseArrives(w *movingWorld, a, n int) bool {
	node := &w.nodes[n]
	l := &node.links[a]
	if l.stage != linkRaising {
		return false
	}
	top := w.takers[a].m
	owns := (node.key == takerKey(a) || a > 0 && m.noSwap) && node.fence >= l.fence && node.fence <= max(l.fence, top-1) && node.fence < top
	if owns {
		node.fence = top
	}
	*l = worldLink{stage: linkDisowning}
	switch {
	case w.takers[a].phase != attemptRaising:
		l.stage = linkKept
	case owns:
		l.stage = linkOwning
	}
	return true
}

func (m *movingModel) raiseAnswered(w *movingWorld, a, n int) bool {
	l := &w.nodes[n].links[a]
	switch l.stage {
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

// leaves ends an attempt, or a hold, which may be lost or released.
func (m *movingModel) leaves(w *movingWorld, a int) bool {
	switch w.takers[a].phase {
	case attemptAsking, attemptRaising:
		w.end(a, attemptFailed)
	case attemptHolding:
		w.end(a, attemptReleased)
	default:
		return false
	}
	return true
}

// returnArrives is the release; of an attempt to attach, the return of the key
// to the handle.
func (m *movingModel) returnArrives(w *movingWorld, a, n int) bool {
	node := &w.nodes[n]
	if !w.takers[a].phase.ended() || node.links[a].stage != linkKept {
		return false
	}
	node.links[a].stage = linkQuiet
	if node.key == takerKey(a) {
		node.key = freeKey
		if a > 0 && (w.takers[a].phase == attemptFailed || m.winnersReturn) {
			node.key = handleKey
		}
	}
	return true
}

// expires deletes a key that nobody relies on. An attempt relies on what it was
// granted, or it comes too late.
func (m *movingModel) expires(w *movingWorld, n int) bool {
	node := &w.nodes[n]
	switch {
	case m.noExpiry, node.key == freeKey:
		return false
	case node.key > handleKey && !w.takers[node.key-handleKey-1].phase.ended():
		return false
	case node.key <= handleKey && node.relied && (w.owner == ownerHolding || w.owner.detaching()):
		return false
	}
	node.key = freeKey
	return true
}

func (w *movingWorld) count(a int, s linkStage) (n int) {
	for _, node := range w.nodes {
		if node.links[a].stage == s {
			n++
		}
	}
	return n
}

// end decides an attempt, or ends a hold: what is on its way to the nodes still
// arrives.
func (w *movingWorld) end(a int, p attemptPhase) {
	w.takers[a].phase = p
	for n := range w.nodes {
		switch l := &w.nodes[n].links[a]; l.stage {
		case linkQuiet, linkAcquiring, linkRaising:
		default:
			*l = worldLink{stage: linkKept}
		}
	}
}

// violation says what is wrong, or nothing.
func (m *movingModel) violation(w *movingWorld) string {
	var holders []string
	if w.owner == ownerHolding || m.believes && w.owner != ownerLost {
		holders = append(holders, "the owner")
	}
	for a, one := range w.takers {
		if one.phase == attemptHolding {
			holders = append(holders, takerName(a))
		}
		if !one.phase.won() {
			continue
		}
		if one.m <= one.floor {
			return fmt.Sprintf("%s has token %d and started after token %d was given", takerName(a), one.m, one.floor)
		}
		for b, other := range w.takers[:a] {
			switch {
			case !other.phase.won():
			case other.m == one.m:
				return fmt.Sprintf("%s and %s both have token %d", takerName(b), takerName(a), one.m)
			case b > 0:
				return "two have attached with one handle"
			case other.m < one.m:
				return "another held the key between the owner and who attached"
			}
		}
	}
	if len(holders) > 1 {
		return strings.Join(holders, " and ") + " hold the key at once"
	}
	return ""
}

func takerName(a int) string { return [...]string{"the other", "X", "Y"}[a] }

func (w *movingWorld) String() string {
	var words []string
	for _, node := range w.nodes {
		words = append(words, fmt.Sprintf("%s:%d", [...]string{"-", "old", "handle", "other", "X", "Y"}[node.key], node.fence))
	}
	words = append(words, [...]string{"holding", "detaching", "detaching again", "detached", "lost"}[w.owner])
	for a, one := range w.takers {
		if one.phase.won() {
			words = append(words, fmt.Sprintf("token(%s)=%d", takerName(a), one.m))
		}
	}
	return strings.Join(words, "  ")
}

// A movingStep is one thing that happened, for the trace.
type movingStep struct {
	who, what string
	node      int // -1: none
}

func (s movingStep) String() string {
	if s.node < 0 {
		return s.who + " " + s.what
	}
	return fmt.Sprintf("%s %s %d", s.who, s.what, s.node+1)
}

// next yields every step that can happen in w and the world after it.
func (m *movingModel) next(w movingWorld) iter.Seq2[movingStep, movingWorld] {
	return func(yield func(movingStep, movingWorld) bool) {
		after := w
		stop := false
		try := func(happened bool, who, what string, n int) {
			world := after
			after = w
			if happened && !stop {
				stop = !yield(movingStep{who, what, n}, world)
			}
		}
		try(m.detaches(&after), "the owner", "detaches", -1)
		try(m.detached(&after), "the owner", "has detached", -1)
		try(m.loses(&after), "the owner", "gives up", -1)
		for n := range searchNodes {
			try(m.expires(&after, n), "the key", "expires on node", n)
			for _, repeat := range []bool{false, true} {
				try(m.renewalArrives(&after, n, repeat), "the renewal", "reaches node", n)
				for round := range 2 {
					try(m.detachArrives(&after, n, round, repeat), "the detach", "reaches node", n)
				}
				for a := range movingTakers {
					try(m.requestArrives(&after, a, n, repeat), takerName(a), "reaches node", n)
				}
			}
		}
		for a := range movingTakers {
			try(m.starts(&after, a), takerName(a), "starts", -1)
			try(m.leaves(&after, a), takerName(a), "gives up or releases", -1)
			for n := range searchNodes {
				try(m.quorumArrives(&after, a, n), takerName(a), "decides without node", n)
				try(m.raiseArrives(&after, a, n), takerName(a), "raises node", n)
				try(m.raiseAnswered(&after, a, n), takerName(a), "hears of the raise of node", n)
				try(m.returnArrives(&after, a, n), takerName(a), "gives back node", n)
			}
		}
	}
}

// first returns the worlds in which a search begins.
func (m *movingModel) first() (all []movingWorld) {
	held := movingNode{key: oldKey, fence: movingToken, relied: true, renew: true}
	thirds := []movingNode{held}
	if m.spread {
		for fence := uint8(movingToken - 1); fence <= movingToken+1; fence++ {
			thirds = append(thirds, movingNode{key: oldKey, fence: fence, relied: true, renew: true}, movingNode{fence: fence, renew: true})
		}
	}
	for _, third := range thirds {
		all = append(all, movingWorld{nodes: [searchNodes]movingNode{held, held, third}})
	}
	return all
}

// over says that nobody can attach any more: the rest is for the search of the
// token agreement.
func (m *movingModel) over(w *movingWorld) bool {
	for a, one := range w.takers {
		if m.takers[a] && one.phase.open() && w.owner != ownerLost {
			return false
		}
	}
	return true
}

// simplify makes worlds equal that differ only in what can have no consequence.
func (m *movingModel) simplify(w *movingWorld) {
	for a := range w.takers {
		one := &w.takers[a]
		if one.phase == attemptAsking && w.count(a, linkAcquiring)+w.count(a, linkGranting) < searchQuorum {
			w.end(a, attemptFailed)
		}
		raises := w.count(a, linkRaising) > 0
		for n := range w.nodes {
			node := &w.nodes[n]
			if l := &node.links[a]; l.stage == linkKept && node.key != takerKey(a) {
				l.stage = linkQuiet
			}
		}
		if one.phase != attemptAsking && one.phase != attemptRaising {
			one.floor = 0
		}
		if one.phase == attemptFailed && !raises {
			one.m = 0
		}
	}
	for n := range w.nodes {
		node := &w.nodes[n]
		if !w.owner.detaching() {
			node.said = false
			node.relied = node.relied && w.owner == ownerHolding
		}
	}
}

// packedMoving is a world in four words. Nodes are alike, so they are sorted.
type packedMoving [4]uint64

func (w *movingWorld) pack() (p packedMoving) {
	for n, node := range w.nodes {
		if node.fence > 15 {
			panic("a fence counter outgrew its four bits")
		}
		v := uint64(node.key)<<4 | uint64(node.fence)
		for _, on := range []bool{node.relied, node.renew, node.detach[0], node.detach[1], node.said} {
			v <<= 1
			if on {
				v |= 1
			}
		}
		for _, l := range node.links {
			v = v<<8 | uint64(l.stage)<<4 | uint64(l.fence)
		}
		p[n] = v
	}
	slices.Sort(p[:searchNodes])
	v := uint64(w.owner)
	for _, a := range w.takers {
		v = v<<12 | uint64(a.phase)<<8 | uint64(a.m)<<4 | uint64(a.floor)
	}
	for _, on := range []bool{w.twice, w.repeated} {
		v <<= 1
		if on {
			v |= 1
		}
	}
	p[searchNodes] = v
	return p
}

// explore visits all worlds and stops at the first violation. It returns how
// many it saw, and what led to the violation.
func (m *movingModel) explore() (states int, trace []string) {
	type visit struct {
		world movingWorld
		from  int
		step  movingStep
	}
	var all []visit
	seen := map[packedMoving]struct{}{}
	add := func(w movingWorld, from int, step movingStep) {
		p := w.pack()
		if _, known := seen[p]; !known {
			seen[p] = struct{}{}
			all = append(all, visit{w, from, step})
		}
	}
	for _, w := range m.first() {
		add(w, -1, movingStep{"the owner", "holds", -1})
	}
	for i := 0; i < len(all); i++ {
		if m.over(&all[i].world) {
			continue
		}
		for step, after := range m.next(all[i].world) {
			wrong := m.violation(&after)
			if wrong != "" {
				all = append(all, visit{after, i, step})
				for at := len(all) - 1; at >= 0; at = all[at].from {
					trace = append(trace, fmt.Sprintf("%-36s %s", all[at].step.String(), &all[at].world))
				}
				slices.Reverse(trace)
				return len(seen), append(trace, wrong)
			}
			m.simplify(&after)
			add(after, i, step)
		}
	}
	return len(seen), nil
}

// oneThread skips a search under the race detector, unless it is asked for.
func oneThread(t *testing.T) {
	if raceDetector && !*searchFull {
		t.Skip("one goroutine searches, so the race detector finds nothing: run it without, or with -search.full")
	}
}

func TestSearch_MovingHolds(t *testing.T) {
	alone, racing := [movingTakers]bool{true, true}, [movingTakers]bool{false, true, true}
	for _, tt := range []struct {
		name  string
		full  bool
		model movingModel
	}{
		{"one attaches, another acquires", false, movingModel{takers: alone, spread: true, native: true}},
		{"a request is delivered twice", false, movingModel{takers: alone, repeats: true}},
		{"two attach", false, movingModel{takers: racing, repeats: true}},
		{"full, a request is delivered twice", true, movingModel{takers: alone, spread: true, repeats: true}},
		{"full, it detaches twice", true, movingModel{takers: alone, again: true, native: true}},
		{"full, it detaches twice, a request is delivered twice", true, movingModel{takers: alone, again: true, repeats: true}},
		{"full, two attach, another acquires", true, movingModel{takers: [movingTakers]bool{true, true, true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			oneThread(t)
			if tt.full && !*searchFull {
				t.Skip("takes long: run it with -search.full")
			}
			m, begun := tt.model, time.Now()
			states, trace := m.explore()
			t.Logf("%d states in %v; attached in %d ways", states, time.Since(begun).Round(time.Millisecond), m.attached)
			if trace != nil {
				t.Fatalf("moving is not safe:\n%s", strings.Join(trace, "\n"))
			}
			if m.attached == 0 {
				t.Error("a search in which nobody attaches shows nothing")
			}
		})
	}
}

// What is found if a rule is left out.
func TestSearch_FindsWhatIsWrongWithMoving(t *testing.T) {
	alone, racing := [movingTakers]bool{true, true}, [movingTakers]bool{false, true, true}
	for name, tt := range map[string]struct {
		model movingModel
		want  string
	}{
		"the values alone are compared":   {movingModel{takers: alone, repeats: true, noCounter: true}, "another held the key between"},
		"the owner goes on":               {movingModel{takers: alone, believes: true}, "hold the key at once"},
		"attaching leaves the value":      {movingModel{takers: racing, noSwap: true}, "two have attached"},
		"detaching leaves the value":      {movingModel{takers: alone, noHandle: true}, "another held the key between"},
		"a release returns to the handle": {movingModel{takers: racing, winnersReturn: true}, "two have attached"},
	} {
		t.Run(name, func(t *testing.T) {
			oneThread(t)
			states, trace := tt.model.explore()
			if trace == nil {
				t.Fatalf("no violation in %d states", states)
			}
			t.Logf("found after %d states:\n%s", states, strings.Join(trace, "\n"))
			if got := trace[len(trace)-1]; !strings.Contains(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

// Why the counter is compared when the key is detached, and not when it is
// attached: a look by transaction raises it though it is refused, and would use
// up the handle.
func TestSearch_ALookDoesNotUseUpAHandle(t *testing.T) {
	oneThread(t)
	for atAttach, want := range map[bool]bool{false: false, true: true} {
		m := movingModel{takers: [movingTakers]bool{true, true}, native: true, noExpiry: true, atAttach: atAttach}
		if m.explore(); (m.refused > 0) != want {
			t.Errorf("compared when attached %t: %d nodes refused the handle's value", atAttach, m.refused)
		}
	}
}
