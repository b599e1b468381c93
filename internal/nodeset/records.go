package nodeset

import (
	"slices"
	"time"
)

// bornTogether is the difference in uptime up to which nodes count as started together; uptimes are whole seconds.
const bornTogether = 2 * time.Second

// Remembers reports whether the node has a say about records: whether it must have, or have seen deleted, every record
// that was written to it, was kept for at most retention, and has not been forgotten by a majority.
//
// A node that keeps an append-only file does, unless a server of it may stand in for another, which told it what it pleased;
// and so does one that has run for longer than retention. Of the others it is the older ones: if fewer than a majority of N nodes
// have forgotten a record, then N/2+1 (one fewer if N is even) have run since before it was written, so the oldest that many, at
// least, have forgotten nothing of the kind.
func (n *Node) Remembers(retention time.Duration) bool {
	f, born := n.age()
	if f.runID == "" { // a node that does not tell its uptime is taken to remember
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
	return !born.After(births[elders-1].Add(bornTogether))
}

func (n *Node) age() (facts, time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.facts, n.born
}
