package cache

import (
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// multiWrite is a set of commands that were sent to several nodes and must take
// effect eventually. A command that a node did not confirm stays pending for
// this node, as a deletion.
type multiWrite struct {
	op, key string
	done    chan struct{} // closed when all have answered

	mu     sync.Mutex
	open   int
	left   bool           // the caller no longer waits
	missed map[*node]bool // nodes that did not confirm all their commands
	failed []cluster.NodeError
}

// newMultiWrite returns a multiWrite that counts as one open command until
// close is called, so that it is not done before its last command is sent.
func newMultiWrite(op, key string) *multiWrite {
	return &multiWrite{op: op, key: key, done: make(chan struct{}), open: 1, missed: map[*node]bool{}}
}

// abandon records that the caller no longer waits. A value that is stored later
// is deleted again, because the caller got an error and may have deleted the
// key since.
func (p *multiWrite) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
}

// took reports whether n confirmed all commands that were sent to it. It is
// valid once p is done.
func (p *multiWrite) took(n *node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.missed[n]
}

// nodeWrite is one command of a multiWrite.
type nodeWrite struct {
	p       *multiWrite
	n       *node
	pending command // sent later if the command was not confirmed
	until   time.Time
	undo    bool   // pending undoes the command, and is also needed if the caller no longer waits
	then    func() // called last, unless nil
}

// drop makes n delete. An unconfirmed deletion stays pending for n until the
// given time.
func (p *multiWrite) drop(n *node, cmd command, until time.Time) { p.dropThen(n, cmd, until, nil) }

// dropThen is like drop, and calls then when n has answered.
func (p *multiWrite) dropThen(n *node, cmd command, until time.Time, then func()) {
	p.send(cmd, nodeWrite{p: p, n: n, pending: cmd, until: until, then: then})
}

// store makes n store. An unconfirmed store may still happen at any time, so
// the deletion stays pending for n without a limit.
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

// close counts one command as answered.
func (p *multiWrite) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open--; p.open == 0 {
		close(p.done)
	}
}
