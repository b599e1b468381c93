package embedded

import "time"

// MaxTaken is how many bytes of commands a paused node takes.
const MaxTaken = maxTaken

// Waiting is how many commands node i took and has not executed.
func (s *Nodes) Waiting(i int) int {
	n := s.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc.queued()
}

// StartedAt makes node i one that has run since at.
func (s *Nodes) StartedAt(i int, at time.Time) { s.nodes[i].proc.started = at }

// Port is the port that node i keeps until it is closed.
func (s *Nodes) Port(i int) int { return s.nodes[i].port }
