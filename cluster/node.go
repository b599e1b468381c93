package cluster

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
)

// Node is one independent Redis. All methods may be called concurrently.
type Node struct {
	c      *Cluster
	index  int
	name   string
	many   bool
	stands bool // see target
	client redis.UniversalClient
	pipe   *redis.AutoPipeliner
	inbox  inbox

	down       atomic.Pointer[downtime]
	boot       atomic.Int64 // see BootFloor
	quarantine atomic.Int64 // c.since time until which the node does not vote; 0: it votes
	restarted  atomic.Bool  // a restart was seen by this process
	subscribed atomic.Bool  // the mailbox is open here
	met        atomic.Bool  // of a Redis Cluster: every server behind it was met
	fresh      atomic.Bool  // of a Redis Cluster: every server met so far was freshly started

	mu     sync.Mutex
	facts  facts
	runIDs map[string]bool
	offset time.Duration // its clock minus ours, when it was last connected to
	born   time.Time     // when its server started, or stood in for another, by our clock; zero: not known
	debts  []debt

	youngUntil int64 // c.since time at which the oldest server that was met first is not freshly started any more
	pace       *backoff.ExponentialBackOff
	lastUp     time.Time
}

// Index is the node's place in Cluster.Nodes, from 0.
func (n *Node) Index() int { return n.index }

// Name is the node's name, stable over restarts, without credentials.
func (n *Node) Name() string { return n.name }

// Sharded reports whether the node is a Redis Cluster: several servers that share the keys among them.
func (n *Node) Sharded() bool { return n.many }

// Votes reports whether a grant of this node counts now. A node that restarted and may have forgotten grants does not
// vote for MaxTTL; it is asked all the same.
func (n *Node) Votes() bool { return n.votes(time.Now()) }

// Listening reports whether this process's mailbox is open on the node, so that a message sent there would arrive.
func (n *Node) Listening() bool { return n.subscribed.Load() && n.down.Load() == nil }

// A Receiver gets what one node answered. Receive is called exactly once for each Run, on a goroutine that serves the
// node's whole stream (it must not block), or before Run returns when the command could not be sent.
// reply is the script's reply as go-redis decodes it; err is nil, the server's own error (a redis.Error), or trouble on
// the way; see Unsent.
type Receiver interface {
	Receive(n *Node, reply any, err error)
}

// Run sends s behind everything that was sent to this node before; nodes execute in that order. A nil r drops the answer.
// A node that lacks the script is sent its source behind what was sent meanwhile, so who needs one command to be
// executed after another's must wait for that other's answer.
func (n *Node) Run(s *Script, keys []string, args []any, r Receiver) {
	if d := n.down.Load(); d != nil {
		deliver(r, n, nil, n.refusal(d))
		return
	}
	n.send(call{script: s, cmd: s.byHash(keys, args), receiver: r})
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

// send puts one command on the stream, whatever the breaker says.
func (n *Node) send(cl call) {
	if !n.c.begin() {
		deliver(cl.receiver, n, nil, ErrClosed)
		return
	}
	cl.future = n.pipe.Submit(n.c.ctx, cl.cmd)
	n.inbox.put(cl)
}

// call is one command on its way.
type call struct {
	script   *Script // nil once the source was sent
	cmd      *redis.Cmd
	future   redis.AutoFuture
	receiver Receiver
}

// collect is the node's one goroutine that takes in replies. The stream answers in order, so it waits for the oldest.
// Every wait ends by itself, because dialing, writing and reading are bounded by NodeTimeout.
func (n *Node) collect() {
	for calls := range n.inbox.all {
		for _, cl := range calls {
			n.finish(cl)
		}
	}
}

func (n *Node) finish(cl call) {
	err := cl.future.Wait()
	if cl.script != nil && err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		cl.cmd, cl.script = cl.script.bySource(cl.cmd), nil
		cl.future = n.pipe.Submit(n.c.ctx, cl.cmd)
		n.inbox.put(cl)
		return
	}
	if lost(err) {
		n.trip(err)
	}
	if errors.Is(err, redis.ErrClosed) {
		err = ErrClosed
	}
	deliver(cl.receiver, n, cl.cmd.Val(), err)
	n.c.end()
}

// lost reports whether err, of a command that was to be sent, speaks of a node that is to be asked no more for now.
func lost(err error) bool {
	return err != nil && (unable(err) || !answered(err) && !Unsent(err) && !errors.Is(err, redis.ErrClosed))
}

// inbox is an unbounded queue of calls whose replies are awaited: putting never blocks, because the collector itself
// puts. What bounds it is the stream, which refuses commands above MaxQueued.
type inbox struct {
	mu     sync.Mutex
	calls  []call
	closed bool
	bell   chan struct{}
}

func (b *inbox) put(cl call) {
	b.mu.Lock()
	b.calls = append(b.calls, cl)
	b.mu.Unlock()
	b.ring()
}

func (b *inbox) ring() {
	select {
	case b.bell <- struct{}{}:
	default:
	}
}

func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.ring()
}

// all yields what has come in, many calls at a time, until the inbox is closed and empty.
func (b *inbox) all(yield func([]call) bool) {
	var spare []call
	for {
		b.mu.Lock()
		calls, closed := b.calls, b.closed
		b.calls = spare[:0]
		b.mu.Unlock()
		switch {
		case len(calls) > 0:
			if !yield(calls) {
				return
			}
			clear(calls)
			spare = calls
		case closed:
			return
		default:
			spare = calls
			<-b.bell
		}
	}
}
