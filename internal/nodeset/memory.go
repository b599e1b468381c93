package nodeset

// MemoryID names what the node's memory of records lasts with. It is "" where the node does not tell, "aof" while it
// keeps an append-only file, and else the run_id of its server: one that comes back as another run has forgotten
// everything, or what came after its last snapshot. So has one that stands in for another (Sentinel), whatever files it
// keeps. A reply never arrives before the run that gave it is known here.
func (n *Node) MemoryID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch f := n.facts; {
	case f.runID == "":
		return ""
	case n.keepsFilesLocked(f):
		if e := n.evidence.Load(); e != nil {
			return e.mark.data
		}
		return ""
	default:
		return f.runID
	}
}
