package nodeset

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/telemetry"
)

// Node is one independent Redis. All methods may be called concurrently.
type Node struct {
	c                   *Set
	index               int
	name                string
	isCluster           bool
	canFailOver         bool   // see target
	protocol            int    // of RESP; 0: not known
	clientName          string // of its connections
	client              redis.UniversalClient
	streams             [2]*stream
	large               chan struct{} // holds a value for each command of RunOutOfBand under way
	outOfBandUnanswered atomic.Int64  // commands of RunOutOfBand that are not answered
	doubts              doubts
	tel                 *telemetry.Node

	down          atomic.Pointer[downtime]
	incarnation   atomic.Pointer[Incarnation]
	fenceFloor    atomic.Int64 // see FenceFloor
	evidence      atomic.Pointer[evidence]
	member        atomic.Bool // it belongs to the set, by its mark
	fence         atomic.Pointer[fenceReport]
	counts        atomic.Bool // what is handed to receivers now was executed by a server that votes
	reconsidering atomic.Bool
	unsettled     atomic.Bool  // of a Redis Cluster: a server is new that the mark does not name yet
	shared        atomic.Int64 // c.since time when a server answered again that another had replaced
	subscribed    atomic.Bool  // the mailbox is open here
	turns         atomic.Int64 // how many servers were another's successors behind the name
	transacts     atomic.Bool  // see Transacts
	untransacted  atomic.Bool  // see TransactionRefused
	met           atomic.Bool  // of a Redis Cluster: every server behind it was met

	mu      sync.Mutex
	facts   facts
	runIDs  map[string]bool
	earlier []string      // runs that it had before
	offset  time.Duration // its clock minus ours, when it was last connected to
	skewed  bool          // it was said that its clock is off
	witness witness
	watched time.Time // since when the memory of its evidence is known
	born    time.Time // when its memory of records began, by our clock; zero: not known
	pending []pending

	refused refusals

	pace   *backoff.ExponentialBackOff
	lastUp time.Time
	missed time.Time // when a command beside the streams was last not answered in time
}

// Index is the node's place in Set.Nodes, from 0.
func (n *Node) Index() int { return n.index }

// Name is the node's name, stable over restarts, without credentials.
func (n *Node) Name() string { return n.name }

// Sharded reports whether the node is a Redis Cluster: several servers that share the keys among them.
func (n *Node) Sharded() bool { return n.isCluster }

// Votes reports whether a grant of this node counts now. A node that may have
// lost grants does not vote until a quarantine is over (see [Config.MaxTTL]),
// but is still asked.
func (n *Node) Votes() bool { return n.votes(time.Now()) }

// Counts reports whether the answer that a Receiver is being given counts as the node's vote: the server that gave it proved,
// behind the command and on the same connection, that it is the one behind the node and remembers every grant that matters.
// It is asked within Receive, of commands that were sent by Run or Send.
func (n *Node) Counts() bool { return n.counts.Load() }

// Listening reports whether this process's mailbox is open on the node, so that a message sent there would arrive.
func (n *Node) Listening() bool { return n.subscribed.Load() && n.down.Load() == nil }

// A Receiver gets what one node answered. Receive is called exactly once for each Run, on a goroutine that serves a
// whole stream of the node (it must not block), or before Run returns when the command could not be sent.
// reply is the script's reply as go-redis decodes it; err is nil, the server's own error (a redis.Error), or trouble on
// the way; see Unsent.
type Receiver interface {
	Receive(n *Node, reply any, err error)
}

// Run sends s behind everything that was sent to this node before; nodes
// execute in that order (of Yielding scripts apart from others). keys must not
// be changed afterwards. A nil r drops the answer. A node that lacks the script
// is sent its source after the commands that were sent in the meantime, so a
// caller that depends on the order of two commands must wait for the answer to
// the first.
func (n *Node) Run(s *Script, keys []string, args []any, r Receiver) {
	n.Send(s.Command(keys, args...), r)
}

// Send is Run for a command that was made before.
func (n *Node) Send(cmd Command, r Receiver) {
	if d := n.down.Load(); d != nil {
		deliver(r, n, nil, n.refusal(d))
		return
	}
	n.send(call{Command: cmd, receiver: r})
}

// refusal is the answer to what is not sent because the node is down.
func (n *Node) refusal(d *downtime) error {
	if n.c.dead.Load() {
		return ErrClosed
	}
	return &downError{d.error()}
}

func deliver(r Receiver, n *Node, reply any, err error) {
	if r != nil {
		r.Receive(n, reply, err)
	}
}
