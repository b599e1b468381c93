package nodeset

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A search for a sequence of events after which two processes hold one key
// while a set is resized: by two tools at once, which are killed at any point,
// with programs of every list, while nodes restart, and lose what they granted
// or all they had. What processes and tools know, write and count is decided by
// the functions of mark.go, record.go, witness.go, resizeplan.go and
// resizemark.go themselves; nodes and time are the model's.
//
// Six rules are left out, one at a time, and the search has to find what goes
// wrong then.

var resizeRuns = flag.Int("resize.runs", 1000, "how many random sequences the search of resizes tries with all rules")

const (
	sizeTTL        = 8
	sizeQuarantine = 10
	sizeSteps      = 220
	sizeNodes      = 6
)

// lessSafe is the rules of a resize that are left out.
type lessSafe struct {
	settle bool // a step begins at once after the one before
	bound  bool // a wait for one step counts for the next, which another tool has begun and finished meanwhile
	steps  bool // two nodes come or go at once
	swap   bool // a mark is written, whatever the node has meanwhile
	young  bool // a node that is added votes at once
	lost   bool // a tool takes a node that has restarted for one that remembers
}

type sizeNode struct {
	mark   mark
	run    string
	holder int
	until  int
}

type sizeProcess struct {
	id      int
	list    []int
	nodes   []witness
	marks   []mark
	watched map[string]int
	record  record
	changed int
	start   int
	renews  bool
	votes   map[int]bool
	until   int
}

type sizeTool struct {
	change resizeChange
	two    string
	seen   []resizeNode // being read
	at     int
	writes []resizeWrite
	from   []resizeNode // what writes were decided from
	wait   settling
}

// sizeBias is of which sequences there are more, so that a search finds sooner
// what they lead to.
type sizeBias struct {
	size  int  // how many nodes the set has at first; 0: any
	epoch int  // how often it was resized before
	hasty bool // all are
	stays bool // nodes do not restart
}

type sizeModel struct {
	sequence
	out       lessSafe
	nodes     []*sizeNode
	processes []*sizeProcess
	tools     []*sizeTool
	bias      sizeBias
	hasty     bool // little time passes, both tools remove nodes, and take several actions at once
}

func (m *sizeModel) begin(seed uint64) {
	m.rng, m.now = rand.New(rand.NewPCG(seed, 22)), 1000
	m.hasty = m.bias.hasty || seed%2 == 1
	size := 1 + m.rng.IntN(5)
	if m.bias.size > 0 {
		size = m.bias.size
	}
	var names, memories []string
	for i := range sizeNodes {
		n := &sizeNode{run: m.word()}
		n.mark = mark{memory: m.word(), data: "d", state: stateNew, run: n.run, begun: m.stamp()}
		if i < size {
			n.mark.state, n.mark.id, n.mark.final = stateRipe, modelName(i), true
			names, memories = append(names, modelName(i)), append(memories, n.mark.memory)
		}
		m.nodes = append(m.nodes, n)
	}
	r := newRecord(names, memories, Quorum(size))
	r.epoch = m.bias.epoch
	for i := range size {
		m.nodes[i].mark.record = r
	}
	for id := range 4 {
		m.processes = append(m.processes, m.process(id+1))
	}
	m.tools = []*sizeTool{m.tool(), m.tool()}
}

func (m *sizeModel) stamp() stamp {
	return stamp{client: int64(m.now) * 1000, node: int64(m.now) * 1000}
}

// lists are all sizes that stand on any node.
func (m *sizeModel) lists() (all [][]int) {
	for _, n := range m.nodes {
		for _, r := range []record{n.mark.record, n.mark.was} {
			var list []int
			for i := range sizeNodes {
				if r != (record{}) && r.has(modelName(i)) {
					list = append(list, i)
				}
			}
			if list != nil {
				all = append(all, list)
			}
		}
	}
	return all
}

// process is a new one, whose list is one that counts, or did.
func (m *sizeModel) process(id int) *sizeProcess {
	lists := m.lists()
	p := &sizeProcess{id: id, list: lists[m.rng.IntN(len(lists))], watched: map[string]int{}, start: -1, votes: map[int]bool{}}
	p.nodes, p.marks = make([]witness, len(p.list)), make([]mark, len(p.list))
	for i, n := range p.list {
		p.nodes[i].name = modelName(n)
	}
	return p
}

func (p *sizeProcess) quorum() int { return Quorum(len(p.list)) }

// connect has p see the mark of its node i, and write the one that it ought to
// have. It reports whether the node is one of its list.
func (m *sizeModel) connect(p *sizeProcess, i int) bool {
	n := m.nodes[p.list[i]]
	k := n.mark
	if k.memory == "" {
		k = mark{memory: m.word(), data: "d", state: stateSeen, run: n.run, begun: m.stamp()}
	}
	if k.record != (record{}) && !k.fits(len(p.list), p.quorum()) {
		for j := range p.nodes {
			p.nodes[j].heard(k)
		}
		if p.record.set != k.record.set || p.record.epoch <= k.record.epoch {
			return false
		}
	}
	w := &p.nodes[i]
	next := w.connected(k.String(), m.server(n), trust{quarantine: sizeQuarantine * time.Second}, m.word)
	if n.mark != next {
		n.mark = next
		m.log("p%d writes node %d: %s", p.id, p.list[i], next)
	}
	p.nodes[i].saw(next)
	m.saw(p, i, next)
	return true
}

func (m *sizeModel) server(n *sizeNode) server { return server{run: n.run, now: m.stamp()} }

func (m *sizeModel) saw(p *sizeProcess, i int, k mark) {
	if _, known := p.watched[k.memory]; !known {
		p.watched[k.memory] = m.now
	}
	p.marks[i] = k
	if r, ok := inForce(p.marks, p.quorum()); ok {
		if p.record != r && p.record != (record{}) {
			p.changed = m.now
		}
		p.record = r
	}
	if p.record != (record{}) {
		for j := range p.nodes {
			p.nodes[j].knows(p.record, p.marks, j)
		}
	}
}

func (m *sizeModel) counts(p *sizeProcess, i int) bool {
	k := p.marks[i]
	t := trust{quarantine: sizeQuarantine * time.Second, watched: time.Duration(m.now-p.watched[k.memory]) * time.Second}
	if p.record == (record{}) || p.changed != 0 && m.now-p.changed < sizeQuarantine || !k.ripe(m.stamp(), t) {
		return false
	}
	return belongs(p.marks, i, p.record)
}

func (m *sizeModel) ask(p *sizeProcess, i int) {
	n := m.nodes[p.list[i]]
	if n.until <= m.now {
		n.holder = 0
	}
	granted := n.holder == p.id || n.holder == 0
	if granted {
		n.holder, n.until = p.id, m.now+sizeTTL
	}
	if !m.connect(p, i) || !granted || !m.counts(p, i) {
		return
	}
	p.votes[i] = true
	if len(p.votes) >= p.quorum() && m.now < p.start+sizeTTL && (!p.renews || m.now < p.until) {
		p.until, p.start = p.start+sizeTTL, -1
		m.acquired++
		m.log("p%d, which lists %v, holds the key until %d", p.id, p.list, p.until-1000)
	}
}

func (m *sizeModel) tool() *sizeTool {
	t := &sizeTool{}
	switch i, pick := modelName(m.rng.IntN(sizeNodes)), m.rng.IntN(5); {
	case m.hasty && pick < 4:
		t.change.remove = i
	case pick < 2:
		t.change.add = i
	case pick < 4:
		t.change.remove = i
	}
	t.two = modelName(m.rng.IntN(sizeNodes))
	return t
}

// step is one thing that a tool does: read a node, decide, or write one.
func (m *sizeModel) step(t *sizeTool) {
	switch {
	case len(t.writes) > 0:
		w := t.writes[0]
		t.writes = t.writes[1:]
		if n := m.nodes[w.node]; m.out.swap || n.mark == t.from[w.node].mark || n.mark.memory == "" && t.from[w.node].text == "" {
			n.mark = w.next
			m.log("a tool writes node %d: %s", w.node, w.next)
		} else {
			t.writes = nil
		}
	case t.at < sizeNodes:
		if t.at == 0 {
			t.seen = make([]resizeNode, sizeNodes)
		}
		n := m.nodes[t.at]
		r := resizeNode{name: modelName(t.at), met: n.mark.final || n.mark.to != (record{}) || modelName(t.at) == t.change.add || m.among(t.at)}
		if r.met {
			r.mark, r.text = m.read(n, r.name)
		}
		t.seen[t.at] = r
		t.at++
	default:
		t.at = 0
		m.decide(t)
	}
}

// read has a tool read a node, which it marks if that has restarted.
func (m *sizeModel) read(n *sizeNode, name string) (found mark, text string) {
	if n.mark.memory != "" {
		text = n.mark.String()
	}
	found, write, err := resizeMark(name, text, m.server(n), trust{quarantine: sizeQuarantine * time.Second}, m.word)
	if err != nil {
		panic(err) // all call a node the same
	}
	if write {
		if m.out.lost {
			found = n.mark
			found.run = n.run
		}
		n.mark, text = found, found.String()
		m.log("a tool finds that %s has restarted: %s", name, found)
	}
	return found, text
}

// among reports whether a node is of any size there is.
func (m *sizeModel) among(i int) bool {
	for _, list := range m.lists() {
		if slices.Contains(list, i) {
			return true
		}
	}
	return false
}

func (m *sizeModel) decide(t *sizeTool) {
	t.from = t.seen
	st, now := resizeState{}, time.Unix(int64(m.now), 0)
	top, _ := newestStep(t.seen)
	if m.rng.IntN(3) == 0 {
		st.rolled = top
	}
	if st.settled = t.wait.over(now, sizeQuarantine*time.Second); m.out.settle || m.out.bound && st.settled != (step{}) {
		st.settled = top
	}
	if m.rng.IntN(25) == 0 {
		if writes, err := planCancel(t.seen); err == nil {
			t.writes = writes
		}
		return
	}
	plan, err := planResize(t.seen, t.change, st)
	if err != nil {
		return
	}
	if m.out.bound && t.wait.at != (step{}) && plan.kind == resizeSettle {
		plan.at = t.wait.at
	}
	t.wait.saw(plan, now)
	t.writes = plan.writes
	m.bend(t, &plan)
	if plan.kind == resizeDone {
		m.finished++
		*t = *m.tool()
	}
}

// bend has a tool leave out a rule.
func (m *sizeModel) bend(t *sizeTool, plan *resizePlan) {
	proposed := slices.ContainsFunc(t.seen, func(n resizeNode) bool { return n.mark.to == plan.to })
	switch {
	case m.out.steps && plan.kind == resizePropose && !proposed && !t.change.none():
		members := plan.to.members()
		if t.change.add != "" && !plan.to.has(t.two) {
			members = append(members, t.two)
		} else if len(members) > 1 {
			members = slices.DeleteFunc(members, func(id string) bool { return id == t.two })
		}
		slices.Sort(members)
		to := plan.to
		to.names, to.quorum = strings.Join(members, ","), Quorum(len(members))
		for i := range t.writes {
			t.writes[i].next.to = to
		}
		t.change = resizeChange{}
	}
	if m.out.young {
		for i := range t.writes {
			if t.writes[i].next.final {
				t.writes[i].next.state = stateRipe
			}
		}
	}
}

// lose has a node lose everything. Processes that are connected notice at once.
// The last node that shows how far the set has come loses nothing: see
// docs/membership.md, of what is lost then.
func (m *sizeModel) lose(i int) {
	var top step
	holding := map[step]int{}
	for j, n := range m.nodes {
		s := n.mark.step()
		if n.mark.final && (top == (step{}) || s.above(top)) {
			top = s
		}
		if j != i && n.mark.final {
			holding[s]++
		}
	}
	if holding[top] == 0 {
		return
	}
	*m.nodes[i] = sizeNode{run: m.word()}
	m.log("node %d loses everything", i)
	order := m.rng.Perm(len(m.processes))
	for _, j := range order {
		p := m.processes[j]
		if k := slices.Index(p.list, i); k >= 0 && p.marks[k].memory != "" {
			m.connect(p, k)
		}
	}
}

// restart has a node lose what it granted, and keep its mark.
func (m *sizeModel) restart(i int) {
	n := m.nodes[i]
	n.run, n.holder = m.word(), 0
	m.log("node %d restarts", i)
}

func (m *sizeModel) act() {
	p := m.processes[m.rng.IntN(len(m.processes))]
	switch pick := m.rng.IntN(100); {
	case pick < 3 || !m.hasty && pick < 10:
		m.now += 1 + m.rng.IntN(2)
	case pick < 4 || !m.hasty && pick < 14:
		m.now += sizeTTL + m.rng.IntN(5)
	case m.hasty && pick < 42:
		t := m.tools[m.rng.IntN(2)]
		for range 1 + m.rng.IntN(sizeNodes+4) {
			m.step(t)
		}
	case pick < 52:
		m.step(m.tools[m.rng.IntN(4)/3]) // the first does most
	case pick < 54:
		m.tools[m.rng.IntN(2)] = m.tool()
		m.log("a tool is killed, and another begins")
	case pick < 58:
		*p = *m.process(100 + m.words)
		m.words++
		m.log("p%d begins, and lists %v", p.id, p.list)
	case pick < 60:
		m.lose(m.rng.IntN(sizeNodes))
	case pick < 62 && !m.bias.stays:
		m.restart(m.rng.IntN(sizeNodes))
	default:
		if p.start < 0 || m.now >= p.start+sizeTTL || m.rng.IntN(8) == 0 {
			p.start, p.renews = m.now, p.until > m.now
			clear(p.votes)
		}
		for _, i := range m.rng.Perm(len(p.list))[:min(2, len(p.list))] {
			if p.start >= 0 {
				m.ask(p, i)
			}
		}
	}
}

func (m *sizeModel) violated() bool {
	holders := 0
	for _, p := range m.processes {
		if p.until > m.now {
			holders++
		}
	}
	return holders > 1
}

func TestResizeModel_NoStepLetsTwoHoldOneKey(t *testing.T) {
	t.Parallel()
	trace, seed, acquired, finished := search(func() *sizeModel { return &sizeModel{} }, sizeSteps, 0, *resizeRuns)
	if trace != nil {
		t.Fatalf("two hold one key, seed %d:\n%s", seed, strings.Join(trace, "\n"))
	}
	t.Logf("%d acquisitions, %d resizes finished", acquired, finished)
	if acquired < *resizeRuns || finished < *resizeRuns/4 {
		t.Errorf("only %d acquisitions and %d resizes in %d runs", acquired, finished, *resizeRuns)
	}
}

func TestResizeModel_FindsWhatARuleIsNeededFor(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		out  lessSafe
		bias sizeBias
		seed int // of a sequence that shows it
	}{
		"a step begins at once after the one before":  {lessSafe{settle: true}, sizeBias{size: 3, hasty: true, stays: true}, 18969},
		"a wait for one step counts for the next":     {lessSafe{bound: true}, sizeBias{size: 3, epoch: 1, hasty: true, stays: true}, 15195},
		"two nodes come or go at once":                {lessSafe{steps: true}, sizeBias{stays: true}, 194},
		"a mark is written whatever the node has":     {lessSafe{swap: true}, sizeBias{stays: true}, 3999},
		"a node that is added votes at once":          {lessSafe{young: true}, sizeBias{stays: true}, 56},
		"a node that restarted is one that remembers": {lessSafe{lost: true}, sizeBias{}, 28},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findsFault(t, func() *sizeModel { return &sizeModel{out: tt.out, bias: tt.bias} }, sizeSteps, tt.seed, 20_000)
		})
	}
}
