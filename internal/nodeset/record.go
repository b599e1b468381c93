package nodeset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// record is the description of a set in the marks of its nodes. A process whose
// list has another size or quorum is refused by every node that carries it, and
// a vote counts only under the record that a quorum of the nodes carries:
// otherwise processes with different lists could each have a quorum of their
// own list.
type record struct {
	set    string // of no other set; it stays the same when the set is resized
	epoch  int    // how often it was resized
	quorum int
	names  string // what the process that bootstrapped it called the nodes, escaped, in order, with commas between
}

// newRecord is the record of a set of nodes that have these names and memories.
func newRecord(names, memories []string, quorum int) record {
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(memories)), ",")))
	return record{set: hex.EncodeToString(sum[:10]), quorum: quorum, names: strings.Join(slices.Sorted(slices.Values(names)), ",")}
}

func (r record) members() []string { return strings.Split(r.names, ",") }

// has reports whether the set has the place id.
func (r record) has(id string) bool { return slices.Contains(r.members(), id) }

// fits reports whether a list of so many nodes with this quorum may be a list
// of the set.
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

// inForce is the record that is carried by a quorum of the nodes with these
// marks, each in a place of its own.
func inForce(all []mark, quorum int) (r record, ok bool) {
	for _, m := range all {
		for _, candidate := range []record{m.record, m.was} {
			places := map[string]bool{}
			for _, other := range all {
				if other.carries(candidate) {
					places[other.id] = true
				}
			}
			if len(places) >= quorum && candidate.fits(len(all), quorum) && (!ok || candidate.epoch > r.epoch) {
				r, ok = candidate, true
			}
		}
	}
	return r, ok
}

// carries reports whether the record counts on the node with this mark, and has
// the node. Between two sizes of a set both count: of steps of one, a quorum of
// the one and a quorum of the other share a node.
func (m mark) carries(r record) bool {
	return m.final && r != (record{}) && (m.record == r || m.was == r) && r.has(m.id)
}

// fits reports whether the node may be one of a list of so many nodes with this
// quorum.
func (m mark) fits(nodes, quorum int) bool {
	return m.record.fits(nodes, quorum) || m.was != (record{}) && m.was.fits(nodes, quorum)
}

// removed reports whether no size of the set that counts has the node any more.
func (m mark) removed() bool {
	return !m.record.has(m.id) && (m.was == (record{}) || !m.was.has(m.id))
}

// step is how far the size of a set has come on a node.
type step struct {
	record record
	was    record // counts as well; zero: no more
}

func (m mark) step() step { return step{m.record, m.was} }

// raised is m brought to a step of its set, at now.
func (m mark) raised(s step, now stamp) mark {
	if s.was == (record{}) {
		before := m.record
		if m.was != (record{}) {
			before = m.was
		}
		if m.added != (stamp{}) && !before.has(m.id) {
			m.listed = now
		}
		if len(s.record.members()) < len(before.members()) {
			m.shrunk = now
		}
	}
	m.record, m.was, m.to = s.record, s.was, record{}
	return m
}

// joined is since when every program that counts has written to a node that was
// added; while the list without it counts as well, since it was added. It is
// zero for a node that was not.
func (m mark) joined() stamp {
	if m.listed != (stamp{}) {
		return m.listed
	}
	return m.added
}

// above reports whether s came after o, of the same set.
func (s step) above(o step) bool {
	switch {
	case s.record.set != o.record.set:
		return false
	case s.record.epoch != o.record.epoch:
		return s.record.epoch > o.record.epoch
	}
	return s.was == (record{}) && o.was != (record{})
}

// belongs reports whether the node with the mark at i is one of the set with
// this record. Two nodes in one place are one server that restarted in between,
// or one is a copy of the other, and nobody can tell which.
func belongs(all []mark, i int, r record) bool {
	for j, other := range all {
		if j != i && other.carries(r) && other.id == all[i].id {
			return false
		}
	}
	return all[i].carries(r)
}

// differences are the places that both sizes have, and those that one alone
// has.
func differences(old, to record) (common, added, removed []string) {
	for _, id := range old.members() {
		if to.has(id) {
			common = append(common, id)
		} else {
			removed = append(removed, id)
		}
	}
	for _, id := range to.members() {
		if !old.has(id) {
			added = append(added, id)
		}
	}
	return common, added, removed
}
