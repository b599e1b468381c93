package nodeset

import "time"

// Incarnation is what this process knows of the server behind a node, for those who must not take what a server has
// kept from before it restarted, or from before it was out of reach, for what it knows now.
type Incarnation struct {
	// RunID names the run of the server; it changes with a restart and with a fail-over that was seen. "" where the server
	// does not tell, and for a Redis Cluster, which has several.
	RunID string
	// Offset is the server's clock minus ours, when it was last connected to.
	Offset time.Duration
	// Back is when the node was last found again after it had been down, or when a command beside its streams was last
	// not answered in time, so that nobody knows whether it was done; zero if neither ever was.
	Back time.Time
}

// Incarnation is what is known of the node's server now. No answer of a server is handed out before its incarnation is
// known.
func (n *Node) Incarnation() Incarnation {
	if l := n.incarnation.Load(); l != nil {
		return *l
	}
	return Incarnation{}
}

// noteIncarnationLocked makes known what changed of it.
func (n *Node) noteIncarnationLocked() {
	l := &Incarnation{RunID: n.facts.runID, Offset: n.offset, Back: n.lastUp}
	if n.missed.After(l.Back) {
		l.Back = n.missed
	}
	if n.isCluster {
		l.RunID = ""
	}
	n.incarnation.Store(l)
}
