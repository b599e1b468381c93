package nodeset

import (
	"slices"
	"time"
)

// bornTogether is how far apart the first marks of nodes may be that were
// bootstrapped together.
const bornTogether = 2 * time.Second

// Remembers reports whether the node is authoritative about records: whether it
// has every record that was written to it, is kept for at most retention, and
// was not lost by a majority, unless the record was deleted.
//
// A node with an append-only file is, unless one of its servers may replace
// another that replicated to it asynchronously. So is a node that has run for
// longer than retention. A node that a resize has added is as old as its
// membership, whatever else it has kept. Of the others the older ones are, and
// those that were bootstrapped together with them and have lost nothing since: if
// fewer than a majority of N nodes have lost a record, then N/2+1 (one fewer if N
// is even) have run since before it was written, so at least that many of the
// oldest have not lost it.
func (n *Node) Remembers(retention time.Duration) bool {
	f, born := n.age()
	if f.runID == "" && !n.Added() { // a node that does not tell its uptime is taken to remember
		return true
	}
	if time.Since(born) > retention+bornTogether {
		return true
	}
	all := n.c.nodes
	births := make([]time.Time, len(all))
	for i, other := range all {
		_, births[i] = other.age() // one that was never met may be the oldest: that lets the fewest vote
	}
	slices.SortFunc(births, time.Time.Compare)
	elders := len(all) - Quorum(len(all)) + 1
	together := time.Duration(0)
	if n.bootstrapped(f) && !n.Added() {
		together = bornTogether
	}
	return !born.After(births[elders-1].Add(together))
}

// bootstrapped reports whether the node has what it was bootstrapped with, as far
// as its mark shows: the memory, or files that are older than the memory. One that
// has not came after the others, however soon.
func (n *Node) bootstrapped(f facts) bool {
	e := n.evidence.Load()
	keptFiles := f.aof && !n.canFailOver
	return e != nil && (e.mark.state == stateRipe || keptFiles && e.mark.since != e.mark.begun)
}

// Added reports whether a resize has added the node to its set.
func (n *Node) Added() bool {
	e := n.evidence.Load()
	return e != nil && e.mark.added != (stamp{})
}

func (n *Node) age() (facts, time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.facts, n.born
}
