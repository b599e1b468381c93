package cluster

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/marks"
)

// Whether a node remembers every grant it made is not concluded from its configuration, its uptime or its name, but
// from its mark: a key that the node keeps for as long as it keeps anything. The mark names the run of the server and a
// memory, a random word that is new whenever there is doubt that the server still knows what it knew before. This file
// is the form of a mark. What to write when a connection is made, and whether a mark that was read proves a vote,
// [witness] decides, and which nodes are a set [inForce] and [planBootstrap]; they ask neither a clock nor the network.
// model_test.go searches for a sequence of faults that breaks these rules.

// markState is how a memory began.
type markState string

const (
	// stateNew: there was no mark, and the process that made this one knew nothing of the node. Nodes that are all new
	// vote as soon as their set is bootstrapped.
	stateNew markState = "new"
	// stateMade: the program that made the node says that nobody can have used it. Nodes that are all made are
	// bootstrapped at once.
	stateMade markState = marks.Made
	// stateSeen: the node may have lost what it knew. It votes once the quarantine is over.
	stateSeen markState = "seen"
	// stateRipe: the node was bootstrapped with its set in this memory. It votes.
	stateRipe markState = "ripe"
)

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
	// final: the record counts. Until all nodes that can be reached have it, it is a proposal.
	final bool
}

// unused reports whether nothing was ever granted in this memory, as far as its mark says.
func (m mark) unused() bool {
	return !m.final && (m.state == stateNew || m.state == stateMade)
}

func (m mark) String() string {
	digit := map[bool]int{true: 1}
	return fmt.Sprintf("%s mem=%s state=%s run=%s repl=%s sync=%d at=%d tn=%d data=%s dat=%d dtn=%d aof=%d id=%s set=%s q=%d of=%s final=%d", marks.Format,
		m.memory, m.state, m.run, m.repl, digit[m.synced], m.begun.client, m.begun.node, m.data, m.since.client, m.since.node, digit[m.files],
		m.id, m.record.set, m.record.quorum, m.record.names, digit[m.final])
}

// parseMark reads a mark. ok is false for a text of another format; those of earlier versions begin with "met" and
// "founded". Words that are not known are skipped, so that later versions can add some.
func parseMark(text string) (m mark, ok bool) {
	words := strings.Fields(text)
	if len(words) == 0 || words[0] != marks.Format {
		return mark{}, false
	}
	number := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "mem":
			m.memory = value
		case "state":
			m.state = markState(value)
		case "run":
			m.run = value
		case "repl":
			m.repl = value
		case "sync":
			m.synced = value == "1"
		case "at":
			m.begun.client = number(value)
		case "tn":
			m.begun.node = number(value)
		case "data":
			m.data = value
		case "dat":
			m.since.client = number(value)
		case "dtn":
			m.since.node = number(value)
		case "aof":
			m.files = value == "1"
		case "id":
			m.id = value
		case "set":
			m.record.set = value
		case "q":
			m.record.quorum = int(min(number(value), math.MaxInt32))
		case "of":
			m.record.names = value
		case "final":
			m.final = value == "1"
		}
	}
	if m.record.set == "" || m.record.quorum < 1 || m.id == "" || !slices.Contains(m.record.members(), m.id) {
		m.id, m.record, m.final = "", record{}, false
	}
	if m.state == stateRipe && !m.final { // it is ripe as one of a set
		m.state = stateSeen
	}
	return m, m.memory != "" && m.data != ""
}

// stamp is one moment by two clocks, in milliseconds.
type stamp struct{ client, node int64 }

// age is how long ago s was, by the clock that says less. It is 0 where a clock was set back since, and 0 where a stamp
// or a clock is missing or absurd.
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
