package nodeset

import (
	"slices"
	"sync"
	"time"
)

// Channel is the name of the pub/sub channel on which nodes send messages to the process with this id.
func Channel(process string) string { return "redlock:wake:" + process }

// SharedChannel follows the name of a process's channel in that of a second one, for
// its readers of locks: the nodes' queues have those as a process of their own.
const SharedChannel = "/shared"

// A Listener gets the messages that nodes send to this process. Its methods are called on a goroutine that serves the
// node's whole mailbox; they must not block.
type Listener interface {
	// Message reports whether text, which came from n, concerned this listener.
	Message(n *Node, text string) (claimed bool)
	// Unclaimed gets a message that concerned no listener. One listener gets it.
	Unclaimed(n *Node, text string)
	// Gap says that messages of n may have been lost: the subscription on it was
	// interrupted, or is later than those that Listen waited for.
	Gap(n *Node)
}

// mailbox is this process's one subscription on each node, from Open on.
type mailbox struct {
	mu        sync.Mutex
	listeners []Listener     // in the order in which they came; never changed, but replaced
	opened    chan struct{}  // closed when every node that can be reached is subscribed
	waiting   map[*Node]bool // of which opened still waits
}

// Listen adds l to the listeners. The returned channel is closed when the
// subscription is active on every node that is not down and could be reached
// within twice NodeTimeout, or when the cluster is closed; [Node.Listening]
// reports whether it is active on a node.
func (c *Set) Listen(l Listener) (opened <-chan struct{}) {
	m := &c.mail
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.listeners, l) {
		m.listeners = append(slices.Clone(m.listeners), l)
	}
	return m.opened
}

// openMailbox has the nodes send what they have for this process, and keep a connection on which it shows at once that one of
// them has restarted: a process that knew the set keeps it from being taken for a new one.
func (c *Set) openMailbox() {
	m := &c.mail
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened, m.waiting = make(chan struct{}), map[*Node]bool{}
	for _, n := range c.nodes {
		if n.down.Load() == nil {
			m.waiting[n] = true
		}
	}
	running := c.spawn(func() {
		c.pause(2 * c.cfg.NodeTimeout)
		m.open()
	})
	for _, n := range c.nodes {
		running = c.spawn(n.listen) && running
	}
	if !running || len(m.waiting) == 0 { // closing, or all are down: nothing to wait for
		m.openLocked()
	}
}

func (m *mailbox) openLocked() {
	select {
	case <-m.opened:
	default:
		close(m.opened)
	}
}

// mailEvery is how often a node is asked whether it still sends messages: a connection that broke unnoticed delivers
// nothing and fails nothing. A process that knows what its nodes held has to notice within the grace of a new set.
const mailEvery = 500 * time.Millisecond

// mailMost is how many events of a node a mailbox takes in within hearPeriod.
const mailMost = 2000

// listen serves the mailbox on one node until the cluster closes.
func (n *Node) listen() {
	h := hearing{every: mailEvery, most: mailMost, stands: &n.subscribed}
	n.subscribe(n.c.ctx, &slot{mail: &n.c.mail}, h, []string{Channel(n.c.process), Channel(n.c.process + SharedChannel)})
}

// slot takes in what one node sends to the mailbox.
type slot struct {
	mail   *mailbox
	open   bool      // the node has been subscribed to once
	looked time.Time // when it was last seen to whether the name of the node still leads to it
}

func (s *slot) Message(n *Node, _, text string) { s.mail.dispatch(n, text) }

// Heard looks from time to time whether the node's name leads to another server now, which nothing else shows to a process that
// asks the node for nothing.
func (s *slot) Heard(n *Node, upTo time.Time) {
	if s.looked.IsZero() { // it was connected to just now
		s.looked = upTo
	}
	if upTo.Sub(s.looked) > n.c.cfg.lifetime() {
		s.looked = upTo
		n.c.spawn(func() { n.look(n.c.ctx) })
	}
}

func (s *slot) Gap(n *Node) {
	late := s.open || s.mail.arrive(n)
	s.open = true
	if late {
		s.mail.each(func(l Listener) { l.Gap(n) })
	}
}

// arrive records the first subscription on n. late means that the mailbox did
// not wait for it: listeners have assumed that the node sends nothing.
func (m *mailbox) arrive(n *Node) (late bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.opened:
		return true
	default:
	}
	if !m.waiting[n] { // it was down
		return true
	}
	delete(m.waiting, n)
	if len(m.waiting) == 0 {
		m.openLocked()
	}
	return false
}

func (m *mailbox) open() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.openLocked()
}

func (m *mailbox) each(fn func(Listener)) {
	for _, l := range m.snapshot() {
		fn(l)
	}
}

func (m *mailbox) snapshot() []Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.listeners
}

func (m *mailbox) dispatch(n *Node, text string) {
	all := m.snapshot()
	claimed := false
	for _, l := range all {
		claimed = l.Message(n, text) || claimed
	}
	if !claimed && len(all) > 0 {
		all[0].Unclaimed(n, text)
	}
}
