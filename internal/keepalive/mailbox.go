package keepalive

import (
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// mailbox receives the messages that the nodes of a set send to this process. All
// Leases on the set share it, as they share its wait queues.
type mailbox struct{ c *nodeset.Set }

// onQuorum reports whether a quorum of nodes sends messages.
func (m mailbox) onQuorum() bool {
	listening := 0
	for _, n := range m.c.Nodes() {
		if n.Listening() {
			listening++
		}
	}
	return listening >= m.c.Quorum()
}

// Message implements nodeset.Listener.
func (m mailbox) Message(n *nodeset.Node, text string) (claimed bool) {
	news, ok := quorumlock.ParseMessage(text)
	switch {
	case !ok:
		return false
	case news.Turn && news.Slot > 0:
		return m.c.Queues().TurnSlot(n.Index(), news.Lock, news.Slot)
	case news.Turn: // the key is free: it is not said for whom
		whole := m.c.Queues().Turn(n.Index(), news.Lock)
		return m.c.Queues().TurnSlot(n.Index(), news.Lock, 0) || whole
	case news.Ask:
		m.c.Queues().UnlessWritten(news.Lock, func() { quorumlock.LeaveWriting(m.c, n, news.Lock) })
		return true // that is no wait: the nodes report the readers that wait with a grant
	}
	giveUpKept(m.c.Queues().NoteRemoteWait(news.Lock, time.Now()))
	return true
}

// Unclaimed implements nodeset.Listener: a turn that nobody here wants is passed
// on.
func (m mailbox) Unclaimed(n *nodeset.Node, text string) {
	news, ok := quorumlock.ParseMessage(text)
	if !ok || !news.Turn {
		return
	}
	queues := m.c.Queues()
	if news.Slot > 0 {
		queues.UnlessLimited(news.Lock, func() { quorumlock.PassOnSlot(m.c, n, news.Lock) })
		return
	}
	if !queues.UnlessContended(news.Lock, func() { quorumlock.PassOn(m.c, n, news.Lock) }) {
		queues.Retry(news.Lock) // somebody began to contend just now
	}
}

// Gap implements nodeset.Listener.
func (m mailbox) Gap(n *nodeset.Node) {
	for _, kept := range m.c.Queues().Gap(n.Index(), time.Now()) {
		giveUpKept(kept)
	}
}
