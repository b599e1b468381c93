package cache

import (
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// multiWrite is commands on their way to several nodes, which have to take effect sooner or later: what a node did not
// confirm it is owed as a deletion.
type multiWrite struct {
	op, key string
	done    chan struct{} // closed when all have answered

	mu     sync.Mutex
	open   int
	left   bool           // nobody waits any more
	missed map[*node]bool // that did not confirm everything
	failed []cluster.NodeError
}

// newMultiWrite counts itself until it is closed, so that it is not done before the last command was given to it.
func newMultiWrite(op, key string) *multiWrite {
	return &multiWrite{op: op, key: key, done: make(chan struct{}), open: 1, missed: map[*node]bool{}}
}

// abandon says that nobody waits any more. A value that is stored later than that is deleted again, because who set it was
// told that it was not, and may have deleted the key since.
func (p *multiWrite) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
}

// took reports, once p is done, whether n confirmed everything that was sent to it.
func (p *multiWrite) took(n *node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.missed[n]
}

// nodeWrite is one of its commands.
type nodeWrite struct {
	p     *multiWrite
	n     *node
	owed  command // what to send when it was not confirmed
	until time.Time
	undo  bool   // what is owed undoes it, also if nobody waits any more
	then  func() // called at last, if it is not nil
}

// drop has n delete. It is owed to it until then.
func (p *multiWrite) drop(n *node, cmd command, until time.Time) { p.dropThen(n, cmd, until, nil) }

// dropThen is drop, and calls then when n has answered.
func (p *multiWrite) dropThen(n *node, cmd command, until time.Time, then func()) {
	p.send(cmd, nodeWrite{p: p, n: n, owed: cmd, until: until, then: then})
}

// store has n store. If that was not confirmed it may still happen, so n is owed the deletion however late.
func (p *multiWrite) store(n *node, cmd, undo command) {
	p.send(cmd, nodeWrite{p: p, n: n, owed: undo, undo: true})
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

// Receive implements cluster.Receiver. Every script of a multiWrite confirms with 1.
func (r nodeWrite) Receive(_ *cluster.Node, reply any, err error) {
	if err == nil && reply != any(int64(1)) {
		err = unexpected(reply)
	}
	p := r.p
	p.mu.Lock()
	owe := err != nil || p.left && r.undo
	if err != nil {
		p.missed[r.n] = true
		p.failed = append(p.failed, cluster.NodeError{Node: r.n.Name(), Err: err})
	}
	p.mu.Unlock()
	if owe {
		r.n.SendLater(r.owed.script.Command(r.owed.keys, r.owed.args...), r.until)
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
