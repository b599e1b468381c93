package embedded

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/alicebob/miniredis/v2"
)

// node is one Redis node: an address, and at any time at most one process that
// serves it. Here, a process is what a restart replaces.
type node struct {
	addr string

	// mu makes each operation on the node one step, waiting for goroutines
	// included. No command ever takes it.
	mu     sync.Mutex
	data   *miniredis.Miniredis // not started while the node is stopped
	proc   *process             // nil while the node is stopped
	closed bool
}

func newNode(l net.Listener) (*node, error) {
	n := &node{addr: l.Addr().String(), data: newData()}
	proc, err := startProcess(l, n.data)
	if err != nil {
		return nil, err
	}
	n.proc = proc
	return n, nil
}

func newData() *miniredis.Miniredis {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	return m
}

func (n *node) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopLocked()
}

func (n *node) stopLocked() {
	if n.proc != nil {
		n.proc.stop()
		n.proc = nil
	}
}

func (n *node) restart(lose bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.New("the nodes are closed: start new ones")
	}
	n.stopLocked()
	if lose {
		n.data = newData()
	}
	l, err := net.Listen("tcp", n.addr)
	if err != nil {
		return fmt.Errorf("%w; stop what listens there, then restart again", err)
	}
	proc, err := startProcess(l, n.data)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	n.proc = proc
	return nil
}

func (n *node) pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.proc.freeze()
	}
}

func (n *node) resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.proc.thaw()
	}
}

func (n *node) commands() map[string]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return map[string]int64{}
	}
	return n.proc.commands()
}

func (n *node) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopLocked()
	n.closed = true
	n.data = nil
}
