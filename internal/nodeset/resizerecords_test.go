package nodeset

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A search for a record that was acknowledged and is denied later, while a set
// is resized. Writes reach a bare quorum, under the size before or after the
// step that is under way; what a node that leaves has is gone. When a removal
// has to wait [planner.expired] decides, and which nodes may deny a record
// [Node.Remembers]; nodes and time are the model's, in minutes.

const (
	keptFor     = 60
	recordNodes = 8
)

type keptRecord struct {
	at int
	on map[int]bool
}

type recordModel struct {
	rng     *rand.Rand
	now     int
	members []int
	marks   [recordNodes]mark // when nodes came and went
	began   [recordNodes]int  // when the node's mark was made
	records []*keptRecord
	epoch   int
	hasty   bool // a removal does not wait
	blind   bool // a node that was added is as old as its mark
	log     []string
}

func (m *recordModel) stamp() stamp {
	return stamp{client: int64(m.now) * 60_000, node: int64(m.now) * 60_000}
}

func (m *recordModel) name(i int) string { return string(rune('a' + i)) }

func (m *recordModel) recordOf(members []int) record {
	var names []string
	for _, i := range members {
		names = append(names, m.name(i))
	}
	slices.Sort(names)
	return record{set: "s", epoch: m.epoch, quorum: Quorum(len(names)), names: strings.Join(names, ",")}
}

func (m *recordModel) write(members []int) {
	r := &keptRecord{at: m.now, on: map[int]bool{}}
	for _, k := range m.rng.Perm(len(members))[:Quorum(len(members))] {
		r.on[members[k]] = true
	}
	m.records = append(m.records, r)
	m.log = append(m.log, fmt.Sprintf("%d: written to %v of %v", m.now, r.on, members))
}

// change adds or removes a node, if that does not have to wait. Programs write
// under both sizes meanwhile.
func (m *recordModel) change() {
	i := m.rng.IntN(recordNodes)
	to := slices.DeleteFunc(slices.Clone(m.members), func(j int) bool { return j == i })
	removes := len(to) < len(m.members)
	if !removes {
		to = append(to, i)
	}
	if len(to) == 0 {
		return
	}
	old := m.members
	plan := resizePlan{old: m.recordOf(old)}
	m.epoch++
	plan.to = m.recordOf(to)
	p := planner{at: map[string]int{}, st: resizeState{records: keptFor * time.Minute}}
	for _, j := range old {
		p.at[m.name(j)] = len(p.nodes)
		p.nodes = append(p.nodes, resizeNode{name: m.name(j), met: true, mark: m.marks[j], now: m.stamp()})
	}
	if p.expires(plan) > 0 && !m.hasty {
		m.epoch--
		return
	}
	m.log = append(m.log, fmt.Sprintf("%d: from %v to %v", m.now, old, to))
	if !removes {
		m.marks[i].added, m.marks[i].listed = m.stamp(), stamp{}
	}
	for range m.rng.IntN(3) {
		m.now += 1 + m.rng.IntN(5)
		m.write([][]int{old, to}[m.rng.IntN(2)])
	}
	m.members = to
	if !removes {
		m.marks[i].listed = m.stamp()
	}
	for _, j := range to {
		if removes {
			m.marks[j].shrunk = m.stamp()
		}
	}
	for _, r := range m.records { // it may be added again, and has missed what was deleted
		if removes {
			delete(r.on, i)
		}
	}
	m.now++
}

// voters are the members that may deny a record.
func (m *recordModel) voters() (all []int) {
	c, now := bareCluster(time.Now(), len(m.members)), time.Now()
	for k, i := range m.members {
		n, born := c.nodes[k], m.began[i]
		if a := m.marks[i].joined(); a != (stamp{}) && !m.blind {
			n.evidence.Store(&evidence{mark: m.marks[i]})
			born = max(born, int(a.client/60_000))
		}
		n.facts.runID, n.born = "r", now.Add(-time.Duration(m.now-born)*time.Minute)
	}
	for k, i := range m.members {
		if c.nodes[k].Remembers(keptFor * time.Minute) {
			all = append(all, i)
		}
	}
	return all
}

// denied reports whether a reader that does not reach every node may take a
// record for one that was never written.
func (m *recordModel) denied() bool {
	m.records = slices.DeleteFunc(m.records, func(r *keptRecord) bool { return m.now-r.at >= keptFor })
	voters, quorum := m.voters(), Quorum(len(m.members))
	for _, r := range m.records {
		without, left := 0, false
		for _, i := range m.members {
			left = left || r.on[i]
		}
		for _, i := range voters {
			if !r.on[i] {
				without++
			}
		}
		if without >= quorum || !left {
			m.log = append(m.log, fmt.Sprintf("%d: what was written at %d is on %v of %v; %v vote", m.now, r.at, r.on, m.members, voters))
			return true
		}
	}
	return false
}

// searchRecords returns what led to a record that is denied, and how often the
// set changed.
func searchRecords(runs int, hasty, blind bool) (trace []string, changes int) {
	for seed := range runs {
		m := &recordModel{rng: rand.New(rand.NewPCG(uint64(seed), 7)), now: 10_000, hasty: hasty, blind: blind}
		m.members = m.rng.Perm(recordNodes)[:1+m.rng.IntN(5)]
		for range 60 {
			switch pick := m.rng.IntN(10); {
			case pick < 4:
				m.change()
			case pick < 7:
				m.write(m.members)
			case pick < 8:
				m.now += m.rng.IntN(keptFor)
			default:
				m.now += m.rng.IntN(5)
			}
			if m.denied() {
				return append(m.log, fmt.Sprintf("seed %d", seed)), changes
			}
		}
		changes += m.epoch
	}
	return nil, changes
}

func TestResizeRecords_NoneThatWasAcknowledgedIsDenied(t *testing.T) {
	t.Parallel()
	trace, changes := searchRecords(3000, false, false)
	if trace != nil {
		t.Fatalf("%s", strings.Join(trace, "\n"))
	}
	t.Logf("%d changes", changes)
	if changes < 10_000 {
		t.Errorf("only %d changes", changes)
	}
	for name, found := range map[string][]string{
		"a removal does not wait":           first(searchRecords(3000, true, false)),
		"an added node is as old as itself": first(searchRecords(3000, false, true)),
	} {
		if found == nil {
			t.Errorf("nothing is denied where %s", name)
		}
	}
}

func first(trace []string, _ int) []string { return trace }

// However old its data is, and however soon it was added.
func TestNode_Remembers_WhatWasWrittenSinceItWasAdded(t *testing.T) {
	t.Parallel()
	const retention = time.Hour
	ago := func(d time.Duration) stamp { return stampAt(time.Now().Add(-d), 0) }
	for name, tt := range map[string]struct {
		change func(m *mark)
		age    time.Duration // of the data of all nodes
		want   bool
	}{
		"a node of the first list":                 {func(*mark) {}, 3 * retention, true},
		"it was added long ago":                    {func(m *mark) { m.added, m.listed = ago(3*retention), ago(2*retention) }, 3 * retention, true},
		"it was added lately":                      {func(m *mark) { m.added = ago(time.Minute) }, 3 * retention, false},
		"the list without it counted until lately": {func(m *mark) { m.added, m.listed = ago(2*retention), ago(time.Minute) }, 3 * retention, false},
		"it was added right after the others":      {func(m *mark) { m.added = ago(time.Minute - time.Second) }, time.Minute, false},
	} {
		for i := range 4 {
			files, hidden := i%2 == 1, i > 1
			c := bareCluster(time.Now(), 3)
			for i, n := range c.nodes {
				f := facts{runID: string(rune('A' + i)), aof: files}
				if hidden {
					f.runID = ""
				}
				m := mark{memory: "m", state: stateRipe, run: f.runID, begun: ago(tt.age), data: "d", since: ago(tt.age), files: files, id: n.name, record: recordOf(c), final: true}
				if i == 2 {
					tt.change(&m)
				}
				meet(t, n, f, m.String())
			}
			if got := c.nodes[2].Remembers(retention); got != tt.want {
				t.Errorf("%s, append-only file %t, no INFO %t: it remembers: %t", name, files, hidden, got)
			}
			if got := c.nodes[0].Remembers(retention); !got {
				t.Errorf("%s, append-only file %t, no INFO %t: one of the first does not remember", name, files, hidden)
			}
		}
	}
}

func TestNode_Remembers_LessOnceItIsAddedAgain(t *testing.T) {
	t.Parallel()
	c := bareCluster(time.Now(), 3)
	for i, n := range c.nodes {
		aged(t, n, facts{runID: string(rune('A' + i))}, 3*time.Hour)
	}
	n := c.nodes[2]
	before, m := n.MemoryID(), n.evidence.Load().mark
	m.added = stampAt(time.Now(), 0)
	n.saw(m.String())
	if n.Remembers(time.Hour) || n.MemoryID() == before {
		t.Errorf("it remembers: %t; its memory is %q, and was %q", n.Remembers(time.Hour), n.MemoryID(), before)
	}
}

func TestMark_RaisedSaysWhenAListCeasedToCount(t *testing.T) {
	t.Parallel()
	three := record{set: "s", epoch: 1, quorum: 2, names: "a,b,c"}
	four := record{set: "s", epoch: 2, quorum: 3, names: "a,b,c,d"}
	fewer := record{set: "s", epoch: 3, quorum: 2, names: "b,c,d"}
	early, now := stamp{1, 1}, stamp{2, 2}
	on := func(id string, s step, added stamp) mark {
		return mark{memory: "m", data: "d", id: id, final: true, record: s.record, was: s.was, added: added}
	}
	for name, tt := range map[string]struct {
		m              mark
		to             step
		listed, shrunk stamp
	}{
		"a node is added":                     {on("d", step{four, three}, early), step{record: four}, now, stamp{}},
		"beside a node that is added":         {on("a", step{four, three}, stamp{}), step{record: four}, stamp{}, stamp{}},
		"beside a node, and was added before": {on("c", step{four, three}, early), step{record: four}, stamp{}, stamp{}},
		"both lists begin to count":           {on("d", step{record: four}, early), step{fewer, four}, stamp{}, stamp{}},
		"a node is removed":                   {on("b", step{fewer, four}, stamp{}), step{record: fewer}, stamp{}, now},
		"it was away while one was removed":   {on("b", step{record: four}, stamp{}), step{record: fewer}, stamp{}, now},
	} {
		got := tt.m.raised(tt.to, now)
		if got.step() != tt.to || got.added != tt.m.added || got.listed != tt.listed || got.shrunk != tt.shrunk {
			t.Errorf("%s: %s", name, got)
		}
		if read, ok := parseMark(got.String()); !ok || read != got {
			t.Errorf("%s: %s is read as %s", name, got, read)
		}
	}
}

func TestPlanResize_SaysWhenANodeWasAdded(t *testing.T) {
	t.Parallel()
	nodes := sizedSet(0, "a", "b", "c")
	for i := range nodes {
		nodes[i].now = stamp{5, 5}
	}
	nodes[3].mark.listed = stamp{1, 1} // it was added once before
	for range 2 {
		plan, err := planResize(nodes, resizeChange{add: "x"}, waited(nodes))
		if err != nil {
			t.Fatal(err)
		}
		nodes = applied(nodes, plan.writes)
	}
	for i, n := range nodes {
		if added := n.mark.added == (stamp{5, 5}); added != (i == 3) || n.mark.listed != (stamp{}) {
			t.Errorf("%s is %s", n.name, n.mark)
		}
	}
}

// A program may meet a node that is being added before the resize has marked it.
func TestWitness_ANodeThatItPlacesInAResizedSetIsAdded(t *testing.T) {
	t.Parallel()
	three := record{set: "s", epoch: 2, quorum: 2, names: "a,b,c"}
	now := stamp{client: 9, node: 9}
	for epoch, want := range map[int]stamp{0: {}, 2: now} {
		three.epoch = epoch
		w := &witness{name: "c", record: three}
		old := mark{memory: "m", state: stateNew, run: "r", data: "d", begun: stamp{1, 1}, since: stamp{1, 1}}
		if got := w.connected(old.String(), server{run: "r", now: now}, trust{}, func() string { return "new" }); !got.final || got.added != want {
			t.Errorf("after %d resizes it is marked %s", epoch, got)
		}
	}
}
