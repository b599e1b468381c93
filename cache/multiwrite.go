package cache

import (
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// multiWrite is commands on their way to several nodes, which have to take
// effect sooner or later: what a node did not confirm is pending for it as a
// deletion.
type multiWrite struct {
	op, key string
	done    chan struct{} // closed when all have answered

	mu     sync.Mutex
	open   int
	left   bool           // nobody waits any more
	missed map[*node]bool // that did not confirm everything
	failed []cluster.NodeError
}

// newMultiWrite counts itself until it is closed, so that it is not done before
// its last command is sent.
func newMultiWrite(op, key string) *multiWrite {
	return &multiWrite{op: op, key: key, done: make(chan struct{}), open: 1, missed: map[*node]bool{}}
}

// abandon marks that nobody waits any more. A value that is stored later is
// deleted again, because its caller saw an error, and may have deleted the key
// since.
func (p *multiWrite) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
}

// took reports, once p is done, whether n confirmed everything that was sent to
// it.
func (p *multiWrite) took(n *node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.missed[n]
}

// nodeWrite is one of its commands.
type nodeWrite struct {
	p       *multiWrite
	n       *node
	pending command // what to send when it was not confirmed
	until   time.Time
	undo    bool   // what is pending undoes it, also if nobody waits any more
	then    func() // called at last, if it is not nil
}

// drop has n delete. The deletion is pending for it until then.
func (p *multiWrite) drop(n *node, cmd command, until time.Time) { p.dropThen(n, cmd, until, nil) }

// dropThen is drop, and calls then when n has answered.
func (p *multiWrite) dropThen(n *node, cmd command, until time.Time, then func()) {
	p.send(cmd, nodeWrite{p: p, n: n, pending: cmd, until: until, then: then})
}

// store has n store. An unconfirmed store may still happen, so the deletion is
// pending for n however late.
func (p *multiWrite) store(n *node, cmd, undo command) {
	p.send(cmd, nodeWrite{p: p, n: n, pending: undo, undo: true})
}

func (p *multiWrite) send(cmd command, r nodeWrite) {
	p.mu.Lock()
	p.open++
	p.mu.Unlock()
	if cmd.size < big {
		r.n.Run(cmd.script, cmd.keys, cmd.args, r)
	} else {
		r.n.RunOutOfBand(cmd.script, cmd.keys, cmd.args, r)
	}
}

// Receive implements nodeset.Receiver. Every script of a multiWrite confirms
// with 1.
func (r nodeWrite) Receive(_ *nodeset.Node, reply any, err error) {
	if err == nil && reply != any(int64(1)) {
		err = unexpected(reply)
	}
	p := r.p
	p.mu.Lock()
	pending := err != nil || p.left && r.undo
	if err != nil {
		p.missed[r.n] = true
		p.failed = append(p.failed, cluster.NodeError{Node: r.n.Name(), Err: err})
	}
	p.mu.Unlock()
	if pending {
		r.n.SendLater(r.pending.script.Command(r.pending.keys, r.pending.args...), r.until)
	}
	if r.then != nil {
		r.then()
	}
	p.close()
}

// close counts one that has answered.
func (p *multiWrite) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open--; p.open == 0 {
		close(p.done)
	}
}
