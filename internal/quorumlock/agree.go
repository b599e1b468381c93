package quorumlock

// How the clients of one key agree on fencing tokens without talking to each other.
//
// Each node counts on its own: granting the key raises the node's fence counter and reports the new value. An
// acquisition takes the grants that make up its first quorum, and no later ones, and calls the largest fence among
// them m. If a quorum reported exactly m, the token is m. Otherwise it bumps the counters of the granted nodes that
// reported less to m; once the nodes that reported m and the nodes that were bumped make a quorum, the token is m.
//
// Later is larger. When an acquisition settles on m, the counters of a quorum are at m or above, and counters never
// fall. An acquisition that starts afterwards is granted by a quorum too. The two quorums share a node, and that node
// reports more than m.
//
// No token is issued twice. Suppose two acquisitions settle on the same m. Their
// quorums share a node, which granted the key first to one, A, and later to the
// other, B. B settled on m, so the node reported m or less to B. If the node
// reported m to A, then it reported more to B: it cannot have. So it reported less
// to A, and A bumped it. A bump that came before B's grant makes B's grant report
// more than m. A bump that came after it found another owner, and was refused:
// without the owner check, A would count a node that had already issued m. If A
// owns the node again, by a request that was delivered twice, then the counter has
// moved, and the bump is refused for that reason. Exclusion plays no part in this:
// keys may expire at any moment, on any node, and tokens stay unique and in order.
//
// An acquisition of a block draws several numbers from each counter, and owns those
// up to m. A bump is accepted only where the counter is what the node reported to
// this attempt, or below the whole block: in between, the node has granted some of
// the block to another. The counter must exist, and must not be below what was
// reported: a counter that was lost may have granted anything.

// A verdict is what an acquisition knows about its token so far.
type verdict int

const (
	undecided  verdict = iota // bumps that have not been answered can still settle it
	settled                   // a quorum stands behind m: the token is m
	impossible                // no answer can help any more: release everywhere
)

// leading returns the largest fence among those the granted nodes reported, and how many nodes reported exactly it.
// Without a fence there is nothing to lead: 0, 0.
func leading(fences []int64) (m int64, n int) {
	for _, f := range fences {
		switch {
		case n == 0 || f > m:
			m, n = f, 1
		case f == m:
			n++
		}
	}
	return m, n
}

// judge classifies an acquisition: exact nodes reported m, owned were bumped to m,
// and pending have not answered their bump. A bump that failed or was refused is in
// none of the numbers.
func judge(quorum, exact, owned, pending int) verdict {
	switch {
	case exact+owned >= quorum:
		return settled
	case exact+owned+pending < quorum:
		return impossible
	default:
		return undecided
	}
}
