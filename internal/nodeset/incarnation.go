package nodeset

import "time"

// Incarnation identifies a period in which a node's server kept its data and
// was reachable for this process. Callers that must not use older data compare
// it.
type Incarnation struct {
	// RunID is the run_id of the server; it changes with a restart, and with a
	// failover that was noticed. "" if the server does not report it, and for a
	// Redis Cluster, which has several.
	RunID string
	// Offset is the server's clock minus ours, when it was last connected to.
	Offset time.Duration
	// Back is when the node last recovered after it had been down, or when a
	// command outside its streams was last not answered in time, so that its
	// effect is unknown; zero if neither has happened.
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
