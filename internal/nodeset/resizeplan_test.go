package nodeset

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// sizedSet is a set of these names, resized so often, as a resize finds it,
// with a further node that is none of it.
func sizedSet(epoch int, names ...string) []resizeNode {
	r := newRecord(names, names, Quorum(len(names)))
	r.epoch = epoch
	var all []resizeNode
	for _, name := range names {
		m := mark{memory: "m" + name, data: "d", state: stateRipe, id: name, record: r, final: true}
		all = append(all, resizeNode{name: name, met: true, text: m.String(), mark: m})
	}
	return append(all, resizeNode{name: "x", met: true, mark: mark{memory: "mx", data: "d", state: stateNew}})
}

// applied is the nodes after the writes of a plan.
func applied(nodes []resizeNode, writes []resizeWrite) []resizeNode {
	nodes = slices.Clone(nodes)
	for _, w := range writes {
		nodes[w.node].mark = w.next
	}
	return nodes
}

// waited is the state of a caller for which every wait of the step of these nodes
// is over.
func waited(nodes []resizeNode) resizeState {
	top, _ := newestStep(nodes)
	return resizeState{settled: top, rolled: top}
}

func TestPlanResize_TakesTheStepsInOrder(t *testing.T) {
	for _, tt := range []struct {
		change resizeChange
		to     string
		writes []int // how many nodes are written at each step
	}{
		{resizeChange{add: "x"}, "a,b,c,x", []int{3, 4, 0, 4, 0}},
		{resizeChange{remove: "b"}, "a,c", []int{3, 3, 0, 3, 0}},
	} {
		nodes := sizedSet(0, "a", "b", "c")
		for i, want := range []resizeKind{resizePropose, resizeJoin, resizeRoll, resizeFinish, resizeDone} {
			st := resizeState{}
			if i == 3 {
				st = waited(nodes)
			}
			plan, err := planResize(nodes, tt.change, st)
			if err != nil || plan.kind != want || len(plan.writes) != tt.writes[i] {
				t.Fatalf("%+v: step %d is %+v, %v; want kind %d", tt.change, i, plan, err, want)
			}
			nodes = applied(nodes, plan.writes)
			if x := nodes[3].mark; x.final && x.state != stateAdded {
				t.Errorf("the node that is added is %s", x)
			}
			for _, n := range nodes[:3] {
				if got := n.mark.carries(sizedSet(0, "a", "b", "c")[0].mark.record); got != (i < 3) {
					t.Errorf("after step %d the old size counts on %s: %t", i, n.name, got)
				}
			}
			if want == resizeDone && plan.old.names != tt.to {
				t.Errorf("it ends with %s, want %s", plan.old, tt.to)
			}
		}
	}
}

func TestPlanResize_WaitsUntilNoGrantOfAnEarlierSizeIsLeft(t *testing.T) {
	nodes := sizedSet(1, "a", "b", "c")
	if plan, err := planResize(nodes, resizeChange{add: "x"}, resizeState{}); err != nil || plan.kind != resizeSettle || len(plan.writes) > 0 {
		t.Errorf("the plan is %+v, %v", plan, err)
	}
	if plan, err := planResize(nodes, resizeChange{add: "x"}, waited(nodes)); err != nil || plan.kind != resizePropose {
		t.Errorf("after the wait the plan is %+v, %v", plan, err)
	}
}

// Whatever part of a step was written when it was broken off, the next call
// writes the rest of it and no more.
func TestPlanResize_GoesOnWhereItWasBrokenOff(t *testing.T) {
	for _, kind := range []resizeKind{resizePropose, resizeJoin, resizeFinish} {
		nodes := sizedSet(0, "a", "b", "c")
		plan, err := planResize(nodes, resizeChange{add: "x"}, resizeState{})
		for err == nil && plan.kind != kind {
			nodes = applied(nodes, plan.writes)
			plan, err = planResize(nodes, resizeChange{add: "x"}, waited(nodes))
		}
		if err != nil {
			t.Fatal(err)
		}
		whole := applied(nodes, plan.writes)
		for i := range plan.writes {
			part := applied(nodes, plan.writes[i:i+1])
			again, err := planResize(part, resizeChange{}, resizeState{})
			if err != nil || len(again.writes) != len(plan.writes)-1 {
				t.Fatalf("%d, after write %d: %+v, %v", kind, i, again, err)
			}
			for j, n := range applied(part, again.writes) {
				if n.mark.step() != whole[j].mark.step() || n.mark.to != whole[j].mark.to {
					t.Errorf("%d, after write %d node %s is %s, want %s", kind, i, n.name, n.mark, whole[j].mark)
				}
			}
		}
	}
}

// A replacement is two changes. Called again while the second is under way, the
// first is found done, and the second gone on with.
func TestPlanResize_GoesOnWithTheSecondHalfOfAReplacement(t *testing.T) {
	nodes := sizedSet(1, "a", "c")
	for _, want := range []resizeKind{resizePropose, resizeJoin} {
		plan, err := planResize(nodes, resizeChange{add: "x"}, waited(nodes))
		if err != nil || plan.kind != want {
			t.Fatalf("%+v, %v", plan, err)
		}
		nodes = applied(nodes, plan.writes)
	}
	for _, c := range []resizeChange{{remove: "b"}, {add: "x"}, {add: "a"}} {
		if plan, err := planResize(nodes, c, resizeState{}); err != nil || plan.kind != resizeRoll {
			t.Errorf("%+v: %+v, %v", c, plan, err)
		}
	}
	nodes[1].met = false // c, which stays
	if _, err := planResize(nodes, resizeChange{remove: "b"}, resizeState{gone: true}); err == nil {
		t.Error("a node that stays is taken for the one that is gone")
	}
}

// The caller may call a node otherwise than the set does.
func TestPlanResize_FindsANodeByThePlaceItHas(t *testing.T) {
	nodes := sizedSet(0, "a", "b", "c")
	nodes[1].name = "alias"
	plan, err := planResize(nodes, resizeChange{remove: "alias"}, resizeState{})
	if err != nil || plan.kind != resizePropose || plan.to.names != "a,c" {
		t.Errorf("it is removed by %+v, %v", plan, err)
	}
	if plan, err := planResize(nodes, resizeChange{add: "alias"}, resizeState{}); err != nil || plan.kind != resizeDone {
		t.Errorf("it is added by %+v, %v", plan, err)
	}
}

func TestPlanResize_RefusesWhatIsUnsafe(t *testing.T) {
	propose := func(nodes []resizeNode, c resizeChange) []resizeNode {
		plan, err := planResize(nodes, c, resizeState{})
		if err != nil {
			t.Fatal(err)
		}
		return applied(nodes, plan.writes)
	}
	join := func(nodes []resizeNode, c resizeChange) []resizeNode { return propose(propose(nodes, c), c) }
	without := func(nodes []resizeNode, i int) []resizeNode { nodes[i].met = false; return nodes }
	foreign := sizedSet(0, "a", "b", "c")
	foreign[3].mark = sizedSet(0, "x", "y", "z")[0].mark
	strict := sizedSet(0, "a", "b", "c")
	for i := range strict {
		if strict[i].mark.final {
			strict[i].mark.record.quorum = 3
		}
	}
	twins := sizedSet(0, "a", "b", "c")
	twins[2].mark = twins[1].mark
	for _, tt := range []struct {
		name   string
		nodes  []resizeNode
		change resizeChange
		gone   bool
		want   string
	}{
		{"a node that stays does not answer", without(sizedSet(0, "a", "b", "c"), 0), resizeChange{add: "x"}, false, "cannot continue without a"},
		{"the node that is removed does not answer", without(sizedSet(0, "a", "b", "c"), 1), resizeChange{remove: "b"}, false, "cannot continue without b"},
		{"the same, and it is gone", without(sizedSet(0, "a", "b", "c"), 1), resizeChange{remove: "b"}, true, ""},
		{"it stops while both lists count", without(join(sizedSet(0, "a", "b", "c"), resizeChange{remove: "b"}), 1), resizeChange{remove: "b"}, false, "cannot continue without b"},
		{"the same, and another is gone that was removed before", without(join(sizedSet(0, "a", "b", "c"), resizeChange{remove: "b"}), 1), resizeChange{remove: "y"}, true, "cannot continue without b"},
		{"the node that is added does not answer", without(sizedSet(0, "a", "b", "c"), 3), resizeChange{add: "x"}, false, "cannot continue without x"},
		{"one of two is gone, which may be a quorum with the other", without(propose(sizedSet(0, "a", "b"), resizeChange{remove: "b"}), 1), resizeChange{remove: "b"}, true, "of the nodes of the old list 1 answer"},
		{"the last node", sizedSet(0, "a"), resizeChange{remove: "a"}, false, "a is the last node"},
		{"a node of another set", foreign, resizeChange{add: "x"}, false, "belong to two sets"},
		{"a quorum above the majority", strict, resizeChange{add: "x"}, false, "above the majority"},
		{"two nodes in one place", twins, resizeChange{add: "x"}, false, "have one place"},
		{"another proposal", propose(sizedSet(0, "a", "b", "c"), resizeChange{remove: "b"}), resizeChange{add: "x"}, false, "another resize has been proposed"},
		{"another step", join(sizedSet(0, "a", "b", "c"), resizeChange{remove: "b"}), resizeChange{add: "x"}, false, "another resize is in progress"},
		{"no set", sizedSet(0, "a")[1:], resizeChange{add: "y"}, false, "do not form a set yet"},
	} {
		_, err := planResize(tt.nodes, tt.change, resizeState{gone: tt.gone})
		if got := fmt.Sprint(err); !strings.Contains(got, tt.want) || (err == nil) != (tt.want == "") {
			t.Errorf("%s: %s; want %q", tt.name, got, tt.want)
		}
	}
	if _, err := planCancel(join(sizedSet(0, "a", "b", "c"), resizeChange{remove: "b"})); err == nil {
		t.Error("a step that counts is cancelled")
	}
	if writes, err := planCancel(propose(sizedSet(0, "a", "b", "c"), resizeChange{remove: "b"})); err != nil || len(writes) != 3 || writes[0].next.to != (record{}) {
		t.Errorf("a proposal is cancelled by %+v, %v", writes, err)
	}
}

// A node that was away, or has lost its mark, gets the newest step that the
// process knows of, and never a proposal.
func TestWitness_BringsNodesToTheNewestStep(t *testing.T) {
	old := sizedSet(0, "a", "b", "c")[0].mark.record
	next := record{set: old.set, epoch: 1, quorum: 3, names: "a,b,c,x"}
	at := func(r, was, to record) mark {
		return mark{memory: "m", data: "d", state: stateRipe, id: "b", record: r, was: was, to: to, final: true}
	}
	lost := mark{memory: "n", data: "d", state: stateSeen}
	none := record{}
	for _, tt := range []struct {
		name      string
		heard, is mark
		want      step
	}{
		{"one that was away", at(next, old, none), at(old, none, none), step{next, old}},
		{"one that is ahead", at(next, old, none), at(next, none, none), step{next, none}},
		{"one that lost its mark", at(next, old, none), lost, step{next, old}},
		{"one that lost a proposal", at(old, none, next), lost, step{old, none}},
	} {
		w := &witness{name: "b"}
		all := []mark{at(old, none, none)}
		w.knows(old, all, 0)
		w.heard(tt.heard)
		got := w.placed(tt.is, stamp{}, func() string { return "new" })
		if got.step() != tt.want || got.to != none || got.id != "b" || got.state != tt.is.state || got.memory != tt.is.memory {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// Nodes that have lost their marks while two sizes count are bootstrapped with
// both, whichever list the process has.
func TestPlanFor_KeepsBothSizesWhileTheyCount(t *testing.T) {
	old := sizedSet(0, "a", "b", "c")[0].mark.record
	joint := step{record{set: old.set, epoch: 1, quorum: 3, names: "a,b,c,d"}, old}
	for _, nodes := range []int{3, 4} {
		c := bareCluster(time.Now(), nodes)
		all := []mark{
			{memory: "ma", data: "d", state: stateRipe, id: "a", record: joint.record, was: old, final: true},
			{memory: "mb", data: "d", state: stateSeen},
			{memory: "mc", data: "d", state: stateSeen},
			{memory: "md", data: "d", state: stateSeen},
		}[:nodes]
		for _, final := range []bool{false, true} {
			f, err := c.planFor(all)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range f.order() {
				if all[i] = f.next[i]; all[i].final != final || final && all[i].step() != joint || !all[i].record.has(all[i].id) {
					t.Errorf("with a list of %d nodes, node %d gets %s", nodes, i, all[i])
				}
			}
			if len(f.order()) != nodes-1 {
				t.Errorf("with a list of %d nodes, nodes %v get a mark", nodes, f.order())
			}
		}
	}
}

// Between two sizes a node counts for both, and for no other; one that was
// taken out counts for none.
func TestMark_CarriesBothSizesWhileTheyCount(t *testing.T) {
	old := sizedSet(0, "a", "b", "c")[0].mark.record
	next := record{set: old.set, epoch: 1, quorum: 2, names: "a,c"}
	m := mark{memory: "m", data: "d", state: stateRipe, id: "b", record: next, was: old, final: true}
	if again, ok := parseMark(m.String()); !ok || again != m {
		t.Errorf("%s is read as %s", m, again)
	}
	if !m.carries(old) || m.carries(next) {
		t.Errorf("the node that is removed counts for the old size: %t, for the new: %t", m.carries(old), m.carries(next))
	}
	if m.id = "a"; !m.carries(old) || !m.carries(next) {
		t.Error("a node of both does not count for both")
	}
	if m.was = (record{}); m.carries(old) || !m.carries(next) {
		t.Error("the old size counts after the new one alone does")
	}
	p := m
	p.record, p.to = old, next
	if again, ok := parseMark(p.String()); !ok || again != p || p.carries(next) {
		t.Errorf("%s is read as %s", p, again)
	}
	if ahead := (step{record: next}); !ahead.above(step{next, old}) || (step{next, old}).above(ahead) || !ahead.above(step{record: old}) {
		t.Error("the order of steps is wrong")
	}
}

// What a resize has waited for at one step does not count at the next, which
// another resize may have begun meanwhile.
func TestPlanResize_WaitsAtEachStep(t *testing.T) {
	nodes, before := sizedSet(1, "a", "b", "c"), resizeState{}
	waits := map[resizeKind]int{}
	for _, c := range []resizeChange{{add: "x"}, {remove: "b"}} {
		for {
			plan, err := planResize(nodes, c, before)
			if err != nil {
				t.Fatal(err)
			}
			switch plan.kind {
			case resizeSettle:
				waits[plan.kind]++
				before.settled = plan.at
			case resizeRoll:
				waits[plan.kind]++
				before.rolled = plan.at
			}
			if nodes = applied(nodes, plan.writes); plan.kind == resizeDone {
				break
			}
		}
	}
	if waits[resizeSettle] != 2 || waits[resizeRoll] != 2 {
		t.Errorf("two steps were waited for %d times until locks expired, and %d times for programs", waits[resizeSettle], waits[resizeRoll])
	}
}

func TestSettling_CountsForTheStepThatWasWaitedFor(t *testing.T) {
	one, two := step{record: record{epoch: 1}}, step{record: record{epoch: 2}}
	plan := func(kind resizeKind, at step) resizePlan { return resizePlan{kind: kind, at: at} }
	for name, tt := range map[string]struct {
		plans []resizePlan // one second apart
		want  step
	}{
		"one step":                {[]resizePlan{plan(resizeSettle, one), plan(resizeSettle, one), plan(resizePropose, one)}, one},
		"not long enough":         {[]resizePlan{plan(resizeSettle, one), plan(resizeSettle, one)}, step{}},
		"another step":            {[]resizePlan{plan(resizeSettle, one), plan(resizeSettle, one), plan(resizeSettle, two)}, step{}},
		"another step, long ago":  {[]resizePlan{plan(resizeSettle, one), plan(resizeSettle, two), plan(resizeSettle, two), plan(resizeSettle, two)}, two},
		"a node was behind since": {[]resizePlan{plan(resizeSettle, one), plan(resizeRestore, one), plan(resizeSettle, one), plan(resizeSettle, one)}, step{}},
	} {
		var s settling
		now := time.Unix(1000, 0)
		for _, p := range tt.plans {
			now = now.Add(time.Second)
			s.saw(p, now)
		}
		if got := s.over(now, 2*time.Second); got != tt.want {
			t.Errorf("%s: it is over for %+v, want %+v", name, got, tt.want)
		}
	}
}

// Another node was removed a moment ago, and one that is removed now may have the
// last copy of a record, unless it is gone: then no wait helps.
func TestPlanResize_ANodeThatIsGoneIsNotWaitedFor(t *testing.T) {
	now := stampAt(time.Now(), 0)
	for _, gone := range []bool{false, true} {
		nodes := sizedSet(2, "a", "b", "c")
		for i := range nodes {
			nodes[i].now, nodes[i].mark.shrunk = now, now
		}
		nodes[1].met = !gone
		st := waited(nodes)
		st.gone, st.records = gone, time.Hour
		plan, err := planResize(nodes, resizeChange{remove: "b"}, st)
		if err != nil || (plan.kind == resizeExpire) == gone {
			t.Errorf("gone %t: %+v, %v", gone, plan, err)
		}
	}
}
