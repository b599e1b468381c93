package cluster

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/marks"
)

// Whether a node remembers every grant it made is not concluded from its configuration, its uptime or its name, but from
// its mark: a key that the node keeps for as long as it keeps anything. The mark names the run of the server and a memory,
// a random word that is new whenever there is doubt that the server still knows what it knew before. This file decides
// what to write when a connection is made, and whether a mark that was read proves a vote; it asks neither a clock nor
// the network. model_test.go searches for a sequence of faults that breaks these rules.

// markState is how a memory began.
type markState string

const (
	// stateNew: there was no mark, and the process that made this one knew nothing of the node. Nodes that are all new
	// vote as soon as their set is founded.
	stateNew markState = "new"
	// stateMade: the program that made the node says that nobody can have used it. Nodes that are all made are founded at once.
	stateMade markState = marks.Made
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

	data  string // random; lasts as long as what the node keeps in files
	since stamp  // when data began
	files bool   // every connection since then found that the server keeps an append-only file

	id     string // which node of the set it is: its name in the record; "" without one
	record record
	// final: the record counts. Until all nodes that can be reached have it, it is a proposal.
	final bool
}

// record is what the marks of a set say of it. A process whose list has another size or quorum is refused by every node that
// carries it, and a vote counts only under the record that a quorum of the nodes carries: else processes with lists that
// differ could each have a quorum of their own list.
type record struct {
	set    string // of no other set
	quorum int
	names  string // what the founder called the nodes, escaped, in order, with commas between
}

// newRecord is the record of a set of nodes that have these names and memories.
func newRecord(names, memories []string, quorum int) record {
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(memories)), ",")))
	return record{set: hex.EncodeToString(sum[:10]), quorum: quorum, names: strings.Join(slices.Sorted(slices.Values(names)), ",")}
}

func (r record) members() []string { return strings.Split(r.names, ",") }

// fits reports whether a list of so many nodes with this quorum may be a list of the set.
func (r record) fits(nodes, quorum int) bool { return len(r.members()) == nodes && r.quorum == quorum }

// like reports whether both were made from one list.
func (r record) like(other record) bool { return r.names == other.names && r.quorum == other.quorum }

func (r record) String() string {
	names := r.members()
	for i, name := range names {
		names[i] = unescaped(name)
	}
	return listing(names, r.quorum)
}

// unescaped is a name of a record for a person.
func unescaped(name string) string {
	if plain, err := url.QueryUnescape(name); err == nil {
		return plain
	}
	return name
}

// listing describes a set of nodes to a person.
func listing(names []string, quorum int) string {
	return fmt.Sprintf("%d nodes with a quorum of %d (%s)", len(names), quorum, strings.Join(names, ", "))
}

// stamp is one moment by two clocks, in milliseconds.
type stamp struct{ client, node int64 }

// age is how long ago s was, by the clock that says less. It is 0 where a clock was set back since, and 0 where a stamp or
// a clock is missing or absurd.
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

func (m mark) String() string {
	digit := map[bool]int{true: 1}
	return fmt.Sprintf("%s mem=%s state=%s run=%s repl=%s sync=%d at=%d tn=%d data=%s dat=%d dtn=%d aof=%d id=%s set=%s q=%d of=%s final=%d", marks.Format,
		m.memory, m.state, m.run, m.repl, digit[m.synced], m.begun.client, m.begun.node, m.data, m.since.client, m.since.node, digit[m.files],
		m.id, m.record.set, m.record.quorum, m.record.names, digit[m.final])
}

// parseMark reads a mark. ok is false for a text of another format; those of earlier versions begin with "met" and "founded".
// Words that are not known are skipped, so that later versions can add some.
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

// server is what a server says of itself on a connection, as far as marks are concerned.
type server struct {
	run, repl string
	promoted  bool // it was a replica since it started
	files     bool // it keeps an append-only file, and none stands in for it
	syncs     bool // it syncs every write to that
	uptime    time.Duration
	now       stamp
}

// witness is what a process has seen of one node.
type witness struct {
	name   string          // what it calls the node, escaped
	record record          // of the set, once it is known
	whole  bool            // that set was founded of nodes on which nothing was ever granted
	id     string          // which node of that set it was
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

// knows takes in that this record is in force on nodes with these marks, of which this one is that at i.
func (w *witness) knows(r record, all []mark, i int) {
	if w.record != r {
		w.record, w.id, w.whole = r, "", false
	}
	for _, m := range all {
		w.whole = w.whole || m.record == r && m.state == stateRipe
	}
	m := all[i]
	if m.carries(r) {
		w.id = m.id
	}
}

// place is which node of a set this is: what the process saw last, or else the node of this name. That all other places are
// taken shows nothing: one of those nodes may be a copy. It is "" where the process can not tell.
func (w *witness) place(r record) string {
	switch {
	case r == (record{}):
		return ""
	case w.record == r && w.id != "":
		return w.id
	case slices.Contains(r.members(), w.name):
		return w.name
	}
	return ""
}

// placed gives m its place in the set whose record is in force, if this process knows the place. A node that was founded with
// the same list before gets a new memory: it may vote for the earlier founding elsewhere.
func (w *witness) placed(m mark, now stamp, random func() string) mark {
	id := w.place(w.record)
	founded := m.unused() && m.record == w.record && w.whole // and its founder was about to say so
	switch {
	case id == "" || m.carries(w.record):
		return m
	case !m.final:
	case m.record.like(w.record):
		m.memory, m.state, m.begun = random(), stateSeen, now
	default:
		return m
	}
	m.id, m.record, m.final = id, w.record, true
	if m.state = stateSeen; founded {
		m.state = stateRipe
	}
	return m
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
		return w.placed(w.marked(text, s, random), s.now, random)
	case m.keeps(s) && !w.past[m.memory]:
		if s.files && !m.files { // from now on they hold all that it has remembered since it started
			m.data, m.since = random(), m.begun
		}
		m.files = s.files
		if m.synced = m.synced && s.syncs; m.unused() {
			m.repl, m.synced = cmp.Or(m.repl, s.repl), s.syncs
		}
		if m.unused() && w.memory != "" && w.memory != m.memory { // somebody who did not know the node was here first
			m.state = stateSeen
		}
		return w.placed(m, s.now, random)
	case w.excuses(m, s, t):
		m.run, m.repl = s.run, s.repl
		return m
	}
	next := mark{memory: random(), state: stateSeen, run: s.run, repl: s.repl, synced: s.syncs, begun: s.now, data: m.data, since: m.since, files: s.files}
	if !m.files || !s.files {
		next.data, next.since = random(), s.now
	}
	if next.id = w.place(m.record); next.id != "" {
		next.record, next.final = m.record, m.final
	}
	return w.placed(next, s.now, random)
}

// unused reports whether nothing was ever granted in this memory, as far as its mark says.
func (m mark) unused() bool {
	return !m.final && (m.state == stateNew || m.state == stateMade)
}

// marked is the first mark of this format. Whatever an earlier version left shows that the set is not new; that version let a
// node vote by its uptime, and so its memory is as old as the run that it named.
func (w *witness) marked(text string, s server, random func() string) mark {
	m := mark{memory: random(), state: stateNew, run: s.run, repl: s.repl, synced: s.syncs, begun: s.now, data: random(), since: s.now, files: s.files}
	if text != "" || w.memory != "" {
		m.state = stateSeen
	}
	if s.run != "" && w.memory == "" && slices.Contains(strings.Fields(text), s.run) {
		m.begun = s.now.before(s.uptime)
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
// survived the restart, was ripe before it, is of the run that this process saw last, and of this node, not of one that the
// server has copied.
func (w *witness) excuses(m mark, s server, t trust) bool {
	return s.syncs && m.synced && !s.promoted && !w.past[m.memory] && (w.run == "" || w.run == m.run) && m.ripe(s.now, t) &&
		w.place(m.record) == m.id
}

// inForce is the record that a quorum of the nodes with these marks carries, each in a place of its own.
func inForce(all []mark, quorum int) (r record, ok bool) {
	for _, m := range all {
		places := map[string]bool{}
		for _, other := range all {
			if other.carries(m.record) {
				places[other.id] = true
			}
		}
		if len(places) >= quorum && m.record.fits(len(all), quorum) {
			return m.record, true
		}
	}
	return record{}, false
}

// carries reports whether the record counts on the node with this mark.
func (m mark) carries(r record) bool { return m.final && m.record == r }

// belongs reports whether the node with the mark at i is one of the set with this record. Two nodes in one place are one server
// that restarted in between, or one is a copy of the other, and nobody can tell which.
func belongs(all []mark, i int, r record) bool {
	for j, other := range all {
		if j != i && other.carries(r) && other.id == all[i].id {
			return false
		}
	}
	return all[i].carries(r)
}

// foundation is how nodes, of which no record is in force, become a set.
type foundation struct {
	next []mark // of each node; the zero mark is for nodes that stay as they are

	// A set that is whole is founded when the grace is over, or at once if its nodes are made; one that lacks a node when
	// the quarantine is over; another at once, and its nodes vote when their quarantine is over.
	whole  bool // all nodes were met, and nothing was ever granted on them, so they vote at once
	made   bool // and who made them says that nobody knew them
	absent bool // a node was not met
}

// order is the nodes that get another mark. The order is the same for everybody: of several processes that found one set in
// different ways the one that writes the first mark goes on, and the others fail there.
func (f foundation) order() (nodes []int) {
	for i, m := range f.next {
		if m != (mark{}) {
			nodes = append(nodes, i)
		}
	}
	slices.SortFunc(nodes, func(a, b int) int { return strings.Compare(f.next[a].memory, f.next[b].memory) })
	return nodes
}

// found is how the nodes with these marks become a set: first each gets the record as a proposal, then all that were met as
// final. So of lists that overlap one alone is founded, and a founding that was broken off is gone on with. marks are zero of
// nodes that were not met. It returns a *strangersError where nodes carry records of sets that these nodes can not be.
func found(all []mark, names []string, quorum int) (foundation, error) {
	f := foundation{next: make([]mark, len(all)), whole: true, made: true}
	r, ok := recordAmong(all)
	if fresh := newRecord(names, memoriesOf(all), quorum); !ok {
		r = fresh
	} else {
		f.whole = r.set == fresh.set
	}
	able, met, taken, proposed := 0, 0, map[string]bool{}, true
	for _, m := range all {
		if m.memory != "" {
			met++
		}
		f.absent = f.absent || m.memory == ""
		f.whole = f.whole && (m.unused() || m.state == stateRipe && m.record == r)
		f.made = f.made && m.state != stateNew
		if m.record == r {
			taken[m.id] = true
		} else if m.memory != "" && !m.final {
			proposed = false
		}
		if m.record == r || m.memory == "" {
			able++
		}
	}
	f.whole = f.whole && !f.absent
	for i, m := range all {
		switch {
		case m.memory == "" || m.final:
			continue
		case proposed:
			m.final = true
			if m.state = stateSeen; f.whole {
				m.state = stateRipe
			}
		case m.record == r || taken[names[i]] || !slices.Contains(r.members(), names[i]):
			continue
		default:
			able++
			if m.id, m.record = names[i], r; !f.whole {
				m.state = stateSeen
			}
		}
		f.next[i] = m
	}
	if able < quorum {
		return foundation{}, &strangersError{r}
	}
	if met < quorum { // those that were not met may be a set
		clear(f.next)
	}
	return f, nil
}

func memoriesOf(all []mark) (memories []string) {
	for _, m := range all {
		memories = append(memories, m.memory)
	}
	return memories
}

// recordAmong is the record that a set without one in force is to have, if its nodes carry some: a final one, or else the
// first of those that were proposed, in an order that is the same for everybody.
func recordAmong(all []mark) (r record, ok bool) {
	final := false
	for _, m := range all {
		switch {
		case m.record == (record{}) || final && !m.final:
		case !ok || m.final && !final || m.record.set < r.set:
			r, ok, final = m.record, true, m.final
		}
	}
	return r, ok
}
