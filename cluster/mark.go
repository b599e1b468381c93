package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Whether a node remembers every grant it made is not concluded from its configuration, its uptime or its name, but from
// its mark: a key that the node keeps for as long as it keeps anything. The mark names the run of the server and a memory,
// a random word that is new whenever there is doubt that the server still knows what it knew before. This file decides
// what to write when a connection is made, and whether a mark that was read proves a vote; it asks neither a clock nor
// the network. model_test.go searches for a sequence of faults that breaks these rules.

// markKey is the key of a node's mark. It stands outside every prefix, for it is the same whatever the locks are called.
const markKey = "redlock:mark"

// markFormat is the first word of a mark. Marks of earlier versions begin with "met" and "founded".
const markFormat = "v2"

// markState is how a memory began.
type markState string

const (
	// stateNew: there was no mark, and whoever made this one knew nothing of the node. A set of which all nodes are new
	// is founded.
	stateNew markState = "new"
	// stateSeen: the node may have lost what it knew. It votes once the quarantine is over.
	stateSeen markState = "seen"
	// stateRipe: the node was founded with its set in this memory. It votes.
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

	data  string // random; new when the node had no mark, so it lasts as long as the node's files
	since stamp  // when data began

	set string // of a node that was founded: see setOf
}

// stamp is one moment by two clocks, in milliseconds.
type stamp struct{ client, node int64 }

// age is how long ago s was, by the clock that says less. It is 0 where a clock was set back since, and 0 where a stamp or
// a clock is missing or absurd.
func (s stamp) age(now stamp) time.Duration {
	return since(s, now, func(a, b int64) int64 { return min(a, b) })
}

// oldest is how long ago s was, by the clock that says more.
func (s stamp) oldest(now stamp) time.Duration {
	return since(s, now, func(a, b int64) int64 { return max(a, b) })
}

// maxAge is above every age that matters, in milliseconds.
const maxAge = int64(100 * 365 * 24 * time.Hour / time.Millisecond)

func since(s, now stamp, of func(a, b int64) int64) time.Duration {
	client, node := now.client-s.client, now.node-s.node
	if s.node <= 0 || now.node <= 0 {
		node = 0
	}
	if s.client <= 0 || max(s.client, s.node, now.node) > 1<<50 {
		return 0
	}
	return time.Duration(min(max(0, of(client, node)), maxAge)) * time.Millisecond
}

func (m mark) String() string {
	synced := 0
	if m.synced {
		synced = 1
	}
	return fmt.Sprintf("%s mem=%s state=%s run=%s repl=%s sync=%d at=%d tn=%d data=%s dat=%d dtn=%d set=%s", markFormat,
		m.memory, m.state, m.run, m.repl, synced, m.begun.client, m.begun.node, m.data, m.since.client, m.since.node, m.set)
}

// parseMark reads a mark. ok is false for a text of another format. Words that are not known are skipped, so that later
// versions can add some.
func parseMark(text string) (m mark, ok bool) {
	words := strings.Fields(text)
	if len(words) == 0 || words[0] != markFormat {
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
		case "set":
			m.set = value
		}
	}
	return m, m.memory != "" && m.data != ""
}

// server is what a server says of itself on a connection, as far as marks are concerned.
type server struct {
	run, repl string
	promoted  bool // it was a replica since it started
	syncs     bool // it syncs every write, and none stands in for it
	now       stamp
}

// witness is what a process has seen of one node.
type witness struct {
	memory string          // the newest
	past   map[string]bool // memories that were the newest before
	run    string          // the newest server, while it was one that tells
}

// saw takes in that m is on the node.
func (w *witness) saw(m mark) {
	if w.memory != "" && w.memory != m.memory {
		if w.past == nil {
			w.past = map[string]bool{}
		}
		w.past[w.memory] = true
	}
	delete(w.past, m.memory)
	w.memory, w.run = m.memory, cmp.Or(m.run, w.run)
}

// proves reports whether m, read behind a command on a connection, shows that the server that executed it is the one that
// the process has last found behind the node.
func (w *witness) proves(m mark) bool { return m.run == w.run && !w.past[m.memory] }

// trust is the evidence that a memory has lasted: for how long, at least, it has been watched or stamped.
type trust struct {
	watched    time.Duration // by this process's own clock
	quarantine time.Duration
}

// ripe reports whether m began so long ago that nothing its node has lost can matter any more.
func (m mark) ripe(now stamp, t trust) bool {
	return m.state == stateRipe || t.watched >= t.quarantine || m.begun.age(now) >= t.quarantine
}

// connected is the mark that a node ought to have, of which text is on it, now that a process with this knowledge has
// connected to server s. random makes a new word.
func (w *witness) connected(text string, s server, t trust, random func() string) mark {
	m, ok := parseMark(text)
	switch {
	case !ok:
		return w.marked(text, s, random)
	case m.keeps(s) && !w.past[m.memory]:
		m.synced = m.synced && s.syncs
		return m
	case w.excuses(m, s, t):
		m.run, m.repl = s.run, s.repl
		return m
	}
	next := mark{memory: random(), state: stateSeen, run: s.run, repl: s.repl, synced: s.syncs, begun: s.now, data: m.data, since: m.since}
	return next
}

// marked is the first mark of this format. Whatever an earlier version left shows that the set is not new.
func (w *witness) marked(text string, s server, random func() string) mark {
	m := mark{memory: random(), state: stateNew, run: s.run, repl: s.repl, synced: s.syncs, begun: s.now, data: random(), since: s.now}
	if text != "" || w.memory != "" {
		m.state = stateSeen
	}
	return m
}

// keeps reports whether the server has run since it had this mark, and has not taken over another's data meanwhile.
func (m mark) keeps(s server) bool {
	switch {
	case s.run == "": // it does not tell
		return true
	case m.run != s.run:
		return false
	}
	return m.repl == s.repl || m.repl == "" || s.repl == "" || !s.promoted
}

// excuses reports whether a restarted server has forgotten nothing all the same, because it synced every write: its mark has
// survived the restart, was ripe before it, and is of the run that this process saw last.
func (w *witness) excuses(m mark, s server, t trust) bool {
	return s.syncs && m.synced && !s.promoted && !w.past[m.memory] && (w.run == "" || w.run == m.run) && m.ripe(s.now, t)
}

// setOf names the set whose nodes have these memories when it is founded, in whatever order.
func setOf(memories []string) string {
	return strings.Join(slices.Sorted(slices.Values(memories)), ",")
}

// founded is the mark of a node of this set that is founded.
func (m mark) founded(set string) mark {
	m.state, m.set = stateRipe, set
	return m
}

// stands reports whether the node with the mark at i, of all marks of a set, was founded with this set, so that nothing was
// ever granted on it before. A quorum of the others tells the set from others that a node may have been founded in.
func stands(marks []mark, i int) bool {
	m, with := marks[i], 0
	for _, other := range marks {
		if other.state == stateRipe && other.set == m.set {
			with++
		}
	}
	members := strings.Split(m.set, ",")
	return m.state == stateRipe && slices.Contains(members, m.memory) && len(members) == len(marks) && with >= Quorum(len(marks))
}

// standing is what the marks of all nodes say of the set.
type standing int

const (
	unfounded   standing = iota // it is new, and not all nodes are founded yet
	isFounded                   // all are
	established                 // it is not new
)

// standingOf reads the marks of all nodes. young says of each whether it is certain that nobody has let it vote yet.
func standingOf(marks []mark, young []bool) standing {
	set, got := setOf(memoriesOf(marks)), 0
	for i, m := range marks {
		switch {
		case m.state == stateRipe && m.set == set:
			got++
		case m.state == stateNew && young[i]:
		default:
			return established
		}
	}
	if got == len(marks) {
		return isFounded
	}
	return unfounded
}

func memoriesOf(marks []mark) (all []string) {
	for _, m := range marks {
		all = append(all, m.memory)
	}
	return all
}
