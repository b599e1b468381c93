package nodeset

import "strconv"

// MemoryID identifies how long the node keeps its records. It is a word of its
// mark while the node has an append-only file, otherwise the run_id of its
// server, and "" if the node does not report that. A node that a resize has added
// has another one than before: it may have been removed from the set, and have
// missed what was written and deleted until it was added again. A server that
// restarts as another run has lost everything, or what came after its last
// snapshot. So has a server that replaced another one (Sentinel), whatever files
// it has. A reply never arrives before its run is known here.
func (n *Node) MemoryID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, e := n.facts, n.evidence.Load()
	switch {
	case f.runID == "" && e != nil:
		return times(e.mark)
	case f.runID == "":
		return ""
	case f.aof && !n.canFailOver:
		if e == nil {
			return ""
		}
		return e.mark.data + times(e.mark)
	case e == nil:
		return f.runID
	default:
		return f.runID + times(e.mark)
	}
}

// times tells apart the times that a node was added; "" if it never was.
func times(m mark) string {
	if m.added == (stamp{}) {
		return ""
	}
	return strconv.FormatInt(m.added.client, 36)
}
