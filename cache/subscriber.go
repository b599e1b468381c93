package cache

import (
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// subscriber receives the nodes' messages for a Cache.
type subscriber[V any] struct{ s *Cache[V] }

// Message notifies callers that wait for a load, or drops an entry that was
// stored or deleted. An empty text on the channel of drops means that a tag was
// deleted.
func (e subscriber[V]) Message(_ *nodeset.Node, channel, text string) {
	s := e.s
	switch {
	case channel == s.drops() && text == "":
		s.near.dropTagged()
	case channel == s.drops():
		s.near.drop(unbraced(s.cfg.Prefix, "v", text))
	default:
		s.notifications.notify(text)
	}
}

// Gap drops the node's entries from memory, and keeps none until messages
// arrive again: entries that it returns while the subscription is broken may be
// deleted without a message.
func (e subscriber[V]) Gap(n *nodeset.Node) {
	e.s.notifications.notifyAll() // the loads that they wait for may have ended
	if m := e.s.near; m != nil {
		m.nodes[n.Index()].heard.Store(0)
		m.nodes[n.Index()].gaps.Add(1)
	}
}

func (e subscriber[V]) Heard(n *nodeset.Node, upTo time.Time) {
	if m := e.s.near; m != nil {
		m.nodes[n.Index()].heard.Store(int64(upTo.Sub(m.born)))
	}
}
