package nodeset

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// server is what a server says of itself on a connection, as far as marks are
// concerned.
type server struct {
	run, repl string
	promoted  bool // it was a replica since it started
	files     bool // it keeps an append-only file, and none stands in for it
	syncs     bool // it syncs every write to that
	whole     bool // it executed all of that when it started; asked of one that has restarted
	drops     bool // it did not
	uptime    time.Duration
	now       stamp
}

// witness is what a process has seen of one node.
type witness struct {
	name   string          // what it calls the node, escaped
	record record          // of the set, once it is known
	newest step            // of that set, on any node
	whole  bool            // that set was bootstrapped from nodes on which nothing was ever granted
	id     string          // which node of that set it was
	memory string          // the newest
	past   map[string]bool // memories that were the newest before
	run    string          // of the newest server that reported one
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

// knows records that this record is in force on nodes with these marks; this
// node's mark is that at i.
func (w *witness) knows(r record, all []mark, i int) {
	if w.record != r {
		if w.record.set != r.set {
			w.id, w.newest = "", step{}
		}
		w.record, w.whole = r, false
	}
	for _, m := range all {
		w.heard(m)
		w.whole = w.whole || m.record == r && m.state == stateRipe
	}
	m := all[i]
	if m.carries(r) {
		w.id = m.id
	}
}

// heard takes in a mark of any node.
func (w *witness) heard(m mark) {
	if s := m.step(); m.final && w.record != (record{}) && s.record.set == w.record.set && (w.newest == (step{}) || s.above(w.newest)) {
		w.newest = s
	}
}

// target is the step that a node should have: the newest step of the set that
// this process knows.
func (w *witness) target() step {
	if own := (step{record: w.record}); w.newest.record.epoch <= own.record.epoch && w.newest.was == (record{}) {
		return own
	}
	return w.newest
}

// place is which node of a set this is: what the process saw last, or else the
// node of this name. That all other places are taken shows nothing: one of
// those nodes may be a copy. It is "" where the process cannot tell.
func (w *witness) place(r record) string {
	switch {
	case r == (record{}):
		return ""
	case w.record.set == r.set && w.id != "":
		if r.has(w.id) {
			return w.id
		}
	case r.has(w.name):
		return w.name
	}
	return ""
}

// placeIn is its place in a set that is resized, of which it may have been a
// node before.
func (w *witness) placeIn(s step) string { return cmp.Or(w.place(s.record), w.place(s.was)) }

// placed gives m its place in the set whose record is in force, if this process
// knows the place. A node that was bootstrapped with the same list before gets
// a new memory: it may vote under the earlier record elsewhere. One that is
// behind a resize is brought up to the newest step; a proposal counts nowhere,
// and is not spread.
func (w *witness) placed(m mark, now stamp, random func() string) mark {
	target := w.target()
	id := w.placeIn(target)
	bootstrapped := m.unused() && m.record == w.record && w.whole // and the process that bootstraps it was about to say so
	switch {
	case m.final && m.record.set == target.record.set && m.record.set != "":
		if target.above(m.step()) {
			return m.raised(target, now)
		}
		return m
	case id == "":
		return m
	case !m.final:
	case m.record.like(w.record):
		m.memory, m.state, m.begun = random(), stateSeen, now
	default:
		return m
	}
	if target.record.epoch > 0 { // the resize that adds it is about to mark it, or it has lost its mark
		m.added = now
	}
	m.id, m.record, m.was, m.to, m.final = id, target.record, target.was, record{}, true
	if m.state = stateSeen; bootstrapped {
		m.state = stateRipe
	}
	return m
}

// proves reports whether m, read behind a command on a connection, shows that
// the server that executed it is the one that the process has last found behind
// the node.
func (w *witness) proves(m mark) bool { return m.run == w.run && !w.past[m.memory] }

// trust is the evidence that a memory has lasted: for how long, at least, it
// has been watched or stamped.
type trust struct {
	watched    time.Duration // by this process's own clock
	quarantine time.Duration
}

// ripe reports whether m began so long ago that nothing its node has lost can
// matter any more.
func (m mark) ripe(now stamp, t trust) bool {
	return m.state == stateRipe || t.watched >= t.quarantine || m.begun.age(now) >= t.quarantine
}

// connected is the mark that a node with mark text should have after a process
// with this knowledge has connected to server s. random makes a new word.
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
	next := mark{memory: random(), state: stateSeen, run: s.run, repl: s.repl, synced: s.syncs, begun: s.now, data: m.data, since: m.since, files: s.files,
		added: m.added, listed: m.listed, shrunk: m.shrunk}
	if !m.files || !s.files || s.drops {
		next.data, next.since = random(), s.now
	}
	if next.id = w.placeIn(m.step()); next.id != "" {
		next.record, next.was, next.final = m.record, m.was, m.final // a proposal is not repeated: its tool makes it again
	}
	return w.placed(next, s.now, random)
}

// marked is the first mark of this format. Whatever an earlier version left
// shows that the set is not new; that version let a node vote by its uptime,
// and so its memory is as old as the run that it named.
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

// keeps reports whether the server has run without interruption since it had
// this mark, and has not received another server's data since.
func (m mark) keeps(s server) bool {
	switch {
	case s.run == "": // it does not tell
		return true
	case m.run != s.run:
		return false
	}
	return m.repl == s.repl || m.repl == "" || s.repl == "" || !s.promoted
}

// excuses reports whether a restarted server has lost nothing, because it
// synced every write and executed all of its file: its mark has survived the
// restart, was ripe before it, is of the run that this process saw last, and of
// this node, not of one that the server has copied.
func (w *witness) excuses(m mark, s server, t trust) bool {
	return s.syncs && s.whole && m.synced && !s.promoted && !w.past[m.memory] && (w.run == "" || w.run == m.run) && m.ripe(s.now, t) &&
		w.placeIn(m.step()) == m.id
}
