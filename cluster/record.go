package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// record is what the marks of a set say of it. A process whose list has another size or quorum is refused by every node that
// carries it, and a vote counts only under the record that a quorum of the nodes carries: else processes with lists that
// differ could each have a quorum of their own list.
type record struct {
	set    string // of no other set
	quorum int
	names  string // what the process that bootstrapped it called the nodes, escaped, in order, with commas between
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
