package nodeset

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/marks"
)

// Whether a node remembers every grant it made is not concluded from its
// configuration, its uptime or its name, but from its mark: a key that the node
// keeps for as long as it keeps anything. The mark names the run of the server
// and a memory, a random word that is new whenever there is doubt that the
// server still knows what it knew before. This file is the form of a mark. What
// to write when a connection is made, and whether a mark that was read proves a
// vote, [witness] decides, and which nodes are a set [inForce] and
// [planBootstrap]; they ask neither a clock nor the network. model_test.go
// searches for a sequence of faults that breaks these rules.

// markState is how a memory began.
type markState string

const (
	// stateNew: there was no mark, and the process that made this one knew
	// nothing of the node. Nodes that are all new vote as soon as their set is
	// bootstrapped.
	stateNew markState = "new"
	// stateMade: the program that made the node says that nobody can have used
	// it. Nodes that are all made are bootstrapped at once.
	stateMade markState = marks.Made
	// stateSeen: the node may have lost what it knew. It votes once the
	// quarantine is over.
	stateSeen markState = "seen"
	// stateAdded: the node was added to its set, or bootstrapped with one that
	// may have been used. It votes once the quarantine is over.
	stateAdded markState = "added"
	// stateRipe: the node was bootstrapped with its set in this memory, or a
	// person says that it has lost no lock that is held. It votes.
	stateRipe markState = "ripe"
)

// added is the state of a node that was in this one and is taken into a set.
func (s markState) added() markState {
	if s == stateSeen {
		return s
	}
	return stateAdded
}

// mark is the text of a mark, read.
type mark struct {
	memory string // random; new when it is doubtful whether the node remembers
	state  markState
	run    string // run_id of the server; "" where it does not tell
	repl   string // master_replid of the server; "" where it does not tell
	synced bool   // every connection since this memory began found that the server syncs every write
	begun  stamp  // when this memory began

	data  string // random; lasts as long as what the node keeps in files
	since stamp  // when data began
	files bool   // every connection since then found that the server keeps an append-only file

	id     string // which node of the set it is: its name in the record; "" without one
	record record
	// final: the record counts. Until all nodes that can be reached have it, it
	// is a proposal.
	final bool
	// While the set is resized, was is the record that counts beside record,
	// and to one that was proposed to come after record; it does not count yet.
	// Both are zero else.
	was, to record

	added  stamp // when a resize took the node into its set; zero: it was bootstrapped with it
	listed stamp // when the list without it ceased to count
	shrunk stamp // when a list ceased to count that had more nodes than the next
}

// unused reports whether nothing was ever granted in this memory, as far as its
// mark says.
func (m mark) unused() bool {
	return !m.final && (m.state == stateNew || m.state == stateMade)
}

func (m mark) String() string {
	digit := map[bool]int{true: 1}
	text := fmt.Sprintf("%s mem=%s state=%s run=%s repl=%s sync=%d at=%d tn=%d data=%s dat=%d dtn=%d aof=%d id=%s set=%s q=%d of=%s final=%d", marks.Format,
		m.memory, m.state, m.run, m.repl, digit[m.synced], m.begun.client, m.begun.node, m.data, m.since.client, m.since.node, digit[m.files],
		m.id, m.record.set, m.record.quorum, m.record.names, digit[m.final])
	if m.record.epoch > 0 {
		text += fmt.Sprintf(" epoch=%d", m.record.epoch)
	}
	if m.was != (record{}) {
		text += fmt.Sprintf(" was=%d:%s", m.was.quorum, m.was.names)
	}
	if m.to != (record{}) {
		text += fmt.Sprintf(" to=%d:%s", m.to.quorum, m.to.names)
	}
	if m.added != (stamp{}) {
		text += fmt.Sprintf(" ad=%d adn=%d", m.added.client, m.added.node)
	}
	if m.listed != (stamp{}) {
		text += fmt.Sprintf(" li=%d lin=%d", m.listed.client, m.listed.node)
	}
	if m.shrunk != (stamp{}) {
		text += fmt.Sprintf(" sh=%d shn=%d", m.shrunk.client, m.shrunk.node)
	}
	return text
}

// parseMark reads a mark. ok is false for a text of another format; those of
// earlier versions begin with "met" and "founded". Words that are not known are
// skipped, so that later versions can add some.
func parseMark(text string) (m mark, ok bool) {
	words := strings.Fields(text)
	if len(words) == 0 || words[0] != marks.Format {
		return mark{}, false
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		if set := markWords[key]; set != nil {
			set(&m, value)
		}
	}
	m.takeSteps()
	if m.record.set == "" || m.record.quorum < 1 || m.id == "" || m.record.epoch == 0 && !m.record.has(m.id) {
		m.id, m.record, m.final, m.was, m.to = "", record{}, false, record{}, record{}
	}
	if m.state == stateRipe && !m.final { // it is ripe as one of a set
		m.state = stateSeen
	}
	return m, m.memory != "" && m.data != ""
}

// takeSteps completes what a mark says of the sizes before and after, if it can
// say that.
func (m *mark) takeSteps() {
	m.was.set, m.was.epoch = m.record.set, m.record.epoch-1
	m.to.set, m.to.epoch = m.record.set, m.record.epoch+1
	if !m.final || m.record.epoch < 1 || m.was.quorum < 1 || m.was.names == "" {
		m.was = record{}
	}
	if !m.final || m.was != (record{}) || m.to.quorum < 1 || m.to.names == "" {
		m.to = record{}
	}
}

// sized reads a size of a set: its quorum and its names.
func sized(value string) (r record) {
	quorum, names, _ := strings.Cut(value, ":")
	return record{quorum: int(min(number(quorum), math.MaxInt32)), names: names}
}

// markWords take in the words of a mark, by key.
var markWords = map[string]func(m *mark, value string){
	"mem":   func(m *mark, value string) { m.memory = value },
	"state": func(m *mark, value string) { m.state = markState(value) },
	"run":   func(m *mark, value string) { m.run = value },
	"repl":  func(m *mark, value string) { m.repl = value },
	"sync":  func(m *mark, value string) { m.synced = value == "1" },
	"at":    func(m *mark, value string) { m.begun.client = number(value) },
	"tn":    func(m *mark, value string) { m.begun.node = number(value) },
	"data":  func(m *mark, value string) { m.data = value },
	"dat":   func(m *mark, value string) { m.since.client = number(value) },
	"dtn":   func(m *mark, value string) { m.since.node = number(value) },
	"aof":   func(m *mark, value string) { m.files = value == "1" },
	"id":    func(m *mark, value string) { m.id = value },
	"set":   func(m *mark, value string) { m.record.set = value },
	"q":     func(m *mark, value string) { m.record.quorum = int(min(number(value), math.MaxInt32)) },
	"of":    func(m *mark, value string) { m.record.names = value },
	"epoch": func(m *mark, value string) { m.record.epoch = int(max(0, min(number(value), math.MaxInt32))) },
	"was":   func(m *mark, value string) { m.was = sized(value) },
	"to":    func(m *mark, value string) { m.to = sized(value) },
	"final": func(m *mark, value string) { m.final = value == "1" },
	"ad":    func(m *mark, value string) { m.added.client = number(value) },
	"adn":   func(m *mark, value string) { m.added.node = number(value) },
	"li":    func(m *mark, value string) { m.listed.client = number(value) },
	"lin":   func(m *mark, value string) { m.listed.node = number(value) },
	"sh":    func(m *mark, value string) { m.shrunk.client = number(value) },
	"shn":   func(m *mark, value string) { m.shrunk.node = number(value) },
}

// number is 0 for what is none.
func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// stamp is one moment by two clocks, in milliseconds.
type stamp struct{ client, node int64 }

// age is how long ago s was, by the clock that says less. It is 0 where a clock
// was set back since, and 0 where a stamp or a clock is missing or absurd.
func (s stamp) age(now stamp) time.Duration {
	client, node := now.client-s.client, now.node-s.node
	if s.node <= 0 || now.node <= 0 {
		node = 0
	}
	if s.client <= 0 || max(s.client, s.node, now.node) > 1<<50 {
		return 0
	}
	return time.Duration(min(max(0, min(client, node)), maxAge)) * time.Millisecond
}

// before is s, so much earlier.
func (s stamp) before(d time.Duration) stamp {
	s.client -= d.Milliseconds()
	if s.node != 0 {
		s.node -= d.Milliseconds()
	}
	return s
}

// maxAge is above every age that matters, in milliseconds.
const maxAge = int64(100 * 365 * 24 * time.Hour / time.Millisecond)
