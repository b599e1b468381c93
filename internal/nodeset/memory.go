package nodeset

// MemoryID identifies how long the node keeps its records. It is a word of its mark
// while the node has an append-only file, otherwise the run_id of its server, and ""
// if the node does not report it. A server that restarts as another run has
// lost everything, or what came after its last snapshot. So has a server that
// replaced another one (Sentinel), whatever files it has. A reply never arrives
// before its run is known here.
func (n *Node) MemoryID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch f := n.facts; {
	case f.runID == "":
		return ""
	case f.aof && !n.canFailOver:
		if e := n.evidence.Load(); e != nil {
			return e.mark.data
		}
		return ""
	default:
		return f.runID
	}
}
