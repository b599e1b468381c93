package nodeset

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A search for a sequence of faults after which two processes hold one key. What processes know, write and count is
// decided by the functions of mark.go, witness.go, record.go and bootstrap.go themselves; servers, names, clocks, lists and time are the model's. One unit of time
// is a second, connections are set up in one step, and between any two other steps anything may happen.
//
// Each rule is left out once, and the search has to find what goes wrong then: else it shows nothing.

var modelRuns = flag.Int("model.runs", 250, "how many random sequences of each kind the model's search tries with all rules")

const (
	modelTTL        = 8 // MaxTTL, and of every key
	modelAge        = modelTTL / 4
	modelQuarantine = modelTTL + modelAge + 1
	modelGrace      = 2
	modelSteps      = 45
	modelProcesses  = 3
)

// modelLists are the nodes that processes list; all but the first are mistakes, or lists that a set has outgrown. The last
// has a node twice.
var modelLists = [][]int{{0, 1, 2}, {0, 1, 3}, {0, 1, 2, 3, 4}, {0, alias, 1}}

// alias is another name of node 0.
const alias = 5

// without is the rules that are left out.
type without struct {
	ageing    bool // connections live on
	markAfter bool // a vote is proved by the mark that was read when the connection was made
	past      bool // a memory that was superseded is as good as another
	waiting   bool // the quarantine is MaxTTL, and does not cover old connections
	run       bool // a mark of another run is as good as one of this
	twoClocks bool // the node's clock alone says how old a memory is
	evidence  bool // a server that syncs every write remembers, whatever its mark
	promotion bool // that a server was a replica is not asked
	ripeness  bool // renewals count on nodes that are not ripe
	latest    bool // the mark that proves a vote may be of any run
	size      bool // a record of a set of another size refuses nobody
	record    bool // votes under different records count together
	place     bool // two nodes may be in one place of the set
	change    bool // votes under two records that were in force one after another count together
	grace     bool // a set of new nodes is bootstrapped at once
	live      bool // who knew a node does not come back to it by itself
	unused    bool // a mark that somebody made who did not know the node is as good
	looks     bool // the grace is not counted from when the nodes had what they are bootstrapped with
	memories  bool // a bootstrap is gone on with, whatever the nodes have forgotten since
}

// modelFault is a fault of a server that can be seen.
type modelFault int

const (
	faultEmpty    modelFault = iota // it restarts empty
	faultRestart                    // with an old snapshot, or with everything
	faultSnapshot                   // it takes one
	faultClock
	faultRole // it is a replica of another for a moment
	faultMove // a name leads to it
	faultFlushed
	modelFaults
)

// modelBias is of which faults there are more, and what has happened before, so that a search finds sooner what it leads to.
type modelBias struct {
	fault modelFault // eight times as many
	lost  bool       // often all nodes lose everything, and half of the sets are new
	start modelStart
}

// modelStart is what has happened before.
type modelStart int

const (
	startBootstrapped modelStart = iota // or, in a quarter of the sequences, nothing
	startHalf                           // the process that bootstraps the set has not made the record of the last node final; another may be empty again
	startLost                           // all nodes have lost everything, just now, while the first process holds the key
	// startAgain: two nodes have lost everything and were bootstrapped again with another, while those that knew them were cut
	// off. Nothing fails after that: see package cluster, of lists that differ.
	startAgain
)

type modelServer struct {
	name     int
	home     int // which name leads to it, or did since it was empty; -1: none
	life     int // of the process: connections end with it
	cut      int // how often all connections were closed
	repl     int
	promoted bool
	syncs    bool
	offset   int64
	data     modelData
	saved    modelData // its snapshot
}

type modelData struct {
	mark   string
	holder int // 0: nobody
	until  int
}

func (s *modelServer) run() string { return fmt.Sprintf("s%d.%d", s.name, s.life) }

type modelConn struct {
	server *modelServer
	life   int
	cut    int
	since  int
	proved bool
}

func (c *modelConn) broken() bool { return c.life != c.server.life || c.cut != c.server.cut }

type modelProcess struct {
	id      int
	list    []int // of names
	nodes   []witness
	marks   []mark
	texts   []string
	watched []map[string]int // since when each memory is known
	conns   []*modelConn
	record  record // in force
	changed int    // since when it is that one, and not another
	looked  int    // since when it has seen the memories that it may found a set of
	start   int    // of the attempt or the renewal under way; -1: none
	renews  bool
	votes   []bool
	until   int // it holds the key until then
}

type model struct {
	sequence
	out       without
	bias      modelBias
	servers   []*modelServer
	names     []*modelServer
	processes []*modelProcess
	acting    *modelProcess
}

// begin makes the servers and processes; mostly the set is bootstrapped, and the first process holds the key.
func (m *model) begin(seed uint64) {
	m.rng, m.now = rand.New(rand.NewPCG(seed, 15)), 1000
	var marks []mark
	var names, memories []string
	for i := range 7 {
		s := &modelServer{name: i, home: i, syncs: m.rng.IntN(3) == 0}
		if m.servers = append(m.servers, s); i < 5 {
			m.names = append(m.names, s)
		} else {
			s.home = -1
		}
		if i < 3 {
			k := mark{memory: m.word(), state: stateRipe, run: s.run(), repl: fmt.Sprint(s.repl), synced: s.syncs, data: m.word(), id: modelName(i), final: true}
			marks, names, memories = append(marks, k), append(names, k.id), append(memories, k.memory)
		}
	}
	if m.bias.start == startBootstrapped && (m.rng.IntN(4) == 0 || m.bias.lost && m.rng.IntN(3) == 0) { // no process has met a node
		m.processes = append(m.processes, m.process(1), m.process(2), m.process(3))
		return
	}
	for i, k := range marks {
		if k.record = newRecord(names, memories, 2); m.bias.start == startHalf && i == 2 {
			k.state, k.final = stateNew, false
		}
		m.servers[i].data.mark = k.String()
		m.servers[i].saved = m.servers[i].data
	}
	for id := range modelProcesses {
		p := m.process(id + 1)
		if id == 0 || m.bias.start == startAgain {
			p = m.listing(id+1, 0)
		}
		m.processes = append(m.processes, p)
		for i := range p.list {
			if id < modelProcesses-1 { // the last has met no node yet
				m.connect(p, i)
			}
		}
	}
	switch m.bias.start {
	case startAgain:
		m.again()
	default:
		m.acquire(m.processes[0], 0, 1)
	}
	if m.bias.start == startHalf && m.rng.IntN(2) == 0 {
		m.restartEmpty(m.servers[1])
	}
	if m.bias.start == startLost {
		for _, s := range m.servers {
			m.restartEmpty(s)
		}
		late := m.processes[modelProcesses-1]
		late.looked = m.now - modelTTL // at nothing
		for i := range late.list {
			if m.connect(late, i); m.rng.IntN(2) == 0 {
				break
			}
		}
	}
}

func (m *model) acquire(p *modelProcess, nodes ...int) {
	p.start = m.now
	for _, i := range nodes {
		m.ask(p, i)
	}
}

// again has the second process found nodes 0 and 1 again, with node 3, and acquire the key.
func (m *model) again() {
	p := m.listing(2, 1)
	m.processes[1] = p
	var marks []mark
	var names, memories []string
	for _, i := range p.list {
		k := mark{memory: m.word(), state: stateRipe, run: m.servers[i].run(), repl: "0", data: m.word(), id: modelName(i), final: true}
		marks, names, memories = append(marks, k), append(names, k.id), append(memories, k.memory)
	}
	for j, i := range p.list {
		marks[j].record = newRecord(names, memories, 2)
		m.servers[i].data = modelData{mark: marks[j].String()}
		m.connect(p, j)
	}
	m.acquire(p, 0, 2)
}

func modelName(i int) string { return fmt.Sprint("n", i) }

// process has mostly the list that is right.
func (m *model) process(id int) *modelProcess {
	return m.listing(id, max(0, m.rng.IntN(3*len(modelLists))-2*len(modelLists)))
}

func (m *model) listing(id, list int) *modelProcess {
	p := &modelProcess{id: id, start: -1, list: modelLists[list], looked: m.now}
	n := len(p.list)
	p.nodes, p.marks, p.texts, p.watched = make([]witness, n), make([]mark, n), make([]string, n), make([]map[string]int, n)
	p.conns, p.votes = make([]*modelConn, n), make([]bool, n)
	for i, name := range p.list {
		p.nodes[i].name = modelName(name)
	}
	return p
}

func (p *modelProcess) quorum() int { return Quorum(len(p.list)) }

func (m *model) quarantine() int {
	if m.out.waiting {
		return modelTTL
	}
	return modelQuarantine
}

// says is what s says of itself.
func (m *model) says(s *modelServer) server {
	f := server{run: s.run(), repl: fmt.Sprint(s.repl), promoted: s.promoted, syncs: s.syncs, whole: true, now: m.stamp(s)}
	if m.out.promotion {
		f.promoted = false
	}
	return f
}

func (m *model) stamp(s *modelServer) stamp {
	now := stamp{client: int64(m.now) * 1000, node: int64(m.now)*1000 + s.offset}
	if m.out.twoClocks {
		now.client = now.node
	}
	return now
}

// trusts is the evidence that p has of a memory of node i.
func (m *model) trusts(p *modelProcess, i int, memory string) trust {
	t := trust{quarantine: time.Duration(m.quarantine()) * time.Second}
	if since, known := p.watched[i][memory]; known {
		t.watched = time.Duration(m.now-since) * time.Second
	}
	return t
}

func (m *model) connect(p *modelProcess, i int) {
	s, w := m.server(p.list[i]), &p.nodes[i]
	p.conns[i] = nil
	text := s.data.mark
	old, ok := parseMark(text)
	if ok && old.record != (record{}) && !old.record.fits(len(p.list), p.quorum()) && !m.out.size {
		return
	}
	if m.out.past {
		w.past = nil
	}
	facts := m.says(s)
	var next mark
	switch {
	case m.out.evidence && s.syncs:
		next = w.placed(mark{memory: m.word(), state: stateSeen, run: s.run(), synced: true, data: "d"}, facts.now, m.word)
		if next.final {
			next.state = stateRipe
		}
		if ok {
			next = old
			next.run = facts.run
		}
	case m.out.run && ok:
		old.run = facts.run
		next = w.connected(old.String(), facts, m.trusts(p, i, old.memory), m.word)
	case m.out.unused && ok && old.unused():
		next = old
	default:
		next = w.connected(text, facts, m.trusts(p, i, old.memory), m.word)
	}
	s.data.mark = next.String()
	m.saw(p, i, next)
	p.conns[i] = &modelConn{server: s, life: s.life, cut: s.cut, since: m.now, proved: m.proves(p, i, s)}
	m.log("p%d connects to node %d, %s: %s", p.id, p.list[i], s.run(), s.data.mark)
}

// saw takes in that node i has this mark.
func (m *model) saw(p *modelProcess, i int, k mark) {
	p.nodes[i].saw(k)
	if p.watched[i] == nil {
		p.watched[i] = map[string]int{}
	}
	if _, known := p.watched[i][k.memory]; !known {
		p.watched[i][k.memory] = m.now
	}
	if p.marks[i].memory != k.memory && !m.out.looks {
		p.looked = m.now
	}
	p.marks[i], p.texts[i] = k, k.String()
	if r, ok := inForce(p.marks, p.quorum()); ok {
		if p.record != r && p.record != (record{}) {
			p.changed = m.now
		}
		p.record = r
	} else if m.out.size {
		p.record = k.record
	}
	for j := range p.nodes {
		p.nodes[j].knows(p.record, p.marks, j)
	}
}

// proves reports whether the mark on s proves a vote of node i to p.
func (m *model) proves(p *modelProcess, i int, s *modelServer) bool {
	k, ok := parseMark(s.data.mark)
	if !ok || !m.out.latest && !p.nodes[i].proves(k) {
		return false
	}
	if k != p.marks[i] {
		m.saw(p, i, k)
	}
	return k.ripe(m.stamp(s), m.trusts(p, i, k.memory)) && m.belongs(p, i)
}

func (m *model) belongs(p *modelProcess, i int) bool {
	switch {
	case p.record == (record{}), p.changed != 0 && m.now-p.changed < m.quarantine() && !m.out.change:
		return false
	case m.out.record:
		return p.marks[i].final
	}
	if m.out.place {
		return p.marks[i].carries(p.record)
	}
	return belongs(p.marks, i, p.record)
}

// bootstrap has p bootstrap its set.
func (m *model) bootstrap(p *modelProcess) {
	var names []string
	for _, w := range p.nodes {
		names = append(names, w.name)
	}
	marks := slices.Clone(p.marks)
	if m.out.memories {
		for i := range marks {
			if marks[i].unused() {
				marks[i].memory = "?" // as if the record did not say which memories it is of
			}
		}
	}
	f, err := planBootstrap(marks, names, p.quorum())
	if m.out.memories && err == nil {
		f.whole = !f.absent
		for _, k := range marks {
			f.whole = f.whole && (k.unused() || k.state == stateRipe)
		}
	}
	due := 0
	switch {
	case f.absent:
		due = m.quarantine()
	case f.whole && !m.out.grace:
		due = modelGrace
	}
	if err != nil || p.record != (record{}) || m.now-p.looked < due {
		return
	}
	for _, i := range f.order() {
		s, next := m.server(p.list[i]), f.next[i]
		if p.texts[i] != s.data.mark {
			return
		}
		next.memory = p.marks[i].memory
		if m.out.memories && f.whole {
			if next.state = p.marks[i].state; next.final {
				next.state = stateRipe
			}
		}
		s.data.mark = next.String()
		m.saw(p, i, next)
		m.log("p%d bootstraps node %d: %s", p.id, p.list[i], s.data.mark)
		if m.rng.IntN(4) == 0 {
			return
		}
	}
}

// ask sends an acquire or a renewal to node i, and reads the mark after it.
func (m *model) ask(p *modelProcess, i int) {
	c := p.conns[i]
	if c == nil || c.broken() || !m.out.ageing && m.now-c.since >= modelAge {
		m.connect(p, i)
		if c = p.conns[i]; c == nil {
			return
		}
	}
	d := &c.server.data
	if d.until <= m.now {
		d.holder = 0
	}
	granted := d.holder == p.id || !p.renews && d.holder == 0
	if d.holder == 0 || d.holder == p.id { // a renewal heals
		d.holder, d.until = p.id, m.now+modelTTL
	}
	if !granted {
		return
	}
	counts := m.proves(p, i, c.server)
	k, ok := parseMark(d.mark)
	switch {
	case m.out.markAfter:
		counts = c.proved
	case m.out.ripeness && p.renews:
		counts = ok && p.nodes[i].proves(k)
	}
	p.votes[i] = counts
	m.log("p%d asks node %d, %s (renews: %t): counts %t", p.id, p.list[i], c.server.run(), p.renews, counts)
	if !ok || !p.nodes[i].proves(k) {
		m.connect(p, i)
	}
	n := 0
	for _, v := range p.votes {
		if v {
			n++
		}
	}
	if n >= p.quorum() && m.now < p.start+modelTTL && (!p.renews || m.now < p.until) {
		p.until = p.start + modelTTL
		p.start = -1
		m.acquired++
		m.log("p%d holds the key until %d", p.id, p.until-1000)
	}
}

// pass lets time pass. Processes come back to nodes that have restarted.
func (m *model) pass(d int) {
	for range d {
		m.now++
		for _, p := range m.processes {
			for i, c := range p.conns {
				if c != nil && c.broken() && !m.out.live {
					m.connect(p, i)
				}
			}
		}
	}
}

func (m *model) act() {
	if m.acting == nil || m.rng.IntN(2) == 0 { // what a process does takes several steps
		m.acting = m.processes[m.rng.IntN(len(m.processes))]
	}
	p := m.acting
	i := m.rng.IntN(len(p.list))
	switch pick := m.rng.IntN(100); {
	case pick < 14:
		m.pass(1 + m.rng.IntN(2))
	case pick < 18:
		m.pass(modelTTL + m.rng.IntN(modelAge+3))
	case pick < 24:
		m.connect(p, i)
	case pick < 29:
		m.bootstrap(p)
	case pick < 86:
		if p.start < 0 || m.now >= p.start+modelTTL || m.rng.IntN(6) == 0 {
			p.start, p.renews = m.now, p.until > m.now
			clear(p.votes)
		}
		m.ask(p, i)
		if p.start >= 0 {
			m.ask(p, (i+1)%len(p.list))
		}
	case pick < 88:
		m.log("p%d ends, and another begins", p.id)
		*p = *m.process(100 + m.words)
		m.words++
	case m.bias.start == startAgain:
		m.pass(1)
	case pick < 90 || m.bias.lost && pick < 94:
		for _, s := range m.servers {
			m.restartEmpty(s)
		}
	default:
		m.hurt(m.servers[m.rng.IntN(len(m.servers))], m.rng.IntN(len(m.names)))
	}
}

// draw draws a fault.
func (m *model) draw() modelFault {
	const more = 7
	if pick := m.rng.IntN(int(modelFaults) + more); pick < int(modelFaults) || m.bias.fault == faultEmpty {
		return modelFault(pick % int(modelFaults))
	}
	return m.bias.fault
}

func (m *model) restartEmpty(s *modelServer) {
	s.life++
	s.saved, s.promoted = modelData{}, false
	m.empty(s)
	m.log("server %d restarts empty", s.name)
}

// server is the one that a name leads to.
func (m *model) server(name int) *modelServer {
	if name == alias {
		name = 0
	}
	return m.names[name]
}

// knows is a process that has seen what is on node i, and on o before.
func (m *model) knows(i int, o *modelServer) *modelProcess {
	is, ok := parseMark(m.names[i].data.mark)
	was, _ := parseMark(o.data.mark)
	for _, p := range m.processes {
		if j := slices.Index(p.list, i); ok && j >= 0 && p.nodes[j].memory == is.memory && p.nodes[j].past[was.memory] {
			return p
		}
	}
	return nil
}

func (m *model) empty(s *modelServer) {
	s.data = modelData{}
	if !slices.Contains(m.names, s) {
		s.home = -1
	}
}

// hurt is one fault that can be seen.
func (m *model) hurt(s *modelServer, i int) {
	switch m.draw() {
	case faultEmpty:
		m.restartEmpty(s)
	case faultRestart:
		s.life++
		if s.promoted = false; !s.syncs {
			s.data = s.saved
		}
		m.log("server %d restarts: %s", s.name, s.data.mark)
	case faultSnapshot:
		s.saved = s.data
	case faultClock:
		s.offset += int64(m.rng.IntN(3)-1) * 1000 * int64(modelTTL+m.rng.IntN(40))
		m.log("the clock of server %d is %d off", s.name, s.offset)
	case faultRole:
		o := m.servers[m.rng.IntN(len(m.servers))]
		if k, _ := parseMark(o.data.mark); o != s {
			if k.run == s.run() { // the other had copied it; that shows only on the next connection: see package cluster
				s.cut++
			}
			s.data, s.promoted = o.data, true
			s.repl += 100
			m.log("server %d was a replica of %d for a moment: %s", s.name, o.name, s.data.mark)
		}
	case faultMove:
		// Not to one that has kept what it knew as another node, or as this one before, unless a process that knows
		// both servers is the first to connect: see package cluster.
		o, was := m.servers[m.rng.IntN(len(m.servers))], m.names[i]
		saw := m.knows(i, o)
		if o == was || o.home >= 0 && (o.home != i || saw == nil) {
			return
		}
		back := o.home == i
		o.home = i
		m.log("node %d moves from server %d to %d", i, was.name, o.name)
		if m.names[i] = o; back {
			m.connect(saw, slices.Index(saw.list, i))
		}
	default:
		marked := 0
		for _, o := range m.servers {
			if k, _ := parseMark(o.data.mark); k.final {
				marked++
			}
		}
		if marked > 1 { // that a person empties all nodes of a set nobody notices at once: see package cluster
			m.empty(s)
			m.log("server %d is emptied", s.name)
		}
	}
}

// violated reports whether two processes hold the key.
func (m *model) violated() bool {
	holders := 0
	for _, p := range m.processes {
		if p.until > m.now {
			holders++
		}
	}
	return holders > 1
}

func TestModel_NoSeenFaultLetsTwoHoldOneKey(t *testing.T) {
	t.Parallel()
	for _, bias := range []modelBias{{}, {fault: faultRole}, {fault: faultMove}, {fault: faultClock}, {lost: true}, {start: startHalf}, {start: startLost}, {start: startAgain}} {
		trace, seed, acquired, _ := search(func() *model { return &model{bias: bias} }, modelSteps, 0, *modelRuns)
		if trace != nil {
			t.Errorf("two hold one key, bias %+v, seed %d:\n%s", bias, seed, strings.Join(trace, "\n"))
		}
		if acquired < *modelRuns/8 {
			t.Errorf("only %d acquisitions in %d runs", acquired, *modelRuns)
		}
	}
}

func TestModel_EveryRuleIsNeeded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		out  without
		bias modelBias
		seed int // of a sequence that shows it
	}{
		"connections live on": {without{ageing: true}, modelBias{fault: faultMove}, 173},
		"a vote is proved by the mark that was read when the connection was made": {without{markAfter: true}, modelBias{}, 118},
		"a memory that was superseded is as good as another":                      {without{past: true}, modelBias{fault: faultMove}, 29957},
		"the quarantine does not cover old connections":                           {without{waiting: true}, modelBias{fault: faultMove}, 147834},
		"a mark of another run is as good":                                        {without{run: true}, modelBias{}, 302},
		"the node's clock alone says how old a memory is":                         {without{twoClocks: true}, modelBias{fault: faultClock}, 8627},
		"a server that syncs remembers, whatever its mark":                        {without{evidence: true}, modelBias{}, 1},
		"that a server was a replica is not asked":                                {without{promotion: true}, modelBias{fault: faultRole}, 354},
		"renewals count on nodes that are not ripe":                               {without{ripeness: true}, modelBias{}, 10604},
		"the mark that proves a vote may be of any run":                           {without{latest: true}, modelBias{fault: faultMove}, 61653},
		"a set of another size refuses nobody":                                    {without{size: true}, modelBias{}, 24661},
		"votes under different records count together":                            {without{record: true}, modelBias{start: startAgain}, 0},
		"two nodes may be in one place of the set":                                {without{place: true}, modelBias{start: startHalf}, 2},
		"votes under records of one after another count together":                 {without{change: true}, modelBias{start: startAgain}, 16},
		"new nodes are bootstrapped at once":                                      {without{grace: true}, modelBias{start: startLost}, 11465},
		"who knew a node does not come back to it":                                {without{live: true}, modelBias{start: startLost}, 16691},
		"a mark of one who did not know the node is as good":                      {without{unused: true}, modelBias{lost: true}, 5683},
		"the grace began with what the nodes had before":                          {without{looks: true}, modelBias{start: startLost}, 11465},
		"a bootstrap is gone on with whatever was forgotten since":                {without{memories: true}, modelBias{start: startHalf}, 54009},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findsFault(t, func() *model { return &model{out: tt.out, bias: tt.bias} }, modelSteps, tt.seed, 150_000)
		})
	}
}
