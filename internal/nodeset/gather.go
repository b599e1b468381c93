package nodeset

// Gather calls send, which must not wait for a reply. The commands that send
// adds go to each idle node in one batch after send has returned. Other
// commands wait for at most one call of Gather, however many calls follow each
// other.
func (c *Set) Gather(send func()) {
	held := make([]*stream, 0, len(c.nodes))
	for _, n := range c.nodes {
		if s := n.streams[urgent]; s.hold() {
			held = append(held, s)
		}
	}
	defer func() {
		for _, s := range held {
			s.unhold()
		}
	}()
	send()
}

// hold keeps what is sent from now on until unhold, and reports whether it does.
func (s *stream) hold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held || len(s.calls) > 0 {
		return false
	}
	s.held = true
	return true
}

func (s *stream) unhold() {
	s.mu.Lock()
	s.held = false
	s.mu.Unlock()
	s.notify()
}
