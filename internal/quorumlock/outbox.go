package quorumlock

import (
	"github.com/venta-hq/redlock/internal/nodeset"
)

// Outbox gathers rounds of extension of many holds, so that each node gets all of them in few writes. The zero Outbox is
// empty. It is used by one goroutine.
type Outbox struct {
	nodes []*nodeset.Node
	mail  [][]letter // by node
}

type letter struct {
	cmd nodeset.Command
	to  *extension
}

func (o *Outbox) add(n *nodeset.Node, l letter) {
	i := n.Index()
	for len(o.nodes) <= i {
		o.nodes, o.mail = append(o.nodes, nil), append(o.mail, nil)
	}
	o.nodes[i], o.mail[i] = n, append(o.mail[i], l)
}

// Send sends what was gathered, one node after the other, and empties the Outbox.
func (o *Outbox) Send() {
	for i, n := range o.nodes {
		for _, l := range o.mail[i] {
			n.Send(l.cmd, l.to)
		}
		clear(o.mail[i])
		o.mail[i] = o.mail[i][:0]
	}
}
