package nodeset

// Gather calls send, which must not wait for a reply. What is sent meanwhile goes in
// one batch to each node to which nothing waits to be sent, when send has returned.
// A command of others waits for one call of Gather at the most, however many follow
// one another.
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
